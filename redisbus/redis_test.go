package redisbus_test

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"push-server/engine/bustest"
	"push-server/protocol"
	"push-server/protocol/testclient"
	"push-server/redisbus"
	"push-server/redisbus/redistest"
)

// TestNodeBytes compares keys, values and envelopes with what a Node server was recorded to write.
func TestNodeBytes(t *testing.T) {
	server := redistest.Start(t)
	bus := open(t, redisbus.Options{Addr: server.Addr(), UID: "abcd1234", Now: at(1795463849)})
	heard := eavesdrop(t, server)
	check := func(what, got, wantHex string) {
		t.Helper()
		if want := string(unhex(wantHex)); got != want {
			t.Errorf("%s:\n got %x\nwant %x", what, got, want)
		}
	}

	publish(t, bus, publication(`{"a":1}`, 60, alice))
	m := receive(t, heard)
	check("envelope", m.Message, `0a3f 0a3d 0a3b 0a14 0a100123456789abcdef0123456789abcdef 1001
		1a23 0a0d17954638490000000000000001 12077b2261223a317d 183c 25a99a046b 2a020802`)
	if m.Channel != "pushserver:abcd1234" {
		t.Errorf("published to %q", m.Channel)
	}
	first := string(unhex("17954638490000000000000001"))
	check("stored", server.Get("message:"+first), "0a0d17954638490000000000000001 12077b2261223a317d 183c 25a99a046b 2a020802")
	checkKeys(t, server, first, alice, 60)

	publish(t, bus, publication(`{"b":2}`, 3600, alice, bob))
	check("two receivers", receive(t, heard).Message, `0a56 0a54 0a52
		0a14 0a100123456789abcdef0123456789abcdef 1001 0a14 0a1000112233445566778899aabbccddeeff 1001
		1a24 0a0d17954638490000000000000002 12077b2262223a327d 18901c 25a99a046b 2a020802`)
	checkKeys(t, server, string(unhex("17954638490000000000000002")), bob, 3600)

	client := publication(`{"c":3}`, 0, bobby)
	client.Receivers[0].Signature = unhex("cbe0c27ecb99cb0061b558050a4feb7dc50ed852")
	client.Sender = protocol.Sender{Type: protocol.SenderClient, ID: unhex("fedcba9876543210fedcba9876543210")}
	publish(t, bus, client)
	check("of a client", receive(t, heard).Message, `0a65 0a63 0a61
		0a28 0a10ffeeddccbbaa99887766554433221100 1a14cbe0c27ecb99cb0061b558050a4feb7dc50ed852
		1a35 0a0d17954638490000000000000003 12077b2263223a337d 1800 25a99a046b 2a14 0801 1210fedcba9876543210fedcba9876543210`)
	if n := server.Int("EXISTS", historyKey(bobby), "message:"+string(unhex("17954638490000000000000003"))); n != 0 {
		t.Error("expiry 0 is stored")
	}
	if counter, startdate := server.Get("server:messagecounter"), server.Get("server:startdate"); counter != "3" || startdate != "1795463849" {
		t.Errorf("counter %s, start date %s", counter, startdate)
	}
}

// checkKeys looks at the index of a channel, and at the times to live.
func checkKeys(t *testing.T, server *redistest.Server, id string, ch protocol.ChannelID, expiry int64) {
	t.Helper()
	if score := server.Int("ZSCORE", historyKey(ch), id); score != 0 {
		t.Errorf("score %d", score)
	}
	for key, want := range map[string]int64{"message:" + id: expiry, historyKey(ch): 86400} {
		if ttl := server.Int("TTL", key); ttl > want || ttl < want-10 {
			t.Errorf("TTL of %q: %d, want %d", key, ttl, want)
		}
	}
}

func TestIDsOfManyDigits(t *testing.T) {
	server := redistest.Start(t)
	bus := open(t, redisbus.Options{Addr: server.Addr()})
	f := func(startdate, counter string, want string) {
		t.Helper()
		server.Do("SET", "server:startdate", startdate)
		server.Do("SET", "server:messagecounter", counter)
		p := publication("a", 60, alice)
		publish(t, bus, p)
		if p.ID.String() != want {
			t.Errorf("got %v, want %s", p.ID, want)
		}
	}
	f("1000000000", "0", "10000000000000000000000001")
	f("1179546384", "98", "11795463840000000000000099")
	f("1179546385", "99999998", "11795463850000000099999999")
	f("1179546385", "99999999", "11795463850000000100000000")
	f("1179546386", "899999999999999", "11795463860900000000000000")
	f("1599999999", "123456789012345", "15999999990123456789012346")
}

