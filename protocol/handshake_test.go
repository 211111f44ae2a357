package protocol

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

const exampleHandshakeKey = "dGhlIHNhbXBsZSBub25jZQ=="

func TestIsUpgrade(t *testing.T) {
	f := func(connection string, upgrade []byte, want bool) {
		t.Helper()
		if got := IsUpgrade([]byte(connection), upgrade); got != want {
			t.Fatalf("Connection: %s, Upgrade: %q: got %v", connection, upgrade, got)
		}
	}
	websocket := []byte("websocket")
	f("Upgrade", websocket, true)
	f("upgrade", websocket, true)
	f("UPGRADE", []byte{}, true)
	f("keep-alive, Upgrade", websocket, true)
	f("upgrade ,keep-alive", websocket, true)
	f(",\tUpgrade", []byte("h2c"), true)
	f("keep-alive, , Upgrade,", websocket, true)
	f("Upgrade", nil, false)
	f("close", websocket, false)
	f("", websocket, false)
	f("upgrades", websocket, false)
	f("not upgrade", websocket, false)
	f("keep-alive", websocket, false)
}

// checkHandshake changes a good handshake.
func checkHandshake(t *testing.T, change func(h *Handshake), want *HandshakeRefusal) {
	t.Helper()
	h := Handshake{
		Method:  []byte("GET"),
		Upgrade: []byte("websocket"),
		Key:     []byte(exampleHandshakeKey),
		Version: []byte("13"),
		PathOK:  true,
	}
	change(&h)
	if got := h.Check(); got != want {
		t.Fatalf("got %v, want %v", got, want)
	}
}

func TestHandshakeCheck(t *testing.T) {
	f := func(change func(h *Handshake), want *HandshakeRefusal) {
		t.Helper()
		checkHandshake(t, change, want)
	}
	f(func(h *Handshake) {}, nil)
	f(func(h *Handshake) { h.Method = []byte("POST") }, refusedMethod)
	f(func(h *Handshake) { h.Method = []byte("get") }, refusedMethod)

	f(func(h *Handshake) { h.Upgrade = []byte("WebSocket") }, nil)
	f(func(h *Handshake) { h.Upgrade = []byte("h2c") }, refusedUpgrade)
	f(func(h *Handshake) { h.Upgrade = []byte("h2c, websocket") }, refusedUpgrade)
	f(func(h *Handshake) { h.Upgrade = []byte(", websocket ,") }, nil)
	f(func(h *Handshake) { h.Upgrade = []byte{} }, refusedUpgrade)

	key := func(key string, want *HandshakeRefusal) {
		t.Helper()
		f(func(h *Handshake) { h.Key = []byte(key) }, want)
	}
	key("AAAAAAAAAAAAAAAAAAA+/A==", nil)
	key("AAAAAAAAAAAAAAAAAAA+/AA=", refusedKey)
	key("AAAAAAAAAAAAAAAAAAA+/A=", refusedKey)
	key("AAAAAAAAAAAAAAAAAAA+/AA==", refusedKey)
	key("AAAAAAAAAAAAAAAAAAA-_A==", refusedKey)
	key("", refusedKey)
	key("AAAAAAAAAAAAAAAAAAA+/A==, AAAAAAAAAAAAAAAAAAA+/A==", refusedKey)
	f(func(h *Handshake) { h.Key = nil }, refusedKey)

	f(func(h *Handshake) { h.Version = []byte("8") }, nil)
	f(func(h *Handshake) { h.Version = []byte("13, ") }, nil)
	f(func(h *Handshake) { h.Version = []byte("13, 8") }, refusedVersion)
	f(func(h *Handshake) { h.Version = []byte("12") }, refusedVersion)
	f(func(h *Handshake) { h.Version = []byte("14") }, refusedLater)
	f(func(h *Handshake) { h.Version = []byte("99") }, refusedLater)
	f(func(h *Handshake) { h.Version = []byte("+99") }, refusedVersion)
	f(func(h *Handshake) { h.Version = []byte("256") }, refusedVersion)
	f(func(h *Handshake) { h.Version = nil }, refusedVersion)

	f(func(h *Handshake) { h.PathOK = false }, refusedPath)
}

