//go:build !race

package redisbus_test

import (
	"context"
	"testing"

	"push-server/protocol"
	"push-server/redisbus"
	"push-server/redisbus/redistest"
)

// A publication costs nothing on its way to Redis, but for a share in the round trip. On its way back it costs itself, and the five
// pieces in which rueidis brings a message.
func TestPublicationsAllocateLittle(t *testing.T) {
	const batch = 64
	ps := make([]*protocol.Publication, batch)
	for i := range ps {
		ps[i] = publication(string(make([]byte, 200)), 3600, numberedChannel(i))
	}
	f := func(what string, bus *redisbus.Bus, a *arrivals, most float64) {
		t.Helper()
		publishRound := func() {
			if _, err := bus.Publish(context.Background(), ps); err != nil {
				t.Fatal(err)
			}
			if a != nil {
				a.await(batch)
			}
		}
		publishRound()
		if n := testing.AllocsPerRun(200, publishRound) / batch; n > most {
			t.Errorf("%s: %v allocations a publication, expected at most %v", what, n, most)
		}
	}
	server := redistest.Start(t)
	f("sent", open(t, redisbus.Options{Addr: server.Addr()}), nil, 0.1)
	bus := open(t, redisbus.Options{Addr: server.Addr()})
	f("sent and received", bus, subscribe(t, bus), 6.1)
}
