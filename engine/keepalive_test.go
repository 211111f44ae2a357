package engine

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"push-server/protocol"
	"push-server/protocol/testclient"
)

// kind is a request whose answer does not depend on when it is asked.
type kind struct{ method, target, header, body string }

// portal makes the engine of these tests, which serves all versions.
func portal(t *testing.T) *Engine {
	t.Helper()
	return startMemory(t, func(o *Options) { o.V5.Enabled, o.Listeners[0].Routes.API = true, "/api/" })
}

func (k *kind) String() string { return k.method + " " + k.target }

func (k *kind) text() string {
	text := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: test\r\n%s", k.method, k.target, k.header)
	if k.body != "" {
		text += fmt.Sprintf("Content-Length: %d\r\n", len(k.body))
	}
	return text + "\r\n" + k.body
}

// asked sends the request and returns the answer, without what depends on the time of day.
func (k *kind) asked(c *testclient.Client) (string, error) {
	if _, err := io.WriteString(c.Conn, k.text()); err != nil {
		return "", err
	}
	reply, err := c.Conn.Reply(k.method)
	if err != nil {
		return "", err
	}
	for _, name := range []string{"Date", "Last-Modified", "Expires"} {
		reply.Header.Del(name)
	}
	text := regexp.MustCompile(`"tag":"\d+","time":"[^"]*"`).ReplaceAllString(string(reply.Body), "TIME")
	return fmt.Sprintf("%d %v %q", reply.Status, reply.Header, text), nil
}

// kindsOf makes requests of all kinds, of several people.
func kindsOf(t *testing.T, e *Engine) (kinds []kind, last kind) {
	a, b, empty := newItem(), newItem(), newItem()
	for i := range 5 {
		publish(t, e, fmt.Sprint("a", i), 600, private(a))
		publish(t, e, fmt.Sprint("b", i), 600, private(b))
	}
	const old, future = "&mid=00000000000000000000000000", "&mid=17000000000000000000000001"
	get := func(query string) { kinds = append(kinds, kind{method: "GET", target: testSub + query}) }
	for _, binary := range []string{"", "&binaryMode=true"} {
		for _, mid := range []string{old, future} {
			get(query(binary+mid, a))
			get(query(binary+mid, b))
			get(query(binary+mid, a, b))
		}
		get("?CHANNEL_ID=wrong" + binary)
	}
	head := "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	id := fmt.Sprintf("%x", empty.Private)
	kinds = append(kinds,
		kind{method: "OPTIONS", target: testSub},
		kind{method: "GET", target: "/nothing"},
		kind{method: "HEAD", target: "/nothing"},
		kind{method: "DELETE", target: "/bitrix/pub/"},
		kind{method: "POST", target: "/bitrix/pub/?CHANNEL_ID=" + id, header: "Message-Expiry: 0\r\n", body: "x"},
		kind{method: "POST", target: "/bitrix/pub/?CHANNEL_ID=wrong", body: "x"},
		kind{method: "POST", target: "/bitrix/pub/?binaryMode=true", body: "x"},
		kind{method: "POST", target: "/bitrix/rest/?CHANNEL_ID=wrong", body: "x"},
		kind{method: "GET", target: "/bitrix/pub/?CHANNEL_ID=" + id},
		kind{method: "GET", target: testSub + query(old, a), body: "a body that nobody reads"},
	)
	kinds = append(kinds, kindsOfV5(t, e, old)...)
	return kinds, kind{method: "GET", target: testSub + query(old, b), header: head}
}

// kindsOfV5 are polls by token and calls of back ends.
func kindsOfV5(t *testing.T, e *Engine, old string) (kinds []kind) {
	publish(t, e, `{"params":{}}`, 600, protocol.UserChannel(17))
	for _, query := range []string{
		"?token=" + testclient.Token(testKey, time.Now().Add(time.Hour).Unix(), 17) + old,
		"?jsonRpc=true&token=" + testclient.Token(testKey, time.Now().Add(time.Hour).Unix(), 17) + old,
		"?jsonRpc=true&token=" + testclient.Token("another key", time.Now().Add(time.Hour).Unix(), 17) + old,
		"?jsonRpc=true&token=" + testclient.Token(testKey, time.Now().Add(-time.Hour).Unix(), 17) + old,
	} {
		kinds = append(kinds, kind{method: "GET", target: testSub + query})
	}
	call := `[{"jsonrpc":"2.0","method":"publish","params":{"userList":[18],"expiry":0,"body":{"module_id":"im"}}}]`
	for _, body := range []string{call, call[:len(call)-3], `{"jsonrpc":"2.0","id":1,"method":"nothing"}`} {
		for _, path := range []string{"/api/", "/bitrix/pub/"} {
			signed := fmt.Sprintf("%s?hostId=0123&signature=%x", path, testclient.NewChannel(testKey).Sign(body))
			kinds = append(kinds, kind{method: "POST", target: signed, body: body}, kind{method: "POST", target: signed + "0", body: body})
		}
	}
	return kinds
}

// waits is a poll that says of no position, and so waits until something comes.
type waits struct {
	kind
	channel protocol.ChannelID
}