// TestNodePublications: what Node processes publish arrives, and what is no publication does no harm.
func TestNodePublications(t *testing.T) {
	server := redistest.Start(t)
	bus := open(t, redisbus.Options{Addr: server.Addr()})
	l := bustest.Subscribe(t, bus)
	node := func(id, body string) string {
		envelope := unhex(`0a3f 0a3d 0a3b 0a14 0a100123456789abcdef0123456789abcdef 1001 1a23 0a0d` + id)
		return string(envelope) + "\x12\x07" + body + string(unhex("183c 25a99a046b 2a020802"))
	}
	first := node("17954638490000000000000009", `{"a":1}`)
	server.Do("PUBLISH", "pushserver:zz81kx0a", first)
	server.Do("PUBLISH", "pushserver:zz81kx0a", "")
	server.Do("PUBLISH", "pushserver:zz81kx0a", "garbage")
	server.Do("PUBLISH", "pushserver:zz81kx0a", first[:20])
	server.Do("PUBLISH", "pushserver:a:b:c", node("17954638490000000000000004", `{"a":2}`))
	server.Do("PUBLISH", "ipc:zz81kx0a", node("17954638490000000000000005", `{"a":3}`))
	server.Do("PUBLISH", "pushserver:zz81kx0a", first+node("17954638490000000000000006", `{"a":4}`))
	got := l.Publications(t, 4)
	want(t, "delivered", got, `{"a":1} {"a":2} {"a":1} {"a":4}`)
	if len(got[0].Receivers) != 1 || got[0].Receivers[0].Channel != alice || got[0].Created != 1795463849 {
		t.Errorf("got %+v", got[0])
	}
}

// TestMalformedIDsDoNotSpread: an id with an absurd time or counter is delivered but does not become the measure of the ids
// to come.
func TestMalformedIDsDoNotSpread(t *testing.T) {
	server := redistest.Start(t)
	bus := open(t, redisbus.Options{Addr: server.Addr()})
	l := bustest.Subscribe(t, bus)
	for i, id := range []string{"99999999990000000000000001", "17954638499999999999999999"} {
		server.Do("PUBLISH", "pushserver:zz81kx0a", string(unhex(`0a29 0a27 0a25 1a23 0a0d`+id+`12077b2261223a317d 183c 25a99a046b 2a020802`)))
		l.Publications(t, i+1)
	}
	p := publication("a", 60, alice)
	publish(t, bus, p)
	if p.ID.Counter() != 1 || p.ID.Startdate() > uint64(time.Now().Unix()) {
		t.Errorf("id %v", p.ID)
	}
}

func TestWrongTypes(t *testing.T) {
	server := redistest.Start(t)
	log := &testclient.Log{}
	bus := open(t, redisbus.Options{Addr: server.Addr(), Log: slog.New(slog.NewTextHandler(log, nil))})
	l := bustest.Subscribe(t, bus)
	server.Do("SET", historyKey(alice), "somebody else's")
	server.Do("HSET", "channel:online:"+string(alice.Bytes[:]), "a", "b")
	server.Do("SET", "stats", "nonsense")
	server.Do("ZADD", historyKey(bob), "0", "no id", "0", strings.Repeat("\xff", 13))

	broken, good := publication("broken", 60, alice, bob), publication("good", 60, alice, bob, bobby)
	publish(t, bus, broken, good)
	want(t, "delivered", l.Publications(t, 2), "broken good")
	if !broken.Unkept || !good.Unkept {
		t.Error("nothing says that what was published is not kept for alice")
	}
	const key = `key=channel:messages:\x01#Eg\x89\xab\xcd\xef\x01#Eg\x89\xab\xcd\xef `
	if lines := log.String(); strings.Count(lines, key) != 1 || bus.Errors()["keep"] != 2 {
		t.Errorf("%d publications were not kept, of which is said:\n%s", bus.Errors()["keep"], lines)
	}
	after := publication("after", 60, bob, bobby)
	if publish(t, bus, after); after.Unkept {
		t.Error("others are not kept, either")
	}
	want(t, "delivered", l.Publications(t, 3), "broken good after")
	server.Do("SET", "message:"+string(broken.ID[:]), "garbage")
	want(t, "history", history(t, bus, bob), "good after")
	want(t, "history of the wrong type", history(t, bus, alice), "")
	if ttl := server.Int("TTL", historyKey(alice)); ttl != -1 {
		t.Errorf("a key of somebody else got the TTL %d", ttl)
	}
	online, err := bus.Online(timeout(t, patience), []protocol.ChannelID{alice})
	if err != nil || online[0] {
		t.Errorf("online: %v, %v", online, err)
	}
	if records, err := bus.Statistics(timeout(t, patience)); err != nil || len(records) != 0 {
		t.Errorf("statistics: %v, %v", records, err)
	}
	shared := []protocol.HistoryQuery{{Channels: []protocol.ChannelID{bob}, Shared: []bool{true}}}
	answers, err := bus.History(timeout(t, patience), shared, 0)
	if err != nil {
		t.Fatal(err)
	}
	want(t, "shared", answers[0].Publications, "good after")
}

