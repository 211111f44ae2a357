package engine

import (
	"testing"

	"github.com/panjf2000/gnet/v2"
	"golang.org/x/sys/unix"

	"push-server/protocol"
)

// sink is a connection that takes everything: a socket pair whose other end is read by nobody but emptied between runs.
type sink struct {
	gnet.Conn
	fd, peer int
}

func newSink(t testing.TB) *sink {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = unix.Close(pair[0]), unix.Close(pair[1]) })
	return &sink{fd: pair[0], peer: pair[1]}
}

func (s *sink) Fd() int               { return s.fd }
func (s *sink) OutboundBuffered() int { return 0 }

func (s *sink) empty(buf []byte) {
	for {
		if n, err := unix.Read(s.peer, buf); n <= 0 || err != nil {
			return
		}
	}
}

// bareLoop is a loop without gnet, with n live sessions on one channel.
func bareLoop(t testing.TB, n int) (*loop, []*sink, protocol.ChannelID) {
	t.Helper()
	bus := NewMemoryBus(MemoryOptions{})
	t.Cleanup(bus.Close)
	e, err := New(Options{Key: []byte(testKey), Loops: 1}, bus)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.cancel)
	signer, err := protocol.NewSigner("", []byte(testKey))
	if err != nil {
		t.Fatal(err)
	}
	l := newLoop(e, 0, signer)
	shared := newShared()
	var sinks []*sink
	for range n {
		s := l.slab.take()
		c := newSink(t)
		s.conn = c
		s.set(flagWebSocket)
		s.state = stateLive
		l.subscribe(s, []protocol.Item{shared})
		sinks = append(sinks, c)
	}
	return l, sinks, private(shared)
}
