package poll

import (
	"net/http"
	"testing"
)

// Lines of one name are one list (RFC 9110, 5.3), whatever stands in which.
func TestLinesOfOneNameAreOneList(t *testing.T) {
	f := func(lines string, upgrade, closes bool) {
		t.Helper()
		var r Reader
		var req Request
		if err := r.Read(toHead("GET /sub/ HTTP/1.1\nHost: a\n"+lines+"\n\n"), &req); err != nil {
			t.Fatalf("%q: %v", lines, err)
		}
		if req.Upgrade != upgrade || req.Close != closes {
			t.Errorf("%q: upgrade %t, close %t", lines, req.Upgrade, req.Close)
		}
	}
	f("Connection: Upgrade\nUpgrade: websocket", true, false)
	f("Connection: keep-alive\nConnection: Upgrade\nUpgrade: websocket", true, false)
	f("Connection: Upgrade\nConnection: keep-alive\nUpgrade: websocket", true, false)
	f("Connection: keep-alive, , Upgrade\nUpgrade: websocket", true, false)
	f("Connection: keep-alive\nUpgrade: websocket", false, false)
	f("Connection: keep-alive\nConnection: close", false, true)
	f("Connection: keep-alive, close", false, true)
	f("Connection: close\nConnection: Upgrade\nUpgrade: websocket", true, true)

	list := func(lines, name, want string) {
		t.Helper()
		var r Reader
		var req Request
		if err := r.Read(toHead("GET /sub/ HTTP/1.1\nHost: a\n"+lines+"\n\n"), &req); err != nil {
			t.Fatal(err)
		}
		if got := string(req.List(name)); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	list("X-Forwarded-For: 10.0.0.1\nX-Forwarded-For: 10.0.0.2", "X-Forwarded-For", "10.0.0.1, 10.0.0.2")
	list("Sec-WebSocket-Protocol: a\nSec-WebSocket-Protocol: b, c", "Sec-WebSocket-Protocol", "a, b, c")
	list("X: y", "X-Forwarded-For", "")
}

// A handshake has one key: of two, nobody knows which one the client will check.
func TestTwoKeys(t *testing.T) {
	f := func(lines string, ok bool) {
		t.Helper()
		var r Reader
		var req Request
		head := "GET /sub/ HTTP/1.1\nHost: a\nConnection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Version: 13\n" + lines
		if err := r.Read(toHead(head+"\n\n"), &req); err != nil {
			t.Fatal(err)
		}
		hs := req.Handshake("/sub/")
		if refusal := hs.Check(); (refusal == nil) != ok {
			t.Errorf("%q: %v", lines, refusal)
		}
	}
	const key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
	f(key, true)
	f(key+"\n"+key, false)
	f(key+"\nSec-WebSocket-Protocol: a\nSec-WebSocket-Protocol: b", true)
	f(key+"\nSec-WebSocket-Version: 8", false)
	f(key+"\nSec-WebSocket-Version:\nUpgrade: ,\nSec-WebSocket-Protocol:\nSec-WebSocket-Protocol: a", true)
	f(key+"\nUpgrade: h2c", false)
}

// An empty Host is right where a target has no authority (RFC 9112, 3.2); health checks send it.
func TestEmptyHost(t *testing.T) {
	f := func(lines string, noHost, bad bool) {
		t.Helper()
		var r Reader
		var req Request
		err := r.Read(toHead("GET /sub/ HTTP/1.1\n"+lines+"X: y\n\n"), &req)
		if (err != nil) != bad || !bad && (req.NoHost != noHost || string(req.Header.Peek("X")) != "y" || string(req.Header.Method()) != http.MethodGet) {
			t.Errorf("%q: no host %t, %v", lines, req.NoHost, err)
		}
	}
	f("Host: a\n", false, false)
	f("", true, false)
	f("Host:\n", false, false)
	f("Host:  \n", false, false)
	f("host:\n", false, false)
	f("Host: a\nHost: b\n", false, true)
}