// TestLostAnswerOfAWrongType: that a publication could not be kept is known after its answer was lost, too.
func TestLostAnswerOfAWrongType(t *testing.T) {
	server := redistest.Start(t)
	proxy := server.Proxy(t)
	bus := open(t, redisbus.Options{Addr: proxy.Addr()})
	l := bustest.Subscribe(t, bus)
	server.Do("SET", historyKey(bob), "somebody else's")
	ps := []*protocol.Publication{publication("first", 60, alice), publication("second", 60, alice, bob), publication("third", 60, alice)}
	publish(t, bus, publication("zeroth", 60, alice)) // from here on Redis has the script
	proxy.LoseAnswer("second")
	publishAll(t, bus, ps)
	for i, p := range ps {
		if p.Unkept != (i == 1) {
			t.Errorf("publication %d: not kept: %v", i, p.Unkept)
		}
	}
	want(t, "delivered", l.Publications(t, 4), "zeroth first second third")
	want(t, "history", history(t, bus, alice), "zeroth first second third")
	if text := server.Get(historyKey(bob)); text != "somebody else's" {
		t.Errorf("the key of somebody else is %q", text)
	}
}

func TestTrimming(t *testing.T) {
	server := redistest.Start(t)
	bus := open(t, redisbus.Options{Addr: server.Addr(), HistorySize: 10})
	publish(t, bus, numbered(0, 1000, alice)...)
	// That none of the last 400 publications trimmed has a chance of one in 10^11.
	if n := server.Int("ZCARD", historyKey(alice)); n < 10 || n > 410 {
		t.Errorf("%d ids in the index", n)
	}
	ps := history(t, bus, alice)
	want(t, "the newest", ps[len(ps)-10:], "990 991 992 993 994 995 996 997 998 999")
}

// TestExpiredIDsAreRemoved: what Node processes leave behind is tidied up by whoever reads it.
func TestExpiredIDsAreRemoved(t *testing.T) {
	server := redistest.Start(t)
	bus := open(t, redisbus.Options{Addr: server.Addr()})
	ps := numbered(0, 300, alice)
	publish(t, bus, ps...)
	for _, p := range ps[100:] {
		server.Do("DEL", "message:"+string(p.ID[:]))
	}
	answers, err := bus.History(timeout(t, patience), []protocol.HistoryQuery{{Channels: []protocol.ChannelID{alice}, Limit: 50}}, 0)
	if err != nil {
		t.Fatal(err)
	}
	want(t, "history", answers[0].Publications, bodies(ps[50:100]))
	if n := server.Int("ZCARD", historyKey(alice)); n != 100 {
		t.Errorf("%d ids in the index, want 100", n)
	}
}

