package redisbus_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"push-server/engine/bustest"
	"push-server/protocol"
	"push-server/protocol/testclient"
	"push-server/redisbus"
	"push-server/redisbus/redistest"
)

// everywhere publishes ps and checks that they are delivered after before and stand in history, each once.
func everywhere(t *testing.T, bus *redisbus.Bus, l *bustest.Listener, before string, ps []*protocol.Publication) {
	t.Helper()
	publishAll(t, bus, ps)
	n, err := bus.Echo(timeout(t, patience))
	if err != nil {
		t.Fatal(err)
	}
	events, _ := l.Echo(t, n)
	wanted := strings.TrimSpace(before + " " + bodies(ps))
	want(t, "delivered", bustest.Delivered(events), wanted)
	want(t, "history", history(t, bus, alice), wanted)
	var last protocol.MessageID
	for _, p := range bustest.Delivered(events) {
		if p.ID.Compare(last) <= 0 {
			t.Fatalf("id %v after %v", p.ID, last)
		}
		last = p.ID
	}
}

func TestLostAnswerInTheMiddle(t *testing.T) {
	server := redistest.Start(t)
	proxy := server.Proxy(t)
	bus := open(t, redisbus.Options{Addr: proxy.Addr()})
	l := bustest.Subscribe(t, bus)
	ps := numbered(0, 1000, alice)
	proxy.LoseAnswer("message-600-")
	ps[600].Body = []byte("message-600-")
	everywhere(t, bus, l, "", ps)
}

// TestLateExecution: Redis executes what a caller has given up waiting for, when the caller has sent it again.
func TestLateExecution(t *testing.T) {
	server := redistest.Start(t)
	bus := open(t, redisbus.Options{Addr: server.Addr()})
	l := bustest.Subscribe(t, bus)
	publish(t, bus, numbered(0, 1, alice)...)
	server.Pause()
	ps := numbered(1, 10, alice)
	for range 3 {
		if stored, err := bus.Publish(timeout(t, 20*time.Millisecond), ps); stored != 0 || !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("Publish while Redis hangs: %d, %v", stored, err)
		}
	}
	server.Resume()
	everywhere(t, bus, l, "0", ps)
}

func TestHeldAnswer(t *testing.T) {
	server := redistest.Start(t)
	proxy := server.Proxy(t)
	bus := open(t, redisbus.Options{Addr: proxy.Addr()})
	l := bustest.Subscribe(t, bus)
	publish(t, bus, numbered(0, 1, alice)...)
	proxy.Hold()
	ps := numbered(1, 10, alice)
	if stored, err := bus.Publish(timeout(t, 20*time.Millisecond), ps); stored != 0 || err == nil {
		t.Fatalf("Publish: %d, %v", stored, err)
	}
	proxy.Release()
	everywhere(t, bus, l, "0", append(ps, numbered(11, 1, alice)...))
}

