package engine

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"push-server/protocol"
	"push-server/protocol/testclient"
)

// later waits until d has passed and all loops have served the deadlines that were due by then.
func later(t *testing.T, e *Engine, d time.Duration) {
	t.Helper()
	until := time.Now().Add(d)
	testclient.Await(t, "time to pass", func() bool { return time.Now().After(until) })
	for range 2 { // mail is read before deadlines
		if err := askLoops(t.Context(), e.loops, func(*loop) {}); err != nil {
			t.Fatal(err)
		}
	}
}

// A reply that takes longer to be read than a connection may be idle is read to its end; so is one that a drain waits for.
func TestSlowlyReadReply(t *testing.T) {
	const messages, size = 20, 400 << 10
	f := func(name string, meanwhile func(e *Engine, c *testclient.Client)) {
		t.Run(name, func(t *testing.T) {
			e := startMemory(t, func(o *Options) { o.IdleTimeout = 100 * time.Millisecond; o.ReplayBytes = 100 << 20 })
			a := newItem()
			for range messages {
				publish(t, e, strings.Repeat("x", size), 600, private(a))
			}
			c := dial(t, e)
			c.Get(testSub + query("&mid=00000000000000000000000000", a))
			testclient.Await(t, "output that waits", func() bool { return e.buffered() > 0 })
			meanwhile(e, c)
			later(t, e, time.Second)
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatal(err)
			}
			if n, err := io.Copy(io.Discard, resp.Body); err != nil || n < messages*size {
				t.Errorf("%d bytes, %v", n, err)
			}
		})
	}
	f("idle", func(*Engine, *testclient.Client) {})
	f("drain", func(e *Engine, c *testclient.Client) {
		go func() { _ = e.Drain(context.Background()) }()
		testclient.Await(t, "the drain to begin", func() bool { return e.admission.closed.Load() })
	})
	f("another poll behind it", func(e *Engine, c *testclient.Client) { c.Get(testSub + query("", newItem())) })
	f("a request in chunks behind it", func(e *Engine, c *testclient.Client) {
		c.Say("POST /nothing HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n")
	})
}

// A request in chunks that waits for a reply before it is answered after that.
func TestChunksBehindASlowReply(t *testing.T) {
	e := startMemory(t, func(o *Options) { o.ReplayBytes = 100 << 20 })
	a := newItem()
	for range 20 {
		publish(t, e, strings.Repeat("x", 400<<10), 600, private(a))
	}
	c := dial(t, e)
	c.Get(testSub + query("&mid=00000000000000000000000000", a))
	testclient.Await(t, "output that waits", func() bool { return e.buffered() > 0 })
	c.Say("POST /nothing HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n")
	if resp := c.Reply("GET"); resp.Status != http.StatusOK || len(resp.Body) < 20*400<<10 {
		t.Fatalf("%s, %d bytes", resp, len(resp.Body))
	}
	if resp := c.Reply("POST"); resp.Status != http.StatusNotFound {
		t.Errorf("the chunks are answered %s", resp)
	}
}

// maskedHeader begins a frame of n bytes, more than 65,535, of which the payload follows; the mask is zero.
func maskedHeader(op byte, n int) []byte {
	return []byte{op, 0xff, 0, 0, 0, 0, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n), 0, 0, 0, 0}
}

// What nobody reads takes no memory: messages of clients that have nothing to say, and whatever follows a refusal.
func TestUnreadInputIsDropped(t *testing.T) {
	e := startMemory(t, nil)
	const size = 1 << 20
	f := func(what, query string, first byte) {
		t.Helper()
		c := webSocket(t, e, query)
		if _, err := c.Write(append(maskedHeader(first, size), bytes.Repeat([]byte("x"), size-1)...)); err != nil {
			t.Fatal(err)
		}
		testclient.Await(t, what+": all to be taken", func() bool { return e.input.Used() < 4<<10 })
		if n := e.input.Used(); n > 4<<10 {
			t.Errorf("%s: %d bytes are kept", what, n)
		}
	}
	for range 5 {
		f("text", query("", newItem()), 0x81)
		f("a fragment", query("", newItem()), 0x01)
		f("refused", "?CHANNEL_ID=wrong", 0x82)
	}
}

// All connections together hold no more unread input than the process may; the largest goes, others do not notice.
func TestInputOfAllIsBounded(t *testing.T) {
	e := startMemory(t, func(o *Options) { o.InputTotal = 4 << 20; o.Loops = 1 })
	a := newItem()
	other := subscribed(t, e, query("", a))
	var cs []*testclient.Client
	for range 20 {
		c := webSocket(t, e, query("&binaryMode=true", newItem()))
		cs = append(cs, c)
		_, _ = c.Write(append(maskedHeader(0x02, 1<<20), bytes.Repeat([]byte("x"), 900<<10)...)) // may be cut off
		if n := e.input.Used(); n > 6<<20 {
			t.Fatalf("%d bytes", n)
		}
	}
	testclient.Await(t, "some to be closed", func() bool { return e.Stats().Closes["input_total"] > 10 })
	publish(t, e, "1", 0, private(a))
	other.Bodies(1)
	for _, c := range cs {
		_ = c.Close()
	}
	testclient.Await(t, "everything to be given back", func() bool { return e.input.Used() == 0 })
}