// asked is asked of kind, with what is published as soon as the poll waits; other polls there are none.
func (w *waits) asked(t *testing.T, e *Engine, c *testclient.Client) string {
	t.Helper()
	c.Say(w.text())
	testclient.Await(t, "the poll to wait", func() bool { return e.Stats().Polls == 1 })
	publish(t, e, `{"params":{}}`, 0, w.channel)
	reply := c.Reply("GET")
	body := regexp.MustCompile(`"mid":"\d+"`).ReplaceAllString(string(reply.Body), "ID")
	if ms, err := reply.Messages(); err == nil { // not so in version 5
		body = strings.Join(testclient.Bodies(ms), " ")
	}
	for _, name := range []string{"Date", "Last-Modified", "Expires", "Content-Length"} {
		reply.Header.Del(name)
	}
	return fmt.Sprintf("%d %v %s", reply.Status, reply.Header, body)
}

// waiting are such polls in all dialects.
func waiting() (all []waits) {
	for _, more := range []string{"", "&binaryMode=true"} {
		it := newItem()
		all = append(all, waits{kind{method: "GET", target: testSub + query(more, it)}, private(it)})
	}
	token := testclient.Token(testKey, time.Now().Add(time.Hour).Unix(), 19)
	return append(all, waits{kind{method: "GET", target: testSub + "?jsonRpc=true&token=" + token}, protocol.UserChannel(19)})
}

// fresh are the answers that connections of their own get.
func fresh(t *testing.T, e *Engine, kinds []kind) []string {
	want := make([]string, len(kinds))
	for i := range kinds {
		c := dial(t, e)
		answer, err := kinds[i].asked(c)
		if err != nil {
			t.Fatalf("%s: %v", &kinds[i], err)
		}
		want[i] = answer
		_ = c.Close()
	}
	return want
}

// A proxy sends requests of different people over one connection. Whatever came before, each is answered as on a connection of its own.
func TestPairsOfRequests(t *testing.T) {
	e := portal(t)
	kinds, _ := kindsOf(t, e)
	want := fresh(t, e, kinds)
	for i := range kinds {
		c := dial(t, e)
		for j := range kinds {
			for _, k := range []int{i, j} {
				got, err := kinds[k].asked(c)
				if err != nil || got != want[k] {
					t.Fatalf("%s, then %s:\ngot  %s, %v\nwant %s", &kinds[i], &kinds[j], got, err, want[k])
				}
			}
		}
		_ = c.Close()
	}
}

func TestTenThousandRequestsOnOneConnection(t *testing.T) {
	e := portal(t)
	kinds, upgrade := kindsOf(t, e)
	want := fresh(t, e, kinds)
	polls := waiting()
	var wantOfPolls []string
	for i := range polls {
		c := dial(t, e)
		wantOfPolls = append(wantOfPolls, polls[i].asked(t, e, c))
		_ = c.Close()
	}
	rng := rand.New(rand.NewPCG(1, 2))
	c := dial(t, e)
	for n := range 10_000 {
		k := rng.IntN(len(kinds) + len(polls))
		_ = c.SetDeadline(time.Now().Add(patience))
		if k -= len(polls); k < 0 {
			k += len(polls)
			if got := polls[k].asked(t, e, c); got != wantOfPolls[k] {
				t.Fatalf("request %d, %s:\ngot  %s\nwant %s", n, &polls[k].kind, got, wantOfPolls[k])
			}
			continue
		}
		got, err := kinds[k].asked(c)
		if err != nil || got != want[k] {
			t.Fatalf("request %d, %s:\ngot  %s, %v\nwant %s", n, &kinds[k], got, err, want[k])
		}
	}
	c.Say(upgrade.text())
	if resp := c.Reply("GET"); resp.Status != http.StatusSwitchingProtocols {
		t.Fatal(resp)
	}
	if got := strings.Join(c.Bodies(5), " "); got != "b0 b1 b2 b3 b4" {
		t.Errorf("the WebSocket gets %q", got)
	}
}

// What one poll has said of its position is not told to the next one on its connection, nor is it answered in the form of the last one.
func TestPollsOfTwoPeople(t *testing.T) {
	e := startMemory(t, func(o *Options) { o.PollTimeout = 100 * time.Millisecond })
	a, b := newItem(), newItem()
	publish(t, e, "1", 600, private(a))
	c := dial(t, e)
	mid := protocol.MakeMessageID(1_900_000_000, 7).String()
	c.Get(testSub + query("&binaryMode=true&mid="+mid, a))
	if resp := c.Reply("GET"); resp.Status != http.StatusNotModified || resp.Header.Get("Last-Message-Id") != mid {
		t.Fatalf("%s, %v", resp, resp.Header)
	}
	c.Get(testSub + query("", b))
	if resp := c.Reply("GET"); resp.Status != http.StatusNotModified || resp.Header.Get("Last-Message-Id") == mid {
		t.Errorf("%s with the position of somebody else: %v", resp, resp.Header)
	}
}

// The oldest subscription makes room, not the oldest connection: a new poll on a connection that was kept is the newest.
func TestOldestSubscriptionMakesRoom(t *testing.T) {
	e := startMemory(t, func(o *Options) { o.MaxConnPerChannel = 2; o.Loops = 1 })
	a, other := newItem(), newItem()
	kept := dial(t, e)
	publish(t, e, "x", 600, private(other))
	kept.Get(testSub + query("&mid=00000000000000000000000000", other))
	kept.Reply("GET")
	first := subscribed(t, e, query("", a))
	subscribed(t, e, query("", a))
	kept.Get(testSub + query("", a))
	if code := first.End(); code != 4029 {
		t.Errorf("the first subscription ends with %d", code)
	}
	publish(t, e, "1", 0, private(a))
	if resp := kept.Reply("GET"); resp.Status != http.StatusOK {
		t.Errorf("the newest poll is answered %s", resp)
	}
}
