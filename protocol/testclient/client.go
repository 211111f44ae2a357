package testclient

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// A Client is a Conn in the hands of one test: whatever goes wrong ends the
// test, so only the goroutine of the test may use it. What its own methods do
// not say, those of Conn do.
type Client struct {
	*Conn
	t testing.TB
}

// Open connects to addr. The connection lasts until the end of the test, but
// nothing on it may take longer than twice Patience.
func Open(t testing.TB, addr string) *Client {
	t.Helper()
	conn, err := Connect(context.Background(), addr)
	if err != nil {
		t.Fatal(err)
	}
	return hold(t, conn)
}

// OpenOver is Open over a connection that was made otherwise.
func OpenOver(t testing.TB, conn net.Conn) *Client {
	t.Helper()
	return hold(t, NewConn(conn))
}

func hold(t testing.TB, conn *Conn) *Client {
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(2 * Patience))
	return &Client{conn, t}
}

// Subscribe opens a WebSocket and waits until it listens: a ping is answered
// behind everything before it.
func Subscribe(t testing.TB, addr, target string) *Client {
	t.Helper()
	c := Open(t, addr)
	c.Upgrade(target)
	c.SendFrame(ws.OpPing, []byte("there?"))
	if f := c.Frame(); f.Header.OpCode != ws.OpPong {
		t.Fatalf("%+v %q instead of a pong", f.Header, f.Payload)
	}
	return c
}

func (c *Client) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// Say sends raw bytes.
func (c *Client) Say(text string) {
	c.t.Helper()
	_, err := io.WriteString(c.Conn, text)
	c.must(err)
}

// Get sends the head of a GET.
func (c *Client) Get(target string, more ...string) {
	c.t.Helper()
	c.must(c.Conn.Get(target, more...))
}

// Poll asks once and waits for the answer.
func (c *Client) Poll(target string, more ...string) Reply {
	c.t.Helper()
	c.Get(target, more...)
	return c.Reply("GET")
}

// Reply reads the next reply, to a request of that method.
func (c *Client) Reply(method string) Reply {
	c.t.Helper()
	reply, err := c.Conn.Reply(method)
	c.must(err)
	return reply
}

// Upgrade makes a WebSocket of the connection.
func (c *Client) Upgrade(target string, more ...string) {
	c.t.Helper()
	c.must(c.Conn.Upgrade(target, more...))
}

// SendFrame sends a frame.
func (c *Client) SendFrame(op ws.OpCode, payload []byte) {
	c.t.Helper()
	c.must(c.Conn.SendFrame(op, payload))
}

// Frame reads the next frame that is no ping. Pings are not answered.
func (c *Client) Frame() ws.Frame {
	c.t.Helper()
	for {
		f, err := c.Conn.Frame()
		c.must(err)
		if f.Header.OpCode != ws.OpPing {
			return f
		}
	}
}

// Messages reads n messages from a WebSocket; all that came in the frame of
// the last one.
func (c *Client) Messages(n int) (ms []Message) {
	c.t.Helper()
	for len(ms) < n {
		more, err := c.Receive()
		c.must(err)
		ms = append(ms, more...)
	}
	return ms
}

// Bodies reads n messages as Messages does, and gives their bodies.
func (c *Client) Bodies(n int) []string {
	c.t.Helper()
	return Bodies(c.Messages(n))
}

// End reads until the connection ends, and gives the code of the close frame
// that came, or 0.
func (c *Client) End() int {
	c.t.Helper()
	end, err := c.Conn.End()
	c.must(err)
	if end == nil {
		return 0
	}
	return int(end.Code)
}
