package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"push-server/engine/membus"
	"push-server/poll"
	"push-server/protocol"
	"push-server/protocol/testclient"
)

// A loop that ends although nobody asked takes its own sessions with it. Nobody waits for it, neither a question nor a drain: the
// sessions of the other loops are told.
func TestLoopEndsUnasked(t *testing.T) {
	e := startMemory(t, nil)
	a := newItem()
	var cs []*testclient.Client
	on := func(l *loop) bool { return l.stats.of(transportWebSocket) > 0 }
	for !on(e.loops[0]) || !on(e.loops[1]) {
		cs = append(cs, subscribed(t, e, query("", a)))
	}
	told := e.loops[1].stats.of(transportWebSocket)
	e.loops[0].call(func(l *loop) { l.ending = true })
	select {
	case err := <-e.Failed():
		if !errors.Is(err, errLoopEnded) {
			t.Error(err)
		}
	case <-t.Context().Done():
	}

	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if online, err := e.Online(ctx, []protocol.ChannelID{private(a)}); err != nil || !online[0] {
		t.Errorf("online: %v, %v", online, err)
	}
	drained := make(chan error, 1)
	go func() { drained <- e.Drain(ctx) }()
	for _, c := range cs {
		if c.End() == 1001 {
			told--
		}
		_ = c.Close()
	}
	if err := errors.Join(<-drained, ctx.Err()); err != nil {
		t.Error(err)
	}
	if told != 0 {
		t.Errorf("%d sessions of the other loop were not told", told)
	}
}

