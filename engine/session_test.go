package engine

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"push-server/engine/membus"

	"push-server/protocol/testclient"
)

func TestMessageTravels(t *testing.T) {
	e := startMemory(t, nil)
	a := newItem()
	live := subscribed(t, e, query("", a))
	waiting := dial(t, e)
	waiting.Get(testSub + query("", a))
	testclient.Await(t, "the poll", func() bool { return e.Stats().Polls == 1 })
	publish(t, e, `{"a":1}`, 60, private(a))
	if got := live.Bodies(1); got[0] != `{"a":1}` {
		t.Errorf("WebSocket got %q", got)
	}
	resp := waiting.Reply("GET")
	if ms, err := resp.Messages(); err != nil || len(ms) != 1 || ms[0].Body != `{"a":1}` {
		t.Errorf("poll got %q, %v", resp.Body, err)
	}
}

func TestReplayComesFromTheWindow(t *testing.T) {
	e := startMemory(t, nil)
	a := newItem()
	live := subscribed(t, e, query("", a))
	for i := range 5 {
		publish(t, e, fmt.Sprint(i), 60, private(a))
	}
	first := live.Messages(5)[0]
	back := webSocket(t, e, query("&mid="+first.ID, a))
	publish(t, e, "5", 60, private(a))
	if got, want := back.Bodies(5), []string{"1", "2", "3", "4", "5"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if st := e.Stats(); st.ReplaysWindow != 1 || st.ReplaysHistory != 0 {
		t.Errorf("replays %+v", st)
	}
}

func TestReplayComesFromHistory(t *testing.T) {
	e := startMemory(t, nil)
	a := newItem()
	for i := range 5 {
		publish(t, e, fmt.Sprint(i), 60, private(a))
	}
	back := webSocket(t, e, query("&mid=00000000000000000000000000", a))
	if got, want := back.Bodies(5), []string{"0", "1", "2", "3", "4"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if st := e.Stats(); st.ReplaysHistory != 1 {
		t.Errorf("replays %+v", st)
	}
}

func TestPipelinedRequestBehindAPoll(t *testing.T) {
	e := startMemory(t, nil)
	a := newItem()
	c := dial(t, e)
	c.Get(testSub + query("", a))
	c.Say("GET /nothing HTTP/1.1\r\nHost: test\r\n\r\n")
	testclient.Await(t, "the poll", func() bool { return e.Stats().Polls == 1 })
	publish(t, e, "1", 0, private(a))
	if resp := c.Reply("GET"); resp.Status != http.StatusOK {
		t.Errorf("poll: %s", resp)
	}
	if resp := c.Reply("GET"); resp.Status != http.StatusNotFound {
		t.Errorf("second request: %s", resp)
	}
}

func TestPollEnds(t *testing.T) {
	e := startMemory(t, func(o *Options) { o.PollTimeout = 200 * time.Millisecond })
	a := newItem()
	f := func(more, want string) {
		t.Helper()
		c := dial(t, e)
		c.Get(testSub + query(more, a))
		resp := c.Reply("GET")
		if resp.Status != http.StatusNotModified {
			t.Fatalf("%s", resp)
		}
		if got := resp.Header.Get("Last-Message-Id"); want != "" && got != want || len(got) != 26 {
			t.Errorf("Last-Message-Id %q, want %q", got, want)
		}
	}
	f("", "")
	f("&mid=12345678901234567890123456", "12345678901234567890123456")
	live := subscribed(t, e, query("", a))
	publish(t, e, "1", 60, private(a))
	kept := live.Messages(1)[0].ID
	publish(t, e, "2", 0, private(a)) // not stored
	f("", kept)
}

func TestPublishOverSharedPort(t *testing.T) {
	e := startMemory(t, nil)
	a := newItem()
	live := subscribed(t, e, query("", a))
	f := func(head string, body string) {
		t.Helper()
		c := dial(t, e)
		c.Say(fmt.Sprintf("POST /bitrix/pub/?CHANNEL_ID=%x HTTP/1.1\r\nHost: test\r\n%s\r\n%s", a.Private, head, body))
		if resp := c.Reply("POST"); resp.Status != http.StatusOK {
			t.Errorf("%s", resp)
		}
		if got := live.Bodies(1); got[0] != "hello" {
			t.Errorf("got %q", got)
		}
	}
	f("Content-Length: 5\r\n", "hello")
	f("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n") // handed off
}

func TestWrongChannelIsRefusedAfterTheHandshake(t *testing.T) {
	e := startMemory(t, nil)
	c := webSocket(t, e, "?CHANNEL_ID=nonsense")
	if code := c.End(); code != 4010 {
		t.Errorf("close code %d", code)
	}
}

func TestPingPong(t *testing.T) {
	c := webSocket(t, startMemory(t, nil), query("", newItem()))
	c.SendFrame(ws.OpPing, []byte("x"))
	if f := c.Frame(); f.Header.OpCode != ws.OpPong || string(f.Payload) != "x" {
		t.Errorf("%v %q", f.Header, f.Payload)
	}
	e := startMemory(t, func(o *Options) { o.PingInterval = 100 * time.Millisecond })
	c = webSocket(t, e, query("", newItem()))
	if code := c.End(); code != 0 { // no answer to the server's pings
		t.Errorf("close code %d", code)
	}
	if n := e.Stats().Closes["no_pong"]; n != 1 {
		t.Errorf("closes %v", e.Stats().Closes)
	}
}

func TestDrain(t *testing.T) {
	bus := membus.New(membus.Options{})
	t.Cleanup(bus.Close)
	e := startEngine(t, bus, nil)
	a := newItem()
	live := subscribed(t, e, query("", a))
	waiting := dial(t, e)
	waiting.Get(testSub + query("", a))
	testclient.Await(t, "the poll", func() bool { return e.Stats().Polls == 1 })
	done := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		done <- e.Drain(ctx)
	}()
	if code := live.End(); code != 1001 {
		t.Errorf("close code %d", code)
	}
	if resp := waiting.Reply("GET"); resp.Status != http.StatusNotModified {
		t.Errorf("poll: %s", resp)
	}
	_ = waiting.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestConnectionsOfAChannel(t *testing.T) {
	e := startMemory(t, func(o *Options) { o.MaxConnPerChannel = 3; o.Loops = 4 })
	a := newItem()
	var cs []*testclient.Client
	for range 5 {
		cs = append(cs, subscribed(t, e, query("", a)))
		testclient.Await(t, "the limit", func() bool { return e.Stats().WebSockets <= 3 })
	}
	for _, c := range cs[:2] {
		if code := c.End(); code != 4029 {
			t.Errorf("close code %d", code)
		}
	}
	publish(t, e, "1", 0, private(a))
	for _, c := range cs[2:] {
		if got := c.Bodies(1); got[0] != "1" {
			t.Errorf("got %q", got)
		}
	}
}
