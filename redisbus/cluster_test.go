package redisbus_test

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"push-server/engine"
	"push-server/engine/bustest"
	"push-server/protocol"
	"push-server/redisbus"
	"push-server/redisbus/redistest"
)

// TestContractInCluster: many installations in one cluster of three masters, each known by another node.
func TestContractInCluster(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, 3, false)
	var installations, buses atomic.Int64
	bustest.Run(t, func(*testing.T) bustest.Factory {
		tag := fmt.Sprintf("portal-%d", installations.Add(1))
		return bustest.Factory{
			Open: func(t *testing.T) engine.Bus {
				return open(t, redisbus.Options{Cluster: tag, Nodes: []string{c.Addrs[buses.Add(1)%3]}})
			},
			Processes: true,
		}
	})
	for _, s := range c.Masters {
		m := s.Do("KEYS", "*")
		keys, err := m.AsStrSlice()
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range keys {
			if !strings.HasPrefix(key, "{portal-") {
				t.Errorf("a key of no installation: %q", key)
			}
		}
		wantOldCommands(t, s)
	}
}

// TestClusterFailover: whether an operator moves the master of the slot or it is killed, publications are stored again within seconds, by
// processes that were told of no other node than that one.
func TestClusterFailover(t *testing.T) {
	t.Parallel()
	f := func(name string, most int, happens func(c *redistest.Cluster, owner int)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := redistest.StartCluster(t, 3, true)
			owner := c.Owner("{portal}")
			o := redisbus.Options{Cluster: "portal", Nodes: []string{c.Addrs[owner]}, HistorySize: 100_000}
			bus := open(t, o)
			p, l, took := publishThrough(t, bus, func() { happens(c, owner) })
			o.Nodes = []string{c.Addrs[(owner+1)%3]}
			lacked, lost := p.check(t, l.Events(), history(t, open(t, o), alice))
			t.Logf("stored again after %v; of %d the new master lacks %d, of which %d were not delivered either; %d answers with an error",
				took.Round(10*time.Millisecond), len(p.stored), lacked, lost, len(p.unsure))
			if lacked > most || lost > most {
				t.Errorf("the new master lacks %d, %d are lost", lacked, lost)
			}
		})
	}
	f("planned", 0, func(c *redistest.Cluster, owner int) { c.Replicas[owner].Do("CLUSTER", "FAILOVER") })
	f("killed", 20, func(c *redistest.Cluster, owner int) { c.Masters[owner].Kill() })
}

// TestSlotMoves: while the slot is moved to another node it is as if Redis were away. Afterwards everything is there once and in order, also
// what was read through the cache.
func TestSlotMoves(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, 3, false)
	from := c.Owner("{portal}")
	to := (from + 1) % 3
	bus := open(t, redisbus.Options{Cluster: "portal", Addr: c.Addrs[(from+2)%3], HistorySize: 100_000})
	l := bustest.Subscribe(t, bus)
	if err := bus.Touch(timeout(t, patience), []protocol.ChannelID{alice}); err != nil {
		t.Fatal(err)
	}
	wantOnline(t, bus, true)
	p := startPublisher(t, bus)
	p.await("some are stored", func() bool { return len(p.stored) > 200 })
	c.Move(t, "{portal}", from, to, func() {
		_, err := bus.Publish(timeout(t, time.Second), numbered(0, 1, bob))
		if err == nil || errors.Is(err, protocol.ErrRefused) || errors.Is(err, protocol.ErrForbidden) {
			t.Errorf("while half of the keys are there: %v", err)
		}
	})
	stored := len(p.stored)
	p.await("publications are stored by the new owner", func() bool { return len(p.stored) > stored+200 })
	p.stop()
	l.AwaitEcho(t, bus)
	if lacked, _ := p.check(t, l.Events(), history(t, bus, alice)); lacked > 0 {
		t.Errorf("%d are not there", lacked)
	}
	for _, key := range []string{"{portal}server:messagecounter", "{portal}server:startdate"} {
		if c.Masters[to].Get(key) == "" {
			t.Errorf("%s is not at its new owner", key)
		}
	}
	c.Masters[from].AwaitPubSub(0)
	c.Masters[to].AwaitPubSub(1)
	wantOnline(t, bus, true)
	c.Masters[to].Do("DEL", "{portal}channel:online:"+string(alice.Bytes[:]))
	wantOnline(t, bus, false)
}

// TestClusterThatWasNotSaid: whoever takes a node of a cluster for a Redis of its own stores nothing, and an operator is told what to write.
func TestClusterThatWasNotSaid(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, 1, false)
	bus := open(t, redisbus.Options{Addr: c.Addrs[0]})
	if stored, err := bus.Publish(timeout(t, patience), numbered(0, 1, alice)); stored > 0 || err == nil {
		t.Fatalf("%d stored, %v", stored, err)
	}
	if err := bus.Health(); err == nil || !strings.Contains(err.Error(), "storage.cluster") {
		t.Errorf("an operator is told %v", err)
	}
}

// TestClusterOptions: what makes no sense beside a cluster is said before anything is connected to.
func TestClusterOptions(t *testing.T) {
	f := func(o redisbus.Options, want string) {
		t.Helper()
		bus, err := redisbus.New(o)
		if err == nil {
			bus.Close()
		}
		if want == "" && err == nil {
			return
		}
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%v, want %q", err, want)
		}
	}
	nodes := []string{"one:6379", "two:6379"}
	f(redisbus.Options{Cluster: "portal", Nodes: nodes}, "")
	f(redisbus.Options{Cluster: "portal", Addr: "one:6379"}, "")
	f(redisbus.Options{Cluster: "portal", URL: "rediss://me:s3cret@one:6379?addr=two:6379"}, "")
	f(redisbus.Options{Nodes: nodes}, "no word")
	f(redisbus.Options{URL: "redis://me:s3cret@one:6379?addr=two:6379"}, "neither sentinels nor a cluster")
	f(redisbus.Options{Cluster: "por{tal}", Nodes: nodes}, "begin with")
	f(redisbus.Options{Cluster: "portal", Nodes: []string{"one"}}, "host:port")
	f(redisbus.Options{Cluster: "portal", Addr: "/run/redis.sock"}, "no unix socket")
	f(redisbus.Options{Cluster: "portal", URL: "redis://me:s3cret@one:6379/1"}, "database")
	f(redisbus.Options{Cluster: "portal", URL: "redis://me:s3cret@one:26379?master_set=main"}, "both sentinels and a cluster")
	f(redisbus.Options{Cluster: "portal", Nodes: nodes, Sentinels: nodes, MasterName: "main"}, "both sentinels and a cluster")
}
