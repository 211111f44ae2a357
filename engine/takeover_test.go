package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"push-server/protocol"
	"push-server/protocol/testclient"
)

func TestWebSocketsPassOver(t *testing.T) {
	t.Parallel()
	r := startRelay(t, nil)
	items := make([]protocol.Item, 50)
	clients := make([]*testclient.Client, len(items))
	for i := range items {
		items[i] = newItem()
		clients[i] = subscribed(t, r.now, query("", items[i]))
	}
	for n := range 5 {
		for i := range items {
			publish(t, r.now, fmt.Sprintf("before %d", n), 60, private(items[i]))
		}
		r.pass()
		for i := range items {
			publish(t, r.now, fmt.Sprintf("after %d", n), 60, private(items[i]))
		}
		for i, c := range clients {
			if got := c.Bodies(2); got[0] != fmt.Sprintf("before %d", n) || got[1] != fmt.Sprintf("after %d", n) {
				t.Fatalf("client %d got %q", i, got)
			}
		}
	}
	late := subscribed(t, r.now, query("", items[0]))
	publish(t, r.now, "late", 60, private(items[0]))
	if got := late.Bodies(1); got[0] != "late" {
		t.Fatalf("got %q", got)
	}
}

// Whatever is said in the middle of which the process changes is understood.
func TestCutsPassOver(t *testing.T) {
	t.Parallel()
	r := startRelay(t, func(o *Options) { o.V5.Enabled = true })
	it := newItem()
	head := "GET " + testSub + query("", it) + " HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
	ping := string(ws.MustCompileFrame(ws.MaskFrameWith(ws.NewPingFrame([]byte("are you there?")), [4]byte{1, 2, 3, 4})))
	rest := map[*testclient.Client]string{}
	for i := 0; i <= len(head); i += 7 {
		c := testclient.Open(t, r.addr)
		c.Say(head[:i])
		rest[c] = head[i:]
	}
	socket := map[*testclient.Client]string{}
	for i := range len(ping) {
		c := subscribed(t, r.now, query("", it))
		c.Say(ping[:i])
		socket[c] = ping[i:]
	}
	r.pass()
	for c, more := range rest {
		c.Say(more)
		if got, err := readHead(c); err != nil || !strings.HasPrefix(got, "HTTP/1.1 101 ") {
			t.Fatalf("got %q, %v after %q", got, err, more)
		}
	}
	for c, more := range socket {
		c.Say(more)
		if f := c.Frame(); f.Header.OpCode != ws.OpPong || string(f.Payload) != "are you there?" {
			t.Fatalf("got %+v %q", f.Header, f.Payload)
		}
	}
}

func readHead(c *testclient.Client) (string, error) {
	var head []byte
	b := make([]byte, 1)
	for !strings.HasSuffix(string(head), "\r\n\r\n") {
		if _, err := c.Read(b); err != nil {
			return string(head), err
		}
		head = append(head, b[0])
	}
	return string(head), nil
}

// A poll that waits is answered by the next process, and goes on there.
func TestPollsPassOver(t *testing.T) {
	t.Parallel()
	r := startRelay(t, nil)
	it := newItem()
	c := testclient.Open(t, r.addr)
	c.Get(testSub + query("", it))
	testclient.Await(t, "the poll waits", func() bool { return r.now.Stats().Polls == 1 })
	r.pass()
	publish(t, r.now, "hello", 60, private(it))
	ms, err := c.Reply("GET").Messages()
	r.must(err)
	if len(ms) != 1 || ms[0].Body != "hello" {
		t.Fatalf("got %v", ms)
	}
	r.pass()
	publish(t, r.now, "again", 60, private(it))
	reply := c.Poll(testSub + query("&mid="+ms[0].ID, it))
	if ms, err = reply.Messages(); err != nil || len(ms) != 1 || ms[0].Body != "again" {
		t.Fatalf("got %v, %v", ms, err)
	}
}

