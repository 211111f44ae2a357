package engine

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"push-server/engine/view"
	"push-server/protocol/testclient"
)

// refused wants a 503 that says when to come again, and returns after how long.
func refused(t *testing.T, c *testclient.Client) time.Duration {
	t.Helper()
	resp := c.Reply("GET")
	seconds, err := strconv.Atoi(resp.Header.Get("Retry-After"))
	if resp.Status != http.StatusServiceUnavailable || err != nil || seconds < 1 {
		t.Fatalf("answered %s, %v", resp, resp.Header)
	}
	return time.Duration(seconds) * time.Second
}

// dialFrom connects from another address of this machine.
func dialFrom(t *testing.T, e *Engine, from string) *testclient.Client {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := dialer.Dial("tcp", e.Addrs()[0])
	if err != nil {
		t.Fatal(err)
	}
	return testclient.OpenOver(t, conn)
}

// trusting trusts whoever is at 127.0.0.1.
func trusting(change func(o *Options)) func(o *Options) {
	return func(o *Options) {
		o.Proxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
		change(o)
	}
}

func addressesOf(t *testing.T, e *Engine) (addrs []string) {
	t.Helper()
	list, err := e.Connections(t.Context(), view.Query{Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range list.Connections {
		addrs = append(addrs, c.Address)
	}
	slices.Sort(addrs)
	return addrs
}

// More than may come in a second are turned away, and find a place when they come again as they are told.
func TestConnectRate(t *testing.T) {
	t.Parallel()
	e := startMemory(t, func(o *Options) { o.ConnectRate = 1 })
	var after time.Duration
	testclient.Await(t, "somebody to be turned away", func() bool {
		c := dial(t, e)
		c.Get("/nothing")
		resp := c.Reply("GET")
		seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
		after = time.Duration(seconds) * time.Second
		return resp.Status == http.StatusServiceUnavailable
	})
	if after < time.Second {
		t.Fatalf("told to come again after %v", after)
	}
	later(t, e, after)
	subscribed(t, e, query("", newItem()))
	if n := e.Stats().Closes["connect_rate"]; n == 0 {
		t.Error("nobody counts them")
	}
}

// Of a crowd everybody is told a time behind that of those who came before, and there is one for each.
func TestCrowdIsToldInOrder(t *testing.T) {
	t.Parallel()
	const crowd, rate = 60, 2
	e := startMemory(t, func(o *Options) { o.ConnectRate = rate })
	begin := time.Now()
	var least, last time.Time // when those who have come have their turn at the earliest, and the last of them at the latest
	away := 0
	for i := range crowd {
		sent := time.Now()
		c := dial(t, e)
		c.Get("/nothing")
		resp := c.Reply("GET")
		_ = c.Close()
		if resp.Status != http.StatusServiceUnavailable {
			continue // the machine is so slow that nobody has to wait
		}
		seconds, err := strconv.Atoi(resp.Header.Get("Retry-After"))
		if err != nil {
			t.Fatal(err)
		}
		after := time.Duration(seconds) * time.Second // rounded up
		if last = time.Now().Add(after); last.Before(least) {
			t.Errorf("client %d is told to come %v before one who came earlier", i, least.Sub(last))
		}
		if turn := sent.Add(after - time.Second); turn.After(least) {
			least = turn
		}
		away++
	}
	if turns := time.Duration(away) * time.Second / rate; last.Sub(begin) < turns {
		t.Errorf("%d clients were told to come within %v", away, last.Sub(begin))
	}
}

// Nobody has more connections than an address may, until one ends; others do not notice.
func TestConnectionsOfAnAddress(t *testing.T) {
	t.Parallel()
	e := startMemory(t, func(o *Options) { o.Address.Connections = 2 })
	a := newItem()
	first := subscribed(t, e, query("", a))
	subscribed(t, e, query("", a))
	extra := dial(t, e)
	refused(t, extra)
	dialFrom(t, e, "127.0.0.2").Upgrade(testSub + query("", a))
	if n := e.Stats().Closes["address_connections"]; n != 1 {
		t.Errorf("%d are counted", n)
	}
	_ = first.Close()
	testclient.Await(t, "a place", func() bool { return e.Stats().WebSockets == 2 })
	subscribed(t, e, query("", a))
	refused(t, dial(t, e))
}

// A connection that is handed to a goroutine keeps its place.
func TestHandedOffConnectionsCount(t *testing.T) {
	t.Parallel()
	e := startMemory(t, func(o *Options) { o.Address.Connections = 1 })
	c := dial(t, e)
	c.Say("POST /nothing HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
	testclient.Await(t, "it to be handed off", func() bool { return e.Stats().Closes["handed_off"] == 1 })
	refused(t, dial(t, e))
	c.Say("0\r\n\r\n")
	c.Reply("POST")
	_ = c.Close()
	testclient.Await(t, "its place", func() bool { return e.admission.addresses.Len() == 0 })
	subscribed(t, e, query("", newItem()))
}

func TestConnectionsOfAnAddressOverTLS(t *testing.T) {
	t.Parallel()
	e := startTLS(t, func(o *Options) { o.Address.Connections = 1 })
	c := dialTLS(t, e)
	c.Upgrade(testSub + query("", newItem()))
	refused(t, dialTLS(t, e))
	refused(t, testclient.Open(t, e.Addrs()[1]))
	_ = c.Close()
	testclient.Await(t, "its place", func() bool { return e.admission.addresses.Len() == 0 })
	dialTLS(t, e).Upgrade(testSub + query("", newItem()))
}

// A crowd that is turned away over TLS may not take the processors: some are told why, the others are closed before a handshake.
func TestRefusalsOverTLSAreBounded(t *testing.T) {
	t.Parallel()
	e := startTLS(t, func(o *Options) { o.Address.Connections = 1 })
	inside := dialTLS(t, e)
	inside.Upgrade(testSub + query("", newItem()))
	p := e.tlsPorts[0]
	closed := func(why string) {
		t.Helper()
		if err := tls.Client(dial(t, e).Conn.Conn, &tls.Config{InsecureSkipVerify: true}).Handshake(); !testclient.IsEnd(err) {
			t.Errorf("%s: the handshake ends with %v", why, err)
		}
	}
	for range refusalsAtOnce {
		p.refusing <- struct{}{}
	}
	closed("so many at a time")
	for range refusalsAtOnce {
		<-p.refusing
	}
	if _, err := dial(t, e).Read(make([]byte, 1)); !testclient.IsEnd(err) {
		t.Errorf("one that says nothing is not closed: %v", err)
	}
	refused(t, dialTLS(t, e))
	p.refusals.SetBurst(0)
	closed("so many in a second")
	inside.SendFrame(ws.OpPing, []byte("there?"))
	if f := inside.Frame(); f.Header.OpCode != ws.OpPong {
		t.Errorf("who is in gets %+v", f.Header)
	}
}

// Behind a proxy that is trusted each client counts, by the address that nobody but the proxy has written.
func TestConnectionsOfAnAddressBehindProxies(t *testing.T) {
	t.Parallel()
	e := startMemory(t, trusting(func(o *Options) { o.Address.Connections = 2; o.Address.IPv6Prefix = 64 }))
	a := newItem()
	open := func(forwarded string) *testclient.Client {
		t.Helper()
		c := dial(t, e)
		c.Upgrade(testSub+query("", a), "X-Forwarded-For: "+forwarded)
		return c
	}
	tooMany := func(forwarded string) {
		t.Helper()
		c := dial(t, e)
		c.Get(testSub+query("", a), "X-Forwarded-For: "+forwarded, "Connection: Upgrade", "Upgrade: websocket",
			"Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: "+handshakeKey)
		refused(t, c)
	}
	first := open("192.0.2.1")
	open("10.0.0.1, 192.0.2.1")
	tooMany("192.0.2.1")
	tooMany("192.0.2.77, 192.0.2.1")
	open("192.0.2.2")
	open("2001:db8::1")
	open("2001:db8::2")
	tooMany("2001:db8::3")
	open("2001:db8:0:1::1")
	want := []string{"192.0.2.1", "192.0.2.1", "192.0.2.2", "2001:db8:0:1::1", "2001:db8::1", "2001:db8::2"}
	testclient.AwaitNil(t, "operators to see them", func() error {
		if got := addressesOf(t, e); !slices.Equal(got, want) {
			return fmt.Errorf("%q, want %q", got, want)
		}
		return nil
	})
	_ = first.Close()
	testclient.Await(t, "a place", func() bool { return e.Stats().WebSockets == 5 })
	open("192.0.2.1")
	for range 5 { // of the proxy itself
		dial(t, e).Upgrade(testSub + query("", a))
	}
}

// Who is no proxy that is trusted is believed nothing.
func TestForwardedAddressesOfStrangers(t *testing.T) {
	t.Parallel()
	e := startMemory(t, trusting(func(o *Options) { o.Address.Connections = 1 }))
	dialFrom(t, e, "127.0.0.2").Upgrade(testSub+query("", newItem()), "X-Forwarded-For: 192.0.2.1")
	refused(t, dialFrom(t, e, "127.0.0.2"))
	if got := addressesOf(t, e); !slices.Equal(slices.Compact(got), []string{"::ffff:127.0.0.2"}) {
		t.Errorf("operators see %q", got)
	}
}

// A poll through a proxy has a place until it is answered, whoever's poll comes next over the connection.
func TestPollsOfAnAddressBehindProxies(t *testing.T) {
	t.Parallel()
	e := startMemory(t, trusting(func(o *Options) { o.Address.Connections = 1; o.ConnectRate = 1; o.Address.PerSecond = 1 }))
	a := newItem()
	kept := dial(t, e)
	for i := range 30 { // who goes on polling is nobody who comes
		kept.Get(testSub+query("", a), "X-Real-IP: 192.0.2.1")
		testclient.Await(t, "the poll", func() bool { return e.Stats().Polls == 1 })
		if i == 0 {
			extra := dial(t, e)
			extra.Get(testSub+query("", a), "X-Real-IP: 192.0.2.1")
			refused(t, extra)
			if got := addressesOf(t, e); !slices.Contains(got, "192.0.2.1") {
				t.Errorf("operators see %q", got)
			}
		}
		publish(t, e, "1", 0, private(a))
		if resp := kept.Reply("GET"); resp.Status != http.StatusOK {
			t.Fatalf("answered %s", resp)
		}
	}
	if n := e.admission.addresses.Len(); n != 0 {
		t.Errorf("%d addresses have a place", n)
	}
	kept.Get(testSub+query("", a), "X-Real-IP: 192.0.2.2")
	testclient.Await(t, "the poll of somebody else", func() bool { return e.admission.addresses.Len() == 1 })
	if got := addressesOf(t, e); !slices.Contains(got, "192.0.2.2") {
		t.Errorf("operators see %q", got)
	}
	_ = kept.Close()
	testclient.Await(t, "its place", func() bool { return e.admission.addresses.Len() == 0 })
}

// Addresses that come too fast are turned away, alone.
func TestRateOfAnAddress(t *testing.T) {
	t.Parallel()
	e := startMemory(t, func(o *Options) { o.Address.PerSecond = 1 })
	testclient.Await(t, "somebody to be turned away", func() bool {
		c := dial(t, e)
		c.Get("/nothing")
		return c.Reply("GET").Status == http.StatusServiceUnavailable
	})
	other := dialFrom(t, e, "127.0.0.2")
	other.Get("/nothing")
	if resp := other.Reply("GET"); resp.Status != http.StatusNotFound {
		t.Errorf("another address is answered %s", resp)
	}
	if n := e.Stats().Closes["address_rate"]; n == 0 {
		t.Error("nobody counts them")
	}
}

// Statistics are shown to those whom a proxy that is trusted says, and the log names them.
func TestStatisticsBehindProxies(t *testing.T) {
	t.Parallel()
	lines := make(chan string, 10)
	e := startMemory(t, trusting(func(o *Options) {
		o.StatAllow = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
		o.ErrorLog = func(_, addr string) { lines <- addr }
	}))
	f := func(forwarded string, want int) {
		t.Helper()
		c := dial(t, e)
		c.Get("/server-stat/", "X-Forwarded-For: "+forwarded)
		if resp := c.Reply("GET"); resp.Status != want {
			t.Errorf("%s is answered %s", forwarded, resp)
		}
	}
	f("192.0.2.1", http.StatusOK)
	f("192.0.2.1, 198.51.100.1", http.StatusForbidden)
	if addr := testclient.AwaitFrom(t, "a line", lines); addr != "198.51.100.1" {
		t.Errorf("the log names %q", addr)
	}
	if err := e.Drain(context.Background()); err != nil {
		t.Error(err)
	}
}

// All of a crowd that comes at once get in, as long as each comes again when he is told.
func TestCrowdComesBack(t *testing.T) {
	t.Parallel()
	crowd, rate := 600, 300
	if os.Getenv("PUSH_TEST_SLOW") != "" {
		crowd, rate = 8000, 2000
	}
	e := startMemory(t, func(o *Options) { o.ConnectRate = rate })
	a := newShared()
	clients := make([]*testclient.Conn, crowd)
	defer func() {
		for _, c := range clients {
			if c != nil {
				_ = c.Close()
			}
		}
	}()
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() {
			var err error
			if clients[i], err = comeBack(t.Context(), e.Addrs()[0], testSub+query("", a)); err != nil {
				t.Error(err)
			}
		})
	}
	testclient.Await(t, "many to be turned away", func() bool { // however slowly they come: somebody else takes what there is
		for ok := true; ok; {
			ok, _ = e.admission.rate.Take(netip.MustParseAddr("192.0.2.1"), time.Now())
		}
		return e.Stats().Closes["connect_rate"] >= uint64(crowd/4)
	})
	if all.Wait(); t.Failed() {
		return
	}
	testclient.Await(t, "all to listen", func() bool { return e.Stats().WebSockets == crowd })
	publish(t, e, "1", 0, private(a))
	testclient.Await(t, "all to get it", func() bool { return e.Stats().Delivered == uint64(crowd) })
}

const handshakeKey = "dGhlIHNhbXBsZSBub25jZQ=="

// comeBack opens a WebSocket. Whoever is turned away comes again when he is told.
func comeBack(ctx context.Context, addr, target string) (*testclient.Conn, error) {
	for end := time.Now().Add(3 * patience); time.Now().Before(end); {
		c, err := testclient.Connect(ctx, addr)
		if err != nil {
			return nil, err
		}
		_ = c.SetDeadline(end)
		reply, err := c.Poll(target, "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: "+handshakeKey)
		if err == nil && reply.Status == http.StatusSwitchingProtocols {
			return c, nil
		}
		_ = c.Close()
		if err != nil {
			return nil, err
		}
		seconds, err := strconv.Atoi(reply.Header.Get("Retry-After"))
		if err != nil || time.Duration(seconds)*time.Second > patience {
			return nil, fmt.Errorf("answered %s: when it is to come again is not said, or too late", reply)
		}
		select {
		case <-time.After(time.Duration(seconds) * time.Second):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return nil, errors.New("nobody was let in")
}