// TestWithoutRedis: a bus is made, and its calls fail at once, when there is no Redis; all works when it comes.
func TestWithoutRedis(t *testing.T) {
	server := redistest.Start(t)
	server.Kill()
	var log testclient.Log
	bus := open(t, redisbus.Options{Addr: server.Addr(), RetryMax: 20 * time.Millisecond, Log: slog.New(slog.NewTextHandler(&log, nil))})
	l := bustest.Start(t, bus)
	f := func(what string, call func(ctx context.Context) error) {
		t.Helper()
		if err := call(timeout(t, patience)); err == nil || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", what, err)
		}
	}
	ps := numbered(0, 5, alice)
	f("Publish", func(ctx context.Context) error { _, err := bus.Publish(ctx, ps); return err })
	f("Echo", func(ctx context.Context) error { _, err := bus.Echo(ctx); return err })
	f("Remaining", func(ctx context.Context) error { _, err := bus.Remaining(ctx, []protocol.MessageID{{1}}); return err })
	f("Online", func(ctx context.Context) error { _, err := bus.Online(ctx, []protocol.ChannelID{alice}); return err })
	f("Touch", func(ctx context.Context) error { return bus.Touch(ctx, []protocol.ChannelID{alice}) })
	f("Statistics", func(ctx context.Context) error { _, err := bus.Statistics(ctx); return err })
	f("History", func(ctx context.Context) error {
		_, err := bus.History(ctx, []protocol.HistoryQuery{{Channels: []protocol.ChannelID{alice}, Shared: []bool{true}}}, 0)
		return err
	})
	testclient.Await(t, "a line in the log", func() bool { return strings.Contains(log.String(), "not listening to redis") })
	for _, operation := range []string{"publish", "subscribe", "echo", "remaining", "online", "touch", "statistics", "history"} {
		if bus.Errors()[operation] == 0 {
			t.Errorf("%s: its errors are not counted: %v", operation, bus.Errors())
		}
	}
	server.Restart()
	l.AwaitEcho(t, bus)
	everywhere(t, bus, l, "", ps)
	if gaps := bustest.Gaps(l.Events()); gaps != 0 {
		t.Errorf("%d gaps before the first subscription", gaps)
	}
}

// TestAwayAndBack: Redis dies and comes back with its data; a gap is told before anything else.
func TestAwayAndBack(t *testing.T) {
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	var log testclient.Log
	bus := open(t, redisbus.Options{Addr: server.Addr(), RetryMax: 20 * time.Millisecond, Log: slog.New(slog.NewTextHandler(&log, nil))})
	l := bustest.Subscribe(t, bus)
	publish(t, bus, numbered(0, 2, alice)...)
	l.Publications(t, 2)
	server.Kill()
	testclient.Await(t, "the loss is told", func() bool { return strings.Contains(log.String(), "not listening to redis, trying again") })
	ps := numbered(2, 3, alice)
	if stored, err := bus.Publish(timeout(t, patience), ps); stored != 0 || err == nil {
		t.Fatalf("Publish without Redis: %d, %v", stored, err)
	}
	server.Restart()
	l.AwaitEcho(t, bus)
	everywhere(t, bus, l, "0 1", ps)
	events := l.Events()
	if gaps := bustest.Gaps(events); gaps != 1 {
		t.Errorf("%d gaps", gaps)
	}
	const over = `"resolved: not listening to redis" took=`
	testclient.Await(t, "it is said how long it took", func() bool { return strings.Contains(log.String(), over) })
	for _, once := range []string{"not listening to redis, trying again", over} {
		if n := strings.Count(log.String(), once); n != 1 {
			t.Errorf("%s: %d times in\n%s", once, n, log.String())
		}
	}
	for i, e := range events {
		if e.Gap && len(bustest.Delivered(events[:i])) != 2 {
			t.Errorf("the gap came after %d publications", len(bustest.Delivered(events[:i])))
		}
	}
}

// TestFlush: Redis has lost everything. Ids go on above the last one, under the start date that Node processes remember.
func TestFlush(t *testing.T) {
	f := func(what string, lose func(server *redistest.Server)) {
		t.Run(what, func(t *testing.T) {
			server := redistest.Start(t)
			bus := open(t, redisbus.Options{Addr: server.Addr(), RetryMax: 20 * time.Millisecond})
			l := bustest.Subscribe(t, bus)
			before := numbered(0, 50, alice)
			publish(t, bus, before...)
			l.Publications(t, len(before))
			lose(server)
			l.AwaitEcho(t, bus)
			after := numbered(50, 50, alice)
			publishAll(t, bus, after)
			got := l.Publications(t, 100)
			want(t, "delivered", got, bodies(append(before, after...)))
			last := before[49].ID
			if id := after[0].ID; id.Startdate() != last.Startdate() || id.Counter() < last.Counter()+1000 {
				t.Errorf("id %v after %v", id, last)
			}
			for i, p := range got[1:] {
				if p.ID.Compare(got[i].ID) <= 0 {
					t.Fatalf("id %v after %v", p.ID, got[i].ID)
				}
			}
		})
	}
	f("all keys", func(s *redistest.Server) { s.Do("FLUSHALL") })
	f("a restart without data", func(s *redistest.Server) { s.Restart() })
	f("all keys, and a Node process went on", func(s *redistest.Server) { s.Do("FLUSHALL"); s.Do("INCR", "server:messagecounter") })
	f("the last messages, in a failover", func(s *redistest.Server) { s.Do("SET", "server:messagecounter", "40") })
}