// What a slow client has not taken comes from the next process.
func TestOutputPassesOver(t *testing.T) {
	t.Parallel()
	r := startRelay(t, func(o *Options) { o.MaxBuffered = 16 << 20 })
	it := newItem()
	c := subscribed(t, r.now, query("", it))
	large := strings.Repeat("x", 900<<10)
	for i := range 12 {
		publish(t, r.now, fmt.Sprintf("%d%s", i, large), 60, private(it))
		if i%4 == 3 {
			r.pass()
		}
	}
	for i := range 12 {
		if got := c.Bodies(1)[0]; got != fmt.Sprintf("%d%s", i, large) {
			t.Fatalf("message %d has %d bytes: %.10q", i, len(got), got)
		}
	}
}

// A close frame is answered, and a fragmented message goes on.
func TestEndsPassOver(t *testing.T) {
	t.Parallel()
	const limit = 5
	r := startRelay(t, func(o *Options) { o.MaxConnPerChannel = limit })
	it := newItem()
	first := subscribed(t, r.now, query("", it)) // will be told that there are too many
	for range limit {
		subscribed(t, r.now, query("", it))
	}
	if f := first.Frame(); f.Header.OpCode != ws.OpClose {
		t.Fatalf("got %+v", f.Header)
	}
	r.pass()
	first.SendFrame(ws.OpClose, []byte{0x0f, 0xbd})
	if _, err := first.Conn.Read(make([]byte, 1)); err == nil {
		t.Fatal("the connection goes on")
	}
	second := subscribed(t, r.now, query("", it)) // takes the place of the oldest one
	testclient.Await(t, "the oldest one has gone", func() bool { return r.now.Stats().WebSockets == limit })
	publish(t, r.now, "hello", 60, private(it))
	if got := second.Bodies(1); got[0] != "hello" {
		t.Fatalf("got %q", got)
	}
}

// listener is a client that hears its channel all the time, and says what is wrong with what it hears.
type listener struct {
	item  protocol.Item
	sent  int
	heard chan int
	fault chan error
}

// body is that of the message with a number.
func (h *listener) body(n int) string { return fmt.Sprintf("message %d for %x", n, h.item.Public[:4]) }

func (h *listener) hear(bodies []string, next *int) error {
	for _, body := range bodies {
		if want := h.body(*next); body != want {
			return fmt.Errorf("%s came instead of %s", body, want)
		}
		*next++
		h.heard <- *next
	}
	return nil
}

