package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"push-server/protocol/testclient"
	"push-server/redisbus/redistest"
)

// Tokens of every wrong kind are refused by WebSocket and by poll, in the way on which clients ask the portal for another, and counted by reason.
func TestTokensOfEveryWrongKind(t *testing.T) {
	t.Parallel()
	metrics := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	in := installWith(t, "default", nil, 1, func(c config) {
		c.option("v5", map[string]any{"enabled": true})
		c.option("metrics", metrics)
	})
	const header = `{"typ":"JWT","alg":"HS256"}`
	now := time.Now().Unix()
	claims := func(more string) string { return fmt.Sprintf(`{"exp":%d%s}`, now+600, more) }
	fine := testclient.SignToken(testKey, header, claims(`,"sub":"17"`))
	counts := map[string]int{}
	for _, c := range []struct{ token, reason string }{
		{"", "malformed"}, {"x", "malformed"}, {"a.b", "malformed"}, {fine + ".x", "malformed"},
		{strings.Replace(fine, ".", "%3D.", 1), "malformed"}, {strings.Repeat("a", 5000) + "." + fine, "malformed"},
		{testclient.SignToken(testKey, `{"alg":"none"}`, claims(`,"sub":"17"`)), "algorithm"},
		{testclient.SignToken(testKey, `{"alg":"HS512"}`, claims(`,"sub":"17"`)), "algorithm"},
		{testclient.SignToken("another", header, claims(`,"sub":"17"`)), "signature"},
		{fine[:len(fine)-2], "signature"},
		{testclient.SignToken(testKey, header, fmt.Sprintf(`{"exp":%d,"sub":"17"}`, now-100)), "expired"},
		{testclient.SignToken(testKey, header, claims(fmt.Sprintf(`,"iat":%d,"sub":"17"`, now+500))), "early"},
		{testclient.SignToken(testKey, header, claims(`,"sub":"-1"`)), "user"},
		{testclient.SignToken(testKey, header, claims(`,"sub":"01"`)), "user"},
		{testclient.SignToken(testKey, header, claims(`,"sub":"9007199254740992"`)), "user"},
		{testclient.SignToken(testKey, header, claims(``)), "empty"},
		{testclient.SignToken(testKey, header, claims(`,"chan":"ABCDEF0123456789ABCDEF0123456789"`)), "empty"},
		{testclient.SignToken(testKey, header, `[1]`), "malformed"},
	} {
		end, err := dialV5(t, in, c.token, "").End()
		if err != nil || end == nil || end.Code != 4010 || end.Reason != "4010: Wrong Channel Id." {
			t.Errorf("%.60s (%s): closed with %v, %v", c.token, c.reason, end, err)
		}
		reply, err := testclient.NewHTTP(false).Poll(t.Context(), "http://"+in.subs[0]+subPath+"?jsonRpc=true&token="+c.token)
		if err != nil || reply.Status != 400 || strings.TrimSpace(string(reply.Body)) != "4010: Wrong Channel Id." {
			t.Errorf("%.60s (%s): a poll is answered %v %s, %v", c.token, c.reason, reply.Status, reply.Body, err)
		}
		counts[c.reason] += 2
	}
	for reason, n := range counts {
		awaitMetric(t, metrics, fmt.Sprintf("push_tokens_refused_total{reason=%q}", reason), n)
	}
}

// Redis that is stopped does not hold back the answer to PHP, which has a second; what PHP then sends again comes once.
func TestAPIWhileRedisIsStopped(t *testing.T) {
	t.Parallel()
	redis := startRedis(t)
	in := installWith(t, "default", redis, 1, func(c config) {
		c.option("v5", map[string]any{"enabled": true})
		c.hasty()
	})
	b := &backend5{t, in.pubURL()}
	conn := dialV5(t, in, tokenOf(17), "")
	redis.Pause()
	defer redis.Resume()
	const params = `{"userList":[17],"expiry":60,"body":{"module_id":"a","command":"once","extra":{"server_time_unix":1795837259.123456}}}`
	b.publish(params)
	b.publish(params)
	b.publish(`{"userList":[17],"expiry":60,"body":{"module_id":"a","command":"last"}}`)
	redis.Resume()
	wantIncoming(t, conn, "once")
	wantIncoming(t, conn, "last")
}

