package engine

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/gobwas/ws"

	"push-server/poll"
	"push-server/protocol"
	"push-server/protocol/testclient"
)

// Another list of keys throws nobody out: who is subscribed stays, and is counted; who comes anew has to know a key of the new list.
func TestKeysChange(t *testing.T) {
	t.Parallel()
	const next = "the key of tomorrow"
	e := startMemory(t, nil)
	counted := func(removed int, want ...int) {
		t.Helper()
		testclient.AwaitNil(t, "connections by key", func() error {
			if st := e.Stats(); !slices.Equal(st.ByKey, want) || st.ByRemovedKey != removed {
				return fmt.Errorf("%v and %d with a key that was removed, want %v and %d", st.ByKey, st.ByRemovedKey, want, removed)
			}
			return nil
		})
	}
	a, b := newItem(), newItem()
	with := func(key string, it protocol.Item) string {
		return "?CHANNEL_ID=" + testclient.ChannelOf(key, it).Signed()
	}
	old, poll := subscribed(t, e, with(testKey, a)), dial(t, e)
	poll.Get(testSub + with(testKey, a))
	counted(0, 2)

	changeSettings(t, e, func(s *Settings) { s.Key, s.OlderKeys = []byte(next), [][]byte{s.Key} })
	counted(0, 0, 2)
	subscribed(t, e, with(testKey, b))
	subscribed(t, e, with(next, b))
	counted(0, 1, 3)

	changeSettings(t, e, func(s *Settings) { s.OlderKeys = nil })
	counted(3, 1)
	publish(t, e, "x", 60, private(a))
	if got := old.Bodies(1)[0]; got != "x" {
		t.Error(got)
	}
	if got := poll.Reply("GET"); got.Status != http.StatusOK || !strings.Contains(string(got.Body), "x") {
		t.Errorf("the poll that waited is answered %s %q", got, got.Body)
	}
	poll.Get(testSub + with(testKey, a))
	if got := poll.Reply("GET"); got.Status != http.StatusBadRequest {
		t.Errorf("the next one with the key that was removed is answered %s", got)
	}
	if code := webSocket(t, e, with(testKey, a)).End(); code != 4010 {
		t.Errorf("a WebSocket with the key that was removed: close code %d", code)
	}
	subscribed(t, e, with(next, a))
	_ = old.Close()
	counted(1, 2)
}

// A lower limit of connections closes nobody by itself. Who comes then makes the oldest leave, until the limit is kept.
func TestLimitOfAChannelChanges(t *testing.T) {
	t.Parallel()
	e := startMemory(t, func(o *Options) { o.MaxConnPerChannel = 6; o.Loops = 3 })
	a := newItem()
	var cs []*testclient.Client
	come := func(stay int) {
		t.Helper()
		cs = append(cs, subscribed(t, e, query("", a)))
		testclient.AwaitNil(t, "the limit", func() error {
			if n := e.Stats().WebSockets; n != stay {
				return fmt.Errorf("%d WebSockets, want %d", n, stay)
			}
			return nil
		})
	}
	for i := range 6 {
		come(i + 1)
	}
	changeSettings(t, e, func(s *Settings) { s.MaxConnPerChannel = 2 })
	publish(t, e, "all are there", 0, private(a))
	for _, c := range cs {
		c.Bodies(1)
	}
	come(2)
	changeSettings(t, e, func(s *Settings) { s.MaxConnPerChannel = 4 })
	come(3)
	come(4)
	come(4)
	for _, c := range cs[:6] { // 2 of 7 are left, 4 of 9 now
		if code := c.End(); code != 4029 {
			t.Errorf("close code %d", code)
		}
	}
	for _, l := range e.loops {
		gone := make(chan struct{})
		l.call(func(l *loop) { l.recountCrowds(l.settings.share, math.MaxInt); close(gone) })
		<-gone
	}
	if n := e.limits.crowded.Load(); n != 0 {
		t.Errorf("%d channels are crowded on no loop", n)
	}
}

// Places are as many as the settings say now; who is in stays.
func TestMaxConnectionsChanges(t *testing.T) {
	t.Parallel()
	e := startMemory(t, func(o *Options) { o.MaxConnections = 2 })
	a := newItem()
	cs := []*testclient.Client{subscribed(t, e, query("", a)), subscribed(t, e, query("", a))}
	f := func(most, want int) {
		t.Helper()
		changeSettings(t, e, func(s *Settings) { s.MaxConnections = most })
		c := dial(t, e)
		c.Get("/nowhere")
		if got := c.Reply("GET"); got.Status != want {
			t.Errorf("%d places: %s, want %d", most, got, want)
		}
		_ = c.Close()
		testclient.Await(t, "it to have gone", func() bool { return e.Stats().Connections == 2 })
	}
	f(2, http.StatusServiceUnavailable)
	f(3, http.StatusNotFound)
	f(1, http.StatusServiceUnavailable)
	publish(t, e, "x", 0, private(a))
	for _, c := range cs {
		c.Bodies(1)
	}
}

