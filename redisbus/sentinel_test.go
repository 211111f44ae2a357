package redisbus_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"slices"
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

// TestFailover: whether an operator moves the master or it is killed, publications are stored again within seconds, and nothing but what
// the replica lacked is missing afterwards.
func TestFailover(t *testing.T) {
	f := func(name string, happens func(g *redistest.Group)) {
		t.Run(name, func(t *testing.T) {
			g := redistest.StartGroup(t, redistest.GroupOptions{})
			bus := open(t, redisbus.Options{Sentinels: g.Addrs, MasterName: redistest.MasterName})
			p, l, took := publishThrough(t, bus, func() { happens(g) })
			lacked, lost := p.check(t, l.Events(), history(t, open(t, redisbus.Options{Addr: g.Servers[1].Addr(), HistorySize: 100_000}), alice))
			t.Logf("%s: stored again after %v; of %d the new master lacks %d, of which %d were not delivered either; %d answers with an error",
				name, took.Round(10*time.Millisecond), len(p.stored), lacked, lost, len(p.unsure))
			if lost > 20 {
				t.Errorf("%d publications are lost", lost)
			}
		})
	}
	f("planned", func(g *redistest.Group) { g.Sentinels[0].Do("SENTINEL", "FAILOVER", redistest.MasterName) })
	f("killed", func(g *redistest.Group) { g.Servers[0].Kill() })
}

// publisher publishes one after the other, 500 a second, and sends again what is not stored.
type publisher struct {
	t    *testing.T
	end  context.CancelFunc
	work sync.WaitGroup

	mu     sync.Mutex
	stored []*protocol.Publication
	unsure map[string]bool // bodies of those that may have been stored though the answer was an error
}

func startPublisher(t *testing.T, bus *redisbus.Bus) *publisher {
	ctx, end := context.WithCancel(context.Background())
	p := &publisher{t: t, end: end, unsure: make(map[string]bool)}
	t.Cleanup(p.stop)
	p.work.Go(func() {
		pace := time.NewTicker(2 * time.Millisecond)
		defer pace.Stop()
		for n := 0; ctx.Err() == nil; n++ {
			<-pace.C
			p.publish(ctx, bus, numbered(n, 1, alice))
		}
	})
	return p
}

func (p *publisher) publish(ctx context.Context, bus *redisbus.Bus, ps []*protocol.Publication) {
	for ctx.Err() == nil {
		attempt, cancel := context.WithTimeout(ctx, time.Second)
		stored, err := bus.Publish(attempt, ps)
		cancel()
		p.mu.Lock()
		if stored > 0 {
			p.stored = append(p.stored, ps[0])
		} else {
			p.unsure[string(ps[0].Body)] = true
		}
		p.mu.Unlock()
		if stored > 0 && err == nil {
			return
		}
	}
}

func (p *publisher) stop() {
	p.end()
	p.work.Wait()
}

// last is the highest id.
func (p *publisher) last() protocol.MessageID {
	for _, pub := range slices.Backward(p.stored) {
		if !pub.ID.IsZero() {
			return pub.ID
		}
	}
	return protocol.MessageID{}
}

func (p *publisher) await(what string, ok func() bool) {
	p.t.Helper()
	testclient.Await(p.t, what, func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return ok()
	})
}

// check looks for what is doubled, out of order, or was not delivered without a gap to say so. lacked is what is not in the history of
// the new master, lost what was not delivered either.
func (p *publisher) check(t *testing.T, events []bustest.Event, kept []*protocol.Publication) (lacked, lost int) {
	t.Helper()
	inHistory, delivered := make(map[string]bool), make(map[string]bool)
	for _, pub := range kept {
		if inHistory[string(pub.Body)] {
			t.Errorf("%s is stored twice", pub.Body)
		}
		inHistory[string(pub.Body)] = true
	}
	var last protocol.MessageID
	for _, pub := range bustest.Delivered(events) {
		if body := string(pub.Body); delivered[body] && !p.unsure[body] {
			t.Errorf("%s is delivered twice", body)
		}
		if pub.ID.Compare(last) <= 0 {
			t.Errorf("%v is delivered after %v", pub.ID, last)
		}
		last = pub.ID
		delivered[string(pub.Body)] = true
	}
	for _, pub := range p.stored {
		if body := string(pub.Body); !inHistory[body] {
			if lacked++; !delivered[body] {
				lost++
			}
		} else if !delivered[body] && bustest.Gaps(events) == 0 {
			t.Errorf("%s is not delivered, and there is no gap", body)
		}
	}
	return lacked, lost
}

