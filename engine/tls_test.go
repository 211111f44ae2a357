package engine

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"push-server/protocol/testclient"
)

// selfSigned makes a certificate for 127.0.0.1.
func selfSigned(t testing.TB) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// startTLS starts an engine whose first listener is encrypted and whose second is not.
func startTLS(t testing.TB, change func(o *Options)) *Engine {
	t.Helper()
	certificate := selfSigned(t)
	return startMemory(t, func(o *Options) {
		plain := o.Listeners[0]
		o.Listeners[0].TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{"h2"}}
		o.Listeners = append(o.Listeners, plain)
		if change != nil {
			change(o)
		}
	})
}

// dialTLS connects to the first listener.
func dialTLS(t testing.TB, e *Engine) *testclient.Client {
	t.Helper()
	conn := tls.Client(dial(t, e).Conn.Conn, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2", "http/1.1"}})
	if err := conn.Handshake(); err != nil {
		t.Fatal(err)
	}
	return testclient.OpenOver(t, conn)
}

func TestWebSocketOverTLS(t *testing.T) {
	e := startTLS(t, nil)
	a := newItem()
	c := dialTLS(t, e)
	c.Upgrade(testSub + query("", a))
	if state := c.Conn.Conn.(*tls.Conn).ConnectionState(); state.Version != tls.VersionTLS13 || state.NegotiatedProtocol != "" {
		t.Errorf("version %x, protocol %q", state.Version, state.NegotiatedProtocol)
	}
	c.SendFrame(ws.OpPing, []byte("there?"))
	if f := c.Frame(); f.Header.OpCode != ws.OpPong || string(f.Payload) != "there?" {
		t.Fatalf("%v %q instead of a pong", f.Header, f.Payload)
	}
	publish(t, e, `{"a":1}`, 60, private(a))
	if got := c.Bodies(1); got[0] != `{"a":1}` {
		t.Errorf("got %q", got)
	}
	st := e.Stats()
	if st.Connections != 1 || st.Encrypted != 1 || st.WebSockets != 1 || int64(st.Free) != e.admission.max.Load()-3 {
		t.Errorf("%+v", st)
	}
	c.SendFrame(ws.OpClose, ws.NewCloseFrameBody(1000, "bye"))
	if code := c.End(); code != 1000 {
		t.Errorf("close code %d", code)
	}
	_ = c.Close()
	testclient.Await(t, "the places", func() bool { return int64(e.Stats().Free) == e.admission.max.Load() })
}

func TestPollOverTLS(t *testing.T) {
	e := startTLS(t, nil)
	a := newItem()
	c := dialTLS(t, e)
	for _, body := range []string{"1", "2"} {
		c.Get(testSub + query("", a))
		testclient.Await(t, "the poll", func() bool { return e.Stats().Polls == 1 })
		publish(t, e, body, 60, private(a))
		if ms, err := c.Reply("GET").Messages(); err != nil || len(ms) != 1 || ms[0].Body != body {
			t.Errorf("got %v, want %q", ms, body)
		}
	}
}

// The end of the last reply is told in TLS, too: without it a client cannot know whether the rest was cut off.
func TestEndOverTLS(t *testing.T) {
	e := startTLS(t, nil)
	c := dialTLS(t, e)
	c.Say("GET /nothing HTTP/1.0\r\n\r\n")
	if reply, err := io.ReadAll(c); err != nil || !bytes.HasPrefix(reply, []byte("HTTP/1.1 404")) {
		t.Errorf("%v %q", err, reply)
	}
	_ = c.Close()
	testclient.Await(t, "the end", func() bool { return e.Stats().Encrypted == 0 })
}

// A client that goes without a goodbye, or breaks the protocol, leaves nothing behind.
func TestClientVanishesOverTLS(t *testing.T) {
	e := startTLS(t, nil)
	f := func(vanish func(c *testclient.Client)) {
		t.Helper()
		c := dialTLS(t, e)
		c.Upgrade(testSub + query("", newItem()))
		vanish(c)
		testclient.Await(t, "the end", func() bool { st := e.Stats(); return st.Encrypted == 0 && st.WebSockets == 0 && st.Connections == 0 })
	}
	tcp := func(c *testclient.Client) *net.TCPConn { return c.Conn.Conn.(*tls.Conn).NetConn().(*net.TCPConn) }
	f(func(c *testclient.Client) { _ = c.Close() })
	f(func(c *testclient.Client) { _ = tcp(c).Close() })
	f(func(c *testclient.Client) { _ = errors.Join(tcp(c).SetLinger(0), tcp(c).Close()) })
	f(func(c *testclient.Client) { _ = tcp(c).CloseWrite() })
	f(func(c *testclient.Client) { _, _ = tcp(c).Write(make([]byte, 100)) })
}

func TestRequestsOverTLS(t *testing.T) {
	var line atomic.Pointer[string]
	e := startTLS(t, func(o *Options) {
		o.ErrorLog = func(text, addr string) { s := text + " " + addr; line.Store(&s) }
	})
	a := newItem()
	live := dialTLS(t, e)
	live.Upgrade(testSub + query("", a))
	c := dialTLS(t, e)
	post := func(query, body string) testclient.Reply {
		t.Helper()
		c.Say("POST /bitrix/pub/" + query + " HTTP/1.1\r\nHost: test\r\nMessage-Expiry: 60\r\nContent-Length: " +
			strconv.Itoa(len(body)) + "\r\n\r\n" + body)
		return c.Reply("POST")
	}
	if resp := post("?binaryMode=true", "nonsense"); resp.Status != 400 || *line.Load() != "4013: Wrong Request Data. ::ffff:127.0.0.1" {
		t.Errorf("%s, log %q", resp, *line.Load())
	}
	for _, n := range []int{10, maxInlineBody + 1} { // the second one is handed off
		body := strings.Repeat("x", n)
		if resp := post(query("", a), body); resp.Status != 200 {
			t.Error(resp)
		}
		if got := live.Bodies(1); got[0] != body {
			t.Errorf("got %d bytes, want %d", len(got[0]), n)
		}
	}
}

func TestLargeMessagesOverTLS(t *testing.T) {
	e := startTLS(t, nil)
	a := newItem()
	c := dialTLS(t, e)
	c.Upgrade(testSub + query("", a))
	payload := bytes.Repeat([]byte("y"), 1<<20)
	c.SendFrame(ws.OpText, payload) // ignored
	c.SendFrame(ws.OpPing, []byte("there?"))
	if f := c.Frame(); f.Header.OpCode != ws.OpPong {
		t.Fatalf("%v instead of a pong", f.Header)
	}
	for range 3 {
		publish(t, e, string(payload), 60, private(a))
		if got := c.Bodies(1); got[0] != string(payload) {
			t.Errorf("got %d bytes", len(got[0]))
		}
	}
}

func TestSlowReaderOverTLS(t *testing.T) {
	t.Parallel()
	e := startTLS(t, func(o *Options) { o.MaxBuffered = 1 << 16; o.PingInterval = 5 * time.Second }) // for which a write may be stuck
	a := newItem()
	c := dialTLS(t, e)
	c.Upgrade(testSub + query("", a))
	body := strings.Repeat("z", 1<<20)
	testclient.Await(t, "the slow reader to be closed", func() bool {
		for range 16 {
			publish(t, e, body, 0, private(a))
		}
		return e.Stats().Closes[CloseSlowReader.String()] == 1
	})
	testclient.Await(t, "the end of its connection", func() bool { return e.Stats().Encrypted == 0 })
}

func TestNoTLSOnAnEncryptedPort(t *testing.T) {
	e := startTLS(t, nil)
	c := dial(t, e)
	c.Say("GET / HTTP/1.1\r\nHost: test\r\n\r\n")
	_, _ = io.Copy(io.Discard, c)
	testclient.Await(t, "the end", func() bool { st := e.Stats(); return st.HandshakesFailed == 1 && st.Encrypted == 0 && st.Opened == 0 })
}

func TestHandshakeTakesTooLong(t *testing.T) {
	e := startTLS(t, func(o *Options) { o.HeadTimeout = 100 * time.Millisecond })
	c := dial(t, e)
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("an answer to nothing")
	}
	testclient.Await(t, "the end", func() bool { return e.Stats().HandshakesFailed == 1 })
}

