package engine

import (
	"context"
	"errors"
	"net"
	"testing"

	"push-server/engine/membus"
	"push-server/protocol"
	"push-server/protocol/testclient"
)

// A loop that ends although nobody asked takes its own sessions with it. Nobody waits for it, neither a question nor a drain: the
// sessions of the other loops are told.
func TestLoopEndsUnasked(t *testing.T) {
	e := startMemory(t, nil)
	a := newItem()
	var cs []*testclient.Client
	on := func(l *loop) bool { return l.stats.webSockets.Load() > 0 }
	for !on(e.loops[0]) || !on(e.loops[1]) {
		cs = append(cs, subscribed(t, e, query("", a)))
	}
	told := e.loops[1].stats.webSockets.Load()
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
	e, err := New(Options{Key: []byte(testKey), Loops: 2, Listeners: []Listener{{Addr: taken.Addr().String()}}}, bus)
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
