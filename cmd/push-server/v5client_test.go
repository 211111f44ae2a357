package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"push-server/protocol/testclient"
	"push-server/redisbus/redistest"
)

// onEachHost runs f as a subtest with the vendor's client in Node and in a browser, with each bus.
func onEachHost(t *testing.T, f func(t *testing.T, redis *redistest.Server, host clientHost)) {
	for name, host := range map[string]clientHost{"node": inNode, "chromium": inChromium} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onEachBus(t, func(t *testing.T, redis *redistest.Server) { f(t, redis, host) })
		})
	}
}

// portal5 is one of version 5 whose tokens count no longer than they say, and the address of its metrics.
func portal5(t *testing.T, redis *redistest.Server, host clientHost) (p *portal, b *backend5, metrics string) {
	t.Helper()
	metrics = fmt.Sprintf("127.0.0.1:%d", freePort(t))
	p = openPortal(t, installWith(t, "default", redis, 1, func(c config) {
		c.option("v5", map[string]any{"enabled": true, "offlineDelay": "1s", "pingInterval": "1s", "expiryGrace": "1s"})
		if c.addr("sub") != "" {
			c.option("metrics", metrics)
		}
	}), host)
	return p, &backend5{t, p.in.pubURL()}, metrics
}

// publishTo publishes an event to a user.
func (p *portal) publishTo(b *backend5, u *user, command string) {
	p.t.Helper()
	b.publish(fmt.Sprintf(`{"userList":[%d],"expiry":60,"body":%s}`, u.id, p.body(command)))
}

// TestPortalOfVersion5 drives the vendor's client by token in Node and in a browser.
func TestPortalOfVersion5(t *testing.T) {
	onEachHost(t, func(t *testing.T, redis *redistest.Server, host clientHost) {
		p, b, metrics := portal5(t, redis, host)
		refused, ended := p.addUser("refused", 5, true), p.addUser("ended", 5, true)
		p.publishTo(b, ended, "first")
		p.startAt(refused, "", time.Now().Add(-2*time.Minute))
		p.startAt(ended, noMid, time.Now().Add(-15*time.Second)) // its clock may be wrong by a minute
		five := p.addUser("five", 5, true)
		p.phase("messages", func() { p.messagesOf5(b, five) })
		p.phase("status", func() { p.statusIn5(b, five, metrics) })
		p.phase("missed", func() { p.missedBy5(b, five) })
		p.phase("tokens", func() { p.newTokensOf5(b, refused, ended, metrics) })
	})
}

// phase is a part of a test with a name of its own.
func (p *portal) phase(name string, f func()) {
	whole := p.t
	defer func() { p.t = whole }()
	if !whole.Run(name, func(t *testing.T) {
		p.t = t
		f()
	}) {
		whole.FailNow()
	}
}

// messagesOf5 sends messages to a user and to channels, beside a client of version 4: with parts for one user alone, and from client to client.
func (p *portal) messagesOf5(b *backend5, five *user) {
	four := p.addUser("four", 4, true)
	p.start(five)
	p.start(four)
	p.waitConnected(five)
	waitOnline(p.t, p.in, four.channel)

	b.publish(fmt.Sprintf(`{"userList":[%d,%d],"channelList":["%s","%s"],"expiry":60,"body":%s,"user_params":{"%d":{"mine":1}},"dictionary":{"all":2}}`,
		five.id, four.id, four.channel.Private, p.shared.Private, emptyParams(p.body("both")), five.id))
	for _, name := range []string{five.name, five.name + ", by handler"} {
		if e := p.expect(&user{name: name}, "server", "both"); e.Params["mine"] != 1.0 || e.Params["all"] != 2.0 {
			p.t.Errorf("%s got %v", name, e.Params)
		}
	}
	if e := p.expect(four, "server", "both"); e.Params["all"] != 2.0 || e.Params["mine"] != nil {
		p.t.Errorf("version 4 got %v", e.Params)
	}
	p.publishText(testclient.NewHTTP(false), 60, "shared", p.shared)
	p.expect(five, "server", "shared")
	p.expect(four, "server", "shared")

	p.order(map[string]any{"send": five.name, "users": []int{five.id}, "command": "hello", "params": map[string]any{"n": 1}, "expiry": 60})
	p.expect(five, "client", "hello")
	signed := four.channel.Public + "." + hex.EncodeToString(four.channel.PublicReceiver().Signature)
	p.order(map[string]any{"send": five.name, "channels": []string{signed}, "command": "there", "params": map[string]any{}, "expiry": 60})
	p.expect(four, "client", "there")
}

