package poll

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
	"time"

	"push-server/protocol"
)

// Bounds on reading what nobody will look at behind a reply that ends the connection.
const (
	lingerBytes = 8 << 20
	lingerTime  = 3 * time.Second
)

// GateListener wraps the connections of ln with GateConn.
func GateListener(ln net.Listener) net.Listener { return gateListener{ln} }

type gateListener struct{ net.Listener }

func (ln gateListener) Accept() (net.Conn, error) {
	c, err := ln.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return GateConn(c), nil
}

// GateConn puts the gate in front of a fasthttp.Server: each request head passes it byte by byte as it comes in, and what it
// refuses is answered at once. A connection that the server closes in the middle of a request reads on for a while, because
// the kernel resets a connection with unread bytes, and takes the reply away from the client. c should have CloseWrite.
func GateConn(c net.Conn) net.Conn { return &conn{Conn: c} }

type conn struct {
	net.Conn

	// Read and Write, which are called from one goroutine.
	head    []byte // of a head that has come in parts, what was passed on already
	body    bodyScanner
	rest    []byte // read, but behind the end of the request under way
	refused bool

	linger atomic.Bool // Close may come from another goroutine
}

// Read returns bytes of one request at most.
func (c *conn) Read(p []byte) (int, error) {
	if c.refused {
		return 0, io.EOF
	}
	if len(c.rest) > 0 {
		n := c.pass(p[:copy(p, c.rest)])
		c.rest = c.rest[n:]
		return c.result(n)
	}
	n, err := c.Conn.Read(p)
	if n == 0 {
		return 0, err
	}
	passed := c.pass(p[:n])
	c.rest = append(c.rest[:0], p[passed:n]...)
	return c.result(passed)
}

// result is that of a Read that has n bytes for the server. A body that cannot go on is refused behind what came before.
func (c *conn) result(n int) (int, error) {
	if n == 0 && c.body.broken() {
		c.refuse(refusedRequest)
	}
	if c.refused {
		return 0, io.EOF
	}
	return n, nil
}

// pass says how many bytes of b belong to the request under way.
func (c *conn) pass(b []byte) int {
	if c.body.inside() {
		return c.body.scan(b)
	}
	before := len(c.head)
	seen := b
	if before > 0 {
		c.head = append(c.head, b...)
		seen = c.head
	}
	h, err := checkHead(seen)
	switch {
	case err == nil:
	case errors.Is(err, protocol.ErrShort):
		c.head = append(c.head[:0], seen[h.skip:]...)
		return len(b)
	default:
		c.refuse(err)
		return 0
	}
	c.head = nil
	n := h.skip + h.n - before
	c.body.start(h.body)
	return n + c.body.scan(b[n:])
}

// refuse answers in place of the server, which is told that the client has gone.
func (c *conn) refuse(err error) {
	var r *Refusal
	if !errors.As(err, &r) {
		panic("BUG: the gate failed: " + err.Error())
	}
	c.refused = true
	c.head, c.rest = nil, nil
	c.linger.Store(r.Status != 0)
	if c.Conn.SetWriteDeadline(time.Now().Add(lingerTime)) == nil {
		_, _ = c.Conn.Write(r.AppendTo(nil)) // whoever sent this need not be there any more
	}
}

func (c *conn) Write(b []byte) (int, error) {
	if c.refused {
		return len(b), nil
	}
	c.linger.Store(c.body.inside() || len(c.rest) > 0)
	return c.Conn.Write(b)
}

// Close closes at once, or reads on until the client has read the reply.
func (c *conn) Close() error {
	if c.linger.Swap(false) {
		c.drain()
	}
	return c.Conn.Close()
}

func (c *conn) drain() {
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil || c.Conn.SetReadDeadline(time.Now().Add(lingerTime)) != nil {
		return
	}
	_, _ = io.CopyN(io.Discard, c.Conn, lingerBytes) // however it ends, the connection is closed
}
