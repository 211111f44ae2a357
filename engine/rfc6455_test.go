package engine

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"push-server/protocol"
	"push-server/protocol/rfc6455"
	"push-server/protocol/testclient"
)

// dialectEcho is a dialect of tests: what a client says comes back. Its frames are binary, whatever they were.
const dialectEcho = dialects

func init() {
	dialectTable[dialectEcho] = dialect{label: "echo", hear: func(l *loop, s *Session, payload []byte) {
		l.write(s, protocol.AppendFrame(nil, ws.OpBinary, payload))
	}}
}

// echoing opens a WebSocket that speaks it.
func echoing(t *testing.T, e *Engine) *testclient.Client {
	t.Helper()
	a := newItem()
	c := subscribed(t, e, query("", a))
	e.inEachLoop(t, func(l *loop) {
		l.slab.each(func(s *Session) {
			if len(s.subs) > 0 && l.table.Channel(s.subs[0]) == private(a) {
				l.listening(s).Add(-1)
				s.dialect = dialectEcho
				l.listening(s).Add(1)
			}
		})
	})
	return c
}

// inEachLoop runs f in each loop, and waits for it.
func (e *Engine) inEachLoop(t *testing.T, f func(l *loop)) {
	t.Helper()
	for _, l := range e.loops {
		done := make(chan struct{})
		l.call(func(l *loop) { f(l); close(done) })
		testclient.AwaitFrom(t, "a loop", done)
	}
}

// Frames of clients are answered as RFC 6455 says, over a real connection, in whatever slices they come.
func TestRFC6455(t *testing.T) {
	t.Parallel()
	e := startMemory(t, func(o *Options) {
		o.Limits.MaxPayload = rfc6455.MaxPayload
		o.CloseTimeout = time.Hour // what ends has to end by itself
	})
	for _, c := range rfc6455.Cases() {
		checkCase(t, e, &c, "whole", slices.Values([][]byte{c.Sent}))
		checkCase(t, e, &c, "random slices", rfc6455.Slices(c.Sent, 1))
		if c.Known >= 0 {
			checkCase(t, e, &c, "up to what is wrong", rfc6455.Slices(c.Sent[:c.Known+1], 2))
		}
		if len(c.Sent) < 300 {
			checkCase(t, e, &c, "byte by byte", slices.Chunk(c.Sent, 1))
		}
		if t.Failed() {
			return // an answer that does not come takes long
		}
	}
}

// checkCase says what a case says, and wants its answers and its end, or that a ping is answered behind them.
func checkCase(t *testing.T, e *Engine, c *rfc6455.Case, how string, slices iter.Seq[[]byte]) {
	t.Helper()
	conn := echoing(t, e)
	defer conn.Close()
	for b := range slices {
		if _, err := conn.Conn.Write(b); err != nil {
			break // the answers tell why
		}
	}
	want := c.Want
	if c.Known < 0 {
		conn.SendFrame(ws.OpPing, []byte("the end"))
		want = append(want[:len(want):len(want)], rfc6455.Frame{OpCode: byte(ws.OpPong), Payload: "the end"})
	}
	for i, w := range want {
		f, err := conn.Conn.Frame()
		if ws.OpCode(w.OpCode).IsData() {
			w.OpCode = byte(ws.OpBinary)
		}
		if got := (rfc6455.Frame{OpCode: byte(f.Header.OpCode), Payload: string(f.Payload)}); err != nil || got != w {
			t.Errorf("%s, %s: answer %d is %.100q, %v, want %.100q", c, how, i, got, err, w)
			return
		}
	}
	if c.Known >= 0 {
		wantEnd(t, conn, fmt.Sprint(c, ", ", how))
	}
}

// wantEnd wants no further byte, and the end.
func wantEnd(t *testing.T, conn *testclient.Client, what string) {
	t.Helper()
	if rest, err := io.ReadAll(conn.Conn); err != nil && !testclient.IsEnd(err) || len(rest) > 0 {
		t.Errorf("%s: %q, %v behind the end", what, rest, err)
	}
}

