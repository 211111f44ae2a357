package poll

import (
	"strings"
	"testing"
)

func TestServerBoundsBodies(t *testing.T) {
	h, b := newHandlers()
	const limit = 2048
	addr := serve(t, h, ServerOptions{MaxPayload: limit, ErrorLog: b.log})
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
	addr := serve(t, h, ServerOptions{MaxPayload: 1, ErrorLog: b.log, TestKey: "secret"})
	f := func(query, headers string, logged ...string) {
		t.Helper()
		c := dial(t, addr)
		c.request("POST /pub/?"+query+" HTTP/1.1\nHost: a\nContent-Length: 2"+headers, "ab")
		c.expect(replyTooLarge)
		equalLines(t, query, b.takeLog(), logged...)
	}
	f("testKey=other", "", "HTTP Request: Max payload size exceeded. ::ffff:127.0.0.1")
	f("", "\nX-Forwarded-For: 203.0.113.7", "HTTP Request: Max payload size exceeded. 203.0.113.7")
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
	equalLines(t, "published", bodies(b), "abc", "d", "abc", "d")
}

func TestServerFailsOtherExpectations(t *testing.T) {
	h, b := newHandlers()
	addr := serve(t, h, ServerOptions{})
	c := dial(t, addr)
	c.request("GET /nothing HTTP/1.1\nHost: a\nExpect: the worst", "")
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
