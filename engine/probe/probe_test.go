package probe

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"push-server/protocol"
)

func TestProber(t *testing.T) {
	now := time.Minute
	var took []time.Duration
	p := New(2, func() time.Duration { return now }, func(d time.Duration) { took = append(took, d) })
	f := func(loop int, want time.Duration) {
		t.Helper()
		if got := p.Silence(loop); got != want {
			t.Errorf("loop %d silent for %v, want %v", loop, got, want)
		}
	}
	f(0, 0) // nothing is expected yet
	p.Begin()
	now += 5 * time.Second
	theirs, ours := net.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- p.Listen(1, ours) }()
	say := func(body string) {
		t.Helper()
		text := protocol.AppendText(nil, &protocol.Publication{Body: []byte(body)}, 0)
		if _, err := theirs.Write(protocol.AppendFrame(nil, ws.OpText, text)); err != nil {
			t.Fatal(err)
		}
	}
	say("64000000000") // a second ago
	say("nonsense")
	if err := <-ended; err == nil || !strings.HasPrefix(err.Error(), "BUG: ") {
		t.Errorf("nonsense: %v", err)
	}
	f(0, 5*time.Second)
	f(1, 0)
	if len(took) != 1 || took[0] != time.Second || p.Delivered.Load() != 1 {
		t.Errorf("latency: %v", took)
	}
	if p.Count(time.Second); p.Failures.Load() != 1 {
		t.Errorf("%d failures, want that of the silent loop", p.Failures.Load())
	}
	p.Close()
}

func TestStuck(t *testing.T) {
	now := time.Minute
	p := New(1, func() time.Duration { return now }, nil)
	f := func(turns uint64, awake bool, want time.Duration) {
		t.Helper()
		p.Look(0, turns, awake)
		now += time.Second
		if got := p.Stuck(0); got != want {
			t.Errorf("stuck for %v, want %v", got, want)
		}
	}
	f(1, true, 0)
	f(1, true, time.Second)
	f(1, true, 2*time.Second)
	f(2, true, 0)
	f(2, false, 0) // nobody wants anything of it
	f(2, false, 0)
	f(2, true, time.Second)
}