// Of those who hold too much together the largest goes, not all, and not those who are at hand on the loop that noticed it.
func TestTheLargestInputGoesFirst(t *testing.T) {
	e := startMemory(t, func(o *Options) { o.InputTotal, o.Limits.MaxPayload = 4<<20, 4<<20 })
	send := func(c *testclient.Client, n int) {
		if _, err := c.Write(append(maskedHeader(0x02, 4<<20), bytes.Repeat([]byte("x"), n)...)); err != nil {
			t.Fatal(err)
		}
	}
	large := webSocket(t, e, query("&binaryMode=true", newItem()))
	send(large, 2500<<10)
	testclient.Await(t, "the large one to be taken", func() bool { return e.input.Used() > 2500<<10 })
	a := newShared()
	small := make([]*testclient.Client, 120)
	for i := range small {
		small[i] = subscribed(t, e, query("&binaryMode=true", a))
		send(small[i], 20<<10)
	}
	testclient.Await(t, "one to be closed", func() bool { return e.Stats().Closes["input_total"] > 0 })
	testclient.Await(t, "the small ones to be taken", func() bool { return e.input.Used() >= 120*20<<10 })
	publish(t, e, "1", 0, private(a))
	for _, c := range small {
		c.Bodies(1)
	}
	if n := e.Stats().Closes["input_total"]; n != 1 {
		t.Errorf("%d are closed", n)
	}
}

// All connections together hold no more output than the process may.
func TestOutputOfAllIsBounded(t *testing.T) {
	e := startMemory(t, func(o *Options) { o.OutputTotal = 8 << 20; o.MaxBuffered = 64 << 20; o.Loops = 1 })
	a := newItem()
	quick := subscribed(t, e, query("", a))
	var slow []*testclient.Client
	for range 5 {
		slow = append(slow, subscribed(t, e, query("", a)))
	}
	body := strings.Repeat("x", 500<<10)
	for i := 0; e.Stats().Closes["output_total"] < 3; i++ {
		if i == 500 {
			t.Fatal("250 MB were buffered")
		}
		publish(t, e, body, 60, private(a))
		quick.Bodies(1)
		if n := e.output.Used(); n > 12<<20 {
			t.Fatalf("%d bytes", n)
		}
	}
	for _, c := range slow {
		_ = c.Close()
	}
	testclient.Await(t, "everything to be given back", func() bool { return e.output.Used() == 0 })
}

// What is replayed together leaves in one frame, in either dialect: clients that look at one frame see all of it.
func TestReplayIsOneFrame(t *testing.T) {
	e := startMemory(t, nil)
	a := newItem()
	for _, text := range []string{"1", "2", "3"} {
		publish(t, e, text, 600, private(a))
	}
	f := func(more string, op ws.OpCode, separate func(payload []byte) int) {
		t.Helper()
		c := webSocket(t, e, query(more+"&mid=00000000000000000000000000", a))
		fr := c.Frame()
		if n := separate(fr.Payload); fr.Header.OpCode != op || n != 3 {
			t.Errorf("%d messages in a frame: %q", n, fr.Payload)
		}
	}
	f("", ws.OpText, func(b []byte) int { return bytes.Count(b, []byte("#!NGINXNME!#")) })
	f("&binaryMode=true", ws.OpBinary, func(b []byte) int {
		one := protocol.AppendResponse(nil, []*protocol.Publication{{ID: protocol.MakeMessageID(1, 1), Body: []byte("1"), Created: uint32(time.Now().Unix())}})
		return len(b) / len(one)
	})
	for range 3 {
		publish(t, e, strings.Repeat("y", replayFrame-10), 600, private(a))
	}
	c := webSocket(t, e, query("&mid=00000000000000000000000000", a))
	for _, want := range []int{4, 1, 1} {
		if n := bytes.Count(c.Frame().Payload, []byte("#!NGINXNME!#")); n != want {
			t.Errorf("%d messages in a frame, want %d", n, want)
		}
	}
}

// One request more than may be under way is answered 503, not with the end of its connection, and there is a place again when one is done.
func TestRequestsUnderWay(t *testing.T) {
	e := startMemory(t, nil)
	release := make(chan struct{})
	for range maxRequests {
		if !e.requests.start(func() { <-release }) {
			t.Fatal("no place")
		}
	}
	c := dial(t, e)
	c.Say("POST /bitrix/rest/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx")
	if resp := c.Reply("POST"); resp.Status != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("answered %s", resp)
	}
	close(release)
	testclient.Await(t, "a place", func() bool {
		c := dial(t, e)
		c.Say("POST /bitrix/rest/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx")
		return c.Reply("POST").Status == http.StatusBadRequest
	})
}

// Loops with nothing to do sleep, also with connections whose deadlines are far away, and one that comes near is kept.
func TestQuietLoopsSleep(t *testing.T) {
	e := startMemory(t, func(o *Options) { o.EchoInterval = time.Hour; o.IdleTimeout = 300 * time.Millisecond })
	subscribed(t, e, query("", newItem()))
	later(t, e, 200*time.Millisecond) // the start is over
	before, begin := e.Stats().Turns, time.Now()
	later(t, e, time.Second)
	seconds := 1 + uint64(time.Since(begin).Seconds())
	if turns := e.Stats().Turns - before; turns > 2*seconds*uint64(len(e.loops)) { // those of later among them
		t.Errorf("%d turns in less than %d seconds", turns, seconds)
	}
	c := dial(t, e)
	c.Get("/nothing")
	c.Reply("GET")
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("an idle connection ends with %v", err)
	}
}