// TestSentinelOptions: sentinels and servers with passwords and TLS, by options and by URL.
func TestSentinelOptions(t *testing.T) {
	f := func(name string, g *redistest.Group, o redisbus.Options, works bool) {
		t.Run(name, func(t *testing.T) {
			var log testclient.Log
			o.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
			bus := open(t, o)
			if works {
				l := bustest.Subscribe(t, bus)
				publish(t, bus, numbered(0, 3, bob)...)
				want(t, "delivered", l.Publications(t, 3), "0 1 2")
			} else if _, err := bus.Publish(timeout(t, patience), numbered(0, 1, bob)); err == nil || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("%v", err)
			}
			if strings.Contains(log.String(), "s3cret") {
				t.Errorf("a password in the log: %s", log.String())
			}
		})
	}
	redistest.Needs(t, 602) // before, sentinels know no passwords of each other
	a := redistest.NewAuthority(t)
	g := redistest.StartGroup(t, redistest.GroupOptions{Authority: a, Password: "s3cret1", SentinelPassword: "s3cret2"})
	right := redisbus.Options{Sentinels: g.Addrs, MasterName: redistest.MasterName, Password: "s3cret1", SentinelPassword: "s3cret2", TLS: trusting(t, a)}
	with := func(change func(o *redisbus.Options)) redisbus.Options {
		o := right
		change(&o)
		return o
	}
	url := fmt.Sprintf("rediss://:s3cret1@%s/2?master_set=%s&addr=%s", g.Addrs[0], redistest.MasterName, g.Addrs[1])
	f("all", g, right, true)
	f("one of them", g, with(func(o *redisbus.Options) { o.Sentinels = g.Addrs[2:] }), true)
	f("one that is not there", g, with(func(o *redisbus.Options) { o.Sentinels = []string{"127.0.0.1:1", g.Addrs[1]} }), true)
	f("URL", g, redisbus.Options{URL: url, SentinelPassword: "s3cret2", TLS: right.TLS}, true)
	for _, s := range g.Sentinels {
		s.Do("ACL", "SETUSER", "portal", "on", ">s3cret4", "-@all", "&*", "+sentinel|get-master-addr-by-name", "+sentinel|master", "+subscribe", "+ping")
	}
	f("user of sentinels", g, with(func(o *redisbus.Options) { o.SentinelUser, o.SentinelPassword = "portal", "s3cret4" }), true)
	f("another password of that user", g, with(func(o *redisbus.Options) { o.SentinelUser, o.SentinelPassword = "portal", "s3cret2" }), false)
	f("another name", g, with(func(o *redisbus.Options) { o.MasterName = "another" }), false)
	f("another password", g, with(func(o *redisbus.Options) { o.Password = "s3cret3" }), false)
	f("another password of sentinels", g, with(func(o *redisbus.Options) { o.SentinelPassword = "s3cret3" }), false)
	f("another authority", g, with(func(o *redisbus.Options) { o.TLS = &tls.Config{} }), false)
	f("no TLS with sentinels", g, with(func(o *redisbus.Options) { o.PlainSentinels = true }), false)
	f("nobody there", g, with(func(o *redisbus.Options) { o.Sentinels = []string{"127.0.0.1:1"} }), false)
}

// publishThrough publishes before, while and after something happens to the master, until another one stores. took is how long that was.
func publishThrough(t *testing.T, bus *redisbus.Bus, happens func()) (p *publisher, l *bustest.Listener, took time.Duration) {
	t.Helper()
	l = bustest.Subscribe(t, bus)
	p = startPublisher(t, bus)
	p.await("some are stored", func() bool { return len(p.stored) > 200 })
	before := p.last()
	begun := time.Now()
	happens()
	p.await("publications are stored by the new master", func() bool { return p.last().Counter() > before.Counter()+100_000 })
	took = time.Since(begun)
	first := len(p.stored)
	p.await("and more", func() bool { return len(p.stored) > first+200 })
	p.stop()
	l.AwaitEcho(t, bus)
	return p, l, took
}