// TestFlushBetweenTwoPublications: who publishes and does not listen sends no echo that could raise the counter first.
func TestFlushBetweenTwoPublications(t *testing.T) {
	server := redistest.Start(t)
	bus := open(t, redisbus.Options{Addr: server.Addr()})
	ps := numbered(0, 2, alice)
	publish(t, bus, ps[0])
	server.Do("FLUSHALL")
	publish(t, bus, ps[1])
	if before, after := ps[0].ID, ps[1].ID; after.Startdate() != before.Startdate() || after.Counter() < before.Counter()+1000 {
		t.Errorf("id %v after %v", after, before)
	}
}

// TestFlushIsNoticedByAll: a process that has only listened knows the ids as well.
func TestFlushIsNoticedByAll(t *testing.T) {
	server := redistest.Start(t)
	a := open(t, redisbus.Options{Addr: server.Addr()})
	b := open(t, redisbus.Options{Addr: server.Addr()})
	atB := bustest.Subscribe(t, b)
	publish(t, a, numbered(0, 20, alice)...)
	atB.Publications(t, 20)
	server.Do("FLUSHALL")
	publish(t, b, numbered(20, 1, alice)...)
	publish(t, a, numbered(21, 1, alice)...)
	got := atB.Publications(t, 22)
	for i, p := range got[1:] {
		if p.ID.Compare(got[i].ID) <= 0 {
			t.Fatalf("id %v after %v", p.ID, got[i].ID)
		}
	}
}

// TestFlushInTheMiddle: data and scripts vanish again and again while batches are under way. Nothing is lost to delivery or
// swapped.
func TestFlushInTheMiddle(t *testing.T) {
	f := func(what string, command ...string) {
		t.Run(what, func(t *testing.T) {
			server := redistest.Start(t)
			bus := open(t, redisbus.Options{Addr: server.Addr()})
			l := bustest.Subscribe(t, bus)
			ended := make(chan struct{})
			var flushing sync.WaitGroup
			flushing.Go(func() {
				for {
					select {
					case <-ended:
						return
					default:
						if _, err := server.Try(command...); err != nil {
							t.Error(err)
							return
						}
					}
				}
			})
			ps := numbered(0, 5000, alice)
			publishAll(t, bus, ps)
			close(ended)
			flushing.Wait()
			want(t, "delivered", l.Publications(t, len(ps)), bodies(ps))
		})
	}
	f("scripts", "SCRIPT", "FLUSH")
	f("data", "FLUSHALL")
}

