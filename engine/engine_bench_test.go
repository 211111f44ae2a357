package engine

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/gobwas/ws"
	"github.com/panjf2000/gnet/v2"
	"golang.org/x/sys/unix"

	"push-server/engine/feed"
	"push-server/poll"
	"push-server/protocol"
	"push-server/protocol/testclient"
)

// nullLoop is a bare loop whose n sessions write to /dev/null, which leaves our own share of a delivery.
func nullLoop(b *testing.B, n int) (*loop, protocol.ChannelID) {
	b.Helper()
	null, err := os.OpenFile("/dev/null", os.O_WRONLY, 0)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = null.Close() })
	l, _, ch := bareLoop(b, 0)
	shared := protocol.Item{Private: ch.Bytes}
	for range n {
		s := l.slab.take()
		s.conn = &sink{fd: int(null.Fd())}
		s.transport = transportWebSocket
		s.state = stateLive
		l.subscribe(s, []protocol.Item{shared, newItem()})
	}
	return l, ch
}

// BenchmarkFanOut is a broadcast to n sessions; ns/delivery is what one costs without the network.
func BenchmarkFanOut(b *testing.B) {
	for _, n := range []int{1, 100, 10_000} {
		for _, burst := range []int{1, 10} {
			b.Run(fmt.Sprintf("sessions=%d/burst=%d", n, burst), func(b *testing.B) {
				l, ch := nullLoop(b, n)
				es := entries(l, ch, slices.Repeat([]string{"x"}, burst)...)
				b.ReportAllocs()
				for b.Loop() {
					l.offerAll(es)
					l.turn()
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n)/float64(burst), "ns/delivery")
			})
		}
	}
}

// BenchmarkUniqueChannels is one publication for one of many sessions.
func BenchmarkUniqueChannels(b *testing.B) {
	for _, n := range []int{1000, 50_000} {
		b.Run(fmt.Sprintf("channels=%d", n), func(b *testing.B) {
			l, _ := nullLoop(b, n)
			var es []*feed.Entry
			for i := range 1000 {
				s := l.slab.get(uint32(i * (n / 1000)))
				es = append(es, entries(l, l.table.Channel(s.subs[1]), "x")...)
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				l.offerAll(es[i%len(es) : i%len(es)+1])
				l.flush()
			}
		})
	}
}

// BenchmarkSubscribe is a session that comes, among many, listens to its own channel and a shared one, and goes.
func BenchmarkSubscribe(b *testing.B) {
	l, ch := nullLoop(b, 10_000)
	s := l.slab.take()
	s.transport = transportWebSocket
	items := make([][]protocol.Item, 1000)
	for i := range items {
		items[i] = []protocol.Item{newItem(), {Private: ch.Bytes}}
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		l.subscribe(s, items[i%len(items)])
		l.unsubscribe(s)
	}
}

// BenchmarkInboundFrame is a ping and its pong.
func BenchmarkInboundFrame(b *testing.B) {
	l, _ := nullLoop(b, 1)
	s := l.slab.get(0)
	frame := ws.MustCompileFrame(ws.MaskFrame(ws.NewPingFrame([]byte("ws ping"))))
	received := make([]byte, len(frame))
	b.ReportAllocs()
	for b.Loop() {
		copy(received, frame)
		l.input(s, received)
	}
}

// BenchmarkFlood is a read of what costs a client least to say: others on the loop wait for as long as it takes.
func BenchmarkFlood(b *testing.B) {
	frame := func(f ws.Frame) []byte { return ws.MustCompileFrame(ws.MaskFrame(f)) }
	for _, c := range []struct {
		name    string
		state   state
		dialect dialectKind
		piece   []byte
	}{
		{"pings", stateLive, dialectText, frame(ws.NewPingFrame(nil))},
		{"pongs", stateLive, dialectText, frame(ws.NewPongFrame(nil))},
		{"text", stateLive, dialectText, frame(ws.NewTextFrame(nil))},
		{"fragments", stateLive, dialectProtobuf, frame(ws.NewFrame(ws.OpContinuation, false, nil))},
		{"calls", stateLive, dialectJSONRPC, frame(ws.NewTextFrame([]byte(`{"jsonrpc":"2.0","id":1,"method":"ping"}`)))},
		{"requests", stateHead, dialectText, []byte("GET / HTTP/1.1\r\nHost:x\r\n\r\n")},
		{"preflights", stateHead, dialectText, []byte("OPTIONS " + testSub + " HTTP/1.1\r\nHost:x\r\n\r\n")},
	} {
		b.Run(c.name, func(b *testing.B) {
			l, _ := nullLoop(b, 1)
			l.o.Listeners = []Listener{{Name: "test", Routes: poll.Routes{Sub: testSub}}}
			s := l.slab.get(0)
			s.state, s.dialect = c.state, c.dialect
			if c.state == stateHead {
				s.transport = transportNone
			}
			if c.name == "fragments" {
				l.contained(s, frame(ws.NewFrame(ws.OpBinary, false, nil)))
			}
			said := bytes.Repeat(c.piece, readSize/len(c.piece))
			received := make([]byte, len(said))
			b.ReportAllocs()
			for b.Loop() {
				copy(received, said)
				l.contained(s, received)
			}
			if s.state != c.state {
				b.Fatalf("ends in state %d", s.state)
			}
		})
	}
}