func TestPlacesOverTLS(t *testing.T) {
	e := startTLS(t, func(o *Options) { o.MaxConnections = 3 })
	first := dialTLS(t, e)
	first.Upgrade(testSub + query("", newItem()))
	refused(t, dialTLS(t, e)) // it would take a fourth descriptor
	if n := e.Stats().Closes[CloseAdmission.String()]; n != 1 {
		t.Errorf("%d refusals", n)
	}
}

func TestDrainOverTLS(t *testing.T) {
	e := startTLS(t, nil)
	a, b := newItem(), newItem()
	socket := dialTLS(t, e)
	socket.Upgrade(testSub + query("", a))
	waiting := dialTLS(t, e)
	waiting.Get(testSub + query("&mid=00000000000000000000000001", b))
	_ = dialTLS(t, e) // idle
	_ = dial(t, e)    // has not begun
	testclient.Await(t, "all", func() bool {
		st := e.Stats()
		return st.WebSockets == 1 && st.Polls == 1 && st.Encrypted == 4 && st.Connections == 3
	})
	drained := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		drained <- e.Drain(ctx)
	}()
	if code := socket.End(); code != 1001 {
		t.Errorf("WebSocket closed with %d", code)
	}
	_ = socket.Close()
	if resp := waiting.Reply("GET"); resp.Status != http.StatusNotModified {
		t.Errorf("poll answered with %s", resp)
	}
	_ = waiting.Close()
	if err := <-drained; err != nil {
		t.Error(err)
	}
}

// gnet cannot do without a listener of its own. Nobody is served there.
func TestEverythingEncrypted(t *testing.T) {
	e := startTLS(t, func(o *Options) { o.Listeners = o.Listeners[:1] })
	c := dialTLS(t, e)
	c.Upgrade(testSub + query("", newItem()))
	fd, err := e.loops[0].gnet.Dup()
	if err != nil {
		t.Fatal(err)
	}
	ln, err := fileListener(fd)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	hidden, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer hidden.Close()
	if n, err := hidden.Read(make([]byte, 1)); err == nil {
		t.Errorf("%d bytes", n)
	}
}

func fileListener(fd int) (net.Listener, error) {
	file := os.NewFile(uintptr(fd), "listener")
	defer file.Close()
	return net.FileListener(file)
}
