package engine

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"slices"
	"testing"

	"push-server/protocol/testclient"
)

// proxied opens a connection with a header of the PROXY protocol before what else is said.
func proxied(t *testing.T, e *Engine, header string) *testclient.Client {
	t.Helper()
	c := dial(t, e)
	c.Say(header)
	return c
}

func proxyProtocol(o *Options) {
	for i := range o.Listeners {
		o.Listeners[i].ProxyProtocol = true
	}
	o.Address.Connections = 1
}

// binaryHeader is a header of version 2 for 192.0.2.2.
const binaryHeader = "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x02\x7f\x00\x00\x01\x12\x34\x00\x50"

// A connection belongs to whom its header names, in whatever slices that comes.
func TestProxyProtocol(t *testing.T) {
	t.Parallel()
	e := startMemory(t, trusting(proxyProtocol))
	a := newItem()
	first := proxied(t, e, "PROXY TCP4 192.0.2.1 127.0.0.1 4711 80\r\n")
	first.Upgrade(testSub+query("", a), "X-Forwarded-For: 192.0.2.77") // its client is no proxy
	second := proxied(t, e, "PROXY TCP4 192.0.2.1 127.0.0.1 4712 80\r\n")
	refused(t, second)
	inParts := proxied(t, e, binaryHeader[:5])
	inParts.Say(binaryHeader[5:])
	inParts.Upgrade(testSub + query("", a))
	behind := proxied(t, e, "PROXY TCP4 127.0.0.1 127.0.0.1 4712 80\r\n") // a proxy behind the proxy
	behind.Upgrade(testSub+query("", a), "X-Forwarded-For: 192.0.2.3")
	for range 2 { // the proxy's own
		c := proxied(t, e, "PROXY UNKNOWN\r\n")
		c.Get("/nothing")
		if resp := c.Reply("GET"); resp.Status != http.StatusNotFound {
			t.Errorf("the proxy itself is answered %s", resp)
		}
		_ = c.Close()
	}
	want := []string{"192.0.2.3", "::ffff:192.0.2.1", "::ffff:192.0.2.2"}
	testclient.AwaitNil(t, "operators to see them", func() error {
		if got := addressesOf(t, e); !slices.Equal(got, want) {
			return fmt.Errorf("%q, want %q", got, want)
		}
		return nil
	})
	publish(t, e, "1", 0, private(a))
	for _, c := range []*testclient.Client{first, inParts, behind} {
		c.Bodies(1)
	}
	_ = first.Close()
	testclient.Await(t, "a place", func() bool { return e.Stats().WebSockets == 2 })
	proxied(t, e, "PROXY TCP4 192.0.2.1 127.0.0.1 4713 80\r\n").Upgrade(testSub + query("", a))

	without := dial(t, e)
	without.Get("/nothing")
	if _, err := without.Read(make([]byte, 1)); err == nil {
		t.Error("a proxy is answered without a header")
	}
	if n := e.Stats().Closes["proxy_header"]; n != 1 {
		t.Errorf("%d are counted", n)
	}
}

// Who is not trusted is served as he comes, and cannot say that he is somebody else.
func TestProxyProtocolOfStrangers(t *testing.T) {
	t.Parallel()
	e := startMemory(t, trusting(func(o *Options) { proxyProtocol(o); o.Address.Connections = 2 }))
	dialFrom(t, e, "127.0.0.2").Upgrade(testSub + query("", newItem()))
	c := dialFrom(t, e, "127.0.0.2")
	c.Say("PROXY TCP4 192.0.2.1 127.0.0.1 4711 80\r\n")
	c.Get("/nothing")
	if resp := c.Reply("GET"); resp.Status != http.StatusBadRequest {
		t.Errorf("answered %s", resp)
	}
	if got := addressesOf(t, e); !slices.Equal(slices.Compact(got), []string{"::ffff:127.0.0.2"}) {
		t.Errorf("operators see %q", got)
	}
}

func TestProxyProtocolOverTLS(t *testing.T) {
	t.Parallel()
	e := startTLS(t, trusting(proxyProtocol))
	open := func(header string) (*testclient.Client, error) {
		c := proxied(t, e, header)
		conn := tls.Client(c.Conn.Conn, &tls.Config{InsecureSkipVerify: true})
		return testclient.OpenOver(t, conn), conn.Handshake()
	}
	first, err := open("PROXY TCP4 192.0.2.1 127.0.0.1 4711 443\r\n")
	if err != nil {
		t.Fatal(err)
	}
	first.Upgrade(testSub + query("", newItem()))
	if got := addressesOf(t, e); !slices.Equal(got, []string{"::ffff:192.0.2.1"}) {
		t.Errorf("operators see %q", got)
	}
	second, err := open("PROXY TCP4 192.0.2.1 127.0.0.1 4711 443\r\n")
	if err != nil {
		t.Fatal(err)
	}
	refused(t, second)
	if _, err := open(binaryHeader); err != nil {
		t.Error(err)
	}
	if _, err := open(""); err == nil {
		t.Error("a proxy is answered without a header")
	}
	_ = first.Close()
	testclient.Await(t, "its place", func() bool { return e.Stats().WebSockets == 0 })
	testclient.AwaitNil(t, "another connection", func() error {
		c, err := open("PROXY TCP4 192.0.2.1 127.0.0.1 4711 443\r\n")
		if err != nil {
			return err
		}
		return c.Conn.Upgrade(testSub + query("", newItem()))
	})
}
