package redisbus_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"push-server/engine/bustest"
	"push-server/protocol"
	"push-server/protocol/testclient"
	"push-server/redisbus"
	"push-server/redisbus/redistest"
)

// A user of Redis who may not publish, or not on these channels, has stored nothing: whatever is tried again is there once when he may.
// It was stored once more with each attempt, and all copies were delivered afterwards.
func TestWhatIsNotPublishedIsNotStored(t *testing.T) {
	f := func(name string, refuse, allow []string) {
		t.Run(name, func(t *testing.T) {
			needsRightsToChannels(t, refuse)
			server := redistest.Start(t)
			server.AddUser("portal", "secret")
			bus := open(t, redisbus.Options{URL: "unix://portal:secret@" + server.Addr()})
			l := bustest.Subscribe(t, bus)
			publishAll(t, bus, numbered(0, 1, alice))
			server.Do(append([]string{"ACL", "SETUSER", "portal"}, refuse...)...)
			ps := numbered(1, 5, alice)
			for range 5 {
				stored, err := bus.Publish(timeout(t, patience), ps)
				if stored != 0 || err == nil || errors.Is(err, protocol.ErrRefused) {
					t.Fatalf("%d stored, %v: it is to be tried again", stored, err)
				}
			}
			want(t, "history meanwhile", history(t, open(t, redisbus.Options{Addr: server.Addr()}), alice), "0")
			if err := bus.Health(); err == nil || !strings.Contains(err.Error(), "publish") {
				t.Errorf("an operator is told %v", err)
			}
			server.Do(append([]string{"ACL", "SETUSER", "portal"}, allow...)...)
			publishAll(t, bus, ps)
			if err := bus.Health(); err != nil {
				t.Errorf("when all is well: %v", err)
			}
			l.AwaitEcho(t, bus)
			if got, want := bodies(history(t, bus, alice)), bodies(numbered(0, 6, alice)); got != want {
				t.Errorf("history %s, want %s", got, want)
			}
			events := l.Events()
			gap := slices.ContainsFunc(events, func(e bustest.Event) bool { return e.Gap })
			if got, want := bodies(bustest.Delivered(events)), bodies(numbered(0, 6, alice)); got != want && !gap {
				t.Errorf("delivered %s, want %s", got, want)
			}
		})
	}
	f("no PUBLISH", []string{"-publish"}, []string{"+publish"})
	f("no channels", []string{"resetchannels"}, []string{"allchannels"})
	f("no SETEX", []string{"-setex"}, []string{"+setex"})
	f("no ZADD", []string{"-zadd"}, []string{"+zadd"})
	f("no EXPIRE", []string{"-expire"}, []string{"+expire"})
	f("no SET", []string{"-set"}, []string{"+set"})
	f("no INCR", []string{"-incr"}, []string{"+incr"})
	f("no MGET", []string{"-mget"}, []string{"+mget"})
	f("neither PUBLISH nor DEL", []string{"-publish", "-del"}, []string{"+publish", "+del"})
	f("neither PUBLISH nor ZREM", []string{"-publish", "-zrem"}, []string{"+publish", "+zrem"})
	f("none of PUBLISH, DEL, ZREM", []string{"-publish", "-del", "-zrem"}, []string{"+publish", "+del", "+zrem"})
	f("none of EXPIRE, DEL, ZREM", []string{"-expire", "-del", "-zrem"}, []string{"+expire", "+del", "+zrem"})
	f("no history key", []string{"resetkeys", "~server:*", "~message:*"}, []string{"~*"})
	f("no message key", []string{"resetkeys", "~server:*", "~channel:*"}, []string{"~*"})
}

// What the user may not do is found before anybody publishes, said in words that name it, and over as soon as he may.
func TestRightsAreLookedAt(t *testing.T) {
	f := func(refuse, allow, named string) {
		t.Run(refuse, func(t *testing.T) {
			needsRightsToChannels(t, strings.Fields(refuse))
			server := redistest.Start(t)
			server.AddUser("portal", "secret", strings.Fields(refuse)...)
			bus := open(t, redisbus.Options{URL: "unix://portal:secret@" + server.Addr(), RetryMax: 10 * time.Millisecond})
			bustest.Start(t, bus)
			testclient.Await(t, "an operator is told", func() bool {
				_, _ = bus.Echo(timeout(t, patience))
				err := bus.Health()
				return err != nil && strings.Contains(strings.ToLower(err.Error()), named)
			})
			server.Do(append([]string{"ACL", "SETUSER", "portal"}, strings.Fields(allow)...)...)
			testclient.Await(t, "all is well", func() bool {
				_, _ = bus.Echo(timeout(t, patience))
				return bus.Health() == nil
			})
			if n := server.Int("DBSIZE"); n != 0 {
				t.Errorf("%d keys were left", n)
			}
		})
	}
	f("-zadd", "+zadd", "zadd")
	f("-incr -expire", "+incr +expire", "expire")
	f("-mget", "+mget", "mget")
	f("-del", "+del", "del server:")
	f("-zrem", "+zrem", "zrem channel:")
	f("-evalsha -eval", "+evalsha +eval", "evalsha")
	f("-publish", "+publish", "echo")
	f("-psubscribe", "+psubscribe", "subscribe")
	f("resetchannels &pushecho:*", "allchannels", "subscribe")
	f("resetkeys ~server:* ~message:*", "~*", "channel:messages")
	f("off", "on", "wrongpass")
}

