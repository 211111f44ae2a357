package poll

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
)

// replayed is a connection whose first bytes were read already.
type replayed struct {
	net.Conn
	first io.Reader
}

func (c *replayed) Read(p []byte) (int, error) {
	if n, err := c.first.Read(p); err == nil {
		return n, nil
	}
	return c.Conn.Read(p)
}

func TestServeConnOfAnotherListener(t *testing.T) {
	h, b := newHandlers()
	server := NewServer(h.Handler(testRoutes), ServerOptions{Close: true})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c := dial(t, ln.Addr().String())
	accepted, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	head := string(toHead(publishLines + "Transfer-Encoding: chunked\n\n"))
	go func() {
		done <- server.ServeConn(GateConn(&replayed{accepted, strings.NewReader(head + "1\r\na\r\n")}))
	}()
	c.send("2\r\nbc\r\n0\r\n\r\n")
	c.expect("200 OK" + anyOriginLine + closeLine + plainLine + "\n")
	c.ends()
	if err := <-done; err != nil {
		t.Error(err)
	}
	equalLines(t, "published", bodies(b), "abc")
}

// failing is a listener that fails with one error after the other.
type failing struct {
	net.Listener
	errs []error
}

func (ln *failing) Accept() (net.Conn, error) {
	if len(ln.errs) == 0 {
		return &scriptedConn{}, nil
	}
	err := ln.errs[0]
	ln.errs = ln.errs[1:]
	return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", err)}
}

func TestGateListenerOutlivesFailures(t *testing.T) {
	ln := GateListener(&failing{errs: []error{syscall.EMFILE, syscall.ECONNABORTED, syscall.ENFILE, syscall.EINVAL}})
	if c, err := ln.Accept(); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("%v, %v", c, err)
	}
	if _, err := ln.Accept(); err != nil {
		t.Error(err)
	}
}

var _ interface{ CloseWrite() error } = (*tls.Conn)(nil) // so connections with TLS linger as well
