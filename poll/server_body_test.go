package poll

import (
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"push-server/protocol/testclient"
)

func TestServerBoundsBodies(t *testing.T) {
	h, b := newHandlers()
	const limit = 2048
	h.Limits.MaxPayload = limit
	addr := serve(t, h, ServerOptions{MaxPayload: limit})
	f := func(lines, body, want string) {
		t.Helper()
		c := dial(t, addr)
		c.request(lines, body)
		c.expect(want)
		if want == replyTooLarge {
			c.ends()
		}
	}
	inChunks := func(sizes ...int) (body string) {
		const digits = "0123456789abcdef"
		for _, n := range sizes {
			body += string([]byte{digits[n>>8&15], digits[n>>4&15], digits[n&15]}) + "\r\n" + strings.Repeat("1", n) + "\r\n"
		}
		return body + "0\r\n\r\n"
	}
	const plain, chunks, binary = publishLines, publishLines + "Transfer-Encoding: chunked", "POST /pub/?binaryMode=true HTTP/1.1\nHost: a\n"
	exact, over := strings.Repeat("1", limit), strings.Repeat("1", limit+1)

	f(plain+"Content-Length: 2048", exact, replyOK)
	f(chunks, inChunks(limit), replyOK)
	f(chunks, inChunks(1000, 1000, 48), replyOK)
	equalLines(t, "published", bodies(b), exact, exact, exact)
	equalLines(t, "log", b.takeLog())

	f(plain+"Content-Length: 2049", over, replyTooLarge)
	f(plain+"Content-Length: 2049", "", replyTooLarge) // announced, not sent
	f(plain+"Content-Length: 2049\nContent-Type: multipart/form-data; boundary=x", over, replyTooLarge)
	f(binary+"Content-Length: 2049", over, replyTooLarge)
	f("POST /rest/ HTTP/1.1\nHost: a\nContent-Length: 2049", over, replyTooLarge)
	f(chunks, inChunks(limit+1), replyTooLarge)
	f(chunks, inChunks(1000, 1000, 49), replyTooLarge)
	equalLines(t, "published", bodies(b), exact, exact, exact)
	const line = "HTTP Request: Max payload size exceeded. ::ffff:127.0.0.1"
	equalLines(t, "log", b.takeLog(), line, line, line, line, line, line, line)
}

func TestServerLetsClientsReadThe413(t *testing.T) {
	h, _ := newHandlers()
	h.Limits.MaxPayload = 2048
	addr := serve(t, h, ServerOptions{MaxPayload: 2048})
	piece := strings.Repeat("1", 64<<10)
	f := func(headers, before, after string) {
		t.Helper()
		c := dial(t, addr)
		c.request(publishLines+headers, before)
		for range 5 << 20 / len(piece) {
			c.send(piece, after)
		}
		c.expect(replyTooLarge)
		c.ends()
	}
	f("Content-Length: 5242880", "", "")
	f("Transfer-Encoding: chunked", "10000\r\n", "\r\n10000\r\n")
}

func TestServerLogsNoTestRequests(t *testing.T) {
	h, b := newHandlers()
	h.Limits.MaxPayload, h.TestKey = 1, "secret"
	addr := serve(t, h, ServerOptions{MaxPayload: 1})
	f := func(query, headers string, logged ...string) {
		t.Helper()
		c := dial(t, addr)
		c.request("POST /pub/?"+query+" HTTP/1.1\nHost: a\nContent-Length: 2"+headers, "ab")
		c.expect(replyTooLarge)
		equalLines(t, query, b.takeLog(), logged...)
	}
	f("testKey=other", "", "HTTP Request: Max payload size exceeded. ::ffff:127.0.0.1")
	f("", "\nX-Forwarded-For: 203.0.113.7", "HTTP Request: Max payload size exceeded. 203.0.113.7")
	f("", "\nX-Forwarded-For: 203.0.113.7\nX-Forwarded-For: 10.0.0.1", "HTTP Request: Max payload size exceeded. 203.0.113.7, 10.0.0.1")
	f("testKey=secret", "")
}

func TestServerContinues(t *testing.T) {
	h, b := newHandlers()
	addr := serve(t, h, ServerOptions{MaxPayload: 2048})
	f := func(lines string) {
		t.Helper()
		c := dial(t, addr)
		c.request(lines, "")
		if line, err := c.r.ReadString('\n'); err != nil || line != "HTTP/1.1 100 Continue\r\n" {
			t.Fatalf("%q: %q, %v", lines, line, err)
		}
		if line, err := c.r.ReadString('\n'); err != nil || line != "\r\n" {
			t.Fatalf("%q: %q, %v", lines, line, err)
		}
		c.send("abc")
		c.expect(replyOK)
		c.request(publishLines+"Content-Length: 1", "d") // and the connection stays
		c.expect(replyOK)
	}
	f(publishLines + "Expect: 100-continue\nContent-Length: 3")
	f(publishLines + "expect: 100-Continue\nContent-Length: 3")
	f(publishLines + "Expect:\nExpect: 100-continue,\nContent-Length: 3")
	equalLines(t, "published", bodies(b), "abc", "d", "abc", "d", "abc", "d")
}