// Who may do what changes for the next request, on connections that are there as well.
func TestAllowListsChange(t *testing.T) {
	t.Parallel()
	e := startMemory(t, nil)
	c := dial(t, e)
	f := func(want int) {
		t.Helper()
		for _, target := range []string{"/server-stat/", "/bitrix/pub/?CHANNEL_ID=" + strings.Repeat("0", 32)} {
			c.Get(target)
			if got := c.Reply("GET"); got.Status != want {
				t.Errorf("%s: %s, want %d", target, got, want)
			}
		}
	}
	origin := func(want int) {
		t.Helper()
		c := dial(t, e)
		c.Get(testSub+query("", newItem()), "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
			"Origin: https://page.example")
		if got := c.Reply("GET"); got.Status != want {
			t.Errorf("a page: %s, want %d", got, want)
		}
	}
	f(http.StatusOK)
	origin(http.StatusSwitchingProtocols)
	elsewhere := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	changeSettings(t, e, func(s *Settings) {
		s.StatAllow, s.PubAllow = elsewhere, elsewhere
		s.Origins, _ = protocol.NewOrigins([]string{"portal.example"})
	})
	f(http.StatusForbidden)
	origin(http.StatusForbidden)
	changeSettings(t, e, func(s *Settings) { s.StatAllow, s.PubAllow, s.Origins = nil, nil, protocol.Origins{} })
	f(http.StatusOK)
	origin(http.StatusSwitchingProtocols)
}

// What a client may say changes for those who are connected.
func TestLimitsOfClientsChange(t *testing.T) {
	t.Parallel()
	e := startMemory(t, func(o *Options) { o.ClientRate = -1 })
	message := testclient.Publication{Receivers: []testclient.Receiver{testclient.ChannelOf(testKey, newItem()).PublicReceiver()}, Body: "1", Expiry: 60}
	publish := func(c *testclient.Client, n int) {
		c.SendFrame(ws.OpBinary, testclient.AppendPublish(nil, slices.Repeat([]testclient.Publication{message}, n)...))
	}
	stays := func(c *testclient.Client) {
		t.Helper()
		c.SendFrame(ws.OpPing, nil)
		for c.Frame().Header.OpCode != ws.OpPong {
		}
	}
	c := subscribed(t, e, query("&binaryMode=true", newItem()))
	for range 50 {
		publish(c, 100)
	}
	stays(c)
	changeSettings(t, e, func(s *Settings) { s.ClientRate, s.Limits.MaxMessages = 1000, 5 })
	publish(c, 5)
	stays(c)
	changeSettings(t, e, func(s *Settings) { s.ClientRate = 1 }) // of which ten seconds may be saved up
	for range 100 {
		publish(c, 5)
	}
	if code := c.End(); code != 1013 {
		t.Errorf("closed with %d for its rate", code)
	}
}

// Bounds of bytes and of the queue are those of the settings, as far as everything that is held is accounted for.
func TestBoundsChange(t *testing.T) {
	t.Parallel()
	e := startMemory(t, nil)
	changeSettings(t, e, func(s *Settings) {
		s.RequestTotal, s.InputTotal, s.OutputTotal, s.PendingTotal, s.AnswerTotal, s.PublishQueue, s.DrainPace = 1001, 1002, 1003, 1004, 1005, 1, 77
	})
	limits := make(map[string]int64)
	for _, h := range e.Stats().Held {
		limits[h.Kind] = h.Limit
	}
	for kind, want := range map[string]int64{"requests": 1001, "input": 1002, "output": 1003, "pending": 1004, "replay": 1005} {
		if limits[kind] != want {
			t.Errorf("%s: %d, want %d", kind, limits[kind], want)
		}
	}
	p := publication("x", 60, private(newItem()))
	if err := e.Publish(t.Context(), []*protocol.Publication{p, p}); !errors.Is(err, poll.ErrQueueFull) {
		t.Errorf("two publications for a queue of one: %v", err)
	}
	if pace := e.drainPace(t.Context(), 1); pace != 77 {
		t.Errorf("%v connections closed in a second", pace)
	}
}

// Settings that are wrong, or cannot be had while the engine runs, change nothing.
func TestWrongSettingsChangeNothing(t *testing.T) {
	t.Parallel()
	e := startMemory(t, nil)
	f := func(want string, change func(s *Settings)) {
		t.Helper()
		was := e.settings.Load()
		s := was.Settings
		change(&s)
		if err := e.Change(t.Context(), s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
		if e.settings.Load() != was {
			t.Error("other settings count")
		}
	}
	f("Key is empty", func(s *Settings) { s.Key = nil })
	f("at most 8", func(s *Settings) { s.OlderKeys = slices.Repeat([][]byte{[]byte("k")}, MaxKeys) })
	f("unknown signature algorithm", func(s *Settings) { s.Algo = "rot13" })
	f("MaxPayload cannot change from 1048576 to 5", func(s *Settings) { s.Limits.MaxPayload = 5 })
}

// Limits of who comes count from the next connection on; who is in stays, and counts if there was a limit.
func TestLimitsOfWhoComesChange(t *testing.T) {
	t.Parallel()
	e := startMemory(t, func(o *Options) { o.Address.Connections = 3 })
	a := newItem()
	cs := []*testclient.Client{subscribed(t, e, query("", a)), subscribed(t, e, query("", a))}
	changeSettings(t, e, func(s *Settings) { s.Address.Connections = 2 })
	refused(t, dial(t, e))
	changeSettings(t, e, func(s *Settings) { s.Address.Connections = 0 })
	cs = append(cs, subscribed(t, e, query("", a)))
	changeSettings(t, e, func(s *Settings) { s.ConnectRate = 1 })
	testclient.Await(t, "somebody to be turned away", func() bool {
		c := dial(t, e)
		c.Get("/nothing")
		return c.Reply("GET").Status == http.StatusServiceUnavailable
	})
	changeSettings(t, e, func(s *Settings) { s.ConnectRate = 0 })
	cs = append(cs, subscribed(t, e, query("", a)))
	publish(t, e, "x", 0, private(a))
	for _, c := range cs {
		c.Bodies(1)
	}
}
