package redisbus_test

import (
	"context"
	"testing"
	"time"

	"push-server/protocol"
	"push-server/protocol/testclient"
	"push-server/redisbus"
	"push-server/redisbus/redistest"
)

const aliceOnline = "channel:online:\x01\x23\x45\x67\x89\xab\xcd\xef\x01\x23\x45\x67\x89\xab\xcd\xef"

func isOnline(ctx context.Context, bus *redisbus.Bus) (bool, error) {
	online, err := bus.Online(ctx, []protocol.ChannelID{alice})
	return err == nil && online[0], err
}

// wantOnline asks until the answer comes.
func wantOnline(t *testing.T, bus *redisbus.Bus, want bool) {
	t.Helper()
	testclient.Await(t, "another mark", func() bool {
		online, err := isOnline(timeout(t, patience), bus)
		return err == nil && online == want
	})
}

// Who asks again and again is served from memory, and learns nevertheless what other processes, also of Node, write, and what expires.
func TestMarksAreCached(t *testing.T) {
	server := redistest.Start(t)
	bus, other := open(t, redisbus.Options{Addr: server.Addr()}), open(t, redisbus.Options{Addr: server.Addr()})
	f := func(want bool) {
		t.Helper()
		wantOnline(t, bus, want)
		server.Do("CONFIG", "RESETSTAT")
		for range 100 {
			wantOnline(t, bus, want)
		}
		if n := server.Calls("mget"); n > 0 {
			t.Errorf("%d of mget", n)
		}
	}
	f(false)
	if err := other.Touch(timeout(t, patience), []protocol.ChannelID{alice}); err != nil {
		t.Fatal(err)
	}
	f(true)
	server.Do("DEL", aliceOnline)
	f(false)
	server.Do("SETEX", aliceOnline, "130", "1")
	f(true)
	server.Do("PEXPIRE", aliceOnline, "50")
	wantOnline(t, bus, false)
	server.Do("SETEX", aliceOnline, "130", "1")
	f(true)
	server.Do("FLUSHALL")
	f(false)
}

// A mark is good as long as Redis said, also when Redis says nothing any more.
func TestCachedMarkExpires(t *testing.T) {
	server := redistest.Start(t)
	proxy := server.Proxy(t)
	bus := open(t, redisbus.Options{Addr: proxy.Addr(), SilenceTimeout: patience})
	server.Do("PSETEX", aliceOnline, "500", "1")
	wantOnline(t, bus, true)
	proxy.DeafenAll()
	testclient.Await(t, "the end of the mark", func() bool {
		online, _ := isOnline(timeout(t, 10*time.Millisecond), bus)
		return !online
	})
}

// What was cached goes with its connection, and a connection that is silent goes soon.
func TestCacheIsLostWithItsConnection(t *testing.T) {
	f := func(name string, lose func(p *redistest.Proxy)) {
		t.Run(name, func(t *testing.T) {
			server := redistest.Start(t)
			proxy := server.Proxy(t)
			bus := open(t, redisbus.Options{Addr: proxy.Addr(), SilenceTimeout: 300 * time.Millisecond})
			wantOnline(t, bus, false)
			lose(proxy)
			server.Do("SETEX", aliceOnline, "130", "1")
			wantOnline(t, bus, true)
		})
	}
	f("lost", (*redistest.Proxy).Drop)
	f("silent", (*redistest.Proxy).DeafenAll)
}

// A user of Redis without transactions, which the cache needs, reads everything.
func TestNothingIsCachedWithoutTransactions(t *testing.T) {
	redistest.Needs(t, 700) // before, there are no rights to subcommands
	server := redistest.Start(t)
	server.AddUser("portal", "secret", "-multi")
	server.AddUser("other", "secret", "-client|tracking")
	server.Do("SETEX", aliceOnline, "130", "1")
	for _, user := range []string{"portal", "other"} {
		bus := open(t, redisbus.Options{URL: "unix://" + user + ":secret@" + server.Addr()})
		if online, err := isOnline(timeout(t, patience), bus); !online || err != nil {
			t.Errorf("%s: online %t, %v", user, online, err)
		}
		publishAll(t, bus, numbered(0, 1, bob))
		query := protocol.HistoryQuery{Channels: []protocol.ChannelID{bob}, Shared: []bool{true}}
		answers, err := bus.History(timeout(t, patience), []protocol.HistoryQuery{query}, 0)
		if err != nil || len(answers[0].Publications) == 0 {
			t.Errorf("%s: history %v, %v", user, answers, err)
		}
	}
}
