package testclient

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// A Conn is one connection to a server: requests and replies, one behind the
// other, and frames once one of them has made a WebSocket of it. One goroutine
// at a time may read, one may write. There is no deadline unless one is set.
type Conn struct {
	net.Conn
	in     *bufio.Reader
	binary bool // the mode that the WebSocket has asked for
	calls  bool // version 5
}

// Connect connects to addr.
func Connect(ctx context.Context, addr string) (*Conn, error) {
	return connect(ctx, &net.Dialer{}, addr)
}

// NewConn is for a connection that was made otherwise, like one with TLS.
func NewConn(c net.Conn) *Conn { return &Conn{Conn: c, in: bufio.NewReaderSize(c, 1024)} }

func connect(ctx context.Context, dialer *net.Dialer, addr string) (*Conn, error) {
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return NewConn(conn), nil
}

// Within sets the deadline of all that is read from now on.
func (c *Conn) Within(d time.Duration) *Conn {
	c.SetReadDeadline(time.Now().Add(d))
	return c
}

// Read reads what has come behind the last reply or frame.
func (c *Conn) Read(p []byte) (int, error) { return c.in.Read(p) }

// Get sends the head of a GET. More are further lines of it.
func (c *Conn) Get(target string, more ...string) error {
	head := "GET " + target + " HTTP/1.1\r\nHost: test\r\n"
	for _, line := range more {
		head += line + "\r\n"
	}
	_, err := io.WriteString(c.Conn, head+"\r\n")
	return err
}

// Poll asks once, on this connection, and waits for the answer.
func (c *Conn) Poll(target string, more ...string) (Reply, error) {
	if err := c.Get(target, more...); err != nil {
		return Reply{}, err
	}
	return c.Reply(http.MethodGet)
}

// Reply reads the next reply, to a request of that method.
func (c *Conn) Reply(method string) (Reply, error) {
	res, err := http.ReadResponse(c.in, &http.Request{Method: method})
	if err != nil {
		return Reply{}, err
	}
	if res.StatusCode == http.StatusSwitchingProtocols {
		return Reply{Status: res.StatusCode, Header: res.Header}, nil
	}
	return readReply(res)
}

// Abort ends the connection with a reset, as a crashed client does.
func (c *Conn) Abort() {
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	c.Close()
}

// A Reply is a whole HTTP response.
type Reply struct {
	Status int
	Header http.Header
	Body   []byte
}

func readReply(res *http.Response) (Reply, error) {
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return Reply{res.StatusCode, res.Header, body}, err
}

// String is the status with its usual text.
func (r Reply) String() string { return fmt.Sprintf("%d %s", r.Status, http.StatusText(r.Status)) }

// Messages gives the messages of a poll's answer; 304 has none.
func (r Reply) Messages() ([]Message, error) {
	switch {
	case r.Status == http.StatusNotModified:
		return nil, nil
	case r.Status != http.StatusOK:
		return nil, fmt.Errorf("testclient: poll answered %v %s", r, strings.TrimSpace(string(r.Body)))
	case len(r.Body) == 0:
		return nil, fmt.Errorf("%w: 200 without a body", ErrFraming)
	}
	if r.Body[0] == '{' || r.Body[0] == '[' {
		return ParseCalls(r.Body)
	}
	return Parse(r.Body, r.Header.Get("Content-Type") == "application/octet-stream")
}
