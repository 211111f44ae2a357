package engine

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"push-server/protocol/testclient"
)

// everybody is a Trace that follows everybody and keeps nothing.
type everybody struct{}

func (everybody) Begin(addr string, _ []byte) (id, client string) { return "T", addr }
func (everybody) Line(string)                                     {}

// pieces is what a conversation is made of: all that a client may say, whole and broken.
func pieces(t testing.TB, e *Engine) (all []string) {
	a := newItem()
	for range 3 {
		publish(t, e, "stored", 600, private(a))
	}
	const old, end = "&mid=00000000000000000000000000", " HTTP/1.1\r\nHost: x\r\n"
	upgrade := end + "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
	for _, q := range []string{"", "?CHANNEL_ID=wrong", query("", a), query(old, a), query("&binaryMode=true"+old, a), query("&binaryMode=true", a)} {
		all = append(all, "GET "+testSub+q+end+"\r\n", "GET "+testSub+q+upgrade, "GET "+testSub+q+" HTTP/1.0\r\n\r\n")
	}
	for _, head := range []string{
		"Content-Length: 5\r\n\r\n", "Content-Length: 5\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
		"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n", "Content-Length: 99999\r\n\r\n", "Connection: close\r\n\r\n", "\r\n",
	} {
		for _, target := range []string{testSub, "/bitrix/pub/?CHANNEL_ID=" + strings.Repeat("0", 32), "/bitrix/rest/", "/server-stat/", "/%80%2E.%2E"} {
			all = append(all, "POST "+target+end+head)
		}
	}
	frame := func(f ws.Frame) { all = append(all, string(ws.MustCompileFrame(ws.MaskFrame(f)))) }
	for _, op := range []ws.OpCode{ws.OpText, ws.OpBinary, ws.OpContinuation, ws.OpPing, ws.OpPong, ws.OpClose, 3} {
		for _, payload := range []string{"", "text", "\x80", "\x03\xe8", "\x0a\x02\x0a\x00"} {
			frame(ws.NewFrame(op, true, []byte(payload)))
			frame(ws.NewFrame(op, false, []byte(payload)))
		}
	}
	return append(all, "OPTIONS "+testSub+end+"\r\n", "\r\n", "\x16\x03\x01", "GET / HTTP/2.0\r\n\r\n", "\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff")
}

// FuzzConversation is one connection that says whatever it likes, in slices of any size, and is followed by an operator. It ends when its
// client does, nothing panics, and others are served.
//
// A byte of a conversation is a piece, or, from 240 on, what is done with those before: all of them but some bytes are sent, or what
// the server has said is read.
func FuzzConversation(f *testing.F) {
	e := startMemory(f, func(o *Options) {
		o.Trace = everybody{}
		o.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})) // f must not log inside f.Fuzz
	})
	said := pieces(f, e)
	if len(said) > 240 {
		f.Fatalf("%d pieces", len(said))
	}
	for i := range said {
		f.Add([]byte{byte(i), 255, byte(i), 245, byte(len(said) - 1 - i), 255})
	}
	for i, text := range said {
		if !strings.Contains(text, "Upgrade: websocket") {
			continue
		}
		for j := range said {
			f.Add([]byte{byte(i), 255, byte(j), 250, byte(j), 255})
		}
	}
	f.Fuzz(func(t *testing.T, conversation []byte) {
		conn, err := net.Dial("tcp", e.Addrs()[0])
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		talk(conn, said, conversation[:min(len(conversation), 64)])
		_ = conn.SetDeadline(time.Now().Add(patience))
		_ = conn.(*net.TCPConn).CloseWrite() // fails where the server was faster
		if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("the connection does not end")
		}
		other := testclient.Open(t, e.Addrs()[0])
		other.Say("OPTIONS " + testSub + " HTTP/1.1\r\nHost: x\r\n\r\n")
		if reply := other.Reply("OPTIONS"); reply.Status != 200 {
			t.Errorf("another client gets %d", reply.Status)
		}
		if n := e.Stats().Closes[CloseBug.String()]; n > 0 {
			t.Errorf("%d panics", n)
		}
	})
}

// talk ends early where the server does not listen any more.
func talk(conn net.Conn, said []string, conversation []byte) {
	buf := make([]byte, 64<<10)
	waiting := ""
	for _, b := range conversation {
		if b < 240 {
			waiting += said[int(b)%len(said)]
			continue
		}
		n := max(0, len(waiting)-int(255-b))
		if _, err := io.WriteString(conn, waiting[:n]); err != nil {
			return
		}
		waiting = waiting[n:]
		_ = conn.SetReadDeadline(time.Now().Add(time.Millisecond))
		if _, err := conn.Read(buf); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
	}
	_, _ = io.WriteString(conn, waiting)
}
