package poll

import (
	"errors"
	"strings"
	"testing"
)

// readHead reads a head written with "\n" as line end.
func readHead(t *testing.T, lines string) *Request {
	t.Helper()
	var r Reader
	req := &Request{}
	if err := r.Read(toHead(lines), req); err != nil {
		t.Fatalf("%q: %v", lines, err)
	}
	return req
}

func toHead(lines string) []byte { return []byte(strings.ReplaceAll(lines, "\n", "\r\n")) }

func TestReadWhatHappensToTheConnection(t *testing.T) {
	f := func(lines string, http10, closes, noHost bool) {
		t.Helper()
		req := readHead(t, lines+"\n\n")
		if req.HTTP10 != http10 || req.Close != closes || req.NoHost != noHost {
			t.Errorf("%q: HTTP10 %v, Close %v, NoHost %v", lines, req.HTTP10, req.Close, req.NoHost)
		}
	}
	f("GET / HTTP/1.1\nHost: a", false, false, false)
	f("GET / HTTP/1.1\nHost: a\nConnection: keep-alive", false, false, false)
	f("GET / HTTP/1.1\nHost: a\nConnection: Close", false, true, false)
	f("GET / HTTP/1.1\nHost: a\nConnection: keep-alive, close", false, true, false)
	f("GET / HTTP/1.1", false, false, true)
	f("GET / HTTP/1.1\nX: y", false, false, true)
	f("GET / HTTP/1.1\nHost:", false, false, false)
	f("GET / HTTP/1.1\nX: y\nhost: \nConnection: close", false, true, false)
	f("GET / HTTP/1.0", true, true, false)
	f("GET / HTTP/1.0\nHost: a\nConnection: keep-alive", true, true, false)
}

func TestReadWithoutHostKeepsTheRest(t *testing.T) {
	req := readHead(t, "GET /s?a=b HTTP/1.1\nConnection: upgrade\nUpgrade: websocket\n\n")
	if host := req.Header.Host(); len(host) > 0 {
		t.Errorf("Host = %q", host)
	}
	if !req.Upgrade || string(req.Path) != "/s" || string(req.Args.Peek("a")) != "b" {
		t.Errorf("Upgrade %v, Path %q, a=%q", req.Upgrade, req.Path, req.Args.Peek("a"))
	}
}

func TestReadUpgrade(t *testing.T) {
	f := func(lines string, want bool) {
		t.Helper()
		if got := readHead(t, lines+"\n\n").Upgrade; got != want {
			t.Errorf("%q: Upgrade %v", lines, got)
		}
	}
	f("GET / HTTP/1.1\nHost: a\nConnection: Upgrade\nUpgrade: websocket", true)
	f("GET / HTTP/1.1\nHost: a\nConnection: keep-alive, upgrade\nUpgrade: websocket", true)
	f("GET / HTTP/1.1\nHost: a\nConnection: upgrade, close\nUpgrade: websocket", true)
	f("GET / HTTP/1.0\nConnection: Upgrade\nUpgrade: websocket", true)
	f("GET / HTTP/1.1\nHost: a\nConnection: close\nUpgrade: websocket", false)
	f("GET / HTTP/1.1\nHost: a\nUpgrade: websocket", false)
	f("GET / HTTP/1.1\nHost: a\nConnection: Upgrade", false)
}

func TestReadBody(t *testing.T) {
	f := func(lines string, length int, expect bool) {
		t.Helper()
		req := readHead(t, "POST / HTTP/1.1\nHost: a\n"+lines+"\n")
		if req.ContentLength != length || req.Expect != expect {
			t.Errorf("%q: ContentLength %d, Expect %v", lines, req.ContentLength, req.Expect)
		}
	}
	f("", 0, false)
	f("Content-Length: 0\n", 0, false)
	f("Content-Length: 12\n", 12, false)
	f("Transfer-Encoding: chunked\n", -1, false)
	f("Content-Length: 12\nExpect: 100-continue\n", 12, true)
	f("Content-Length: 12\nExpect:\nExpect: ,100-continue\n", 12, true)
	f("Content-Length: 12\nExpect: ,\n", 12, false)
}