// Between the server's close frame and the client's, nothing is answered, and what is wrong ends the connection (RFC 6455, 5.5.1 and 7.1.7).
// Pings stay without an answer: section 5.5.2 wants one, but the Node server's clients know none.
func TestRFC6455BehindOurClose(t *testing.T) {
	t.Parallel()
	e := startMemory(t, func(o *Options) { o.CloseTimeout = time.Hour })
	f := func(name string, ends bool, frames ...ws.Frame) {
		t.Helper()
		conn := echoing(t, e)
		defer conn.Close()
		e.inEachLoop(t, func(l *loop) {
			l.slab.each(func(s *Session) { l.end(s, CloseDrain) })
		})
		if got := conn.Frame(); got.Header.OpCode != ws.OpClose || !bytes.HasPrefix(got.Payload, []byte("\x03\xe9")) {
			t.Fatalf("%s: %+v %q instead of a close frame", name, got.Header, got.Payload)
		}
		for _, fr := range frames {
			_ = ws.WriteFrame(conn.Conn, fr) // the end may have come
		}
		if ends {
			wantEnd(t, conn, name)
			return
		}
		_ = conn.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		if b := make([]byte, 1); !errors.Is(second(conn.Read(b)), os.ErrDeadlineExceeded) {
			t.Errorf("%s: the connection ends, or says %q", name, b)
		}
	}
	masked := func(op ws.OpCode, payload string) ws.Frame {
		return ws.MaskFrame(ws.NewFrame(op, true, []byte(payload)))
	}
	f("nothing", false)
	f("a close frame", true, masked(ws.OpClose, "\x03\xe9"))
	f("one with another code", true, masked(ws.OpClose, "\x03\xe8bye"))
	f("an empty one", true, masked(ws.OpClose, ""))
	f("one that is none", true, masked(ws.OpClose, "x"))
	f("a message", false, masked(ws.OpText, "hello"))
	f("a message and a close frame", true, masked(ws.OpBinary, "hello"), masked(ws.OpClose, "\x03\xe9"))
	f("a ping", false, masked(ws.OpPing, "p"))
	f("a ping, a pong and a close frame", true, masked(ws.OpPing, "p"), masked(ws.OpPong, "p"), masked(ws.OpClose, "\x03\xe9"))
	f("a close frame between fragments", true, ws.MaskFrame(ws.NewFrame(ws.OpText, false, nil)), masked(ws.OpClose, "\x03\xe9"))
	f("a frame without mask", true, ws.NewFrame(ws.OpText, true, []byte("x")))
	f("a text that is none", true, masked(ws.OpText, "\xff"))
	f("an unknown opcode", true, masked(3, ""))
}

func second(_ int, err error) error { return err }

// A handshake is answered as RFC 6455 says; what asks for none is a poll.
func TestRFC6455Handshakes(t *testing.T) {
	t.Parallel()
	e := startMemory(t, nil)
	a := newItem()
	publish(t, e, "stored", 600, private(a))
	target := testSub + query("&mid=00000000000000000000000000", a)
	for _, h := range rfc6455.Handshakes() {
		for _, size := range []int{len(h.Head) + len(target), 1} {
			conn := dial(t, e)
			for part := range slices.Chunk([]byte(strings.ReplaceAll(h.Head, rfc6455.Target, target)), size) {
				if _, err := conn.Conn.Write(part); err != nil {
					break // the answer tells why
				}
			}
			checkHandshake(t, conn, &h)
			conn.Close()
		}
	}
}

func checkHandshake(t *testing.T, conn *testclient.Client, h *rfc6455.Handshake) {
	t.Helper()
	reply, err := conn.Conn.Reply(strings.SplitN(h.Head, " ", 2)[0])
	want := h.Status
	if want == rfc6455.Ordinary {
		want = 200
	}
	if err != nil || reply.Status != want {
		t.Errorf("%s: %s, %v, want %d", h, reply, err, want)
		return
	}
	header := func(name, want string) {
		t.Helper()
		if got := strings.Join(reply.Header.Values(name), ", "); got != want {
			t.Errorf("%s: %s is %q, want %q", h, name, got, want)
		}
	}
	switch h.Status {
	case 101:
		if strings.Contains(h.Head, rfc6455.Key) {
			header("Sec-WebSocket-Accept", rfc6455.Accept)
		}
		header("Upgrade", "websocket")
		header("Sec-WebSocket-Protocol", h.Protocol)
		header("Sec-WebSocket-Extensions", "")
		if got := conn.Bodies(1); got[0] != "stored" {
			t.Errorf("%s: the WebSocket gets %q", h, got)
		}
	case rfc6455.Ordinary:
		if ms, err := reply.Messages(); err != nil || len(ms) != 1 || ms[0].Body != "stored" {
			t.Errorf("%s: the poll gets %q, %v", h, reply.Body, err)
		}
	default:
		wantEnd(t, conn, h.String())
	}
	if h.Status == 426 {
		header("Sec-WebSocket-Version", "13, 8")
	}
}
