package poll

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"push-server/protocol"
)

var headSeeds = []string{
	"GET /stat/ HTTP/1.1\r\nHost:\r\n\r\n",
	"GET /stat/ HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
	"GET http://a.b:1/stat/ HTTP/1.1\r\nHost: a%d0b_c\r\n\r\n",
	"GET /sub/?CHANNEL_ID=" + signedA + "&mid=17954614120000000000000225&binaryMode=true HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET /sub/?CHANNEL_ID=" + aloneA + " HTTP/1.0\r\nIf-Modified-Since: Mon, 12 Oct 2026 10:00:00 +0000\r\n\r\n",
	"GET /sub/ HTTP/1.1\r\nUpgrade: websocket\r\nConnection: keep-alive, upgrade\r\n\r\n",
	"\r\n\r\nOPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
	"POST /pub/?CHANNEL_ID=" + privA + " HTTP/1.1\r\nHost: a\r\nContent-Length: 7\r\n\r\n{\"a\":1}",
	"POST /pub/ HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
	"GET / HTTP/1.1\nHost: a\n\n",
	"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
	"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00",
	"CONNECT a:443 HTTP/1.1\r\n\r\n",
}

// FuzzCheckHead: what the gate says of a beginning holds for the whole, and what it lets pass is read the same way.
func FuzzCheckHead(f *testing.F) {
	for _, seed := range headSeeds {
		f.Add([]byte(seed), len(seed)/2)
	}
	f.Fuzz(func(t *testing.T, in []byte, half int) {
		whole, err := checkHead(in)
		if whole.skip+whole.n > len(in) {
			t.Fatalf("%d + %d of %d bytes", whole.skip, whole.n, len(in))
		}
		if half >= 0 && half <= len(in) {
			checkHalf(t, in[:half], whole, err)
		}
		if err != nil {
			return
		}
		var r Reader
		var req Request
		if r.Read(in[whole.skip:whole.skip+whole.n], &req) != nil {
			return
		}
		if int64(req.ContentLength) != whole.body || req.HTTP10 != whole.http10 {
			t.Fatalf("the gate sees %+v, the reader %d, %v", whole, req.ContentLength, req.HTTP10)
		}
		if err := new(fasthttp.URI).Parse(req.Header.Host(), req.Target); err != nil {
			t.Fatalf("the other kind of port refuses %q at %q: %v", req.Target, req.Header.Host(), err)
		}
		if !bytes.HasPrefix(req.Target, req.Path) || len(req.Path) == 0 {
			t.Fatalf("path %q of %q", req.Path, req.Target)
		}
		var sub Subscription
		if err := sub.Parse(&req, newSigner(), nil); (err == nil) != (len(sub.Items) > 0) {
			t.Fatalf("%v, %v", err, sub.Items)
		}
		testRoutes.Match(req.Header.Method(), req.Target)
	})
}

func checkHalf(t *testing.T, half []byte, whole head, wholeErr error) {
	t.Helper()
	first, err := checkHead(half)
	var refusal *Refusal
	switch {
	case err == nil && (wholeErr != nil || first != whole):
		t.Fatalf("half a head is complete: %+v, whole: %+v, %v", first, whole, wholeErr)
	case errors.As(err, &refusal) && err != wholeErr:
		t.Fatalf("half is refused: %v, whole: %+v, %v", err, whole, wholeErr)
	case err == protocol.ErrShort && first.skip > whole.skip:
		t.Fatalf("half skips %d, whole %d", first.skip, whole.skip)
	}
}