// What PHP writes arrives as it was written, byte for byte, whatever is escaped in it.
func TestAPIBodyArrivesAsItIs(t *testing.T) {
	t.Parallel()
	in := installV5(t, nil)
	conn := dialV5(t, in, tokenOf(17), "")
	const body = `{"module_id":"im","command":"c","params":{"html":"\u003Cb\u003E\u0026\u0027\u0022\/","line":"\u2028","text":"Привет 👋","n":1.0,"big":12345678901234567890,"e":{}}}`
	(&backend5{t, in.pubURL()}).publish(`{"userList":[17],"body":` + body + `}`)
	ms, err := conn.Receive()
	if err != nil || len(ms) != 1 || ms[0].Body != body {
		t.Errorf("got %+v, %v", ms, err)
	}
}

// A connection gets a publication once, although it names the user and a channel of its, and each tab of the user gets it.
func TestUserListAndChannelList(t *testing.T) {
	onEachBus(t, func(t *testing.T, redis *redistest.Server) {
		t.Parallel()
		in := installV5(t, redis)
		shared := testclient.NewChannel(testKey)
		token := testclient.Token(testKey, time.Now().Add(time.Hour).Unix(), 17, shared.Private)
		var tabs []*testclient.Conn
		for range 3 {
			tabs = append(tabs, dialV5(t, in, token, ""))
		}
		older := dialSubscriber(t, in.subs[0], testclient.Query(false, "", shared.Signed()))
		b := &backend5{t, in.pubURL()}
		b.publish(fmt.Sprintf(`{"userList":[0,-5,"17",17],"channelList":[%q,%[1]q,"x"],"body":{"n":1}}`, shared.Private))
		b.publish(fmt.Sprintf(`{"channelList":[%q],"body":{"n":2}}`, shared.Private))
		b.publish(`{"userList":[17],"body":{"n":3}}`)
		b.publish(fmt.Sprintf(`{"userList":[17],"channelList":[%q],"body":{"n":4}}`, shared.Private))
		for i, conn := range append(tabs, older) {
			want := []string{`{"n":1}`, `{"n":2}`, `{"n":3}`, `{"n":4}`}
			if conn == older {
				want = slices.Delete(want, 2, 3)
			}
			var got []string
			for len(got) < len(want) {
				ms, err := conn.Receive()
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, testclient.Bodies(ms)...)
			}
			if !slices.Equal(got, want) {
				t.Errorf("connection %d got %s", i, got)
			}
		}
	})
}

// What clients of version 5 send that is no word of the protocol in text disturbs nobody: they get the next message.
func TestBinaryFramesAreIgnored(t *testing.T) {
	t.Parallel()
	in := installV5(t, nil)
	conn := dialV5(t, in, tokenOf(17), "")
	for _, payload := range []string{"", "ping", `{"method":"ping","id":1}`, "\x00\xff", strings.Repeat("x", 70_000)} {
		if err := conn.SendFrame(ws.OpBinary, []byte(payload)); err != nil {
			t.Fatal(err)
		}
	}
	askV5(t, conn, "ping", `{}`, `"pong"`)
}

