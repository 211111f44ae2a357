package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"push-server/poll"
	"push-server/protocol"
	"push-server/protocol/testclient"
)

// startSim starts an engine on a simulated bus whose probes follow each other quickly.
func startSim(t testing.TB, faults simFaults, change func(o *Options)) (*Engine, *simBus) {
	t.Helper()
	bus := newSimBus(1, faults)
	return startEngine(t, bus, func(o *Options) {
		o.EchoInterval = 20 * time.Millisecond
		if change != nil {
			change(o)
		}
	}), bus
}

// Publishers of the Node server take an id, and publish later: ids come out of order.
func TestLateIDsReachLiveSessions(t *testing.T) {
	e, bus := startSim(t, simFaults{}, nil)
	a := newItem()
	live := subscribed(t, e, query("", a))
	late, early := bus.takeID(), bus.takeID()
	bus.publishAs(publication("early", 60, private(a)), early)
	if got := live.Bodies(1); got[0] != "early" {
		t.Fatalf("got %q", got)
	}
	bus.publishAs(publication("late", 60, private(a)), late)
	if got := live.Bodies(1); got[0] != "late" {
		t.Errorf("got %q", got)
	}
	back := webSocket(t, e, query("&mid=00000000000000000000000000", a))
	if got, want := back.Bodies(2), []string{"late", "early"}; !slices.Equal(got, want) {
		t.Errorf("replay %q, want %q: by id", got, want)
	}
}

// countingBus counts reads of history.
type countingBus struct {
	*simBus
	reads, lookups atomic.Int64
}

func (b *countingBus) History(ctx context.Context, qs []protocol.HistoryQuery, maxBytes int) ([]protocol.HistoryAnswer, error) {
	b.reads.Add(1)
	return b.simBus.History(ctx, qs, maxBytes)
}

func (b *countingBus) Remaining(ctx context.Context, ids []protocol.MessageID) ([]time.Duration, error) {
	b.lookups.Add(1)
	return b.simBus.Remaining(ctx, ids)
}

// Ids that were taken and never used are looked for once, in one call; history is not read for them.
func TestHolesCauseNoReads(t *testing.T) {
	bus := &countingBus{simBus: newSimBus(1, simFaults{})}
	e := startEngine(t, bus, func(o *Options) { o.EchoInterval = 20 * time.Millisecond })
	a := newItem()
	live := subscribed(t, e, query("", a))
	for i := range 50 {
		bus.takeID()
		publish(t, e, fmt.Sprint(i), 60, private(a))
	}
	live.Bodies(50)
	testclient.Await(t, "the holes to be given up", func() bool { return e.feed.Missing() == 0 })
	if n := bus.reads.Load(); n != 0 {
		t.Errorf("%d reads of history", n)
	}
	if n := bus.lookups.Load(); n > 10 {
		t.Errorf("%d lookups for 50 holes", n)
	}
	if n := e.Stats().Gaps; n != 0 {
		t.Errorf("%d gaps", n)
	}
}

// A publication that was lost on the way, without a word, is fetched when its id is overdue.
func TestMissingPublicationIsFetched(t *testing.T) {
	e, bus := startSim(t, simFaults{}, nil)
	a := newItem()
	live := subscribed(t, e, query("", a))
	bus.mu.Lock()
	bus.counter++
	lost := publication("lost", 60, private(a))
	lost.ID, lost.Created = protocol.MakeMessageID(bus.start, bus.counter), uint32(time.Now().Unix())
	bus.stored = append(bus.stored, lost) // stored, but not sent
	bus.mu.Unlock()
	publish(t, e, "next", 60, private(a))
	if got, want := live.Bodies(2), []string{"next", "lost"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if n := e.Stats().Gaps; n != 1 {
		t.Errorf("%d gaps", n)
	}
}

// A mid above every id (of the future, or from before a flush) bounds nothing.
func TestMidOfTheFuture(t *testing.T) {
	e := startMemory(t, nil)
	a := newItem()
	c := webSocket(t, e, query("&mid=99999999999999999999999999", a))
	p := dial(t, e)
	p.Get(testSub + query("&mid=99999999999999999999999999", a))
	testclient.Await(t, "both", func() bool { st := e.Stats(); return st.WebSockets == 1 && st.Polls == 1 })
	publish(t, e, "1", 60, private(a))
	if got := c.Bodies(1); got[0] != "1" {
		t.Errorf("WebSocket got %q", got)
	}
	if resp := p.Reply("GET"); resp.Status != http.StatusOK {
		t.Errorf("poll: %s", resp)
	}
}

// When the store was emptied, ids go on above the old ones; clients go on to get messages, and who was away gets what memory has.
func TestStoreIsEmptied(t *testing.T) {
	e, bus := startSim(t, simFaults{}, nil)
	a := newItem()
	live := subscribed(t, e, query("", a))
	for range 10 {
		publish(t, e, "old", 60, private(a))
	}
	old := live.Messages(10)
	bus.flush()
	publish(t, e, "new", 60, private(a))
	if got := live.Bodies(1); got[0] != "new" {
		t.Errorf("got %q", got)
	}
	f := func(mid string, want ...string) {
		t.Helper()
		if got := webSocket(t, e, query("&mid="+mid, a)).Bodies(len(want)); !slices.Equal(got, want) {
			t.Errorf("after %s: got %q, want %q", mid, got, want)
		}
	}
	f(old[9].ID, "new")
	f(old[7].ID, "old", "old", "new")
}

// Nobody is let in beyond the limit, and is told so; those who are in stay, and when one goes another may come.
func TestConnectionLimit(t *testing.T) {
	e := startMemory(t, func(o *Options) { o.MaxConnections = 3 })
	a := newItem()
	var cs []*testclient.Client
	for range 3 {
		cs = append(cs, subscribed(t, e, query("", a)))
	}
	for range 3 {
		extra := dial(t, e)
		extra.Get(testSub + query("", a))
		if resp := extra.Reply("GET"); resp.Status != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
			t.Errorf("a connection too many: %s %v", resp, resp.Header)
		}
	}
	publish(t, e, "1", 0, private(a))
	for _, c := range cs {
		c.Bodies(1)
	}
	_ = cs[0].Close()
	testclient.Await(t, "a place", func() bool { return e.Stats().Connections == 2 })
	subscribed(t, e, query("", a))
}