func TestServerFailsOtherExpectations(t *testing.T) {
	h, b := newHandlers()
	addr := serve(t, h, ServerOptions{})
	c := dial(t, addr)
	c.request("GET /nothing HTTP/1.1\nHost: a\nExpect: the worst", "")
	c.expect("417 Expectation Failed\n")
	c.request("GET /nothing HTTP/1.1\nHost: a\nExpect: 100-continue\nExpect: the worst", "")
	c.expect("417 Expectation Failed\n")
	c.request(publishLines+"Expect: the worst\nContent-Length: 3", "") // the client waits with its body
	c.expect("417 Expectation Failed" + closeLine + "\n")
	c.ends()
	c = dial(t, addr)
	c.request("POST /pub/?CHANNEL_ID="+privA+" HTTP/1.0\nExpect: 100-continue\nContent-Length: 3", "abc")
	c.expect("200 OK" + anyOriginLine + closeLine + plainLine + "\n")
	c.ends()
	equalLines(t, "published", bodies(b), "abc")
}

// Bodies grow as they come: a thousand heads that announce a megabyte, and silence behind them, cost next to nothing.
func TestBodiesGrowAsTheyCome(t *testing.T) {
	h, _ := newHandlers()
	b := newBudget(8 << 20)
	h.Bodies = b
	addr := serve(t, h, ServerOptions{})
	for i := range 300 {
		c := dial(t, addr)
		if i%2 == 0 {
			c.request(publishLines+"Content-Length: 1048576", "x")
		} else {
			c.request(publishLines+"Transfer-Encoding: chunked", "ffff0\r\n")
		}
	}
	c := dial(t, addr)
	c.request(publishLines+"Content-Length: 1\nConnection: close", "x") // everybody before has been looked at
	c.expect("200 OK" + anyOriginLine + closeLine + plainLine + "\n")
	if n := b.highest.Load(); n > 300*firstBody {
		t.Errorf("%d bytes for bodies that do not come", n)
	}
}

// All bodies together have a bound; who comes when it is reached is told to come later, and everything is given back.
func TestBodiesOfAllAreBounded(t *testing.T) {
	h, published := newHandlers()
	b := newBudget(256 << 10)
	h.Bodies = b
	addr := serve(t, h, ServerOptions{})
	half := strings.Repeat("1", 100<<10)
	first := dial(t, addr)
	first.request(publishLines+"Content-Length: 204800\nConnection: close", half)
	testclient.Await(t, "the first half", func() bool { return b.used.Load() >= 100<<10 })
	second := dial(t, addr)
	second.request(publishLines+"Content-Length: 204800\nConnection: close", half+half)
	second.expect("503 Service Unavailable" + anyOriginLine + closeLine + plainLine + "\nRetry-After: " + retryAfter + "\n")
	first.send(half)
	first.expect("200 OK" + anyOriginLine + closeLine + plainLine + "\n")
	equalLines(t, "published", bodies(published), half+half)
	testclient.Await(t, "everything to be given back", func() bool { return b.used.Load() == 0 })
}

// What leads nowhere is answered before its body.
func TestNowhereIsAnsweredBeforeTheBody(t *testing.T) {
	h, _ := newHandlers()
	addr := serve(t, h, ServerOptions{Routes: &testRoutes})
	f := func(lines string) {
		t.Helper()
		c := dial(t, addr)
		c.request(lines, "")
		c.expect("404 Not Found" + anyOriginLine + closeLine + plainLine + "\n")
		c.ends()
	}
	f("POST /nothing HTTP/1.1\nHost: a\nContent-Length: 1048576")
	f("POST /nothing HTTP/1.1\nHost: a\nTransfer-Encoding: chunked")
	f("PUT /pub/ HTTP/1.1\nHost: a\nContent-Length: 10000")
}

// A body that ends before it should is published by nobody.
func TestTruncatedBodies(t *testing.T) {
	h, published := newHandlers()
	addr := serve(t, h, ServerOptions{})
	f := func(lines, body string) {
		t.Helper()
		c := dial(t, addr)
		c.request(publishLines+lines, body)
		if err := c.Client.Conn.Conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		c.expect(replyBad)
	}
	f("Content-Length: 10", "12345")
	f("Content-Length: 100000", strings.Repeat("1", 99999))
	f("Transfer-Encoding: chunked", "5\r\n12345\r\n")
	f("Transfer-Encoding: chunked", "5\r\n123")
	equalLines(t, "published", bodies(published))
}

// budget is a Budget that remembers how full it was.
type budget struct{ limit, used, highest atomic.Int64 }

func newBudget(limit int64) *budget {
	b := &budget{}
	b.limit.Store(limit)
	return b
}

func (b *budget) Take(n int) bool {
	used := b.used.Add(int64(n))
	if used > b.limit.Load() {
		b.used.Add(-int64(n))
		return false
	}
	for old := b.highest.Load(); used > old && !b.highest.CompareAndSwap(old, used); old = b.highest.Load() {
	}
	return true
}

func (b *budget) Give(n int) { b.used.Add(-int64(n)) }
