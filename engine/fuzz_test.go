package engine

import (
	"errors"
	"fmt"
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
	frame := func(f ws.Frame) string { return string(ws.MustCompileFrame(ws.MaskFrame(f))) }
	for _, op := range []ws.OpCode{ws.OpText, ws.OpBinary, ws.OpContinuation, ws.OpPing, ws.OpPong, ws.OpClose, 3} {
		for _, payload := range []string{"", "text", "\x80", "\x03\xe8", "\x0a\x02\x0a\x00"} {
			all = append(all, frame(ws.NewFrame(op, true, []byte(payload))), frame(ws.NewFrame(op, false, []byte(payload))))
		}
	}
	all = append(all, piecesOfV5(frame, end, upgrade)...)
	return append(all, "OPTIONS "+testSub+end+"\r\n", "\r\n", "\x16\x03\x01", "GET / HTTP/2.0\r\n\r\n", "\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff")
}

// piecesOfV5 are what clients and back ends of version 5 say, and bodies that leave the loop.
func piecesOfV5(frame func(ws.Frame) string, end, upgrade string) (all []string) {
	for _, token := range []string{"wrong", testclient.Token(testKey, 1, 17), testclient.Token(testKey, 4_000_000_000, 17, "0123456789abcdef0123456789abcdef")} {
		target := "GET " + testSub + "?jsonRpc=true&token=" + token
		all = append(all, target+upgrade, target+end+"\r\n", target+"&mid=00000000000000000000000000"+end+"\r\n")
	}
	for _, text := range []string{
		"ping", "pong", "null", "mack:00000000000000000000000001", "mack:x", "[", "[]", "{}",
		`{"jsonrpc":"2.0","id":1,"method":"ping"}`, `[{"jsonrpc":"2.0","method":"listChannels","id":"a"},1]`,
		`{"jsonrpc":"2.0","id":1,"method":"publish","params":{"userList":[17],"expiry":1,"body":{"module_id":"im","command":"a","params":{}}}}`,
		`{"jsonrpc":"2.0","id":2,"method":"getUsersLastSeen","params":{"userList":[17,18]}}`,
		`{"jsonrpc":"2.0","id":3,"method":"subscribeStatusChange","params":{"userId":17}}`,
		`{"jsonrpc":"2.0","id":4,"method":"unsubscribeStatusChange","params":{"userId":17}}`,
	} {
		all = append(all, frame(ws.NewTextFrame([]byte(text))))
	}
	for _, body := range []string{`[{"jsonrpc":"2.0","method":"publish","params":{"userList":[17],"body":{}}}]`, "[", strings.Repeat("x", maxInlineBody+1)} {
		signed := fmt.Sprintf("/api/?hostId=0&signature=%x", testclient.NewChannel(testKey).Sign(body))
		for _, target := range []string{signed, "/bitrix/pub/?CHANNEL_ID=" + strings.Repeat("0", 32)} {
			all = append(all, fmt.Sprintf("POST %s%sContent-Length: %d\r\n\r\n%s", target, end, len(body), body))
		}
	}
	return all
}

// FuzzConversation is one connection that says whatever it likes, in slices of any size, and is followed by an operator. It ends when its
// client does, nothing panics, and others are served.
//
// A byte of a conversation is a piece, or, from 240 on, what is done with those before: all of them but some bytes are sent, or what
// the server has said is read.
func FuzzConversation(f *testing.F) {
	e := startMemory(f, func(o *Options) {
		o.Trace = everybody{}
		o.V5.Enabled, o.Listeners[0].Routes.API = true, "/api/"
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