// No goroutine per connection.
func TestGoroutinesDoNotGrowWithConnections(t *testing.T) {
	e := startMemory(t, nil)
	a := newShared()
	subscribed(t, e, query("", a))
	before := runtime.NumGoroutine()
	for range 300 {
		webSocket(t, e, query("", a))
		dial(t, e).Get(testSub + query("", a))
	}
	testclient.Await(t, "all", func() bool { st := e.Stats(); return st.WebSockets == 301 && st.Polls == 300 })
	if after := runtime.NumGoroutine(); after > before+5 {
		t.Errorf("%d goroutines before, %d after 600 connections", before, after)
	}
}

// Connections that end while a broadcast is written to them disturb nobody.
func TestCloseDuringFanOut(t *testing.T) {
	e := startMemory(t, nil)
	a := newShared()
	var stay []*testclient.Client
	for i := range 200 {
		c := subscribed(t, e, query("", a))
		if i%2 == 0 {
			stay = append(stay, c)
			continue
		}
		go func() { _ = c.Close() }()
	}
	const messages = 100
	for i := range messages {
		publish(t, e, fmt.Sprint(i), 60, private(a))
	}
	for _, c := range stay {
		c.Bodies(messages)
	}
	testclient.Await(t, "the others to be gone", func() bool { return e.Stats().WebSockets == len(stay) })
}

// A loop that ends unasked is told: the process has to end.
func TestLoopThatEndsIsAFailure(t *testing.T) {
	e := startMemory(t, func(o *Options) { o.Loops = 1 })
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := e.loops[0].gnet.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-e.Failed():
		if !errors.Is(err, errLoopEnded) {
			t.Error(err)
		}
	case <-ctx.Done():
		t.Error("nobody noticed")
	}
}

// A frame that arrives byte by byte, in the same segments as others, is understood.
func TestFramesInPieces(t *testing.T) {
	e := startMemory(t, nil)
	c := subscribed(t, e, query("", newItem()))
	var all []byte
	for i := range 3 {
		all = append(all, ws.MustCompileFrame(ws.MaskFrame(ws.NewPingFrame(fmt.Appendf(nil, "ping %d", i))))...)
	}
	for i := range all {
		c.Say(string(all[i : i+1]))
	}
	c.Say(string(all))
	for i := range 6 {
		if f := c.Frame(); string(f.Payload) != fmt.Sprintf("ping %d", i%3) {
			t.Errorf("%v %q", f.Header, f.Payload)
		}
	}
}