// TestTransientErrors: what an operator can mend is no refusal.
func TestTransientErrors(t *testing.T) {
	f := func(what string, least int, breakIt, mend func(s *redistest.Server)) {
		t.Run(what, func(t *testing.T) {
			redistest.Needs(t, least)
			server := redistest.Start(t)
			bus := open(t, redisbus.Options{Addr: server.Addr()})
			l := bustest.Subscribe(t, bus)
			publish(t, bus, numbered(0, 2, alice)...)
			breakIt(server)
			ps := numbered(2, 3, alice)
			stored, err := bus.Publish(timeout(t, patience), ps)
			if stored != 0 || err == nil || errors.Is(err, protocol.ErrRefused) {
				t.Fatalf("Publish: %d, %v", stored, err)
			}
			mend(server)
			everywhere(t, bus, l, "0 1", ps)
		})
	}
	f("out of memory", 600,
		func(s *redistest.Server) { s.Do("CONFIG", "SET", "maxmemory", "1") },
		func(s *redistest.Server) { s.Do("CONFIG", "SET", "maxmemory", "0") })
	f("too few replicas", 700, // before, scripts write all the same
		func(s *redistest.Server) { s.Do("CONFIG", "SET", "min-replicas-to-write", "1") },
		func(s *redistest.Server) { s.Do("CONFIG", "SET", "min-replicas-to-write", "0") })
	f("no permission", 600,
		func(s *redistest.Server) { s.Do("ACL", "SETUSER", "default", "-zadd", "-incr") },
		func(s *redistest.Server) { s.Do("ACL", "SETUSER", "default", "+@all") })
	f("no counter", 600,
		func(s *redistest.Server) { s.Do("SET", "server:messagecounter", "nonsense") },
		func(s *redistest.Server) { s.Do("SET", "server:messagecounter", "2") })
	f("a counter of another type", 600,
		func(s *redistest.Server) {
			s.Do("DEL", "server:messagecounter")
			s.Do("LPUSH", "server:messagecounter", "1")
		},
		func(s *redistest.Server) { s.Do("SET", "server:messagecounter", "2") })
}

func TestReadOnly(t *testing.T) {
	server := redistest.Start(t)
	bus := open(t, redisbus.Options{Addr: server.Addr()})
	publish(t, bus, numbered(0, 2, alice)...)
	server.Do("REPLICAOF", "127.0.0.1", "1")
	ps := numbered(2, 2, alice)
	if stored, err := bus.Publish(timeout(t, patience), ps); stored != 0 || err == nil || errors.Is(err, protocol.ErrRefused) {
		t.Fatalf("Publish: %d, %v", stored, err)
	}
	server.Do("REPLICAOF", "NO", "ONE")
	publishAll(t, bus, ps)
	want(t, "history", history(t, bus, alice), "0 1 2 3")
}

// TestRefused: a publication that Redis will never take is left out; those around it are stored.
func TestRefused(t *testing.T) {
	f := func(what string, server *redistest.Server, spoil func(p *protocol.Publication)) {
		t.Run(what, func(t *testing.T) {
			bus := open(t, redisbus.Options{Addr: server.Addr()})
			l := bustest.Subscribe(t, bus)
			ps := numbered(0, 5, alice)
			for _, p := range ps {
				p.Expiry = 0
			}
			spoil(ps[2])
			refused := 0
			for rest := ps; len(rest) > 0; {
				stored, err := bus.Publish(timeout(t, patience), rest)
				rest = rest[stored:]
				if err != nil {
					if !errors.Is(err, protocol.ErrRefused) {
						t.Fatal(err)
					}
					rest = rest[1:]
					refused++
				}
			}
			if refused != 1 {
				t.Errorf("%d refused", refused)
			}
			want(t, "delivered", l.Publications(t, 4), "0 1 3 4")
		})
	}
	f("too large", redistest.Start(t), func(p *protocol.Publication) { p.Body = make([]byte, 129<<20) })
	f("too many receivers", redistest.Start(t), func(p *protocol.Publication) { p.Receivers = make([]protocol.Receiver, 1<<20+1) })
	f("an error of the script", redistest.Start(t, "--rename-command", "SETEX", ""), func(p *protocol.Publication) { p.Expiry = 60 })
}