// TestHistoryCommands: what queries have in common is read once, and bodies of shared channels are read from Redis once.
func TestHistoryCommands(t *testing.T) {
	server := redistest.Start(t)
	bus := open(t, redisbus.Options{Addr: server.Addr()})
	var queries []protocol.HistoryQuery
	for n := range 100 {
		own := publication("own", 3600, numberedChannel(n))
		publish(t, bus, publication("all", 3600, bobby), own)
		queries = append(queries, protocol.HistoryQuery{
			Channels: []protocol.ChannelID{numberedChannel(n), bobby}, Shared: []bool{false, true}, Since: own.ID, Limit: 50})
	}
	read := func(what string, wanted ...int64) {
		t.Helper()
		server.Do("CONFIG", "RESETSTAT")
		answers, err := bus.History(timeout(t, patience), queries, 0)
		if err != nil || len(answers[0].Publications) != 50 || len(answers[99].Publications) != 0 || len(answers[98].Publications) != 1 {
			t.Fatalf("%s: %d, %d, %d, %v", what, len(answers[0].Publications), len(answers[98].Publications), len(answers[99].Publications), err)
		}
		for i, command := range []string{"zrevrangebylex", "get", "mget"} {
			if n := server.Calls(command); n != wanted[i] {
				t.Errorf("%s: %d of %s, want %d", what, n, command, wanted[i])
			}
		}
	}
	read("first read", 101, 50, 0)
	read("second read", 101, 0, 0)
	publish(t, bus, publication("new", 3600, numberedChannel(0), numberedChannel(99)))
	server.Do("CONFIG", "RESETSTAT")
	answers, err := bus.History(timeout(t, patience), queries, 0)
	if err != nil || len(answers[0].Publications) != 51 || len(answers[99].Publications) != 1 || server.Calls("mget") != 1 {
		t.Errorf("%d, %d, %v; %d of mget", len(answers[0].Publications), len(answers[99].Publications), err, server.Calls("mget"))
	}
}

func TestPresence(t *testing.T) {
	server := redistest.Start(t)
	bus := open(t, redisbus.Options{Addr: server.Addr()})
	ctx := timeout(t, patience)
	if err := bus.Touch(ctx, []protocol.ChannelID{alice, bobby}); err != nil {
		t.Fatal(err)
	}
	other := bob
	other.Private = false
	online, err := bus.Online(ctx, []protocol.ChannelID{alice, bob, bobby, other, alice})
	if err != nil || fmt.Sprint(online) != "[true false true false true]" {
		t.Errorf("online: %v, %v", online, err)
	}
	for _, key := range []string{"channel:online:" + string(alice.Bytes[:]), "pubchannel:online:" + string(bobby.Bytes[:])} {
		if value, ttl := server.Get(key), server.Int("TTL", key); value != "1" || ttl > 130 || ttl < 120 {
			t.Errorf("%q: %q, TTL %d", key, value, ttl)
		}
	}
	if online, err := bus.Online(ctx, nil); err != nil || len(online) != 0 {
		t.Errorf("nobody: %v, %v", online, err)
	}
	if err := bus.Touch(ctx, nil); err != nil {
		t.Errorf("touch nobody: %v", err)
	}
}