// Whatever a start has opened is closed when it fails, and a stop that follows finds nothing to do.
func TestStartFails(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	bus := membus.New(membus.Options{})
	defer bus.Close()
	e, err := New(Options{Settings: Settings{Key: []byte(testKey)}, Loops: 2, Listeners: []Listener{{Addr: taken.Addr().String()}}}, bus)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Start(t.Context()); err == nil {
		t.Error("started on a port that somebody has")
	}
	if err := e.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

// lastBus answers a publication only when ctx has ended, and on release.
type lastBus struct {
	*membus.Bus
	entered, release chan struct{}
	err              error
}

func newLastBus(t *testing.T, err error) *lastBus {
	b := &lastBus{Bus: membus.New(membus.Options{}), entered: make(chan struct{}), release: make(chan struct{}), err: err}
	t.Cleanup(b.Close)
	return b
}

func (b *lastBus) Publish(ctx context.Context, ps []*protocol.Publication) (int, error) {
	close(b.entered)
	<-ctx.Done()
	<-b.release
	if b.err != nil {
		return 0, b.err
	}
	return len(ps), nil
}

// A drain takes no longer than it may, with goroutines that end late and a peer that does not answer.
func TestDrainIsOverInTime(t *testing.T) {
	bus := newLastBus(t, errors.New("away"))
	e := startEngine(t, bus, func(o *Options) { o.AcceptTimeout = time.Millisecond }) // the publisher goes
	t.Cleanup(func() { close(bus.release) })
	subscribed(t, e, query("", newItem()))
	go func() {
		_ = e.Publish(context.Background(), []*protocol.Publication{publication("late", 60, private(newItem()))})
	}()
	<-bus.entered
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	drained := make(chan error, 1)
	go func() { drained <- e.Drain(ctx) }()
	if err := testclient.AwaitFrom(t, "the end of the drain", drained); err == nil {
		t.Error("it is not said that a publication is lost")
	}
}

// What is lost is counted when the last attempt has ended.
func TestDrainCountsWhatIsLost(t *testing.T) {
	f := func(err error, given time.Duration, lost int) {
		t.Helper()
		log := &testclient.Log{}
		bus := newLastBus(t, err)
		close(bus.release)
		e := startEngine(t, bus, func(o *Options) {
			o.AcceptTimeout, o.Logger = time.Millisecond, slog.New(slog.NewTextHandler(log, nil))
		})
		ps := []*protocol.Publication{publication("0", 60, private(newItem())), publication("1", 60, private(newItem()))}
		if err := e.Publish(context.Background(), ps); !errors.Is(err, poll.ErrAccepted) {
			t.Fatal(err)
		}
		<-bus.entered
		ctx, cancel := context.WithTimeout(context.Background(), given)
		defer cancel()
		says := fmt.Sprint(e.Drain(ctx)) // on a busy machine also that goroutines take longer than stopTime to end
		if want := fmt.Sprintf("engine: %d publications are not stored", lost); strings.Contains(says, want) != (lost > 0) {
			t.Errorf("with %d lost, the drain says %s", lost, says)
		}
		if line := fmt.Sprintf("are lost\" count=%d", lost); strings.Contains(log.String(), line) != (lost > 0) {
			t.Errorf("log, with %d lost:\n%s", lost, log.String())
		}
	}
	f(nil, patience, 0)
	f(errors.New("away"), 2*time.Second, 2)
}

// Clients are told at a pace, so that they do not come back all at once; those for whom there is no time are counted.
func TestDrainHasAPace(t *testing.T) {
	t.Parallel()
	const n = 100 // they would take 100 s
	log := &testclient.Log{}
	e := startMemory(t, func(o *Options) { o.DrainPace = 1; o.Logger = slog.New(slog.NewTextHandler(log, nil)) })
	for range n {
		subscribed(t, e, query("", newItem()))
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	drained := make(chan error, 1)
	go func() { drained <- e.Drain(ctx) }()
	var left int64
	testclient.Await(t, "some are told", func() bool {
		var live atomic.Int64
		err := askLoops(t.Context(), e.loops, func(l *loop) {
			l.slab.each(func(s *Session) {
				if s.state == stateLive && !s.is(flagOwn) {
					live.Add(1)
				}
			})
		})
		left = live.Load()
		return err == nil && left < n
	})
	if left < n/2+n/4 { // the machine may be late
		t.Errorf("all but %d were told at once", left)
	}
	cancel()
	if err := testclient.AwaitFrom(t, "the drain ends", drained); err != nil {
		t.Log(err) // a busy machine needs longer than stopTime
	}
	if !strings.Contains(log.String(), "cut off without a goodbye") {
		t.Errorf("%d are cut off, and nobody says so:\n%s", left, log.String())
	}
}

func TestPaceOfDrain(t *testing.T) {
	e := startMemory(t, nil)
	f := func(pace int, encrypted int64, given time.Duration, connections int, least, most float64) {
		t.Helper()
		changeSettings(t, e, func(s *Settings) { s.DrainPace = pace })
		e.tlsConns.Store(encrypted)
		ctx, cancel := context.WithTimeout(t.Context(), given)
		defer cancel()
		if got := e.drainPace(ctx, connections); got < least || got > most {
			t.Errorf("%v a second, want %v to %v", got, least, most)
		}
	}
	defer e.tlsConns.Store(0)
	f(0, 0, time.Hour, 1000, 12_000, 13_000)
	f(0, 1000, time.Hour, 1000, 450, 550)
	f(50, 0, time.Hour, 1000, 50, 50)
	f(50, 0, 10*time.Second, 3000, 400, 4000)               // the time would not be enough
	f(50, 0, time.Nanosecond, 100, 10_000, math.MaxFloat64) // at once
}

// A drain that was announced has begun for whoever asks, and for nobody else.
func TestAnnouncedDrain(t *testing.T) {
	e := startMemory(t, nil)
	e.Announce()
	if err := e.Problem(); !errors.Is(err, errDraining) {
		t.Errorf("ready: %v", err)
	}
	a := newItem()
	c := subscribed(t, e, query("", a))
	publish(t, e, "still here", 60, private(a))
	if got := c.Bodies(1)[0]; got != "still here" {
		t.Error(got)
	}
}

type awayBus struct {
	*simBus
	away  atomic.Bool
	tries atomic.Int64 // to publish while it is away
}

func (b *awayBus) Publish(ctx context.Context, ps []*protocol.Publication) (int, error) {
	if b.away.Load() {
		b.tries.Add(1)
		return 0, errSim
	}
	return b.simBus.Publish(ctx, ps)
}

// What was accepted while the bus was away is stored before the end, if the bus comes back in time, and before anybody is told to go.
func TestDrainStoresFirst(t *testing.T) {
	bus := &awayBus{simBus: newSimBus(1, simFaults{})}
	e := startEngine(t, bus, func(o *Options) { o.EchoInterval = 20 * time.Millisecond; o.AcceptTimeout = 10 * time.Millisecond })
	socket := subscribed(t, e, query("", newItem()))
	told := make(chan int, 1) // how many were stored when the client was told
	go func() {
		_, _ = socket.Receive() // a close frame
		bus.mu.Lock()
		defer bus.mu.Unlock()
		told <- len(bus.stored)
	}()
	bus.away.Store(true)
	for range 5 {
		if err := e.Publish(t.Context(), []*protocol.Publication{publication("accepted", 60, private(newItem()))}); !errors.Is(err, poll.ErrAccepted) {
			t.Fatal(err)
		}
	}
	done := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		done <- e.Drain(ctx)
	}()
	testclient.Await(t, "the drain begins", e.admission.closed.Load)
	tries := bus.tries.Load()
	testclient.Await(t, "the bus is tried", func() bool { return bus.tries.Load() > tries+3 })
	bus.away.Store(false)
	if err := testclient.AwaitFrom(t, "the drain ends", done); err != nil {
		t.Error(err)
	}
	if n := testclient.AwaitFrom(t, "the client is told", told); n != 5 {
		t.Errorf("a client was told to go when %d of 5 publications were stored", n)
	}
	bus.mu.Lock()
	defer bus.mu.Unlock()
	if len(bus.stored) != 5 {
		t.Errorf("%d of 5 publications are stored", len(bus.stored))
	}
}
