package redisbus_test

import (
	"testing"
	"time"

	"push-server/engine/bustest"
	"push-server/protocol/testclient"
	"push-server/redisbus"
	"push-server/redisbus/redistest"
)

// moving is a bus at an address that may lead to another server.
func moving(t *testing.T, o redisbus.Options) (*redistest.Group, *redistest.Proxy, *redisbus.Bus) {
	t.Helper()
	g := redistest.StartPair(t, redistest.GroupOptions{})
	for _, s := range g.Servers {
		s.AddUser("blind", "secret", "-info")
	}
	proxy := g.Servers[0].Proxy(t)
	o.Addr, o.RetryMax = proxy.Addr(), 20*time.Millisecond
	return g, proxy, open(t, o)
}

// TestAnotherServerHandsOutNoOldIDs: a replica that takes over has handed out nothing that its predecessor had, though nobody who meets it
// first has heard of the latest.
func TestAnotherServerHandsOutNoOldIDs(t *testing.T) {
	g, proxy, bus := moving(t, redisbus.Options{})
	another := open(t, redisbus.Options{Addr: proxy.Addr()}) // which hears nothing
	publish(t, bus, numbered(0, 50, alice)...)
	publish(t, another, numbered(50, 1, alice)...)
	g.AwaitReplica(t)
	g.Promote()
	lacked := numbered(51, 10, alice)
	publish(t, bus, lacked...)
	proxy.Lead(g.Servers[1])
	proxy.Drop()
	ps := numbered(61, 1, alice)
	publishAll(t, another, ps)
	if ps[0].ID.Compare(lacked[9].ID) <= 0 {
		t.Errorf("%v is handed out after %v", ps[0].ID, lacked[9].ID)
	}
	publishAll(t, bus, numbered(62, 1, alice))
	want(t, "history", history(t, bus, alice)[51:], "61 62")
}

// TestDemotedMaster: a master that has become a replica, at the other end of connections that stay, is left for the server that the
// address leads to by now.
func TestDemotedMaster(t *testing.T) {
	f := func(name string, o redisbus.Options) {
		t.Run(name, func(t *testing.T) {
			g, proxy, bus := moving(t, o)
			l := bustest.Subscribe(t, bus)
			publish(t, bus, numbered(0, 5, alice)...)
			g.AwaitReplica(t)
			g.Promote()
			proxy.Lead(g.Servers[1])
			g.Demote()
			publishAll(t, bus, numbered(5, 5, alice))
			want(t, "history of the new master", history(t, open(t, redisbus.Options{Addr: g.Servers[1].Addr()}), alice), "0 1 2 3 4 5 6 7 8 9")
			l.AwaitEcho(t, bus)
			g.Servers[1].AwaitPubSub(1)
			publish(t, bus, numbered(10, 1, alice)...)
			l.Wait(t, "the last one", func(events []bustest.Event) bool {
				ps := bustest.Delivered(events)
				return string(ps[len(ps)-1].Body) == "10"
			})
		})
	}
	f("read-only", redisbus.Options{})
	f("read-only, and INFO is not allowed", redisbus.Options{User: "blind", Password: "secret"})
}

// TestAddressMoves: a master that knows nothing of its end is left, too.
func TestAddressMoves(t *testing.T) {
	g, proxy, bus := moving(t, redisbus.Options{LookInterval: 50 * time.Millisecond})
	l := bustest.Subscribe(t, bus)
	publish(t, bus, numbered(0, 5, alice)...)
	g.AwaitReplica(t)
	g.Promote()
	proxy.Lead(g.Servers[1])
	testclient.Await(t, "publications come to the new master", func() bool {
		_, err := bus.Publish(timeout(t, patience), numbered(5, 1, bob))
		return err == nil && g.Servers[1].Int("EXISTS", historyKey(bob)) == 1
	})
	l.AwaitEcho(t, bus)
	g.Servers[1].AwaitPubSub(1)
	g.Servers[0].AwaitPubSub(0)
}

// TestReadOnlyIsNoReasonToLeave: where the address leads to the same server still, connections stay.
func TestReadOnlyIsNoReasonToLeave(t *testing.T) {
	server := redistest.Start(t)
	bus := open(t, redisbus.Options{Addr: server.Addr(), LookInterval: 20 * time.Millisecond})
	l := bustest.Subscribe(t, bus)
	publish(t, bus, numbered(0, 1, alice)...)
	server.Do("REPLICAOF", "127.0.0.1", "1")
	looks := server.Calls("info")
	testclient.Await(t, "it is looked several times", func() bool {
		if _, err := bus.Publish(timeout(t, patience), numbered(1, 1, alice)); err == nil {
			t.Error("a replica takes publications")
		}
		return server.Calls("info") > looks+20
	})
	l.AwaitEcho(t, bus)
	if n := bustest.Gaps(l.Events()); n > 0 {
		t.Errorf("%d gaps", n)
	}
}