func TestReadTarget(t *testing.T) {
	f := func(target, path, query, channel string) {
		t.Helper()
		req := readHead(t, "GET "+target+" HTTP/1.1\nHost: a\n\n")
		got := string(req.Args.Peek("CHANNEL_ID"))
		if string(req.Target) != target || string(req.Path) != path || string(req.Query) != query || got != channel {
			t.Errorf("%q: Target %q, Path %q, Query %q, CHANNEL_ID %q", target, req.Target, req.Path, req.Query, got)
		}
	}
	f("/a/?CHANNEL_ID=x&b=c", "/a/", "CHANNEL_ID=x&b=c", "x")
	f("/a/", "/a/", "", "")
	f("/a?CHANNEL_ID=x?CHANNEL_ID=y", "/a", "CHANNEL_ID=x", "x")
	f("/a??CHANNEL_ID=x", "/a", "", "")
	f("/a?CHANNEL_ID=x&CHANNEL_ID=y", "/a", "CHANNEL_ID=x&CHANNEL_ID=y", "x")
	f("/a?CHANNEL%5FID=x%2fy%3Az", "/a", "CHANNEL%5FID=x%2fy%3Az", "x/y:z")
	f("/a?CHANNEL_ID=x+y", "/a", "CHANNEL_ID=x+y", "x y")
	f("/a?CHANNEL_ID=%zz%", "/a", "CHANNEL_ID=%zz%", "%zz%")
	f("/a?CHANNEL_ID=x;y", "/a", "CHANNEL_ID=x;y", "x;y")
	f("/a?channel_id=x&CHANNEL_ID[]=y", "/a", "channel_id=x&CHANNEL_ID[]=y", "")
	f("//a/%2e/../?q", "//a/%2e/../", "q", "")
	f("http://push.example/a?CHANNEL_ID=x", "http://push.example/a", "CHANNEL_ID=x", "x")
}

func TestReadRefuses(t *testing.T) {
	var r Reader
	var req Request
	f := func(lines string) {
		t.Helper()
		if err := r.Read(toHead(lines), &req); !errors.Is(err, ErrBadRequest) {
			t.Errorf("%q: %v", lines, err)
		}
	}
	f("GET / HTTP/1.1\nHost: a\nX: a\x00b\n\n")
	f("GET / HTTP/1.1\nX: a\x00b\n\n")
	f("GET x HTTP/1.1\nHost: a\n\n")
	f("GET / HTTP/1.1\nHost: a\nHost: b\n\n")
	f("GET / HTTP/1.1\nHost: a\n")
	f("GET / HTTP/1.1\n\nHost: a\n")
	f("")
	if err := r.Read(toHead("GET / HTTP/1.1\nHost: a\n\n"), &req); err != nil {
		t.Errorf("a good head behind bad ones: %v", err)
	}
}

func TestHandshake(t *testing.T) {
	f := func(lines, sub string, status int) {
		t.Helper()
		h := readHead(t, lines+"\nUpgrade: websocket\nConnection: upgrade\nSec-WebSocket-Version: 13\n"+
			"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\n\n").Handshake(sub)
		got := 0
		if refusal := h.Check(); refusal != nil {
			got = refusal.Status
		}
		if got != status || h.Subprotocols != nil {
			t.Errorf("%q: refused with %d, want %d; subprotocols %q", lines, got, status, h.Subprotocols)
		}
	}
	f("GET /s?x HTTP/1.1", "/s", 0)
	f("GET /s?x HTTP/1.0", "/s", 0)
	f("GET /s/ HTTP/1.1", "/s", 400)
	f("GET /s HTTP/1.1", "", 400)
	f("POST /s HTTP/1.1", "/s", 405)
}
