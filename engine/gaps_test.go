package engine

import (
	"context"
	"slices"
	"testing"
	"time"

	"push-server/protocol"
	"push-server/protocol/testclient"
)

// quietBus is a bus without echoes until it is opened.
type quietBus struct {
	*simBus
	open chan struct{}
}

func (b *quietBus) Echo(ctx context.Context) (uint64, error) {
	select {
	case <-b.open:
		return b.simBus.Echo(ctx)
	default:
		return 0, errSim
	}
}

// lateBus is not there at all until it is opened.
type lateBus struct{ quietBus }

func (b *lateBus) Subscribe(ctx context.Context, h protocol.Handler) error {
	select {
	case <-b.open:
		return b.simBus.Subscribe(ctx, h)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// What comes by before the first echo is delivered with it, and not read from history again.
func TestPublicationBeforeTheFirstEcho(t *testing.T) {
	bus := &quietBus{newSimBus(1, simFaults{}), make(chan struct{})}
	e := startWithout(t, bus, nil)
	a := newItem()
	live := subscribed(t, e, query("", a))
	publish(t, e, "early", 600, private(a))
	close(bus.open)
	testclient.Await(t, "the first echo", e.Ready)
	publish(t, e, "next", 600, private(a))
	if got, want := live.Bodies(2), []string{"early", "next"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Clients may connect before the bus is there, if only for milliseconds. What is published before this process listens reaches them
// all the same.
func TestBusComesLate(t *testing.T) {
	bus := &lateBus{quietBus{newSimBus(1, simFaults{}), make(chan struct{})}}
	e := startWithout(t, bus, func(o *Options) { o.EchoInterval = 20 * time.Millisecond })
	a := newItem()
	live := subscribed(t, e, query("", a))
	old := publication("old", 600, private(a))
	bus.publishAs(old, bus.takeID())
	bus.mu.Lock()
	bus.stored[0].Created = uint32(time.Now().Add(-time.Hour).Unix())
	bus.stored[0].Expiry = 7200
	bus.mu.Unlock()
	bus.publishAs(publication("early", 600, private(a)), bus.takeID())
	bus.mu.Lock()
	bus.queue = nil // nobody listened
	bus.mu.Unlock()
	if e.Ready() {
		t.Error("ready without a bus")
	}
	close(bus.open)
	testclient.Await(t, "the first echo", e.Ready)
	publish(t, e, "next", 600, private(a))
	if got, want := live.Bodies(2), []string{"early", "next"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	back := webSocket(t, e, query("&mid=00000000000000000000000000", a))
	if got, want := back.Bodies(3), []string{"old", "early", "next"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if n := e.Stats().Gaps; n != 0 {
		t.Errorf("%d gaps", n)
	}
}

// slowReads is a bus whose history is read when the test says so.
type slowReads struct {
	*simBus
	reading, read chan struct{}
}

func (b *slowReads) History(ctx context.Context, queries []protocol.HistoryQuery, maxBytes int) ([]protocol.HistoryAnswer, error) {
	b.reading <- struct{}{}
	<-b.read
	return b.simBus.History(ctx, queries, maxBytes)
}

// A Node publisher has an id and has not published yet when a gap is closed; what it publishes then is lost in the next gap. It is read
// from history all the same, whether the id was taken before the first gap or while that was being closed.
func TestIDUnderWayInTwoGaps(t *testing.T) {
	bus := &slowReads{newSimBus(1, simFaults{}), make(chan struct{}), make(chan struct{})}
	e := startWithout(t, bus, nil)
	testclient.Await(t, "the first echo", e.Ready)
	a := newItem()
	live := subscribed(t, e, query("", a))
	before := bus.takeID()
	publish(t, e, "1", 600, private(a))
	live.Messages(1)

	bus.Reconnect()
	<-bus.reading
	during := bus.takeID()
	bus.publishAs(publication("2", 600, private(a)), bus.takeID())
	testclient.Await(t, "a publication that is held", func() bool { return e.feed.Held() > 0 })
	bus.read <- struct{}{}
	live.Messages(1)

	bus.mu.Lock()
	bus.deaf = true
	bus.mu.Unlock()
	bus.publishAs(publication("before", 600, private(a)), before)
	bus.publishAs(publication("during", 600, private(a)), during)
	bus.Reconnect()
	<-bus.reading
	bus.read <- struct{}{}
	if got, want := live.Bodies(2), []string{"before", "during"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A connection of the bus that is alive and brings nothing is given up, and what it has swallowed is read from history.
func TestDeafBusIsConnectedAnew(t *testing.T) {
	t.Parallel()
	bus := newSimBus(1, simFaults{})
	e := startEngine(t, bus, func(o *Options) { o.EchoInterval = 20 * time.Millisecond })
	a := newItem()
	live := subscribed(t, e, query("", a))
	bus.mu.Lock()
	bus.deaf = true
	bus.mu.Unlock()
	publish(t, e, "unheard", 600, private(a))
	if got := live.Bodies(1)[0]; got != "unheard" {
		t.Errorf("got %q", got)
	}
	if e.Stats().BusRebuilds == 0 {
		t.Error("nobody has connected anew")
	}
}

// An empty store has no counter, and its first echo says zero. Who has an id from before the first one that comes by gets what was stored
// all the same; from there on the window answers.
func TestEverythingFromAnEmptyStore(t *testing.T) {
	bus := newSimBus(1, simFaults{})
	bus.start = 0
	e := startEngine(t, bus, nil)
	bus.mu.Lock()
	bus.start = 1_700_000_000
	a := newItem()
	foreign := publication("stored by hand", 600, private(a))
	foreign.ID, foreign.Created = protocol.MakeMessageID(bus.start, 1), uint32(time.Now().Unix())
	bus.stored = append(bus.stored, foreign)
	bus.mu.Unlock()
	live := subscribed(t, e, query("", a))
	bus.takeID()
	publish(t, e, "first", 600, private(a))
	first := live.Messages(1)[0].ID
	f := func(mid string, want ...string) {
		t.Helper()
		if got := webSocket(t, e, query("&mid="+mid, a)).Bodies(len(want)); !slices.Equal(got, want) {
			t.Errorf("after %s: got %q, want %q", mid, got, want)
		}
	}
	f("00000000000000000000000000", "stored by hand", "first")
	f("16000000000000000000000001", "stored by hand", "first")
	reads := e.Stats().ReplaysHistory
	publish(t, e, "second", 600, private(a))
	live.Messages(1)
	f(first, "second")
	if n := e.Stats().ReplaysHistory; n != reads {
		t.Errorf("history was read for what the window has")
	}
}
