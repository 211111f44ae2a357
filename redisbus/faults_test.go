package redisbus_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"push-server/engine/bustest"
	"push-server/protocol"
	"push-server/protocol/testclient"
	"push-server/redisbus"
	"push-server/redisbus/redistest"
)

// TestPublishThroughFaults publishes while answers get lost, connections end, scripts vanish, and Redis hangs or restarts. In the end every
// publication stands in history once, in order; and what was not delivered lies before a gap.
func TestPublishThroughFaults(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	proxy := server.Proxy(t)
	bus := open(t, redisbus.Options{
		Addr: proxy.Addr(), HistorySize: 100_000, RetryMax: 10 * time.Millisecond, DialTimeout: 200 * time.Millisecond})
	l := bustest.Subscribe(t, bus)
	faults := []func(){
		func() { proxy.LoseAnswer("EVALSHA") },
		func() { proxy.LoseAnswer("message:") },
		proxy.Drop,
		func() { server.KillPubSub() },
		func() { server.Do("SCRIPT", "FLUSH") },
		func() { server.Kill(); server.Restart() },
		bus.Reconnect,
		func() { proxy.Hold(); time.AfterFunc(30*time.Millisecond, proxy.Release) },
	}
	var all []*protocol.Publication
	for range 60 {
		faults[random.IntN(len(faults))]()
		ps := numbered(len(all), 1+random.IntN(300), alice)
		all = append(all, ps...)
		publishAll(t, bus, ps)
	}
	l.AwaitEcho(t, bus)
	wanted := bodies(all)
	testclient.Await(t, "history", func() bool {
		answers, err := bus.History(timeout(t, patience), []protocol.HistoryQuery{{Channels: []protocol.ChannelID{alice}}}, 0)
		return err == nil && bodies(answers[0].Publications) == wanted
	})
	checkDelivery(t, l.Events(), history(t, bus, alice))
}

// checkDelivery looks for publications that were neither delivered nor lie before a gap.
func checkDelivery(t *testing.T, events []bustest.Event, stored []*protocol.Publication) {
	t.Helper()
	next, gap := 0, false
	for _, e := range events {
		switch {
		case e.Gap:
			gap = true
		case e.Publication != nil:
			for missed := 0; stored[next].ID != e.Publication.ID; missed++ {
				if !gap {
					t.Fatalf("%s was delivered without a gap where %s was due", e.Publication.Body, stored[next].Body)
				}
				next++
			}
			next, gap = next+1, false
		}
	}
	if next < len(stored) && !gap {
		t.Errorf("%d publications at the end were neither delivered nor told as a gap", len(stored)-next)
	}
}
