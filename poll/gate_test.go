package poll

import (
	"errors"
	"strings"
	"testing"

	"push-server/protocol"
)

// getLine is a request line that is right.
const getLine = "GET /x HTTP/1.1\r\n"

// A headCheck compares what CheckHead says of the beginning of a request.
type headCheck struct{ *testing.T }

func (t headCheck) whole(in string, skip, n int) {
	t.Helper()
	s, got, err := CheckHead([]byte(in))
	if err != nil || s != skip || got != n {
		t.Errorf("CheckHead(%.80q) = %d, %d, %v, want %d, %d", in, s, got, err, skip, n)
	}
}

func (t headCheck) short(in string, skip int) {
	t.Helper()
	s, _, err := CheckHead([]byte(in))
	if err != protocol.ErrShort || s != skip {
		t.Errorf("CheckHead(%.80q) = %d, _, %v, want %d, _, ErrShort", in, s, err, skip)
	}
}

func (t headCheck) refused(in string, status int) {
	t.Helper()
	_, _, err := CheckHead([]byte(in))
	var r *Refusal
	if !errors.As(err, &r) || r.Status != status {
		t.Errorf("CheckHead(%.80q) = %v, want a refusal with %d", in, err, status)
	}
}

func TestCheckHead(t *testing.T) {
	c := headCheck{t}
	c.whole("GET / HTTP/1.1\r\n\r\n", 0, 18)
	c.whole("GET / HTTP/1.0\r\n\r\n", 0, 18)
	c.whole("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 0, 27)
	c.whole("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\n", 0, 27)
	c.whole("POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}", 0, 38)
	c.whole("\r\n\r\nGET / HTTP/1.1\r\n\r\n", 4, 18)
	c.whole("M-SEARCH / HTTP/1.1\r\n\r\n", 0, 23)
	c.whole("OPTIONS * HTTP/1.1\r\n\r\n", 0, 22)
	c.whole("GET http://host/x HTTP/1.1\r\n\r\n", 0, 30)
	c.whole(getLine+"X-A:\r\nX-B: \t \r\nx_c: \xff\r\n\r\n", 0, len(getLine)+25)
	c.whole(getLine+"transfer-encoding: Chunked\r\n\r\n", 0, len(getLine)+30)
	c.whole(getLine+strings.Repeat("X-A: b\r\n", 200)+"\r\n", 0, len(getLine)+1602)

	c.short("", 0)
	c.short("\r", 0)
	c.short("\r\n", 2)
	c.short("\r\n\r\n\r", 4)
	c.short("G", 0)
	c.short("GET", 0)
	c.short("UNSUBSCRIBE", 0)
	c.short("GET /", 0)
	c.short("\r\nGET / HTTP/1.1\r", 2)
	c.short("GET / HTTP/1.1\r\n", 0)
	c.short("GET / HTTP/1.1\r\nHost: a\r\n\r", 0)
	c.short("GET /nothing HTTP/1.1\r\nHost:", 0)
}

// What is no request line is refused as early as it shows.
func TestCheckHeadOfNoRequest(t *testing.T) {
	c := headCheck{t}
	c.refused("\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00", 400)
	c.refused("\n", 400)
	c.refused("\rGET", 400)
	c.refused(" GET / HTTP/1.1\r\n", 400)
	c.refused("get / HTTP/1.1\r\n", 400)
	c.refused("FOO / HTTP/1.1\r\n", 400)
	c.refused("FOO ", 400)
	c.refused("NONSENSE\r\n", 400)
	c.refused("NONSENSENONSENSE", 400)
	c.refused("A\x00", 400)
	c.refused("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400)
	c.refused("GET / HTTP/3.0\r\n", 400)
	c.refused("GET / HTTP/1.2\r\n", 400)
	c.refused("GET / http/1.1\r\n", 400)
	c.refused("GET /\r\n", 400)
	c.refused("GET  HTTP/1.1\r\n", 400)
	c.refused("GET / x HTTP/1.1\r\n", 400)
	c.refused("GET / HTTP/1.1 \r\n", 400)
	c.refused("CONNECT push.example:443 HTTP/1.1\r\n\r\n", 0)
}

// What two readers could take for different heads is refused.
func TestCheckHeadOfTwoHeads(t *testing.T) {
	c := headCheck{t}
	c.refused("GET / HTTP/1.1\nHost: a\n\n", 400)
	c.refused(getLine+"Host: a\n", 400)
	c.refused(getLine+"X: a\r\n\n", 400)
	c.refused(getLine+" folded: x\r\n", 400)
	c.refused(getLine+"X: a\r\n\tb\r\n", 400)
	c.refused(getLine+"Nonsense\r\n", 400)
	c.refused(getLine+": x\r\n", 400)
	c.refused(getLine+"Host : a\r\n", 400)
	c.refused(getLine+"Ho st: a\r\n", 400)
	c.refused(getLine+"X\x00: a\r\n", 400)
}

// What they could take for different bodies is refused.
func TestCheckHeadOfTwoBodies(t *testing.T) {
	c := headCheck{t}
	c.refused(getLine+"Content-Length: -1\r\n", 400)
	c.refused(getLine+"Content-Length: +1\r\n", 400)
	c.refused(getLine+"Content-Length: 0x1\r\n", 400)
	c.refused(getLine+"Content-Length: 1, 1\r\n", 400)
	c.refused(getLine+"Content-Length: 1 1\r\n", 400)
	c.refused(getLine+"Content-Length:\r\n", 400)
	c.refused(getLine+"Content-Length: 99999999999999999999\r\n", 400)
	c.refused(getLine+"Content-Length: 1\r\ncontent-length: 1\r\n", 400)
	c.refused(getLine+"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", 400)
	c.refused(getLine+"Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", 400)
	c.refused(getLine+"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 400)
	c.refused(getLine+"Transfer-Encoding: gzip, chunked\r\n", 400)
	c.refused(getLine+"Transfer-Encoding: identity\r\n", 400)
	c.refused("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n", 400)
}

func TestCheckHeadOfHosts(t *testing.T) {
	c := headCheck{t}
	whole := func(host string) {
		t.Helper()
		c.whole(getLine+"Host:"+host+"\r\n\r\n", 0, len(getLine)+5+len(host)+4)
	}
	refused := func(host string) {
		t.Helper()
		c.refused(getLine+"Host:"+host+"\r\n", 400)
	}
	whole("")
	whole(" \t ")
	whole(" push.example")
	whole(" push.example:")
	whole("127.0.0.1:8893")
	whole("[::1]")
	whole("[::1]:80")
	whole("my_portal~(1).local")
	whole("\xd0\xb6.\xd1\x80\xd1\x84") // as some write it
	whole("%d0%b6.%D1%80%d1%84")
	refused("a\r\nhost: a")
	refused("\r\nHost:")
	refused("a b")
	refused("a:80:81")
	refused("a:x")
	refused("a,b/c")
	refused("user@a")
	refused("[::1")
	refused("[::1]x")
	refused("[::g]")
	refused("[fe80::1%25eth0]")
	refused("%61")
	refused("a%d")
}

func TestCheckHeadOfTargets(t *testing.T) {
	c := headCheck{t}
	f := func(target string, ok bool) {
		t.Helper()
		in := "GET " + target + " HTTP/1.1\r\n\r\n"
		if ok {
			c.whole(in, 0, len(in))
		} else {
			c.refused(in, 400)
		}
	}
	f("/a?b=http://c", true)
	f("//a", true)
	f("*", true)
	f("http://a:1/b", true)
	f("HTTPS://a?b", true)
	f("a", false)
	f("http:///b", false)
	f("http://a:b/", false)
	f("ftp://a/", false)
	f("//a://b", false)
	f("/a\x7f", false)
	f("/a\x01", false)
}

func TestCheckHeadBound(t *testing.T) {
	const frame = "GET / HTTP/1.1\r\nX: \r\n\r\n"
	fits := "GET / HTTP/1.1\r\nX: " + strings.Repeat("x", MaxHead-len(frame)) + "\r\n\r\n"
	if _, n, err := CheckHead([]byte(fits)); err != nil || n != MaxHead {
		t.Errorf("a head of MaxHead bytes: %d, %v", n, err)
	}
	if _, _, err := CheckHead([]byte(fits)[:MaxHead-1]); err != protocol.ErrShort {
		t.Errorf("a head of MaxHead bytes but the last: %v", err)
	}
	refused := func(in string) {
		t.Helper()
		_, _, err := CheckHead([]byte(in))
		if err != error(refusedHead) {
			t.Errorf("%d bytes: %v, want 431", len(in), err)
		}
	}
	refused(strings.Replace(fits, "X: ", "X: x", 1))
	refused("GET /" + strings.Repeat("x", MaxHead) + " HTTP/1.1\r\n\r\n")
	refused("GET /" + strings.Repeat("x", MaxHead-5))
	refused("GET / HTTP/1.1\r\n" + strings.Repeat("X: y\r\n", MaxHead/6))
}

func TestRefusalBytes(t *testing.T) {
	f := func(r *Refusal, want string) {
		t.Helper()
		if got := string(r.AppendTo(nil)); got != want {
			t.Errorf("%d: %q, want %q", r.Status, got, want)
		}
	}
	f(refusedRequest, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
	f(refusedHead, "HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\n\r\n")
	f(refusedTunnel, "")
}

func TestBodyScanner(t *testing.T) {
	// in is the body and what follows it; length is how long the body is, -1 if it does not end in in.
	f := func(announced int64, in string, length int) {
		t.Helper()
		for first := range len(in) + 1 { // in two parts, at each place
			var s bodyScanner
			s.start(announced)
			n := s.scan([]byte(in[:first]))
			if n == first {
				n += s.scan([]byte(in[first:]))
			}
			if length < 0 && (!s.inside() || n != len(in)) || length >= 0 && (s.inside() || n != length) {
				t.Errorf("%q, %d first: ends at %d (inside %v), want %d", in, first, n, s.inside(), length)
			}
		}
	}
	f(0, "GET", 0)
	f(3, "abcGET", 3)
	f(3, "ab", -1)
	f(chunked, "0\r\n\r\nGET", 5)
	f(chunked, "3\r\nabc\r\n0\r\n\r\nGET", 13)
	f(chunked, "003\r\nabc\r\n1;a=b\r\nd\r\n0;x\r\n\r\nGET", 27)
	f(chunked, "A\r\n0123456789\r\n0\r\nTrailer: x\r\nOther: y\r\n\r\nGET", 42)
	f(chunked, "a\r\n\r\n0\r\n\r\n567\r\n0\r\n\r\nGET", 20)
	f(chunked, "3\r\nabc\r\n", -1)
	f(chunked, "3\r\nabc\r\n0\r\nX: y\r\n", -1)
	f(chunked, "ffffffffffffffffffffffff\r\nabc", -1)
}

// Of two readers one may take a bare LF for a line end, or a CR.
func TestBodyScannerRefuses(t *testing.T) {
	f := func(in string) {
		t.Helper()
		for first := range len(in) + 1 {
			var s bodyScanner
			s.start(chunked)
			n := s.scan([]byte(in[:first]))
			s.scan([]byte(in[n:]))
			if !s.broken() {
				t.Errorf("%q, %d first: not broken", in, first)
			}
		}
	}
	f("3\nabc\r\n0\r\n\r\n")
	f("3;x\nabc\r\n0\r\n\r\n")
	f("3\rx\r\nabc\r\n0\r\n\r\n")
	f("3\r\nabc\n0\r\n\r\n")
	f("3\r\nabcd\r\n0\r\n\r\n")
	f("3\r\nabc\r\n0\n\r\n")
	f("3\r\nabc\r\n0\r\n\n")
	f("3\r\nabc\r\n0\r\nX: y\n\r\n")
	f("3\r\nabc\r\n0\r\nX: y\r\n\n")
	f("3\r\nabc\r\n0\r\nX: \ry\r\n\r\n")
}
