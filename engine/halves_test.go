package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"

	"push-server/protocol"
	"push-server/protocol/testclient"
)

// Half of everything passes over: whatever a client, or the server, is in the middle of while the process changes.

// masked is a frame of a client, or a part of a message in several.
func masked(op ws.OpCode, fin bool, payload string) []byte {
	f := ws.NewFrame(op, fin, []byte(payload))
	return ws.MustCompileFrame(ws.MaskFrameWith(f, [4]byte{1, 2, 3, 4}))
}

// cuts has one client say text up to each of its bytes, the process change, and each client say the rest. open connects a client that has
// not said any of it, and the function that it returns reads what it gets.
func (r *relay) cuts(text func(i int) string, open func(i int) (*testclient.Client, func() error)) {
	r.t.Helper()
	type half struct {
		client *testclient.Client
		rest   string
		heard  func() error
	}
	var all []half
	for i := range len(text(0)) {
		c, heard := open(i)
		said := text(i)
		c.Say(said[:i])
		all = append(all, half{c, said[i:], heard})
	}
	r.pass()
	for i, h := range all {
		_ = h.client.SetDeadline(time.Now().Add(patience)) // it is one of hundreds
		h.client.Say(h.rest)
		if err := h.heard(); err != nil {
			r.t.Fatalf("cut behind %d bytes, before %.40q: %v", i, h.rest, err)
		}
	}
}

// A request that is cut at any byte of its head, or of its body, is answered: the handshakes of all versions, polls and publications.
func TestCutRequestsPassOver(t *testing.T) {
	t.Parallel()
	f := func(name, request, answer string, it protocol.Item) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := startRelay(t, func(o *Options) { o.V5.Enabled = true })
			publish(t, r.now, "stored", 600, private(it))
			r.cuts(func(int) string { return request }, func(int) (*testclient.Client, func() error) {
				c := testclient.Open(t, r.addr)
				return c, func() error {
					if got, err := readHead(c); err != nil || !strings.HasPrefix(got, "HTTP/1.1 "+answer+" ") {
						return fmt.Errorf("got %q, %w", got, err)
					}
					return nil
				}
			})
		})
	}
	const upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
	get := func(query, more string) string {
		return "GET " + testSub + query + " HTTP/1.1\r\nHost: x\r\n" + more + "\r\n"
	}
	it, ch := newItem(), testclient.NewChannel(testKey)
	token := testclient.Token(testKey, time.Now().Add(time.Hour).Unix(), 17)
	f("WebSocket of version 3", get("?CHANNEL_ID="+ch.Alone(), upgrade), "101", it)
	f("WebSocket of version 4", get(query("&binaryMode=true", it), upgrade), "101", it)
	f("WebSocket of version 5", get("?jsonRpc=true&token="+token, upgrade), "101", it)
	f("poll", get(query("&mid="+strings.Repeat("0", 26), it), ""), "200", it)
	const body = "half of it"
	f("publication", fmt.Sprintf("POST /bitrix/pub/?CHANNEL_ID=%s HTTP/1.1\r\nHost: x\r\nMessage-Expiry: 60\r\nContent-Length: %d\r\n\r\n%s",
		ch.Private, len(body), body), "200", it)
}

