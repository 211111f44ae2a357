package proxyproto

import (
	"errors"
	"net"
	"net/netip"
	"sync/atomic"

	"push-server/protocol"
)

// Listener is a listener whose connections begin with a header if they come from somebody who is trusted. It is read when the connection is,
// so Accept waits for nobody.
type Listener struct {
	net.Listener
	Trusts  func(peer net.Addr) bool
	Refused func(peer net.Addr) // is told of connections without a header, which fail
}

// Accept waits for the next connection.
func (ln Listener) Accept() (net.Conn, error) {
	c, err := ln.Listener.Accept()
	if err != nil || !ln.Trusts(c.RemoteAddr()) {
		return c, err
	}
	return &Conn{Conn: c, refused: ln.Refused}, nil
}

// Conn is a connection that begins with a header. It is read from one goroutine.
type Conn struct {
	net.Conn
	refused func(peer net.Addr)

	read   bool
	err    error
	rest   []byte // behind the header
	client atomic.Pointer[net.TCPAddr]
}

// NewConn is for a connection that was accepted otherwise.
func NewConn(c net.Conn) *Conn { return &Conn{Conn: c} }

// Header reads the header, if it has not been read. client is not valid if the connection is the proxy's own.
func (c *Conn) Header() (client netip.Addr, err error) {
	if !c.read {
		c.read = true
		if c.err = c.readHeader(); errors.Is(c.err, ErrHeader) && c.refused != nil {
			c.refused(c.Conn.RemoteAddr())
		}
	}
	if addr := c.client.Load(); addr != nil {
		client = addr.AddrPort().Addr().Unmap()
	}
	return client, c.err
}

func (c *Conn) readHeader() error {
	b := make([]byte, 0, 256)
	for {
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
		n, err := c.Conn.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		client, size, bad := Read(b)
		switch {
		case bad == nil:
			if client.IsValid() {
				c.client.Store(net.TCPAddrFromAddrPort(netip.AddrPortFrom(client, 0)))
			}
			c.rest = b[size:]
			return nil
		case !errors.Is(bad, protocol.ErrShort):
			return bad
		case err != nil:
			return err
		}
	}
}

// Read reads what is behind the header.
func (c *Conn) Read(p []byte) (int, error) {
	if _, err := c.Header(); err != nil {
		return 0, err
	}
	if len(c.rest) == 0 {
		return c.Conn.Read(p)
	}
	n := copy(p, c.rest)
	if c.rest = c.rest[n:]; len(c.rest) == 0 {
		c.rest = nil
	}
	return n, nil
}

// RemoteAddr is the client's address once the header has been read; its port is not told.
func (c *Conn) RemoteAddr() net.Addr {
	if addr := c.client.Load(); addr != nil {
		return addr
	}
	return c.Conn.RemoteAddr()
}

// CloseWrite shuts down our side.
func (c *Conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}