// emptyParams has PHP's empty map for params.
func emptyParams(body string) string {
	var whole map[string]json.RawMessage
	if err := json.Unmarshal([]byte(body), &whole); err != nil {
		panic(err)
	}
	whole["params"] = json.RawMessage("[]")
	text, err := json.Marshal(whole)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// statusIn5 sees that a client is told who comes and goes, also after its connection was lost, over which it loses no message; then it asks again
// with a string. It is told when users were seen.
func (p *portal) statusIn5(b *backend5, five *user, metrics string) {
	p.order(map[string]any{"watch": five.name, "of": 99})
	p.waitStatus(five, "watches 99")
	other := dialV5(p.t, p.in, tokenOf(99), "")
	p.waitStatus(five, "99 true")

	five.relay.Cut()
	awaitMetric(p.t, metrics, "push_status_subscriptions", 0)
	p.publishTo(b, five, "missed")
	five.relay.Join()
	p.expect(five, "server", "missed")
	awaitMetric(p.t, metrics, "push_status_subscriptions", 1)
	other.Close()
	p.waitStatus(five, "99 false")

	if _, reply := b.call(`{"method":"updateUsersLastSeen","params":{"4711":1700000000}}`); reply != `{"jsonrpc":"2.0","id":null,"result":true,"error":null}` {
		p.t.Errorf("answered %s", reply)
	}
	p.order(map[string]any{"look": five.name, "at": []int{five.id, 99, 4711, 4712}}) // it tells nothing but what the portal adds
	p.waitStatus(five, `asks pull.api.user.getLastSeen {"userIds":[4712],"sendToQueueSever":true}`)
	p.order(map[string]any{"answer": five.name, "result": map[string]int{"4712": 5}})
	p.waitStatus(five, `seen {"4712":5}`)
}

// missedBy5 publishes while a client is away, who gets all of it in order and once.
func (p *portal) missedBy5(b *backend5, five *user) {
	five.relay.Cut()
	for i := range 5 {
		p.publishTo(b, five, fmt.Sprint("missed-", i))
	}
	five.relay.Join()
	for i := range 5 {
		p.expect(five, "server", fmt.Sprint("missed-", i))
	}
	p.publishTo(b, five, "after")
	p.expect(five, "server", "after")
}

// newTokensOf5 sees that clients come back with new tokens when the server takes their old ones no longer, be it at once or while they are
// connected, and miss nothing that was published meanwhile.
func (p *portal) newTokensOf5(b *backend5, refused, ended *user, metrics string) {
	for _, command := range []string{"first", "both", "shared"} {
		p.expect(ended, "server", command)
	}
	awaitMetric(p.t, metrics, `push_closes_total{reason="expired"}`, 1)
	for i := range 3 {
		p.publishTo(b, ended, fmt.Sprint("missed-", i))
	}
	for i := range 3 {
		p.expect(ended, "server", fmt.Sprint("missed-", i))
	}
	for _, u := range []*user{refused, ended} {
		testclient.Await(p.t, u.name+" asks for a token, and is connected with it", func() bool {
			return u.renewed.Load() == 1 && strings.HasPrefix(secondsSeen(b, u), "0")
		})
		p.publishTo(b, u, "after")
		p.expect(u, "server", "after")
	}
}

// secondsSeen is how long ago a user was seen, and the rest of the answer.
func secondsSeen(b *backend5, u *user) string {
	_, reply := b.call(fmt.Sprintf(`{"method":"getUsersLastSeen","params":{"userList":[%d]}}`, u.id))
	_, seconds, _ := strings.Cut(reply, fmt.Sprintf(`"%d":`, u.id))
	return seconds
}

// The vendor's client waits for pings for 20 s: while a server stands still for less it stays, and gets what is published then.
func TestVendorsClientStaysWhileServersStandStill(t *testing.T) {
	if os.Getenv("PUSH_TEST_SLOW") == "" {
		t.Skip("make test-slow runs it")
	}
	p, b, _ := portal5(t, startRedis(t), inNode)
	five := p.addUser("five", 5, true)
	p.start(five)
	p.waitConnected(five)
	p.publishTo(b, five, "before")
	p.expect(five, "server", "before")
	p.in.signal(t, len(p.in.procs)-1, syscall.SIGSTOP)
	p.publishTo(b, five, "meanwhile")
	hold(t, 15*time.Second)
	p.in.signal(t, len(p.in.procs)-1, syscall.SIGCONT)
	p.expect(five, "server", "meanwhile")
	p.publishTo(b, five, "after")
	p.expect(five, "server", "after")
}
