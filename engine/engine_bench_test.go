package engine

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"

	"push-server/protocol"
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
		s.set(flagWebSocket)
		s.state = stateLive
		l.subscribe(s, []protocol.Item{shared, newItem()})
	}
	return l, ch
}

// BenchmarkFanOut is a broadcast to n sessions; ns/delivery is what one costs without the network.
func BenchmarkFanOut(b *testing.B) {
	for _, n := range []int{1, 100, 10_000} {
		for _, burst := range []uint64{1, 10} {
			b.Run(fmt.Sprintf("sessions=%d/burst=%d", n, burst), func(b *testing.B) {
				l, ch := nullLoop(b, n)
				l.o.TurnBudget = time.Hour
				for k := range burst {
					l.window.append(stored(k+1, ch))
				}
				b.ReportAllocs()
				for b.Loop() {
					l.cursor = l.window.head.Load() - burst
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
			var entries []*entry
			for i := range 1000 {
				s := l.slab.get(uint32(i * (n / 1000)))
				entries = append(entries, stored(uint64(i+1), l.table.channel(s.subs[1])))
			}
			for _, e := range entries {
				l.window.append(e)
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if i%len(entries) == 0 {
					l.cursor = 1
				}
				l.offerNext()
				l.flush(time.Now())
			}
		})
	}
}

// offerNext collects one publication.
func (l *loop) offerNext() {
	e := l.next()
	l.seq++
	for i := range e.pub.Receivers {
		for _, m := range l.table.subscribers(&e.pub.Receivers[i].Channel) {
			l.offer(l.slab.get(m.session), e)
		}
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

// BenchmarkReplayFromWindow is a client that comes back and finds five messages in the window.
func BenchmarkReplayFromWindow(b *testing.B) {
	l, ch := nullLoop(b, 1)
	s := l.slab.get(0)
	for n := range uint64(10_000) {
		l.window.append(stored(n+1, private(newItem())))
		if n%1000 == 0 {
			l.window.append(stored(n+1, ch))
		}
	}
	l.cursor = l.window.head.Load()
	b.ReportAllocs()
	for b.Loop() {
		if es, ok := l.replayWindow(s, msgID(5000)); !ok || len(es) == 0 {
			b.Fatal("nothing was found")
		}
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
		handshake := strings.Join([]string{"GET " + testSub + query(b, "", newItem(), newShared()) + " HTTP/1.1", "Host: test",
			"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
			"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "", ""}, "\r\n")
		if _, err := unix.Write(fd, []byte(handshake)); err != nil {
			b.Fatal(err)
		}
	}
	waitFor(b, "all connections", func() bool { return e.Stats().WebSockets == n })
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
