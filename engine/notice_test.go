package engine

import (
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"push-server/protocol"
	"push-server/protocol/testclient"
)

// lines is a log that tests read.
type lines struct{ testclient.Log }

// with returns the lines that have text.
func (l *lines) with(text string) (found []string) {
	for line := range strings.Lines(l.String()) {
		if strings.Contains(line, text) {
			found = append(found, line)
		}
	}
	return found
}

// Whoever is turned away leaves one line a minute and reason, with the number and an example.
func TestNotices(t *testing.T) {
	var log lines
	n := newNotices(slog.New(slog.NewTextHandler(&log, nil)))
	begin := time.Now()
	for range 1000 {
		n.note("connections closed", "10.0.0.1")
	}
	n.note("requests given up", "10.0.0.2")
	n.look(begin.Add(noticeEvery / 2))
	if got := log.with("connections closed"); len(got) != 1 || !strings.Contains(got[0], "connections=1 example=10.0.0.1") {
		t.Errorf("at first: %q", got)
	}
	n.look(begin.Add(2 * noticeEvery))
	n.look(begin.Add(2*noticeEvery + time.Second))
	if got := log.with("connections closed"); len(got) != 2 || !strings.Contains(got[1], "connections=999 example=10.0.0.1") {
		t.Errorf("a minute later: %q", got)
	}
	if got := log.with("requests given up"); len(got) != 1 {
		t.Errorf("another kind: %q", got)
	}
}

// Each kind of trouble that operators look for is in the log: refused subscriptions, slow readers, a full process, a full channel.
func TestTroubleIsInTheLog(t *testing.T) {
	var log lines
	e := startMemory(t, func(o *Options) {
		o.Logger = slog.New(slog.NewTextHandler(&log, nil))
		o.MaxConnections, o.MaxConnPerChannel, o.Loops, o.MaxBuffered = 4, 1, 1, 1<<10
	})
	told := func(text, example string) {
		t.Helper()
		testclient.Await(t, text, func() bool { return len(log.with(text)) > 0 })
		if got := log.with(text); len(got) != 1 || !strings.Contains(got[0], example) {
			t.Errorf("%q", got)
		}
	}
	c := webSocket(t, e, "?CHANNEL_ID=wrong")
	if code := c.End(); code != 4010 {
		t.Fatalf("closed with %d", code)
	}
	told("subscriptions refused", "127.0.0.1")
	_ = c.Close()
	c = dial(t, e)
	c.Say("GET " + testSub + "?CHANNEL_ID=wrong HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Forwarded-For: 10.1.2.3\r\n\r\n")
	if resp := c.Reply("GET"); resp.Status != http.StatusBadRequest {
		t.Fatal(resp)
	}
	_ = c.Close()
	testclient.Await(t, "them to go", func() bool { return e.Stats().Connections == 0 })

	a, b := newItem(), newShared()
	slow := subscribed(t, e, query("", b))
	first := subscribed(t, e, query("", a))
	subscribed(t, e, query("", a))
	if code := first.End(); code != 4029 {
		t.Fatalf("closed with %d", code)
	}
	told("limits.maxConnPerChannel", "127.0.0.1")
	for i := 0; e.Stats().Closes["slow_reader"] == 0; i++ {
		if i == 1000 {
			t.Fatal("200 MB were buffered")
		}
		publish(t, e, strings.Repeat("x", 200<<10), 0, private(b))
	}
	told("push.maxBuffered", "127.0.0.1")
	_ = slow
	for range 5 {
		dial(t, e)
	}
	told("push.maxConnections", "127.0.0.1")
}

// A page that is not listed is refused before it is a WebSocket, counted and told; a listed one and a program are let in.
func TestOriginsOfPages(t *testing.T) {
	t.Parallel()
	e := startMemory(t, func(o *Options) { o.Origins, _ = protocol.NewOrigins([]string{"*.portal.example"}) })
	target := testSub + query("", newItem())
	handshake := []string{"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="}
	c := dial(t, e)
	c.Get(target, append(handshake, "Origin: https://portal.example.evil.test")...)
	if resp := c.Reply("GET"); resp.Status != 403 {
		t.Errorf("%+v", resp)
	}
	if n := e.Stats().Closes["origin"]; n > 1 {
		t.Errorf("%d connections ended for their origin", n)
	}
	_ = c.Close()
	testclient.Await(t, "the refusal to be counted", func() bool { return e.Stats().Closes["origin"] == 1 })
	dial(t, e).Upgrade(target, "Origin: https://a.portal.example")
	dial(t, e).Upgrade(target)
}
