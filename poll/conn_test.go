package poll

import (
	"crypto/tls"
	"io"
	"net"
	"strings"
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

var _ interface{ CloseWrite() error } = (*tls.Conn)(nil) // so connections with TLS linger as well