func needsRightsToChannels(t *testing.T, rules []string) {
	t.Helper()
	if slices.Contains(rules, "resetchannels") {
		redistest.Needs(t, 602)
	}
}

// Whatever could not be done for want of rights is forgotten once it goes well.
func TestRightsComeBack(t *testing.T) {
	server := redistest.Start(t)
	server.AddUser("portal", "secret")
	bus := open(t, redisbus.Options{URL: "unix://portal:secret@" + server.Addr()})
	publishAll(t, bus, numbered(0, 1, alice))
	f := func(command string, call func(ctx context.Context) error) {
		t.Helper()
		server.Do("ACL", "SETUSER", "portal", "-"+command)
		if call(timeout(t, patience)) == nil || bus.Health() == nil {
			t.Errorf("%s: it is not said that it is forbidden", command)
		}
		server.Do("ACL", "SETUSER", "portal", "+"+command)
		if err := errors.Join(call(timeout(t, patience)), bus.Health()); err != nil {
			t.Errorf("%s: when it is allowed: %v", command, err)
		}
	}
	f("zrevrangebylex", func(ctx context.Context) error {
		_, err := bus.History(ctx, []protocol.HistoryQuery{{Channels: []protocol.ChannelID{alice}}}, 0)
		return err
	})
	f("pttl", func(ctx context.Context) error { _, err := bus.Remaining(ctx, []protocol.MessageID{{1}}); return err })
	f("setex", func(ctx context.Context) error { return bus.Touch(ctx, []protocol.ChannelID{alice}) })
	f("mget", func(ctx context.Context) error { _, err := bus.Online(ctx, []protocol.ChannelID{alice}); return err })
	f("hset", func(ctx context.Context) error { return bus.PutStatistics(ctx, "one", []byte("{}")) })
	f("hgetall", func(ctx context.Context) error { _, err := bus.Statistics(ctx); return err })
	f("hdel", func(ctx context.Context) error { return bus.DeleteStatistics(ctx, []string{"one"}) })
}

// Where Redis runs no scripts, publishers are told at once: it will not be stored. Where it only does not load them, they are sent along.
func TestScriptsAreNotAllowed(t *testing.T) {
	server := redistest.Start(t)
	server.AddUser("portal", "secret", "-eval", "-evalsha")
	server.AddUser("other", "secret", "-script")
	bus := open(t, redisbus.Options{URL: "unix://portal:secret@" + server.Addr()})
	if _, err := bus.Publish(timeout(t, patience), numbered(0, 1, alice)); !errors.Is(err, protocol.ErrForbidden) {
		t.Errorf("published: %v", err)
	}
	if err := bus.Health(); err == nil {
		t.Error("no operator is told")
	}
	publishAll(t, open(t, redisbus.Options{URL: "unix://other:secret@" + server.Addr()}), numbered(0, 3, alice))
}

// Another portal in another database of the same Redis concerns nobody here: neither do its publications, where they say where they are
// from, nor its ids.
func TestTwoDatabases(t *testing.T) {
	server := redistest.Start(t)
	url := "unix://" + server.Addr()
	server.Do("SET", "server:startdate", "1700000000")
	first := open(t, redisbus.Options{URL: url})
	second := open(t, redisbus.Options{URL: url + "?db=2"})
	l1, l2 := bustest.Subscribe(t, first), bustest.Subscribe(t, second)
	publishAll(t, first, numbered(0, 3, alice))
	publishAll(t, second, numbered(0, 3, alice))
	publishAll(t, first, numbered(3, 3, alice))
	publishAll(t, second, numbered(3, 3, alice))
	l1.AwaitEcho(t, first)
	l2.AwaitEcho(t, second)
	for name, bus := range map[string]*redisbus.Bus{"first": first, "second": second} {
		ps := history(t, bus, alice)
		if got, want := bodies(ps), bodies(numbered(0, 6, alice)); got != want {
			t.Errorf("%s: history %s", name, got)
		}
		if last := ps[len(ps)-1].ID.Counter(); last != 6 {
			t.Errorf("%s: its counter was driven up to %d", name, last)
		}
	}
	for _, p := range bustest.Delivered(l1.Events()) {
		if p.ID.Startdate() != 1_700_000_000 {
			t.Errorf("%s of the other portal was delivered", p.ID)
		}
	}
	for _, p := range bustest.Delivered(l2.Events()) {
		if p.ID.Startdate() == 1_700_000_000 && !p.Stray {
			t.Errorf("%s of the other portal counts", p.ID)
		}
	}
}

// After FLUSHALL there is no start date until somebody publishes. Positions stay, and ids go on above the known ones.
func TestFlushBesideAnOldPublisher(t *testing.T) {
	server := redistest.Start(t)
	bus := open(t, redisbus.Options{Addr: server.Addr()})
	l := bustest.Subscribe(t, bus)
	publishAll(t, bus, numbered(0, 3, alice))
	l.AwaitEcho(t, bus)
	server.Do("FLUSHALL")
	server.Do("INCR", "server:messagecounter") // a Node process remembers the start date and does not write it again
	n, err := bus.Echo(timeout(t, patience))
	if err != nil {
		t.Fatal(err)
	}
	_, counter := l.Echo(t, n)
	if counter.Counter() < 1_000_000 || server.Get("server:startdate") == "" {
		t.Errorf("the counter is %s, the start date %q", counter, server.Get("server:startdate"))
	}
}
