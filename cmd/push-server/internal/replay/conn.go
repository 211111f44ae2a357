package replay

import (
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

var (
	errTimeout = errors.New("nothing (more) arrived in time")
	errEOF     = errors.New("the server closed the connection")
	errReset   = errors.New("the server reset the connection")
)

// A conn is one TCP connection of a conversation. A goroutine keeps all
// that arrives; expectations read from the cursor on, so that the cursor
// can be put back when an alternative did not fit.
type conn struct {
	name string
	nc   net.Conn

	mu   sync.Mutex
	data []byte        // everything received so far
	end  error         // why nothing more will arrive; nil while open
	wake chan struct{} // closed and replaced at every change
	read []int         // where in data each read from the network ended

	cursor
	redis  bool   // speaks to Redis, not to the server
	head   bool   // the last request was HEAD, so its response has no body
	binary bool   // the subscriber asked for binaryMode=true
	target string // the next write is the body of a POST to this target
}

// A cursor is the place up to which a connection was read.
type cursor struct {
	pos   int
	ws    bool   // behind a 101 response
	items []item // received in one frame, but not yet expected
	once  int    // if set, the next response may not go beyond
}

// dial connects to host:port, or to a unix socket if addr is a path.
func dial(name, addr string) (*conn, error) {
	network := "tcp"
	if strings.HasPrefix(addr, "/") {
		network = "unix"
	}
	nc, err := net.DialTimeout(network, addr, 5*time.Second)
	if err != nil {
		return nil, err
	}
	return newConn(name, nc), nil
}

func newConn(name string, nc net.Conn) *conn {
	c := &conn{name: name, nc: nc, wake: make(chan struct{})}
	go c.receive()
	return c
}

// receive appends to data until the connection ends.
func (c *conn) receive() {
	buf := make([]byte, 64<<10)
	for {
		n, err := c.nc.Read(buf)
		c.mu.Lock()
		c.data = append(c.data, buf[:n]...)
		c.read = append(c.read, len(c.data))
		switch {
		case errors.Is(err, io.EOF):
			c.end = errEOF
		case errors.Is(err, syscall.ECONNRESET):
			c.end = errReset
		case err != nil:
			c.end = err
		}
		close(c.wake)
		c.wake = make(chan struct{})
		c.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// write sends b. A server that has hung up is not an error here: the
// expectations that follow say what should have come.
func (c *conn) write(b []byte) {
	c.nc.SetWriteDeadline(time.Now().Add(5 * time.Second))
	c.nc.Write(b)
}

// wait blocks until ready, called with the unread bytes, says so.
func (c *conn) wait(deadline time.Time, ready func(unread []byte) bool) error {
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	for {
		c.mu.Lock()
		ok, end, wake := ready(c.data[c.pos:]), c.end, c.wake
		c.mu.Unlock()
		if ok {
			return nil
		}
		if end != nil {
			return end
		}
		select {
		case <-wake:
		case <-timer.C:
			return errTimeout
		}
	}
}

// take reads the next n bytes.
func (c *conn) take(n int, deadline time.Time) ([]byte, error) {
	err := c.wait(deadline, func(unread []byte) bool { return len(unread) >= n })
	if err != nil {
		return nil, err
	}
	return c.consume(n), nil
}

// takeRest reads until the connection ends.
func (c *conn) takeRest(deadline time.Time) ([]byte, error) {
	err := c.wait(deadline, func([]byte) bool { return false })
	if !isEnd(err) {
		return nil, err
	}
	return c.consume(len(c.unread())), nil
}

// consume moves the cursor over n bytes and returns them.
func (c *conn) consume(n int) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := c.data[c.pos : c.pos+n]
	c.pos += n
	return b
}

// unread returns what arrived and was not yet read.
func (c *conn) unread() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.data[c.pos:]
}

func isEnd(err error) bool { return err == errEOF || err == errReset }

// expectOnce waits for bytes and makes the next response an error if it was
// not complete with the first of them.
func (c *conn) expectOnce(deadline time.Time) error {
	err := c.wait(deadline, func(unread []byte) bool { return len(unread) > 0 })
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	i, _ := slices.BinarySearch(c.read, c.pos+1)
	c.once = c.read[i]
	return nil
}

// expectEnd waits for the connection to end without further bytes: by "eof",
// by "reset", or, with "closed", by either.
func (c *conn) expectEnd(kind string, deadline time.Time) error {
	err := c.wait(deadline, func(unread []byte) bool { return len(unread) > 0 })
	switch {
	case err == nil:
		return fmt.Errorf("want the end (%s)\ngot  %s", kind, preview(c.unread()))
	case err == errEOF && kind != "reset", err == errReset && kind != "eof":
		return nil
	}
	return fmt.Errorf("want the end (%s)\ngot  %w", kind, err)
}

// expectNothing waits for d, in which nothing may arrive but the pings of a
// WebSocket.
func (c *conn) expectNothing(d time.Duration) error {
	deadline := time.Now().Add(d)
	if len(c.items) > 0 {
		return fmt.Errorf("want nothing for %v\ngot  %s", d, c.items[0])
	}
	if c.ws {
		f, err := nextFrame(c, deadline)
		if err == errTimeout {
			return nil
		}
		if err != nil {
			return fmt.Errorf("want nothing for %v\ngot  %w", d, err)
		}
		return fmt.Errorf("want nothing for %v\ngot  %s", d, f)
	}
	err := c.wait(deadline, func(unread []byte) bool { return len(unread) > 0 })
	switch err {
	case errTimeout:
		return nil
	case nil:
		return fmt.Errorf("want nothing for %v\ngot  %s", d, preview(c.unread()))
	}
	return fmt.Errorf("want nothing for %v\ngot  %w", d, err)
}

// leftover reports bytes or items that nobody expected. That the connection
// has ended is no difference by now, and what other conversations cause in
// Redis does not count.
func (c *conn) leftover() error {
	left := c.unread()
	switch {
	case c.redis:
		return nil
	case len(c.items) > 0:
		return fmt.Errorf("want nothing more\ngot  %s", c.items[0])
	case c.ws:
		if f, err := nextFrame(c, time.Now()); err == nil {
			return fmt.Errorf("want nothing more\ngot  %s", f)
		}
	case len(left) > 0:
		return fmt.Errorf("want nothing more\ngot  %s", preview(left))
	}
	return nil
}

// abort closes with a reset, as a crashed client does.
func (c *conn) abort() {
	if tcp, ok := c.nc.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	c.nc.Close()
}

// shutdown closes the sending half.
func (c *conn) shutdown() error {
	if half, ok := c.nc.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return fmt.Errorf("cannot close the sending half of %T", c.nc)
}

// preview shows the beginning of unexpected bytes.
func preview(b []byte) string {
	if len(b) > 300 {
		return escape(string(b[:300])) + "..."
	}
	return escape(string(b))
}
