package poll

import (
	"bufio"
	"bytes"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"push-server/protocol/testclient"
)

// serve runs a server with low limits until the test ends and returns its address.
func serve(t testing.TB, h *Handlers, o ServerOptions) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := NewServer(h.Handler(testRoutes), o)
	done := make(chan error, 1)
	go func() { done <- server.Serve(GateListener(ln)) }()
	t.Cleanup(func() {
		if err := server.Shutdown(); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return ln.Addr().String()
}

// client compares the replies of a connection as texts.
type client struct {
	testing.TB
	*testclient.Client
	r *bufio.Reader
}

func dial(t testing.TB, addr string) *client {
	t.Helper()
	return newClient(t, testclient.Open(t, addr))
}

func newClient(t testing.TB, c *testclient.Client) *client {
	return &client{t, c, bufio.NewReader(c)}
}

func (c *client) send(parts ...string) {
	c.Helper()
	for _, p := range parts {
		c.Say(p)
	}
}

// request sends a head written with "\n", and a body.
func (c *client) request(lines, body string) {
	c.Helper()
	c.send(string(toHead(lines+"\n\n")) + body)
}

func (c *client) expect(want string) {
	c.Helper()
	if got := readReply(c.TB, c.r, "GET"); got != want {
		c.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// ends expects the end of the connection, and nothing before it.
func (c *client) ends() {
	c.Helper()
	if b, err := io.ReadAll(c.r); err != nil || len(b) > 0 {
		c.Errorf("instead of the end: %q, %v", b, err)
	}
}

const (
	replyOK       = "200 OK" + anyOriginLine + plainLine + "\n"
	replyNotFound = "404 Not Found" + anyOriginLine + plainLine + "\n"
	replyBad      = "400 Bad Request" + closeLine + "\n"
	replyTooLarge = "413 Payload Too Large" + anyOriginLine + closeLine + plainLine + "\n"
)

// publishLines is the head of a text publication.
const publishLines = "POST /pub/?CHANNEL_ID=" + privA + " HTTP/1.1\nHost: a\n"

func bodies(b *backend) (all []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.published {
		all = append(all, string(p.Body))
	}
	return all
}

func TestServerKeepsConnections(t *testing.T) {
	h, b := newHandlers()
	c := dial(t, serve(t, h, ServerOptions{}))
	c.request(publishLines+"Content-Length: 1", "1")
	c.expect(replyOK)
	c.request("GET /nothing HTTP/1.1\nHost: a", "")
	c.expect(replyNotFound)
	// Two in one segment, one in pieces with empty lines in front, one in chunks with the next head behind it.
	c.send(string(toHead(publishLines+"Content-Length: 1\n\n"))+"2"+string(toHead(publishLines+"Content-Length: 1\n\n")), "3")
	c.expect(replyOK)
	c.expect(replyOK)
	for _, piece := range strings.SplitAfter("\n\n"+publishLines+"Content-Length: 3\n\n", "\n") {
		c.send(string(toHead(piece)))
	}
	c.send("4", "\xf0\x9f")
	c.expect(replyOK)
	c.send(string(toHead(publishLines + "Transfer-Encoding: chunked\n\n1\n5\n3;x=y\n678\n0\nX-T: y\n\n" + publishLines + "\n")))
	c.expect(replyOK)
	c.expect(replyOK)
	c.request(publishLines+"Content-Length: 1\nConnection: close", "9")
	c.expect("200 OK" + anyOriginLine + closeLine + plainLine + "\n")
	c.ends()
	equalLines(t, "published", bodies(b), "1", "2", "3", "4\ufffd", "5678", "9")
}

func TestServerClosesHTTP10(t *testing.T) {
	h, _ := newHandlers()
	addr := serve(t, h, ServerOptions{})
	f := func(lines, want string) {
		t.Helper()
		c := dial(t, addr)
		c.request(lines, "")
		c.expect(want)
		c.ends()
	}
	f("GET /nothing HTTP/1.0", "404 Not Found"+anyOriginLine+closeLine+plainLine+"\n")
	f("GET /nothing HTTP/1.0\nConnection: keep-alive", "404 Not Found"+anyOriginLine+closeLine+plainLine+"\n")
	f("POST /pub/ HTTP/1.0\nContent-Length: 0", "200 OK"+anyOriginLine+closeLine+plainLine+"\n")
}

func TestServerSaysNothingOfItself(t *testing.T) {
	h, _ := newHandlers()
	c := dial(t, serve(t, h, ServerOptions{}))
	c.request("GET /nothing HTTP/1.1\nHost: a\nConnection: close", "")
	b, err := io.ReadAll(c.r)
	if err != nil || bytes.Contains(b, []byte("Server")) || !bytes.Contains(b, []byte("\r\nDate: ")) {
		t.Errorf("%q, %v", b, err)
	}
}

func TestServerRefuses(t *testing.T) {
	h, b := newHandlers()
	addr := serve(t, h, ServerOptions{})
	f := func(in, want string) {
		t.Helper()
		c := dial(t, addr)
		c.send(in)
		c.expect(want)
		c.ends()
	}
	literal := func(in, want string) {
		t.Helper()
		c := dial(t, addr)
		c.send(in)
		if got, err := io.ReadAll(c.r); err != nil || string(got) != want {
			t.Errorf("%.80q: %q, %v", in, got, err)
		}
	}
	const bad = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"
	const line = "GET /nothing HTTP/1.1\r\n"

	// By the gate, without waiting for more.
	literal("\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00", bad)
	literal("NONSENSE\r\n\r\n", bad)
	literal("get / HTTP/1.1\r\nHost: a\r\n\r\n", bad)
	literal("FOO / HTTP/1.1\r\nHost: a\r\n\r\n", bad)
	literal("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", bad)
	literal("GET /nothing HTTP/3.0\r\nHost: a\r\n\r\n", bad)
	literal("GET /nothing HTTP/1.1\nHost: a\n\n", bad)
	literal(line+"Host: a\r\n b\r\n", bad)
	literal(line+"Host : a\r\n\r\n", bad)
	literal(line+"Host: a\r\nNonsense\r\n\r\n", bad)
	literal("POST /pub/ HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", bad)
	literal("POST /pub/ HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", bad)
	literal("POST /pub/ HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", bad)
	const inChunks = "POST /pub/?CHANNEL_ID=" + privA + " HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
	literal(inChunks+"1\na\r\n0\r\n\r\n", bad)
	literal(inChunks+"1\r\na\n0\r\n\r\n", bad)
	literal(inChunks+"1\r\na\r\n0\r\n\n", bad)
	literal(inChunks+"1\r\na\r\n0\r\nX: y\n\r\n", bad)
	literal("CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", "")
	literal("GET /nothing?"+strings.Repeat("x", 20000)+" HTTP/1.1\r\n",
		"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\n\r\n")
	literal(line+"Cookie: "+strings.Repeat("x", 17000)+"\r\n\r\n",
		"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\n\r\n")

	// By the parser behind it.
	f(line+"\r\n", replyBad)
	f(line+"Host: a\r\nX: a\x00b\r\n\r\n", replyBad)
	f("POST /pub/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", replyBad)
	f("POST /pub/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n", replyBad)
	equalLines(t, "published", b.take())
}

func TestServerReadsLargeHeads(t *testing.T) {
	h, _ := newHandlers()
	c := dial(t, serve(t, h, ServerOptions{}))
	c.request("GET /nothing HTTP/1.1\nHost: a\nCookie: "+strings.Repeat("x", 8000), "")
	c.expect(replyNotFound)
	c.request("GET /nothing?"+strings.Repeat("x", 10000)+" HTTP/1.1\nHost: a", "")
	c.expect(replyNotFound)
	c.request("GET /nothing HTTP/1.1\nHost: a"+strings.Repeat("\nX-A: b", 200), "")
	c.expect(replyNotFound)
	const frame = "GET / HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n"
	c.send(strings.Replace(frame, "X: ", "X: "+strings.Repeat("x", MaxHead-len(frame)), 1))
	c.expect(replyNotFound)
}

// RFC 9112, 3.2 wants an empty Host where there is no authority. Wherever the head is cut, it is read the same.
func TestServerTakesAnEmptyHost(t *testing.T) {
	h, b := newHandlers()
	addr := serve(t, h, ServerOptions{})
	sent := 0
	f := func(head, body string) {
		t.Helper()
		for cut := range len(head) {
			c := dial(t, addr)
			c.send(head[:cut])
			c.send(head[cut:], body)
			c.expect(replyOK)
			c.send(head, body) // and the connection stays
			c.expect(replyOK)
			sent += 2
		}
	}
	const line = "POST /pub/?CHANNEL_ID=" + privA + " HTTP/1.1\r\n"
	f(line+"Host:\r\nContent-Length: 3\r\n\r\n", "abc")
	f("\r\n"+line+"Content-Length: 3\r\nhost: \t\r\n\r\n", "abc")
	f(line+"Host:\r\nTransfer-Encoding: chunked\r\n\r\n", "3\r\nabc\r\n0\r\n\r\n")
	if got := bodies(b); !slices.Equal(got, slices.Repeat([]string{"abc"}, sent)) {
		t.Errorf("published: %.100q (%d), want %d", got, len(got), sent)
	}
}

func TestServerAnswersNonsenseBehindAGoodRequest(t *testing.T) {
	h, _ := newHandlers()
	c := dial(t, serve(t, h, ServerOptions{}))
	c.send("GET /nothing HTTP/1.1\r\nHost: a\r\n\r\nNONSENSE\r\n\r\n")
	c.expect(replyNotFound)
	c.expect(replyBad)
	c.ends()
}

func TestServerClosesWithTheClient(t *testing.T) {
	h, b := newHandlers()
	addr := serve(t, h, ServerOptions{})
	f := func(in, want string) {
		t.Helper()
		c := dial(t, addr)
		c.send(in)
		if err := c.Client.Conn.Conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if want != "" {
			c.expect(want)
		}
		c.ends()
	}
	f("", "")
	f("\r\n", "")
	f("GET /noth", replyBad)
	f(string(toHead(publishLines+"Content-Length: 100\n\n"))+`{"a":1}`, replyBad)
	f(string(toHead(publishLines+"Transfer-Encoding: chunked\n\n5\nabc")), replyBad)
	equalLines(t, "published", b.take())
	f(string(toHead("POST /pub/?CHANNEL_ID="+privA+" HTTP/1.0\nContent-Length: 1\n\n"))+"1",
		"200 OK"+anyOriginLine+closeLine+plainLine+"\n")
	equalLines(t, "published", bodies(b), "1")
}

func TestServerEndsWhatTakesTooLong(t *testing.T) {
	h, _ := newHandlers()
	const short = 50 * time.Millisecond
	addr := serve(t, h, ServerOptions{HeadTimeout: short, BodyTimeout: short, IdleTimeout: short})
	const timeout = "408 Request Timeout" + closeLine + "\n"
	f := func(in string, want ...string) {
		t.Helper()
		c := dial(t, addr)
		c.send(in)
		for _, w := range want {
			c.expect(w)
		}
		c.ends()
	}
	f("", timeout)
	f("GET /nothing HTTP/1.1\r\nHost:", timeout)
	f(string(toHead(publishLines+"Content-Length: 3\n\n"))+"ab", timeout)
	f(string(toHead(publishLines+"Content-Length: 0\n\n")), replyOK) // idle ends without a word
}

func TestServerQuotesNothing(t *testing.T) {
	h, _ := newHandlers()
	var out testclient.Log
	log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	addr := serve(t, h, ServerOptions{Log: log})
	c := dial(t, addr)
	c.send("POST /pub/?secret HTTP/1.1\r\nHost: a\r\nX: secret\x00\r\nContent-Length: 6\r\n\r\nsecret")
	c.expect(replyBad)
	c.ends()
	testclient.Await(t, "the line", func() bool { return strings.Contains(out.String(), "error when serving connection") })
	if text := out.String(); strings.Contains(text, "secret") {
		t.Error(text)
	}
}

func TestServerOnAUnixSocket(t *testing.T) {
	h, b := newHandlers()
	ln, err := net.Listen("unix", t.TempDir()+"/socket")
	if err != nil {
		t.Fatal(err)
	}
	server := NewServer(h.Handler(testRoutes), ServerOptions{})
	done := make(chan error, 1)
	go func() { done <- server.Serve(GateListener(ln)) }()
	conn, err := net.Dial("unix", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c := newClient(t, testclient.OpenOver(t, conn))
	c.request("POST /pub/?binaryMode=true HTTP/1.1\nHost: a\nContent-Length: 1\nConnection: close", "\x01")
	c.expect("400 Bad Request" + anyOriginLine + closeLine + plainLine + "\n4013: Wrong Request Data.")
	c.ends()
	if logged := b.takeLog(); len(logged) != 1 || !strings.HasPrefix(logged[0], "4013: Wrong Request Data. ") {
		t.Errorf("%q", logged)
	}
	if err := server.Shutdown(); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

var _ fasthttp.Logger = quietLogger{}
