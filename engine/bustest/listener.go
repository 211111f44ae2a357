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

// event is one call of a Handler.
type event struct {
	publication *protocol.Publication
	echo        uint64
	highest     protocol.MessageID
	gap         bool
}

// listener is a Handler that writes down its calls.
type listener struct {
	busy   atomic.Bool
	end    func() error // ends the subscription and returns what Subscribe returned
	result chan error   // what Subscribe returned

	mu         sync.Mutex
	events     []event
	news       chan struct{} // closed and replaced at every event
	concurrent bool
}

func newListener() *listener { return &listener{news: make(chan struct{})} }

func (l *listener) HandlePublication(p *protocol.Publication) { l.add(event{publication: p}) }

func (l *listener) HandleEcho(n uint64, highest protocol.MessageID) {
	l.add(event{echo: n, highest: highest})
}

func (l *listener) HandleGap() { l.add(event{gap: true}) }

func (l *listener) add(e event) {
	concurrent := !l.busy.CompareAndSwap(false, true)
	l.mu.Lock()
	l.concurrent = l.concurrent || concurrent
	l.events = append(l.events, e)
	close(l.news)
	l.news = make(chan struct{})
	l.mu.Unlock()
	l.busy.Store(false)
}

func (l *listener) snapshot() ([]event, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.events), l.news
}

// wait returns the events as soon as ok says that they are complete.
func (l *listener) wait(t *testing.T, what string, ok func(events []event) bool) []event {
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

// publications waits for the first n publications.
func (l *listener) publications(t *testing.T, n int) []*protocol.Publication {
	t.Helper()
	events := l.wait(t, fmt.Sprintf("%d publications", n), func(events []event) bool { return len(delivered(events)) >= n })
	return delivered(events)
}

// echo waits for echo n and returns what came before it.
func (l *listener) echo(t *testing.T, n uint64) (before []event, highest protocol.MessageID) {
	t.Helper()
	at := -1
	events := l.wait(t, fmt.Sprintf("echo %d", n), func(events []event) bool {
		at = slices.IndexFunc(events, func(e event) bool { return e.echo == n })
		return at >= 0
	})
	return events[:at], events[at].highest
}

func (l *listener) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = nil
}

func delivered(events []event) (ps []*protocol.Publication) {
	for _, e := range events {
		if e.publication != nil {
			ps = append(ps, e.publication)
		}
	}
	return ps
}

func gaps(events []event) (n int) {
	for _, e := range events {
		if e.gap {
			n++
		}
	}
	return n
}

// subscribe returns a listener that hears the bus: an echo has come back. What came up to there is forgotten, but for gaps.
func subscribe(t *testing.T, bus engine.Bus) *listener {
	t.Helper()
	l := newListener()
	startSubscription(t, bus, l)
	awaitEcho(t, bus, l)
	events, _ := l.snapshot()
	l.mu.Lock()
	l.events = slices.DeleteFunc(events, func(e event) bool { return !e.gap })
	l.mu.Unlock()
	return l
}

func startSubscription(t *testing.T, bus engine.Bus, l *listener) {
	ctx, cancel := context.WithCancel(context.Background())
	l.result = make(chan error, 1)
	go func() { l.result <- bus.Subscribe(ctx, l) }()
	l.end = sync.OnceValue(func() error {
		cancel()
		select {
		case err := <-l.result:
			return err
		case <-time.After(patience):
			return fmt.Errorf("Subscribe did not return within %v after its context ended", patience)
		}
	})
	t.Cleanup(func() { _ = l.end() })
}

// awaitEcho sends echoes until one comes back. Those sent before the subscription stood are lost.
func awaitEcho(t *testing.T, bus engine.Bus, l *listener) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		n := mustEcho(t, bus)
		until := time.After(20 * time.Millisecond)
		for waiting := true; waiting; {
			events, news := l.snapshot()
			if slices.ContainsFunc(events, func(e event) bool { return e.echo == n }) {
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

func mustEcho(t *testing.T, bus engine.Bus) uint64 {
	t.Helper()
	n, err := bus.Echo(testContext(t))
	if err != nil {
		t.Fatalf("Echo: %v", err)
	}
	return n
}

func mustPublish(t *testing.T, bus engine.Bus, ps ...*protocol.Publication) {
	t.Helper()
	stored, err := bus.Publish(testContext(t), ps)
	if err != nil || stored != len(ps) {
		t.Fatalf("Publish of %d: stored %d, %v", len(ps), stored, err)
	}
}

func mustHistory(t *testing.T, bus engine.Bus, q protocol.HistoryQuery) []*protocol.Publication {
	t.Helper()
	answers, err := bus.History(testContext(t), []protocol.HistoryQuery{q})
	if err != nil || len(answers) != 1 {
		t.Fatalf("History: %d answers, %v", len(answers), err)
	}
	return answers[0]
}

func mustStored(t *testing.T, bus engine.Bus, ids ...protocol.MessageID) []bool {
	t.Helper()
	stored, err := bus.Stored(testContext(t), ids)
	if err != nil || len(stored) != len(ids) {
		t.Fatalf("Stored of %d ids: %v, %v", len(ids), stored, err)
	}
	return stored
}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// eventually waits until ok. It asks again rather than being told, for what nobody announces: expiry.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(patience)
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for !ok() {
		select {
		case <-again.C:
		case <-deadline:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}
