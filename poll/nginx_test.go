package poll

import (
	"bytes"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"push-server/poll/rfc9112"
	"push-server/protocol/testclient"
)

// taps are the connections of a listener: what came over each, and which requests the server has read of it.
type taps struct {
	net.Listener
	mu  sync.Mutex
	all map[string]*tap // by remote address
}

type tap struct {
	net.Conn
	taps *taps
	came bytes.Buffer
	read []heard
	mark []string
}

func (ts *taps) Accept() (net.Conn, error) {
	c, err := ts.Listener.Accept()
	if err != nil {
		return nil, err
	}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	t := &tap{Conn: c, taps: ts}
	ts.all[c.RemoteAddr().String()] = t
	return t, nil
}

func (t *tap) Read(b []byte) (int, error) {
	n, err := t.Conn.Read(b)
	t.taps.mu.Lock()
	defer t.taps.mu.Unlock()
	t.came.Write(b[:n])
	return n, err
}

func (t *tap) CloseWrite() error { return t.Conn.(*net.TCPConn).CloseWrite() }

// note is called by the handler.
func (ts *taps) note(ctx *fasthttp.RequestCtx, h heard) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	t := ts.all[ctx.RemoteAddr().String()]
	t.read = append(t.read, h)
	t.mark = append(t.mark, string(List(&ctx.Request.Header, rfc9112.Mark)))
}

// Of what nginx passes on, we read as many requests as it has passed on, each with its body: nothing that a stranger sends is one request
// to nginx and two to us.
func TestRequestsAreReadAsByNginx(t *testing.T) {
	t.Parallel()
	for _, buffered := range []bool{true, false} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ts := &taps{Listener: ln, all: map[string]*tap{}}
		server := NewServer(recorder(ts.note), ServerOptions{MaxPayload: 1 << 20, IdleTimeout: time.Minute})
		served := make(chan error, 1)
		go func() { served <- server.Serve(GateListener(ts)) }()
		socket := rfc9112.StartNginx(t, ln.Addr().String(), buffered)
		rfc9112.SendAll(t, socket, 1500, []string{"/pub/?a=b", "/rest/", "/sub/"})
		if err := server.Shutdown(); err != nil {
			t.Fatal(err)
		}
		if err := testclient.AwaitFrom(t, "the server", served); err != nil {
			t.Error(err)
		}
		ts.check(t)
	}
}

func (ts *taps) check(t *testing.T) {
	t.Helper()
	ts.mu.Lock()
	defer ts.mu.Unlock()
	marks, requests := map[string]bool{}, 0
	for _, tap := range ts.all {
		passed, _ := byGo(tap.came.Bytes())
		requests += len(passed)
		if n := len(tap.read); n > len(passed) || !sameUpTo(n, tap.read, passed) {
			t.Errorf("%.900q\nis read as %.300q\nnginx means %.300q", tap.came.Bytes(), tap.read, passed)
		}
		for i, mark := range tap.mark {
			if len(mark) != 32 || strings.Trim(mark, "0123456789abcdef") != "" || marks[mark] {
				t.Errorf("%+v is marked %q: nginx did not pass it on", tap.read[i], mark)
			}
			marks[mark] = true
		}
	}
	if len(marks) < 500 {
		t.Errorf("%d requests were read", len(marks))
	}
	t.Logf("%d connections, %d requests passed on, %d read", len(ts.all), requests, len(marks))
}
