//go:build !race

package engine

import (
	"bytes"
	"testing"
	"time"
	"unsafe"

	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"

	"push-server/engine/feed"
	"push-server/engine/recorder"
	"push-server/engine/view"
)

// A session is what an idle connection costs beside gnet's 380 bytes, so its size is part of the contract.
func TestSizeOfSession(t *testing.T) {
	if size := unsafe.Sizeof(Session{}); size > 192 {
		t.Errorf("a session has %d bytes", size)
	}
}

// What operators are shown of a connection, and nothing else needs, is a part of that.
func TestConnectionsAreWatchedForFewBytes(t *testing.T) {
	var s Session
	if size := unsafe.Sizeof(s.sent) + unsafe.Sizeof(s.born) + unsafe.Sizeof(s.opened) + unsafe.Sizeof(s.agent); size > 16 {
		t.Errorf("%d bytes of each session are for operators alone", size)
	}
}

func TestDeliveryAllocatesNothing(t *testing.T) {
	const sessions = 20
	l, sinks, ch := bareLoop(t, sessions)
	l.o.TurnBudget = time.Hour // a turn that is cut short on a busy machine delivers less
	all := entries(l, ch, "0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
	buf := make([]byte, 64<<10)
	deliver := func(es []*feed.Entry) float64 {
		return testing.AllocsPerRun(100, func() {
			l.offerAll(es)
			l.turn()
			l.stats.publish(l)
			for _, s := range sinks {
				s.empty(buf)
			}
		})
	}
	before := l.stats.delivered.Load()
	if n := deliver(all[:1]); n != 0 {
		t.Errorf("%v allocations for %d deliveries of one message", n, sessions)
	}
	if l.stats.delivered.Load()-before != 101*sessions {
		t.Fatalf("%d deliveries", l.stats.delivered.Load()-before)
	}
	if n := deliver(all); n != 0 {
		t.Errorf("%v allocations for %d deliveries of ten messages", n, sessions)
	}
	// All that was recorded, and it stays so when one connection is followed by somebody who does not look.
	s := &l.slab.chunks[0][0]
	events := l.recorder.Of(s.index, s.born)
	if len(events) == 0 || events[len(events)-1].Kind != recorder.Message {
		t.Errorf("the recorder has %d events", len(events))
	}
	f := recorder.NewFollower()
	if !l.watch(view.ID{Place: s.index, Generation: s.born}, f) {
		t.Fatal("the session cannot be followed")
	}
	for range 1 << 12 { // more than wait for a viewer
		f.Add(events[0])
	}
	if n := deliver(all); n != 0 {
		t.Errorf("%v allocations for %d deliveries of ten messages, one of them followed", n, sessions)
	}
	if _, lost, _ := f.Next(t.Context()); lost <= 1<<11 {
		t.Errorf("a viewer who is slow has lost %d events", lost)
	}
}

func TestInboundFrameAllocatesNothing(t *testing.T) {
	l, sinks, _ := bareLoop(t, 1)
	s := &l.slab.chunks[0][0]
	buf := make([]byte, 4096)
	f := func(what string, op ws.OpCode, payload string) {
		t.Helper()
		frame := ws.MustCompileFrame(ws.MaskFrame(ws.NewFrame(op, true, []byte(payload))))
		received := make([]byte, len(frame))
		if n := testing.AllocsPerRun(100, func() {
			copy(received, frame)
			l.input(s, received)
			sinks[0].empty(buf)
		}); n != 0 {
			t.Errorf("%s: %v allocations", what, n)
		}
		if s.state != stateLive {
			t.Fatalf("%s: state %d", what, s.state)
		}
	}
	f("ping", ws.OpPing, "there?")
	f("pong", ws.OpPong, "ws ping")
	f("text that nobody reads", ws.OpText, string(bytes.Repeat([]byte("x"), 200)))
}

// After a session is closed nothing is written to its descriptor: the number may be somebody else's by then.
func TestNothingIsWrittenAfterClose(t *testing.T) {
	l, sinks, ch := bareLoop(t, 3)
	l.offerAll(entries(l, ch, `{"a":1}`))
	gone := &l.slab.chunks[0][1]
	gone.set(flagGone)
	l.close(gone, ClosePeer)
	l.turn()
	buf := make([]byte, 4096)
	for i, s := range sinks {
		n, _ := unix.Read(s.peer, buf)
		if closed := i == 1; closed != (n <= 0) {
			t.Errorf("session %d: %d bytes", i, n)
		}
	}
}