func TestLostSubscription(t *testing.T) {
	f := func(what string, lose func(s *redistest.Server, p *redistest.Proxy, bus *redisbus.Bus)) {
		t.Run(what, func(t *testing.T) {
			server := redistest.Start(t)
			proxy := server.Proxy(t)
			bus := open(t, redisbus.Options{Addr: proxy.Addr(), RetryMax: 20 * time.Millisecond})
			l := bustest.Subscribe(t, bus)
			publish(t, bus, numbered(0, 1, alice)...)
			l.Publications(t, 1)
			for n := 1; n <= 3; n++ {
				lose(server, proxy, bus)
				l.Wait(t, "a gap", func(events []bustest.Event) bool { return bustest.Gaps(events) == n })
				publishAll(t, bus, numbered(n, 1, alice))
				l.Publications(t, 1+n)
				events := l.Events()
				if !events[len(events)-2].Gap {
					t.Errorf("want the gap before the publication: %v", events)
				}
			}
			l.AwaitEcho(t, bus)
			server.AwaitPubSub(1)
		})
	}
	f("killed", func(s *redistest.Server, _ *redistest.Proxy, _ *redisbus.Bus) { s.KillPubSub() })
	f("dropped", func(_ *redistest.Server, p *redistest.Proxy, _ *redisbus.Bus) { p.Drop() })
	f("dropped on request", func(_ *redistest.Server, _ *redistest.Proxy, bus *redisbus.Bus) { bus.Reconnect() })
}

// TestDeaf: a connection that is alive and brings nothing is given up when the user of the bus says so.
func TestDeaf(t *testing.T) {
	server := redistest.Start(t)
	proxy := server.Proxy(t)
	bus := open(t, redisbus.Options{Addr: proxy.Addr()})
	l := bustest.Subscribe(t, bus)
	proxy.Deafen()
	publish(t, bus, numbered(0, 1, alice)...)
	if _, err := bus.Echo(timeout(t, patience)); err != nil {
		t.Fatal(err)
	}
	bus.Reconnect()
	l.AwaitEcho(t, bus)
	publish(t, bus, numbered(1, 1, alice)...)
	want(t, "delivered", l.Publications(t, 1), "1")
	if bustest.Gaps(l.Events()) != 1 {
		t.Errorf("want a gap: %v", l.Events())
	}
}

// TestKilledWhilePublishing: what was delivered and what was stored differ by no more than what a gap covers.
func TestKilledWhilePublishing(t *testing.T) {
	server := redistest.Start(t)
	bus := open(t, redisbus.Options{Addr: server.Addr(), RetryMax: 5 * time.Millisecond})
	l := bustest.Subscribe(t, bus)
	for round := range 10 {
		publish(t, bus, numbered(1000*round, 500, alice)...)
		server.KillPubSub()
		publish(t, bus, numbered(1000*round+500, 500, alice)...)
	}
	l.AwaitEcho(t, bus)
	var last protocol.MessageID
	gap := false
	for _, e := range l.Events() {
		switch {
		case e.Gap:
			gap = true
		case e.Publication == nil:
		default:
			if id := e.Publication.ID; !last.IsZero() && id.Counter() != last.Counter()+1 && !gap {
				t.Fatalf("%v follows %v without a gap", id, last)
			}
			last, gap = e.Publication.ID, false
		}
	}
}

// TestCallsEndWithTheirContext: also when Redis accepts a connection and says nothing.
func TestCallsEndWithTheirContext(t *testing.T) {
	server := redistest.Start(t)
	proxy := server.Proxy(t)
	proxy.Hold()
	bus := open(t, redisbus.Options{Addr: proxy.Addr(), DialTimeout: 300 * time.Millisecond})
	l := bustest.Start(t, bus)
	if _, err := bus.Publish(timeout(t, 50*time.Millisecond), numbered(0, 1, alice)); err == nil {
		t.Error("Publish: no error")
	}
	if _, err := bus.History(timeout(t, 50*time.Millisecond), []protocol.HistoryQuery{{Channels: []protocol.ChannelID{alice}}}, 0); err == nil {
		t.Error("History: no error")
	}
	if err := l.End(); !errors.Is(err, context.Canceled) {
		t.Errorf("Subscribe: %v", err)
	}
	proxy.Release() // so far nothing was answered
}
