package bustest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"push-server/engine"
	"push-server/protocol"
)

// patience bounds every wait. It is only reached by a test that fails.
const patience = 20 * time.Second

// Event is one call of a Handler: a publication, an echo, or a gap.
type Event struct {
	Publication *protocol.Publication
	Echo        uint64             // its number
	Highest     protocol.MessageID // what it says
	Gap         bool
}

// Listener is a protocol.Handler that writes down its calls, for tests that wait for them.
type Listener struct {
	busy   atomic.Bool
	stop   func() error // ends the subscription and returns what Subscribe returned
	result chan error   // what Subscribe returned

	mu         sync.Mutex
	events     []Event
	news       chan struct{} // closed and replaced at every event
	concurrent bool
}

// NewListener returns a Listener that is not subscribed.
func NewListener() *Listener { return &Listener{news: make(chan struct{})} }

// HandlePublication implements protocol.Handler.
func (l *Listener) HandlePublication(p *protocol.Publication) { l.add(Event{Publication: p}) }

// HandleEcho implements protocol.Handler.
func (l *Listener) HandleEcho(n uint64, highest protocol.MessageID) {
	l.add(Event{Echo: n, Highest: highest})
}

// HandleGap implements protocol.Handler.
func (l *Listener) HandleGap() { l.add(Event{Gap: true}) }

func (l *Listener) add(e Event) {
	concurrent := !l.busy.CompareAndSwap(false, true)
	l.mu.Lock()
	l.concurrent = l.concurrent || concurrent
	l.events = append(l.events, e)
	close(l.news)
	l.news = make(chan struct{})
	l.mu.Unlock()
	l.busy.Store(false)
}

// Events returns all calls so far.
func (l *Listener) Events() []Event {
	events, _ := l.snapshot()
	return events
}

func (l *Listener) snapshot() ([]Event, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.events), l.news
}

// Wait returns the events as soon as ok says that they are complete.
func (l *Listener) Wait(t *testing.T, what string, ok func(events []Event) bool) []Event {
	t.Helper()
	deadline := time.After(patience)
	for {
		events, news := l.snapshot()
		if ok(events) {
			return events
		}
		select {
		case <-news:
		case <-deadline:
			t.Fatalf("waited in vain for %s; got %v", what, events)
		}
	}
}

// Publications waits for the first n publications.
func (l *Listener) Publications(t *testing.T, n int) []*protocol.Publication {
	t.Helper()
	events := l.Wait(t, fmt.Sprintf("%d publications", n), func(events []Event) bool { return len(Delivered(events)) >= n })
	return Delivered(events)
}

// Echo waits for echo n and returns what came before it.
func (l *Listener) Echo(t *testing.T, n uint64) (before []Event, highest protocol.MessageID) {
	t.Helper()
	at := -1
	events := l.Wait(t, fmt.Sprintf("echo %d", n), func(events []Event) bool {
		at = slices.IndexFunc(events, func(e Event) bool { return e.Echo == n })
		return at >= 0
	})
	return events[:at], events[at].Highest
}

// Forget forgets all calls so far.
func (l *Listener) Forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = nil
}

// End ends the subscription and returns what Subscribe returned.
func (l *Listener) End() error { return l.stop() }

// Delivered returns the publications among events.
func Delivered(events []Event) (ps []*protocol.Publication) {
	for _, e := range events {
		if e.Publication != nil {
			ps = append(ps, e.Publication)
		}
	}
	return ps
}

// Gaps counts the gaps among events.
func Gaps(events []Event) (n int) {
	for _, e := range events {
		if e.Gap {
			n++
		}
	}
	return n
}

// Subscribe returns a Listener that hears the bus: an echo has come back. What came up to there is forgotten, but for gaps.
func Subscribe(t *testing.T, bus engine.Bus) *Listener {
	t.Helper()
	l := Start(t, bus)
	l.AwaitEcho(t, bus)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = slices.DeleteFunc(l.events, func(e Event) bool { return !e.Gap })
	return l
}

// Start returns a Listener whose subscription has begun, but may not stand yet. It ends with the test.
func Start(t *testing.T, bus engine.Bus) *Listener {
	l := NewListener()
	ctx, cancel := context.WithCancel(context.Background())
	l.result = make(chan error, 1)
	go func() { l.result <- bus.Subscribe(ctx, l) }()
	l.stop = sync.OnceValue(func() error {
		cancel()
		select {
		case err := <-l.result:
			return err
		case <-time.After(patience):
			return fmt.Errorf("Subscribe did not return within %v after its context ended", patience)
		}
	})
	t.Cleanup(func() { _ = l.End() })
	return l
}

// AwaitEcho sends echoes until one comes back. Those sent before the subscription stands are lost, or fail.
func (l *Listener) AwaitEcho(t *testing.T, bus engine.Bus) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		n, _ := bus.Echo(testContext(t))
		until := time.After(20 * time.Millisecond)
		for waiting := true; waiting; {
			events, news := l.snapshot()
			if slices.ContainsFunc(events, func(e Event) bool { return n > 0 && e.Echo == n }) {
				return
			}
			select {
			case <-news:
			case <-until:
				waiting = false
			}
		}
	}
	t.Fatal("no echo came back")
}