// BenchmarkReplayFromWindow is a client that comes back and finds five messages in the window.
func BenchmarkReplayFromWindow(b *testing.B) {
	l, ch := nullLoop(b, 1)
	s := l.slab.get(0)
	for n := range 10_000 {
		entries(l, private(newItem()), "x")
		if n%1000 == 0 {
			entries(l, ch, "x")
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		chs, shared := l.sessionChannels(s)
		q := feed.NewReplay(0, protocol.MakeMessageID(0, 1))
		if l.reader.Begin(q, chs, shared) != feed.Complete {
			b.Fatal("the window does not answer")
		}
		if es, _ := l.reader.Take(q, chs); len(es) == 0 {
			b.Fatal("nothing was found")
		}
		l.reader.Forget()
	}
}

// BenchmarkIdleConnections prints the bytes of heap that an idle WebSocket with two channels holds, gnet's share included.
func BenchmarkIdleConnections(b *testing.B) {
	const n = 4000
	e := startMemory(b, func(o *Options) { o.Loops = 1 })
	addr, err := net.ResolveTCPAddr("tcp", e.Addrs()[0])
	if err != nil {
		b.Fatal(err)
	}
	fds := make([]int, 0, n)
	defer func() {
		for _, fd := range fds {
			_ = unix.Close(fd)
		}
	}()
	before := heapInUse()
	for i := range n {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0) // a net.Conn would count as well
		if err != nil {
			b.Fatal(err)
		}
		fds = append(fds, fd)
		sa := unix.SockaddrInet4{Port: addr.Port, Addr: [4]byte{127, 0, 0, 1}}
		if err := unix.Connect(fd, &sa); err != nil {
			b.Fatalf("connection %d: %v", i, err)
		}
		handshake := strings.Join([]string{"GET " + testSub + query("", newItem(), newShared()) + " HTTP/1.1", "Host: test",
			"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
			"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "", ""}, "\r\n")
		if _, err := unix.Write(fd, []byte(handshake)); err != nil {
			b.Fatal(err)
		}
	}
	testclient.Await(b, "all connections", func() bool { return e.Stats().WebSockets == n })
	for b.Loop() {
		runtime.GC()
	}
	b.ReportMetric(float64(heapInUse()-before)/n, "B/conn")
}

func heapInUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// stuck is a connection whose peer takes nothing.
type stuck struct {
	gnet.Conn
	waiting int
}

// closer is the event loop of such.
type closer struct{ gnet.EventLoop }

func (closer) Close(gnet.Conn) error { return nil }

func (s *stuck) OutboundBuffered() int     { return s.waiting }
func (s *stuck) RemoteAddr() net.Addr      { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }
func (s *stuck) SetContext(any)            {}
func (s *stuck) EventLoop() gnet.EventLoop { return closer{} }

func (s *stuck) Write(b []byte) (int, error) {
	s.waiting += len(b)
	return len(b), nil
}

// BenchmarkFullOutput is a broadcast to 5,000 sessions that do not read, when the process holds all the output that it may.
func BenchmarkFullOutput(b *testing.B) {
	const sessions, held = 5000, 16 << 10
	for b.Loop() {
		b.StopTimer()
		l, ch := nullLoop(b, sessions)
		l.settings.MaxBuffered = 1 << 20
		l.engine.output.SetLimit(sessions * held)
		for i := range uint32(sessions) {
			s := l.slab.get(i)
			s.conn = &stuck{waiting: held}
			l.keep(s, held)
		}
		es := entries(l, ch, strings.Repeat("x", 1000))
		b.StartTimer()
		l.offerAll(es)
		l.turn()
		b.ReportMetric(float64(l.engine.output.Refused()), "closed")
	}
}