func (h *listener) live(ctx context.Context, addr string) error {
	c, err := testclient.Connect(ctx, addr)
	if err != nil {
		return err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	if err := c.Upgrade(testSub + query("", h.item)); err != nil {
		return err
	}
	h.heard <- 0
	for next := 0; ; {
		ms, err := c.Receive()
		if err == nil {
			err = h.hear(testclient.Bodies(ms), &next)
		}
		if err != nil {
			return err
		}
	}
}

func (h *listener) poll(ctx context.Context, addr string) error {
	c, err := testclient.Connect(ctx, addr)
	if err != nil {
		return err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	mid := "&mid=" + strings.Repeat("0", 25) + "1"
	for next := 0; ; {
		if next == 0 {
			h.heard <- 0
		}
		reply, err := c.Poll(testSub + query(mid, h.item))
		if err != nil {
			return err
		}
		ms, err := reply.Messages()
		if err == nil {
			err = h.hear(testclient.Bodies(ms), &next)
		}
		if err != nil {
			return err
		}
		if len(ms) > 0 {
			mid = "&mid=" + ms[len(ms)-1].ID
		}
	}
}

// listen opens so many clients, every fifth of which polls, and waits until they are there.
func (r *relay) listen(ctx context.Context, n int) (all []*listener) {
	r.t.Helper()
	for i := range n {
		h := &listener{item: newItem(), heard: make(chan int, 1<<16), fault: make(chan error, 1)}
		go func() {
			if i%5 == 4 {
				h.fault <- h.poll(ctx, r.addr)
			} else {
				h.fault <- h.live(ctx, r.addr)
			}
		}()
		all = append(all, h)
	}
	for _, h := range all {
		testclient.AwaitFrom(r.t, "a client", h.heard)
	}
	return all
}

// visit comes and goes.
func visit(ctx context.Context, addr string) error {
	c, err := testclient.Connect(ctx, addr)
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Upgrade(testSub + query("", newItem()))
}

// Twenty-eight processes one after the other, while messages come and clients come and go: nobody notices.
func TestRelay(t *testing.T) {
	t.Parallel()
	r := startRelay(t, nil)
	ctx, cancel := context.WithCancel(context.Background())
	publisher := startWithout(t, r.bus, func(o *Options) { o.Listeners, o.AcceptTimeout = nil, patience })
	all := r.listen(ctx, 100)
	testclient.Await(t, "all listen", func() bool { st := r.now.Stats(); return st.WebSockets+st.Polls == len(all) })
	stop, stopped := make(chan struct{}), make(chan struct{})
	var failed error
	go func() {
		defer close(stopped)
		for i := 0; failed == nil; i++ {
			select {
			case <-stop:
				return
			default:
			}
			h := all[i%len(all)]
			if failed = publisher.Publish(ctx, []*protocol.Publication{publication(h.body(h.sent), 60, private(h.item))}); failed == nil {
				h.sent++
			}
			if i%50 == 0 && failed == nil {
				failed = visit(ctx, r.addr)
			}
		}
	}()
	for range 28 {
		r.pass()
	}
	close(stop)
	<-stopped
	r.must(failed)
	sent := 0
	for i, h := range all {
		sent += h.sent
		for n := 0; n < h.sent; {
			select {
			case n = <-h.heard:
			case err := <-h.fault:
				t.Fatalf("client %d, after %d of %d messages: %v", i, n, h.sent, err)
			case <-time.After(patience):
				t.Fatalf("client %d has got %d of %d messages", i, n, h.sent)
			}
		}
	}
	cancel()
	for _, h := range all {
		<-h.fault
	}
	t.Logf("%d messages, longest pause %v", sent, r.pause)
}

// A loop is told in one turn to look away and to stand still: whoever epoll has reported with that turn comes in before it does, and is not
// turned away once another process serves.
func TestLoopStandsStillATurnAfterItHasLookedAway(t *testing.T) {
	t.Parallel()
	l, _, _ := bareLoop(t, 0)
	orders := make(chan func(*loop))
	close(orders)
	l.mailbox.put(mail{kind: mailCall, call: (*loop).lookAway})
	l.mailbox.put(mail{kind: mailCall, call: func(l *loop) { l.orders = orders }})
	for turn, still := range []bool{false, true} {
		l.turn()
		if l.standStill(); (l.orders == nil) != still {
			t.Errorf("turn %d: it stands still: %v", turn, !still)
		}
	}
}

// Sessions know their key among those of the next process, and stay if it is none there any more.
func TestKeysPassOver(t *testing.T) {
	t.Parallel()
	const next = "the key of tomorrow"
	r := startRelay(t, nil)
	it := newItem()
	c := subscribed(t, r.now, query("", it))
	f := func(keys []string, removed int, want ...int) {
		t.Helper()
		r.change = func(o *Options) {
			o.Key, o.OlderKeys = []byte(keys[0]), nil
			for _, key := range keys[1:] {
				o.OlderKeys = append(o.OlderKeys, []byte(key))
			}
		}
		r.pass()
		if st := r.now.Stats(); !slices.Equal(st.ByKey, want) || st.ByRemovedKey != removed {
			t.Errorf("%v and %d with a key that was removed, want %v and %d", st.ByKey, st.ByRemovedKey, want, removed)
		}
		publish(t, r.now, "x", 60, private(it))
		c.Bodies(1)
	}
	f([]string{next, testKey}, 0, 0, 1)
	f([]string{next}, 1, 0)
	f([]string{next, testKey}, 1, 0, 0)
}