// FuzzServer: a connection gets the same replies, and as much is published, in whatever parts its bytes come. The words of
// a refusal may differ: when the parser sees less than the gate at first, it may be the first of the two to refuse.
func FuzzServer(f *testing.F) {
	publication := "POST /pub/?CHANNEL_ID=" + privA + " HTTP/1.1\r\nHost: a\r\n"
	seeds := append(headSeeds,
		publication+"Content-Length: 1\r\n\r\n1"+publication+"Content-Length: 1\r\n\r\n2",
		publication+"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n2;x\r\nbc\r\n0\r\nX: y\r\n\r\n"+publication+"\r\n",
		publication+"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX: y\n\r\n"+publication+"\r\n",
		publication+"Content-Length: 100\r\n\r\n"+publication,
		publication+"Transfer-Encoding: chunked\r\n\r\n50\r\n",
		"POST /pub/?binaryMode=true HTTP/1.1\r\nHost: a\r\nContent-Length: 31\r\n\r\n"+publishing(message("1", private(privA))),
		"POST /pub/?binaryMode=true HTTP/1.1\r\nHost: a\r\nContent-Length: 28\r\n\r\n"+asking(private(privA)),
		"POST /rest/?CHANNEL_ID="+signedA+" HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n\n\x00GET /stat/ HTTP/1.1\r\n\r\n",
		"GET /pub/?CHANNEL_ID="+privA+" HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n",
	)
	for _, seed := range seeds {
		f.Add([]byte(seed), len(seed)/2)
	}
	f.Fuzz(func(t *testing.T, in []byte, half int) {
		replies, published := converse(in)
		if half < 0 || half > len(in) {
			half = 0
		}
		replies2, published2 := converse(in[:half], in[half:])
		if replies != replies2 || published != published2 {
			t.Fatalf("%q\nwhole:     %q, %d published\nin halves: %q, %d published", in, replies, published, replies2, published2)
		}
	})
}

var statusLines = regexp.MustCompile(`HTTP/1\.1 \d\d\d`)

// converse sends parts to a server and returns the statuses that it answers until it or the client ends the connection.
func converse(parts ...[]byte) (replies string, published int) {
	h, b := newHandlers()
	c := &scriptedConn{parts: parts}
	server := NewServer(h.Handler(testRoutes), ServerOptions{MaxPayload: 64})
	_ = server.ServeConn(GateConn(c)) // for the log; the client sees the replies
	statuses := strings.Join(statusLines.FindAllString(c.written.String(), -1), ", ")
	return strings.ReplaceAll(statuses, "431", "400"), len(b.published)
}

// scriptedConn is a client that sends parts and then nothing more.
type scriptedConn struct {
	net.Conn
	parts   [][]byte
	written bytes.Buffer
}

func (c *scriptedConn) Read(p []byte) (int, error) {
	for len(c.parts) > 0 && len(c.parts[0]) == 0 {
		c.parts = c.parts[1:]
	}
	if len(c.parts) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.parts[0])
	c.parts[0] = c.parts[0][n:]
	return n, nil
}

func (c *scriptedConn) Write(p []byte) (int, error)      { return c.written.Write(p) }
func (c *scriptedConn) Close() error                     { return nil }
func (c *scriptedConn) SetReadDeadline(time.Time) error  { return nil }
func (c *scriptedConn) SetWriteDeadline(time.Time) error { return nil }
func (c *scriptedConn) RemoteAddr() net.Addr             { return noAddr }
func (c *scriptedConn) LocalAddr() net.Addr              { return noAddr }

// FuzzServeBytes: whatever passed the gate gets a complete reply in memory.
func FuzzServeBytes(f *testing.F) {
	for _, seed := range headSeeds {
		f.Add([]byte(seed))
	}
	h, _ := newHandlers()
	handler := h.Handler(testRoutes)
	f.Fuzz(func(t *testing.T, in []byte) {
		head, err := checkHead(in)
		if err != nil || head.body < 0 || head.body > int64(len(in)-head.skip-head.n) {
			return
		}
		request := in[head.skip : head.skip+head.n+int(head.body)]
		before := string(request)
		b, _ := ServeBytes(handler, nil, request, nil)
		method, _, _ := bytes.Cut(request, space)
		res, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(b)), &http.Request{Method: string(method)})
		if err != nil {
			t.Fatalf("%q: %q, %v", request, b, err)
		}
		if _, err := io.Copy(io.Discard, res.Body); err != nil {
			t.Fatalf("%q: %q, %v", request, b, err)
		}
		if string(request) != before {
			t.Fatalf("the request was modified: %q, was %q", request, before)
		}
	})
}