// A client makes others do nothing that only the portal may, writes to no channel without its signature, and as a guest to no user.
func TestWhatClientsMayNotPublish(t *testing.T) {
	t.Parallel()
	in := installV5(t, nil)
	to := testclient.NewChannel(testKey)
	guest := dialV5(t, in, testclient.Token(testKey, time.Now().Add(time.Hour).Unix(), 0, to.Private, to.Public), "")
	user, other := dialV5(t, in, tokenOf(17), ""), dialV5(t, in, tokenOf(18), "")
	signed := to.Public + "." + hex.EncodeToString(to.PublicReceiver().Signature)
	const body = `"body":{"module_id":"im","command":"c"}}`
	for params, want := range map[string]string{
		`{"userList":[18],"body":{"module_id":"Pull","command":"server_restart"}}`:     "Messages of the module pull come from the portal only",
		`{"userList":[18],"body":{"module_id":"im","module_id":"pull","command":"c"}}`: "Messages of the module pull come from the portal only",
		`{"channelList":["` + to.Private + `"],` + body:                                "channelList has an invalid signature",
		`{"channelList":["` + to.Private + signed[32:] + `"],` + body:                  "channelList has an invalid signature",
		`{"userList":[` + strings.Repeat("18,", 100) + `18],` + body:                   "Too many receivers",
	} {
		askV5(t, user, "publish", params, want)
	}
	askV5(t, guest, "publish", `{"userList":[18],`+body, "Only for users")
	askV5(t, guest, "publish", `{"userList":[18],"channelList":["`+signed+`"],`+body, "Only for users")

	askV5(t, user, "publish", `{"userList":[18],"user_params":{"18":{"x":1}},"body":{"module_id":"im","command":"c","extra":{"revision_web":20,"server_time_unix":1}}}`, "true")
	text := hearText(t, other) // nothing of what was refused comes before
	var m struct{ Params map[string]json.RawMessage }
	if err := json.Unmarshal([]byte(text), &m); err != nil || m.Params["user_params"] != nil || strings.Contains(text, "revision_web") || strings.Contains(text, `_unix":1}`) {
		t.Errorf("got %s, %v", text, err)
	}
	askV5(t, guest, "publish", `{"channelList":["`+signed+`"],`+body, "true")
	if text = hearText(t, guest); !strings.Contains(text, `"sender":{"type":1,"id":"`+to.Public+`"}`) {
		t.Errorf("a guest gets %s", text)
	}
}

// Who changes the page has not been away: who watches is told nothing.
func TestStatusWhilePagesChange(t *testing.T) {
	onEachBus(t, func(t *testing.T, redis *redistest.Server) {
		t.Parallel()
		in := installWith(t, "default", redis, 1, func(c config) {
			c.option("v5", map[string]any{"enabled": true, "offlineDelay": "1h"})
		})
		watcher := dialV5(t, in, tokenOf(1), "")
		askV5(t, watcher, "subscribeStatusChange", `{"userId":17}`, "true")
		for range 2 {
			page := dialV5(t, in, tokenOf(17), "")
			askV5(t, page, "ping", `{}`, `"pong"`)
			page.Close()
		}
		wantIncoming(t, watcher, "17 online true")
		askV5(t, watcher, "subscribeStatusChange", `{"userId":19}`, "true")
		dialV5(t, in, tokenOf(19), "")
		wantIncoming(t, watcher, "19 online true")
		askV5(t, watcher, "getUsersLastSeen", `{"userList":[17]}`, `{"17":0}`)
	})
}

// A client that comes back in another version gets what it has missed, in order and once: mids are the same in all.
func TestMidOfAnotherVersion(t *testing.T) {
	onEachBus(t, func(t *testing.T, redis *redistest.Server) {
		t.Parallel()
		in := installV5(t, redis)
		b := &backend5{t, in.pubURL()}
		shared := testclient.NewChannel(testKey)
		token := testclient.Token(testKey, time.Now().Add(time.Hour).Unix(), 17, shared.Private)
		four := func(mid string) string { return testclient.Query(true, mid, shared.Signed()) }
		five := func(mid string) string { return "?jsonRpc=true&token=" + token + "&mid=" + mid }
		publish := func(n int) {
			b.publish(fmt.Sprintf(`{"userList":[17],"channelList":[%q],"expiry":60,"body":{"n":%d}}`, shared.Private, n))
		}
		conn := dialSubscriber(t, in.subs[0], four(""))
		publish(0)
		for n, query := range []func(mid string) string{five, four, five, nil} {
			ms, err := conn.Receive()
			if err != nil || len(ms) != 1 || ms[0].Body != fmt.Sprintf(`{"n":%d}`, n) {
				t.Fatalf("got %+v, %v, want %d", ms, err, n)
			}
			conn.Close()
			if query != nil {
				publish(n + 1)
				conn = dialSubscriber(t, in.subs[0], query(ms[0].ID))
			}
		}
	})
}