func TestStatistics(t *testing.T) {
	server := redistest.Start(t)
	bus := open(t, redisbus.Options{Addr: server.Addr()})
	ctx := timeout(t, patience)
	check := func(want string) {
		t.Helper()
		records, err := bus.Statistics(ctx)
		if got := fmt.Sprintf("%s", records); err != nil || got != want {
			t.Errorf("got %s, %v, want %s", got, err, want)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check("map[]")
	must(bus.PutStatistics(ctx, "a", []byte(`{"n":1}`)))
	must(bus.PutStatistics(ctx, "b", []byte("\x00")))
	must(bus.PutStatistics(ctx, "a", []byte(`{"n":2}`)))
	check("map[a:{\"n\":2} b:\x00]")
	must(bus.DeleteStatistics(ctx, []string{"b", "c"}))
	must(bus.DeleteStatistics(ctx, nil))
	check(`map[a:{"n":2}]`)
	if got := server.Do("HGET", "stats", "a"); got.String() == "" {
		t.Error("not in the hash that Node processes read")
	}
}

func TestOptions(t *testing.T) {
	f := func(o redisbus.Options, words ...string) {
		t.Helper()
		bus, err := redisbus.New(o)
		if err == nil {
			bus.Close()
			t.Errorf("%+v: no error", o)
			return
		}
		for _, word := range words {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("%+v: %v, want %q", o, err, word)
			}
		}
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("a password in %v", err)
		}
	}
	f(redisbus.Options{Network: "udp"}, "udp")
	f(redisbus.Options{UID: "a:b", ChannelTTL: -time.Second}, `"a:b"`, "-1s")
	f(redisbus.Options{URL: "redis://localhost", Addr: "localhost:1"}, "both")
	f(redisbus.Options{URL: "http://user:secret@localhost"}, "URL")
	f(redisbus.Options{URL: "redis://user:secret@localhost:x y"}, "URL")
	f(redisbus.Options{URL: "redis://:secret@localhost/nonsense"}, "URL")
	f(redisbus.Options{Sentinels: []string{"one:26379"}}, "master")
	f(redisbus.Options{Sentinels: []string{"one"}, MasterName: "main"}, "host:port")
	f(redisbus.Options{MasterName: "main"}, "sentinels")
	f(redisbus.Options{Sentinels: []string{"one:26379"}, MasterName: "main", Addr: "localhost:6379"}, "both")
	f(redisbus.Options{Sentinels: []string{"one:26379"}, MasterName: "main", URL: "redis://localhost:6379"}, "both")
	f(redisbus.Options{URL: "redis://:secret@one:26379?addr=two:x&master_set=main"}, "port")
	// Taken for user and port, or a path; the rest of the password would have been dropped.
	f(redisbus.Options{URL: "redis://localhost:12#secret@localhost"}, "percent-encoded")
	f(redisbus.Options{URL: "redis://localhost:12?secret@localhost"}, "percent-encoded")
	f(redisbus.Options{URL: "redis://localhost:12/secret@localhost"}, "percent-encoded")
	f(redisbus.Options{URL: "redis://:secret%@localhost"}, "percent-encoded")
	f(redisbus.Options{URL: "redis://:secret@localhost:99999"}, "port")
	f(redisbus.Options{URL: "redis://:secret@localhost/-1"}, "database")
	f(redisbus.Options{URL: "redis://:secret@localhost?addr=other:1"}, "neither sentinels nor a cluster")
	f(redisbus.Options{URL: "redis://one:1,other:1"}, "host")
	f(redisbus.Options{URL: "unix://"}, "path")
	f(redisbus.Options{URL: "unix://run/redis.sock"}, "path")
	f(redisbus.Options{URL: "redis://:secret@localhost", Password: "secret"}, "both", "password")
	f(redisbus.Options{URL: "redis://me@localhost", User: "me"}, "both", "user")
	f(redisbus.Options{URL: "redis://localhost", TLS: &tls.Config{}}, "rediss://")
	f(redisbus.Options{Addr: "/run/redis.sock", TLS: &tls.Config{}}, "socket")
	f(redisbus.Options{Addr: "localhost"}, "host:port")
	f(redisbus.Options{Addr: "localhost:redis"}, "port")
	f(redisbus.Options{Addr: "[redis://localhost]:6379"}, "host")
	f(redisbus.Options{Addr: "secret@localhost:6379"}, "URL")
	f(redisbus.Options{Addr: "user:secret@localhost:6379"}, "URL")
}

func TestURL(t *testing.T) {
	server, port := redistest.StartTCP(t, "--requirepass", "secret")
	f := func(url string, works bool) {
		t.Helper()
		bus := open(t, redisbus.Options{URL: url})
		_, err := bus.Publish(timeout(t, patience), numbered(0, 1, alice))
		if works != (err == nil) {
			t.Errorf("%s: %v", url, err)
		}
	}
	f(fmt.Sprintf("redis://:secret@127.0.0.1:%d", port), true)
	f(fmt.Sprintf("redis://default:secret@127.0.0.1:%d/3", port), true)
	f("unix://default:secret@"+server.Addr()+"?db=3", true)
	f(fmt.Sprintf("redis://127.0.0.1:%d", port), false)
	f(fmt.Sprintf("redis://:wrong@127.0.0.1:%d", port), false)
}

// TestOldRedis: without HELLO there is neither the new protocol nor client-side caching.
func TestOldRedis(t *testing.T) {
	server := redistest.Start(t, "--rename-command", "HELLO", "")
	bus := open(t, redisbus.Options{Addr: server.Addr()})
	l := bustest.Subscribe(t, bus)
	publish(t, bus, numbered(0, 3, alice, bob)...)
	want(t, "delivered", l.Publications(t, 3), "0 1 2")
	q := protocol.HistoryQuery{Channels: []protocol.ChannelID{alice, bob}, Shared: []bool{true, false}, Limit: 2}
	answers, err := bus.History(timeout(t, patience), []protocol.HistoryQuery{q}, 0)
	if err != nil {
		t.Fatal(err)
	}
	want(t, "history", answers[0].Publications, "1 2")
	server.KillPubSub()
	l.Wait(t, "a gap", func(events []bustest.Event) bool { return bustest.Gaps(events) == 1 })
	publish(t, bus, numbered(3, 1, alice)...)
	want(t, "delivered", l.Publications(t, 4), "0 1 2 3")
}
