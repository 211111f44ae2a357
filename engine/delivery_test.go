package engine

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"push-server/engine/membus"
	"push-server/protocol"
	"push-server/protocol/testclient"
)

// often has an engine look after itself more often.
func often(o *Options) { o.EchoInterval = 50 * time.Millisecond }

func awaitProblem(t *testing.T, e *Engine, text string) {
	t.Helper()
	testclient.Await(t, "the engine says: "+text, func() bool {
		err := e.Problem()
		return err != nil && strings.Contains(err.Error(), text)
	})
}

// What proves delivery is seen by nobody: neither by those who read statistics and metrics nor by the bus.
func TestProbesAreNoClients(t *testing.T) {
	t.Parallel()
	e := startMemory(t, often)
	testclient.Await(t, "probes of both loops", func() bool { return e.prober.Delivered.Load() >= 6 })
	st := e.Stats()
	if st.WebSockets != 0 || st.Polls != 0 || st.Connections != 0 || st.Channels != 0 || st.Opened != 0 {
		t.Errorf("the session of the probe counts as a client: %+v", st)
	}
	if st.Delivered != 0 || st.Published != 0 {
		t.Errorf("probes count as messages: %+v", st)
	}
	if page := string(e.ServerStats(t.Context())); !strings.Contains(page, `"channels":0,`) || !strings.Contains(page, `"websockets":0,`) {
		t.Error(page)
	}
	for _, l := range e.loops {
		if n := testclient.AwaitFrom(t, "the channels of a loop", askChannels(l)); n != 0 {
			t.Errorf("history is asked for %d channels", n)
		}
	}
	item := newItem()
	c := subscribed(t, e, query("", item))
	publish(t, e, `"first"`, 60, private(item))
	if m := c.Messages(1)[0]; !strings.HasSuffix(m.ID, "0000000000000001") {
		t.Errorf("the first message has the id %s", m.ID)
	}
}

func askChannels(l *loop) <-chan int {
	n := make(chan int, 1)
	l.call(func(l *loop) { n <- len(l.Channels()) })
	return n
}

func TestLoopThatDoesNotTurn(t *testing.T) {
	t.Parallel()
	e := startMemory(t, often)
	release := make(chan struct{})
	e.loops[1].call(func(*loop) { <-release })
	awaitProblem(t, e, "event loop 1 does not turn: ")
	if e.Stats().ProbeFailures == 0 {
		t.Error("no probe counts as late")
	}
	close(release)
	testclient.Await(t, "the loop turns again", e.Ready)
}

func TestLoopThatDeliversNothing(t *testing.T) {
	t.Parallel()
	e := startMemory(t, often)
	e.loops[1].call(func(l *loop) {
		l.slab.each(func(s *Session) { l.close(s, CloseBug) })
		l.sweep()
	})
	awaitProblem(t, e, "the bus answers, but event loop 1 delivers nothing: its last probe came ")
}

// brokenHistory is a bus whose echoes come. Once it is broken, publications are lost on the way, and history, where they are, cannot be
// read: the gap cannot be closed.
type brokenHistory struct {
	*membus.Bus
	broken atomic.Bool
}

type lossyHandler struct {
	protocol.Handler
	bus *brokenHistory
}

func (h lossyHandler) HandlePublication(p *protocol.Publication) {
	if h.bus.broken.Load() {
		h.HandleGap()
		return
	}
	h.Handler.HandlePublication(p)
}

func (b *brokenHistory) Subscribe(ctx context.Context, h protocol.Handler) error {
	return b.Bus.Subscribe(ctx, lossyHandler{h, b})
}

func (b *brokenHistory) Remaining(ctx context.Context, ids []protocol.MessageID) ([]time.Duration, error) {
	if b.broken.Load() {
		return nil, errors.New("loading the dataset in memory")
	}
	return b.Bus.Remaining(ctx, ids)
}

func TestBusAnswersButNothingIsDelivered(t *testing.T) {
	t.Parallel()
	bus := &brokenHistory{Bus: membus.New(membus.Options{})}
	t.Cleanup(bus.Close)
	e := startEngine(t, bus, often)
	bus.broken.Store(true)
	publish(t, e, `"x"`, 60, private(newItem()))
	awaitProblem(t, e, "the bus answers, but nothing is delivered: the last probe came ")
	bus.broken.Store(false)
	testclient.Await(t, "delivery goes on", e.Ready)
}
