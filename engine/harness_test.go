package engine

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"push-server/engine/membus"
	"push-server/poll"
	"push-server/protocol"
)

const (
	testKey  = "example-key"
	testSub  = "/bitrix/subws/"
	patience = 20 * time.Second // for what must happen
)

// startEngine starts an engine on one random port that has every route, and waits until it is ready.
func startEngine(t testing.TB, bus Bus, change func(o *Options)) *Engine {
	t.Helper()
	e := startWithout(t, bus, change)
	waitFor(t, "the first echo", e.Ready)
	return e
}

// startWithout starts an engine whose bus need not be there.
func startWithout(t testing.TB, bus Bus, change func(o *Options)) *Engine {
	t.Helper()
	o := Options{
		Listeners: []Listener{{Name: "test", Addr: "127.0.0.1:0", Routes: poll.Routes{
			Sub: testSub, Pub: "/bitrix/pub/", Rest: "/bitrix/rest/", Stat: "/server-stat/",
		}}},
		Key: []byte(testKey), Loops: 2,
		Logger: slog.New(slog.NewTextHandler(testLog{t}, &slog.HandlerOptions{Level: slog.LevelInfo})),
	}
	if change != nil {
		change(&o)
	}
	e, err := New(o, bus)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := e.Start(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := e.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return e
}

func startMemory(t testing.TB, change func(o *Options)) *Engine {
	t.Helper()
	bus := membus.New(membus.Options{})
	t.Cleanup(bus.Close)
	return startEngine(t, bus, change)
}

// testLog writes the log of an engine to the test, until the test is over.
type testLog struct{ t testing.TB }

func (l testLog) Write(b []byte) (int, error) {
	l.t.Logf("%s", bytes.TrimRight(b, "\n"))
	return len(b), nil
}

// waitFor waits until ok.
func waitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	for !ok() {
		select {
		case <-ticker.C:
		case <-deadline.C:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// newItem invents a channel with a public id.
func newItem() protocol.Item {
	it := protocol.Item{HasPublic: true}
	_, _ = rand.Read(it.Private[:])
	_, _ = rand.Read(it.Public[:])
	return it
}

// newShared invents a channel without one.
func newShared() (it protocol.Item) {
	_, _ = rand.Read(it.Private[:])
	return it
}

func private(it protocol.Item) protocol.ChannelID {
	return protocol.ChannelID{Bytes: it.Private, Private: true}
}

// query is the query of a subscriber of items; more is appended as it is.
func query(t testing.TB, more string, items ...protocol.Item) string {
	t.Helper()
	signer, err := protocol.NewSigner("", []byte(testKey))
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, it := range items {
		id := hex.EncodeToString(it.Private[:])
		if it.HasPublic {
			id += ":" + hex.EncodeToString(it.Public[:])
		}
		list = append(list, id+"."+strings.TrimPrefix(signer.SignItem(it), id+"."))
	}
	return "?CHANNEL_ID=" + strings.Join(list, "/") + more
}

// publish publishes body to chs and waits until it is stored.
func publish(t testing.TB, e *Engine, body string, expiry uint32, chs ...protocol.ChannelID) {
	t.Helper()
	if err := e.Publish(context.Background(), []*protocol.Publication{publication(body, expiry, chs...)}); err != nil {
		t.Fatal(err)
	}
}

func publication(body string, expiry uint32, chs ...protocol.ChannelID) *protocol.Publication {
	p := &protocol.Publication{Body: []byte(body), Expiry: expiry, Sender: protocol.Sender{Type: protocol.SenderBackend}}
	for _, ch := range chs {
		p.Receivers = append(p.Receivers, protocol.Receiver{Channel: ch})
	}
	return p
}

// client is a connection of a test.
type client struct {
	t    testing.TB
	conn net.Conn
	r    *bufio.Reader
}

func dial(t testing.TB, e *Engine) *client {
	t.Helper()
	return dialAt(t, e, 0)
}

// dialAt connects to the given listener.
func dialAt(t testing.TB, e *Engine, listener int) *client {
	t.Helper()
	conn, err := net.Dial("tcp", e.Addrs()[listener])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(2 * patience))
	return &client{t, conn, bufio.NewReader(conn)}
}

func (c *client) send(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c.conn, text); err != nil {
		c.t.Fatal(err)
	}
}

// webSocket opens a WebSocket with the given query.
func webSocket(t testing.TB, e *Engine, query string) *client {
	t.Helper()
	c := dial(t, e)
	c.upgrade(query)
	return c
}

// upgrade makes a WebSocket of c; more are lines of the request head.
func (c *client) upgrade(query string, more ...string) {
	c.t.Helper()
	c.send("GET " + testSub + query + " HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" + strings.Join(append(more, "", ""), "\r\n"))
	if resp := c.response("GET"); resp.StatusCode != http.StatusSwitchingProtocols {
		c.t.Fatalf("handshake answered with %s", resp.Status)
	}
}

// subscribed opens a WebSocket and waits until it listens: a ping is answered behind everything before it.
func subscribed(t testing.TB, e *Engine, query string) *client {
	t.Helper()
	c := webSocket(t, e, query)
	c.sendFrame(ws.OpPing, []byte("there?"))
	if f := c.frame(); f.Header.OpCode != ws.OpPong {
		t.Fatalf("%v %q instead of a pong", f.Header, f.Payload)
	}
	return c
}

// poll sends a long poll.
func (c *client) poll(query string) {
	c.t.Helper()
	c.send("GET " + testSub + query + " HTTP/1.1\r\nHost: test\r\n\r\n")
}

type response struct {
	*http.Response
	body string
}

func (c *client) response(method string) response {
	c.t.Helper()
	resp, err := http.ReadResponse(c.r, &http.Request{Method: method})
	if err != nil {
		c.t.Fatal(err)
	}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return response{Response: resp}
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return response{resp, string(body)}
}

// frame reads the next frame that is no ping.
func (c *client) frame() ws.Frame {
	c.t.Helper()
	for {
		f, err := ws.ReadFrame(c.r)
		if err != nil {
			c.t.Fatal(err)
		}
		if f.Header.OpCode != ws.OpPing {
			return f
		}
	}
}

// sendFrame sends a masked frame.
func (c *client) sendFrame(op ws.OpCode, payload []byte) {
	c.t.Helper()
	f := ws.MaskFrameInPlace(ws.NewFrame(op, true, bytes.Clone(payload)))
	if err := ws.WriteFrame(c.conn, f); err != nil {
		c.t.Fatal(err)
	}
}

// message is what a client reads of a publication in text mode.
type message struct {
	mid, text string
}

// messages reads n messages in text framing from a WebSocket.
func (c *client) messages(n int) (ms []message) {
	c.t.Helper()
	for len(ms) < n {
		f := c.frame()
		if f.Header.OpCode != ws.OpText {
			c.t.Fatalf("frame %v %q instead of a message", f.Header, f.Payload)
		}
		ms = append(ms, parseText(c.t, string(f.Payload))...)
	}
	return ms
}

// texts reads n messages and returns their bodies.
func (c *client) texts(n int) []string {
	c.t.Helper()
	return bodies(c.messages(n))
}

func bodies(ms []message) (texts []string) {
	for _, m := range ms {
		texts = append(texts, m.text)
	}
	return texts
}

func parseText(t testing.TB, s string) (ms []message) {
	t.Helper()
	for s != "" {
		m, rest, ok := strings.Cut(s, "#!NGINXNME!#")
		m, begins := strings.CutPrefix(m, "#!NGINXNMS!#")
		if !ok || !begins {
			t.Fatalf("no text framing: %q", s)
		}
		_, mid, _ := strings.Cut(m, `"mid":"`)
		_, text, found := strings.Cut(m, `"text":`)
		if !found {
			t.Fatalf("no text in %q", m)
		}
		ms = append(ms, message{mid[:26], strings.TrimSuffix(text, "}")})
		s = rest
	}
	return ms
}

// closed reads until the connection ends, and returns the code of the close frame that came, or 0.
func (c *client) closed() (code int) {
	c.t.Helper()
	for {
		f, err := ws.ReadFrame(c.r)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || isReset(err) {
			return code
		}
		if err != nil {
			c.t.Fatal(err)
		}
		if f.Header.OpCode == ws.OpClose {
			parsed, _ := ws.ParseCloseFrameData(f.Payload)
			code = int(parsed)
			c.sendFrame(ws.OpClose, f.Payload)
		}
	}
}

func isReset(err error) bool { return err != nil && strings.Contains(err.Error(), "reset by peer") }