// The bus is away: a publication is answered within the time given to publishers, and stored when the bus is back.
func TestPublishWhileTheBusIsAway(t *testing.T) {
	bus := &awayBus{simBus: newSimBus(1, simFaults{})}
	e := startEngine(t, bus, func(o *Options) {
		o.EchoInterval = 20 * time.Millisecond
		o.AcceptTimeout = 50 * time.Millisecond
		o.PublishQueue = 10
	})
	a := newItem()
	live := subscribed(t, e, query("", a))
	bus.away.Store(true)
	var want []string
	for i := range 10 {
		want = append(want, fmt.Sprint(i))
		err := e.Publish(context.Background(), []*protocol.Publication{publication(want[i], 60, private(a))})
		if !errors.Is(err, poll.ErrAccepted) {
			t.Fatalf("publication %d: %v", i, err)
		}
	}
	err := e.Publish(context.Background(), []*protocol.Publication{publication("too many", 60, private(a))})
	if !errors.Is(err, poll.ErrQueueFull) {
		t.Errorf("publication beyond the queue: %v", err)
	}
	bus.away.Store(false)
	if got := live.Bodies(10); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

// What a state may leave unread is bounded.
func TestFloodBehindAPoll(t *testing.T) {
	e := startMemory(t, nil)
	c := dial(t, e)
	c.Get(testSub + query("", newItem()))
	testclient.Await(t, "the poll", func() bool { return e.Stats().Polls == 1 })
	flood := bytes.Repeat([]byte("x"), 64<<10)
	for e.Stats().Closes["input_overflow"] == 0 {
		if _, err := c.Write(flood); err != nil {
			break
		}
	}
	testclient.Await(t, "the end", func() bool { return e.Stats().Closes["input_overflow"] == 1 })
}

// A peer that does not answer the goodbye does not hold up the end.
func TestDrainDoesNotWaitForTheDead(t *testing.T) {
	e := startMemory(t, nil)
	c := subscribed(t, e, query("", newItem()))
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := e.Drain(ctx); err != nil {
		t.Error(err)
	}
	if ctx.Err() != nil {
		t.Error("waited until the end of time")
	}
	_ = c
}

// Connections of one channel are spread over the loops; whether it is online is a question to all of them.
func TestOnlineOverAllLoops(t *testing.T) {
	e := startMemory(t, func(o *Options) { o.Loops = 4 })
	items := make([]protocol.Item, 20)
	chs := make([]protocol.ChannelID, 0, 2*len(items))
	var cs []*testclient.Client
	for i := range items {
		items[i] = newItem()
		chs = items[i].AppendChannels(chs)
		for range 2 {
			cs = append(cs, subscribed(t, e, query("", items[i])))
		}
	}
	f := func(what string, want bool) {
		t.Helper()
		online, err := e.Online(context.Background(), chs)
		if err != nil {
			t.Fatal(err)
		}
		if slices.Contains(online, !want) {
			t.Errorf("%s: %v", what, online)
		}
	}
	f("all are connected", true)
	for i := range items {
		_ = cs[2*i].Close()
	}
	testclient.Await(t, "one of each to go", func() bool { return e.Stats().WebSockets == len(items) })
	f("one of each is left", true)
	for i := range items {
		_ = cs[2*i+1].Close()
	}
	testclient.Await(t, "all to go", func() bool { return e.Stats().WebSockets == 0 })
	f("nobody is left", false)
}

// What is published from the moment on in which the handshake is answered reaches the newcomer. It was lost when a loop that had
// nothing to do caught up with the window after it had written the answer.
func TestNewcomerMissesNothing(t *testing.T) {
	e := startMemory(t, nil)
	for i := range 300 {
		a := newItem()
		c := webSocket(t, e, query("", a))
		publish(t, e, fmt.Sprint(i), 0, private(a))
		if got := c.Bodies(1); got[0] != fmt.Sprint(i) {
			t.Fatalf("got %q", got)
		}
	}
}

// While the bus stands still, the first publishers wait for as long as they may; from then on everybody is told at once that what they
// send is accepted, so that nobody's place is kept. When the bus is back, everything arrives in order.
func TestPublishersDoNotWaitInLine(t *testing.T) {
	bus := &awayBus{simBus: newSimBus(1, simFaults{})}
	e := startEngine(t, bus, func(o *Options) { o.EchoInterval = 20 * time.Millisecond; o.AcceptTimeout = time.Hour })
	a := newItem()
	live := subscribed(t, e, query("", a))
	bus.away.Store(true)
	first := make(chan error, 1)
	if err := e.publishing.enqueue(backEnds, []*protocol.Publication{publication("0", 60, private(a))}, first, nil); err != nil {
		t.Fatal(err)
	}
	lane := &e.publishing.lanes[backEnds]
	lane.patience = 0 // its time is over now
	e.publishing.tellOverdue(lane)
	if err := <-first; !errors.Is(err, poll.ErrAccepted) {
		t.Fatal(err)
	}
	lane.patience = time.Hour
	want := []string{"0"}
	for i := range 2000 {
		want = append(want, fmt.Sprint(i+1))
		answer := make(chan error, 1)
		if err := e.publishing.enqueue(backEnds, []*protocol.Publication{publication(want[i+1], 60, private(a))}, answer, nil); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-answer:
			if !errors.Is(err, poll.ErrAccepted) {
				t.Fatal(err)
			}
		default:
			t.Fatalf("publication %d has to wait", i)
		}
	}
	bus.away.Store(false)
	if got := live.Bodies(len(want)); !slices.Equal(got, want) {
		t.Error("not all, or not in order")
	}
	testclient.Await(t, "the queue to be empty", func() bool { return e.Unstored() == 0 })
	if err := e.Publish(t.Context(), []*protocol.Publication{publication("after", 60, private(a))}); err != nil {
		t.Errorf("when all is well again: %v", err)
	}
}
