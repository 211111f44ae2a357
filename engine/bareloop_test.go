package engine

import (
	"context"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/panjf2000/gnet/v2"
	"golang.org/x/sys/unix"

	"push-server/engine/feed"
	"push-server/engine/membus"
	"push-server/protocol"
)

// sink is a connection that takes everything: a socket pair whose other end is read by nobody but emptied between runs.
type sink struct {
	gnet.Conn
	fd, peer int
}

func newSink(t testing.TB) *sink { return newSinkOf(t, unix.SOCK_STREAM) }

// newPacketSink is a sink that keeps writes apart.
func newPacketSink(t testing.TB) *sink { return newSinkOf(t, unix.SOCK_SEQPACKET) }

func newSinkOf(t testing.TB, kind int) *sink {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = unix.Close(pair[0]), unix.Close(pair[1]) })
	return &sink{fd: pair[0], peer: pair[1]}
}

func (s *sink) Fd() int               { return s.fd }
func (s *sink) OutboundBuffered() int { return 0 }

// packets reads all that was written to a packet sink, in so many writes.
func (s *sink) packets() (all []byte, writes int) {
	buf := make([]byte, 1<<20)
	for {
		n, err := unix.Read(s.peer, buf)
		if n <= 0 || err != nil {
			return all, writes
		}
		all = append(all, buf[:n]...)
		writes++
	}
}

func (s *sink) empty(buf []byte) {
	for {
		if n, err := unix.Read(s.peer, buf); n <= 0 || err != nil {
			return
		}
	}
}

// bareLoop is a loop without gnet, with n live sessions on one channel and a feed that knows its position. Nobody but the test touches it.
func bareLoop(t testing.TB, n int) (*loop, []*sink, protocol.ChannelID) {
	t.Helper()
	bus := membus.New(membus.Options{})
	t.Cleanup(bus.Close)
	e, err := New(Options{Settings: Settings{Key: []byte(testKey)}, Loops: 1, TurnBudget: time.Hour}, bus) // a turn delivers all, however busy the machine is
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.cancel)
	l := newLoop(e, 0)
	open(t, e, l)
	shared := newShared()
	var sinks []*sink
	for range n {
		s := l.slab.take()
		c := newSink(t)
		s.conn = c
		s.transport = transportWebSocket
		s.state = stateLive
		l.subscribe(s, []protocol.Item{shared})
		sinks = append(sinks, c)
	}
	return l, sinks, private(shared)
}

// open runs the feed until it is ready.
func open(t testing.TB, e *Engine, l *loop) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	var tasks sync.WaitGroup
	defer tasks.Wait()
	defer cancel()
	tasks.Go(func() { _ = e.bus.Subscribe(ctx, e.feed) })
	for _, task := range e.feed.Tasks() {
		tasks.Go(func() { task(ctx) })
	}
	for ctx.Err() == nil {
		l.turn()
		select {
		case <-e.feed.Ready():
			return
		default:
			runtime.Gosched()
		}
	}
	t.Fatal("the feed is not ready")
}

// entries has the feed hand out publications with these bodies.
func entries(l *loop, ch protocol.ChannelID, bodies ...string) (es []*feed.Entry) {
	for i, body := range bodies {
		p := publication(body, 60, ch)
		p.ID = protocol.MakeMessageID(1_700_000_000, uint64(i)+1)
		l.engine.feed.HandlePublication(p)
	}
	for e := l.reader.Next(); e != nil; e = l.reader.Next() {
		es = append(es, e)
	}
	return es
}

// offerAll puts es into the outbox, as collect does.
func (l *loop) offerAll(es []*feed.Entry) {
	for _, e := range es {
		for i := range e.Publication.Receivers {
			members := l.table.Subscribers(&e.Publication.Receivers[i].Channel)
			k := queueOf(e, len(members))
			for _, m := range members {
				l.offer(l.slab.get(m.Session), e, k)
			}
		}
	}
}
