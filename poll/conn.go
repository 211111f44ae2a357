package poll

import (
	"errors"
	"io"
	"net"
	"slices"
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
	head    []byte // of a head that comes in parts, what has come
	passed  int    // how much of it the server has
	ready   []byte // for the server
	body    bodyScanner
	rest    []byte // read, but behind the end of the request under way
	refused bool

	linger atomic.Bool // Close may come from another goroutine
}

// Read returns bytes of one request at most.
func (c *conn) Read(p []byte) (int, error) {
	for {
		if n := copy(p, c.ready); n > 0 {
			c.ready = c.ready[n:]
			return n, nil
		}
		if c.refused {
			return 0, io.EOF
		}
		if c.body.broken() {
			c.refuse(refusedRequest)
			return 0, io.EOF
		}
		n, err := c.take(p)
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// take reads once. It leaves the first n bytes of p for the server, and others in c.ready.
func (c *conn) take(p []byte) (n int, err error) {
	again := len(c.rest) > 0
	if again {
		n = copy(p, c.rest)
	} else if n, err = c.Conn.Read(p); n == 0 {
		return 0, err
	}
	stays, taken := c.pass(p[:n])
	if again {
		c.rest = c.rest[taken:]
	} else {
		c.rest = append(c.rest[:0], p[taken:n]...)
	}
	return stays, nil
}

// pass says how many bytes of b belong to the request under way, and how many of them the server gets where they are.
func (c *conn) pass(b []byte) (stays, taken int) {
	if c.body.inside() {
		n := c.body.scan(b)
		return n, n
	}
	before, seen := len(c.head), b
	if before > 0 {
		c.head = append(c.head, b...)
		seen = c.head
	}
	h, err := checkHead(seen)
	short := errors.Is(err, protocol.ErrShort)
	if err != nil && !short {
		c.refuse(err)
		return 0, 0
	}
	end := h.skip + h.n
	if short && h.n == 0 { // its request line is passed on as it comes, all else by the line
		end = len(seen)
	}
	if !short {
		c.body.start(h.body)
		end += c.body.scan(seen[end:])
	}
	if stays = end; before > 0 || h.emptyHost > 0 {
		c.prepare(&h, seen, end)
		stays = 0
	}
	if !short {
		c.head, c.passed = nil, 0
		return stays, end - before
	}
	c.head, c.passed = append(c.head[:0], seen[h.skip:]...), end-h.skip
	return stays, len(b)
}

// prepare gives the server what it has not got of the first end bytes of seen. An empty Host, which it would not take, is filled.
func (c *conn) prepare(h *head, seen []byte, end int) {
	c.ready = append(c.ready[:0], seen[c.passed:end]...)
	if at := h.skip + h.emptyHost - c.passed; h.emptyHost > 0 && at >= 0 && at < len(c.ready) {
		c.ready = slices.Insert(c.ready, at, '-')
	}
}

// refuse answers in place of the server, which is told that the client has gone.
func (c *conn) refuse(err error) {
	var r *Refusal
	if !errors.As(err, &r) {
		panic("BUG: the gate failed: " + err.Error())
	}
	c.refused = true
	c.head, c.ready, c.rest = nil, nil, nil
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