func TestHandshakeSubprotocols(t *testing.T) {
	protocols := func(list string, want *HandshakeRefusal) {
		t.Helper()
		checkHandshake(t, func(h *Handshake) { h.Subprotocols = []byte(list) }, want)
	}
	protocols("foo", nil)
	protocols("foo, bar", nil)
	protocols("foo,bar\t,  v1.chat!", nil)
	protocols("", refusedSubprotocols)
	protocols("foo,", nil)
	protocols(",foo", nil)
	protocols("foo,,bar", nil)
	protocols(" , ,", refusedSubprotocols)
	protocols("foo,,foo", refusedSubprotocols)
	protocols("foo bar", refusedSubprotocols)
	protocols("foo, foo", refusedSubprotocols)
	protocols("foo;q=1", refusedSubprotocols)
	protocols("\xd0\xb0", refusedSubprotocols)
	protocols(manyNames(maxSubprotocols), nil)
	protocols(manyNames(maxSubprotocols+1), refusedSubprotocols)
}

func manyNames(n int) string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprint("p", i)
	}
	return strings.Join(names, ", ")
}

// Of several faults the first in this order is told.
func TestHandshakeCheckOrder(t *testing.T) {
	h := Handshake{Subprotocols: []byte{}}
	f := func(want *HandshakeRefusal) {
		t.Helper()
		if got := h.Check(); got != want {
			t.Fatalf("got %v, want %v", got, want)
		}
	}
	f(refusedMethod)
	h.Method = []byte(http.MethodGet)
	f(refusedUpgrade)
	h.Upgrade = []byte("websocket")
	f(refusedKey)
	h.Key = []byte(exampleHandshakeKey)
	f(refusedVersion)
	h.Version = []byte("13")
	f(refusedPath)
	h.PathOK = true
	f(refusedSubprotocols)
	h.Subprotocols = nil
	f(nil)
}

func TestAppendSwitchingProtocols(t *testing.T) {
	f := func(subprotocols []byte, want string) {
		t.Helper()
		got := string(AppendSwitchingProtocols(nil, []byte(exampleHandshakeKey), subprotocols))
		if got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
	head := "HTTP/1.1 101 Switching Protocols\r\n" +
		"Upgrade: websocket\r\n" +
		"Connection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
	f(nil, head+"\r\n")
	f([]byte("foo"), head+"Sec-WebSocket-Protocol: foo\r\n\r\n")
	f([]byte(", foo"), head+"Sec-WebSocket-Protocol: foo\r\n\r\n")
	f([]byte("foo , bar"), head+"Sec-WebSocket-Protocol: foo\r\n\r\n")
}

func TestAppendHandshakeRefusal(t *testing.T) {
	f := func(r *HandshakeRefusal, want string) {
		t.Helper()
		if got := string(AppendHandshakeRefusal(nil, r, false)); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
		if got := string(AppendHandshakeRefusal(nil, r, true)); got != strings.TrimSuffix(want, r.Text) {
			t.Fatalf("got %q to HEAD, want %q without its text", got, want)
		}
	}
	f(refusedVersion, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/html\r\nContent-Length: 47\r\n\r\n"+
		"Missing or invalid Sec-WebSocket-Version header")
	f(refusedLater, "HTTP/1.1 426 Upgrade Required\r\nConnection: close\r\nSec-WebSocket-Version: 13, 8\r\nContent-Length: 0\r\n\r\n")
	f(refusedMethod, "HTTP/1.1 405 Method Not Allowed\r\nConnection: close\r\nContent-Type: text/html\r\nContent-Length: 19\r\n\r\n"+
		"Invalid HTTP method")
}