// So is what a client says on its WebSocket, at any byte of a frame and between any two fragments of a message, with pings among them.
func TestCutFramesPassOver(t *testing.T) {
	t.Parallel()
	it := newItem()
	token := testclient.Token(testKey, time.Now().Add(time.Hour).Unix(), 17)
	f := func(name, query string, op ws.OpCode, message func(i int) string, heard func(i int, f ws.Frame) error) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := startRelay(t, func(o *Options) { o.V5 = V5{Enabled: true, PingInterval: time.Hour, DeadAfter: 10 * time.Hour} })
			text := func(i int) string {
				m := message(i)
				a, b := len(m)/3, 2*len(m)/3
				return string(slices.Concat(masked(op, false, m[:a]), masked(ws.OpPing, true, "first"), masked(ws.OpContinuation, false, m[a:b]),
					masked(ws.OpContinuation, true, m[b:]), masked(ws.OpPing, true, "second")))
			}
			r.cuts(text, func(i int) (*testclient.Client, func() error) {
				c := webSocket(t, r.now, query)
				return c, func() error {
					pong := func(want string) error {
						if f := c.Frame(); f.Header.OpCode != ws.OpPong || string(f.Payload) != want {
							return fmt.Errorf("got %+v %q for %s", f.Header, f.Payload, want)
						}
						return nil
					}
					if err := pong("first"); err != nil || heard == nil {
						return errors.Join(err, pong("second"))
					}
					first, second := c.Frame(), c.Frame() // what was published may come before the pong, or behind it
					if first.Header.OpCode == ws.OpPong {
						first, second = second, first
					}
					if second.Header.OpCode != ws.OpPong || string(second.Payload) != "second" {
						return fmt.Errorf("got %+v %q", second.Header, second.Payload)
					}
					return heard(i, first)
				}
			})
		})
	}
	f("text", query("", it), ws.OpText, func(int) string { return "nobody reads this" }, nil)
	f("protobuf", query("&binaryMode=true", it), ws.OpBinary, func(int) string {
		return string(testclient.AppendChannelStats(nil, testclient.ChannelOf(testKey, it).PublicReceiver()))
	}, func(_ int, f ws.Frame) error {
		if f.Header.OpCode != ws.OpBinary || len(f.Payload) == 0 {
			return fmt.Errorf("got %+v %q", f.Header, f.Payload)
		}
		return nil
	})
	f("JSON-RPC", "?jsonRpc=true&token="+token, ws.OpText, func(i int) string {
		return fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"ping"}`, 1000+i)
	}, func(i int, f ws.Frame) error {
		if want := fmt.Sprintf(`"id":%d`, 1000+i); f.Header.OpCode != ws.OpText || !strings.Contains(string(f.Payload), want) || !bytes.Contains(f.Payload, []byte("pong")) {
			return fmt.Errorf("got %+v %q, want %s", f.Header, f.Payload, want)
		}
		return nil
	})
}

// each asks all loops, and waits.
func (r *relay) each(f func(l *loop)) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r.must(askLoops(ctx, r.now.loops, f))
}

// due has deadlines of a kind be due in so many ticks.
func (r *relay) due(k timer, ticks uint32) {
	r.t.Helper()
	r.each(func(l *loop) {
		l.slab.each(func(s *Session) {
			if s.timer == k {
				l.deadlines.startAt(s, k, l.deadlines.now+ticks)
			}
		})
	})
}

// count is how many sessions there are like that.
func (r *relay) count(like func(s *Session) bool) int {
	r.t.Helper()
	counts := make([]int, len(r.now.loops))
	r.each(func(l *loop) {
		l.slab.each(func(s *Session) {
			if like(s) {
				counts[l.id]++
			}
		})
	})
	n := 0
	for _, c := range counts {
		n += c
	}
	return n
}

// A reply that a slow client has half of, and what it is in the middle of reading, comes whole; then the connection goes on, or ends, as it
// was to.
func TestHalfAReplyPassesOver(t *testing.T) {
	t.Parallel()
	r := startRelay(t, nil)
	it := newItem()
	var want []string
	for i := range 8 {
		want = append(want, fmt.Sprintf("%d%s", i, strings.Repeat("x", 127<<10))) // a megabyte, more of which would be another reply
		publish(t, r.now, want[i], 600, private(it))
	}
	stays, ends := testclient.Open(t, r.addr), testclient.Open(t, r.addr)
	for _, c := range []*testclient.Client{stays, ends} {
		c.Get("/nothing")
		c.Reply("GET")
	}
	r.each(func(l *loop) {
		l.slab.each(func(s *Session) {
			if !s.is(flagOwn) {
				_ = unix.SetsockoptInt(s.conn.Fd(), unix.SOL_SOCKET, unix.SO_SNDBUF, 1<<15) // a small part of it finds room there
			}
		})
	})
	all := testSub + query("&mid="+strings.Repeat("0", 26), it)
	stays.Get(all)
	ends.Get(all, "Connection: close")
	half := func() bool { return r.count(func(s *Session) bool { return s.is(flagBacklog) }) == 2 }
	testclient.Await(t, "the replies are half written", half)
	r.pass()
	if !half() {
		t.Fatal("the next process has nothing to write")
	}
	for _, c := range []*testclient.Client{stays, ends} {
		_ = c.SetDeadline(time.Now().Add(patience))
		reply := c.Reply("GET")
		ms, err := reply.Messages()
		if err != nil || reply.Status != http.StatusOK || !slices.Equal(testclient.Bodies(ms), want) {
			t.Fatalf("%s with %d messages, %v", reply, len(ms), err)
		}
	}
	if _, err := ends.Conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("behind the last reply: %v", err)
	}
	stays.Get("/nothing")
	if reply := stays.Reply("GET"); reply.Status != http.StatusNotFound {
		t.Errorf("the next request is answered %s", reply)
	}
}

// A client that waits for what it has missed, of which history was read and the echo behind it has not come, gets it of the next process,
// with what has come by meanwhile, once.
func TestReplayWithoutItsEchoPassesOver(t *testing.T) {
	t.Parallel()
	r := startRelay(t, nil)
	bus := r.bus.(*party)
	it := newItem()
	publish(t, r.now, "old", 600, private(it))
	r.pass() // from here on the window does not reach back to it
	bus.mute()
	old := strings.Repeat("0", 26)
	var all []*testclient.Client
	for range 5 {
		c := testclient.Open(t, r.addr)
		c.Upgrade(testSub + query("&mid="+old, it))
		all = append(all, c)
	}
	poll := testclient.Open(t, r.addr)
	poll.Get(testSub + query("&mid="+old, it))
	replaying := func() int { return r.count(func(s *Session) bool { return s.state == stateReplaying }) }
	testclient.Await(t, "all wait", func() bool { return replaying() == len(all)+1 && r.now.Stats().ReplaysHistory >= 2 })
	publish(t, r.now, "meanwhile", 600, private(it))
	testclient.Await(t, "it is kept for them", func() bool { return r.now.pending.Used() > 0 })
	if n := replaying(); n != len(all)+1 {
		t.Fatalf("%d wait for their echo", n)
	}
	r.pass()
	publish(t, r.now, "new", 600, private(it))
	for _, c := range all {
		if got := c.Bodies(3); !slices.Equal(got, []string{"old", "meanwhile", "new"}) {
			t.Errorf("got %q", got)
		}
	}
	ms, err := poll.Reply("GET").Messages()
	if got := testclient.Bodies(ms); err != nil || len(got) < 2 || !slices.Equal(got[:2], []string{"old", "meanwhile"}) {
		t.Errorf("the poll got %q, %v", got, err)
	}
}

// A poll in its last moment, and one that is over already while it is asked which id its client goes on from, is answered, and nothing is
// lost between that answer and the next poll.
func TestLastMomentOfAPollPassesOver(t *testing.T) {
	t.Parallel()
	r := startRelay(t, func(o *Options) { o.PollTimeout = time.Hour })
	bus := r.bus.(*party)
	it := newItem()
	first := subscribed(t, r.now, query("", it))
	publish(t, r.now, "old", 600, private(it))
	mid := first.Messages(1)[0].ID
	var all []*testclient.Client
	waiting := 0
	open := func(n int, more string) {
		waiting += n
		for range n {
			c := testclient.Open(t, r.addr)
			c.Get(testSub + query(more, it))
			all = append(all, c)
		}
		testclient.Await(t, "polls wait", func() bool {
			return r.count(func(s *Session) bool { return s.timer == timerPoll && !s.is(flagOwn) }) == waiting
		})
	}
	asked := func() int { return r.count(func(s *Session) bool { return s.timer == timerGrace }) }
	bus.stall(true)
	open(5, "")
	r.due(timerPoll, 0)
	testclient.Await(t, "the newest id is asked for", func() bool { return asked() == 5 })
	bus.stall(false)
	waiting = 0
	open(10, "")
	open(10, "&mid="+mid)
	r.each(func(l *loop) {
		ticks := uint32(0)
		l.slab.each(func(s *Session) {
			if s.timer == timerPoll {
				l.deadlines.startAt(s, timerPoll, l.deadlines.now+1+ticks%3)
				ticks++
			}
		})
	})
	r.pass()
	publish(t, r.now, "new", 600, private(it))
	for i, c := range all {
		reply := c.Reply("GET")
		if reply.Status == http.StatusNotModified {
			reply = c.Poll(testSub + query("&mid="+reply.Header.Get("Last-Message-Id"), it))
		}
		ms, err := reply.Messages()
		if got := testclient.Bodies(ms); err != nil || !slices.Equal(got, []string{"new"}) {
			t.Errorf("poll %d got %s %q, %v", i, reply, got, err)
		}
	}
}

// A ping that is not answered yet is answered to the next process, or its connection ends there; so is a close frame.
func TestUnansweredFramesPassOver(t *testing.T) {
	t.Parallel()
	r := startRelay(t, func(o *Options) { o.PingInterval, o.CloseTimeout = time.Hour, time.Hour })
	it := newItem()
	answers, silent := subscribed(t, r.now, query("", it)), subscribed(t, r.now, query("", newItem()))
	ping := func(c *testclient.Client) ws.Frame {
		f, err := c.Conn.Frame()
		r.must(err)
		if f.Header.OpCode != ws.OpPing {
			t.Fatalf("got %+v", f.Header)
		}
		return f
	}
	r.due(timerPing, 0)
	f := ping(answers)
	ping(silent)
	closing, mute := webSocket(t, r.now, "?CHANNEL_ID=wrong"), webSocket(t, r.now, "?CHANNEL_ID=wrong")
	for _, c := range []*testclient.Client{closing, mute} {
		if f := c.Frame(); f.Header.OpCode != ws.OpClose {
			t.Fatalf("got %+v", f.Header)
		}
	}
	r.pass()
	answers.SendFrame(ws.OpPong, f.Payload)
	closing.SendFrame(ws.OpClose, []byte{0x0f, 0xaa})
	if _, err := closing.Conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("behind the answer to its close frame: %v", err)
	}
	testclient.Await(t, "the pong is heard", func() bool { return r.count(func(s *Session) bool { return s.has(isPinged) }) == 1 })
	r.due(timerPing, 0)
	r.due(timerClose, 0)
	ping(answers)
	for _, c := range []*testclient.Client{silent, mute} {
		if _, err := c.Conn.Read(make([]byte, 1)); err == nil {
			t.Error("one that does not answer stays")
		}
	}
	publish(t, r.now, "still here", 60, private(it))
	if got := answers.Bodies(1); got[0] != "still here" {
		t.Errorf("got %q", got)
	}
}
