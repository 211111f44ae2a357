package redistest

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"

	"push-server/protocol/testclient"
)

// Cluster is a Redis Cluster: masters that share the slots, and a replica of each, if there are some.
type Cluster struct {
	Masters  []*Server
	Replicas []*Server // as many, or none
	Addrs    []string  // host:port of the masters, then of the replicas
}

const slots = 16384

// StartCluster starts a Cluster and waits until all of its nodes agree. A node counts as down after a second.
func StartCluster(t testing.TB, masters int, replicas bool) *Cluster {
	t.Helper()
	c := &Cluster{}
	for range masters {
		c.Masters = append(c.Masters, c.startNode(t))
	}
	if replicas {
		for range masters {
			c.Replicas = append(c.Replicas, c.startNode(t))
		}
	}
	for i, s := range c.Masters {
		add := []string{"CLUSTER", "ADDSLOTS"}
		for slot := i * slots / masters; slot < (i+1)*slots/masters; slot++ {
			add = append(add, strconv.Itoa(slot))
		}
		s.Do(add...)
	}
	for i, s := range c.nodes() {
		s.Do("CLUSTER", "SET-CONFIG-EPOCH", strconv.Itoa(i+1))
		for _, addr := range c.Addrs[:i] {
			host, port, _ := net.SplitHostPort(addr)
			s.Do("CLUSTER", "MEET", host, port)
		}
	}
	c.await(t, "nodes know each other", func(s *Server) bool {
		nodes := s.text("CLUSTER", "NODES")
		return strings.Count(nodes, " connected") == len(c.Addrs) && !strings.Contains(nodes, "handshake")
	})
	for i, s := range c.Replicas {
		s.Do("CLUSTER", "REPLICATE", c.Masters[i].text("CLUSTER", "MYID"))
	}
	c.await(t, "the cluster serves", func(s *Server) bool { return strings.Contains(s.text("CLUSTER", "INFO"), "cluster_state:ok") })
	for _, s := range c.Replicas {
		testclient.Await(t, "replicas have caught up", func() bool { return strings.Contains(s.text("INFO", "replication"), "master_link_status:up") })
	}
	return c
}

func (c *Cluster) nodes() []*Server { return slices.Concat(c.Masters, c.Replicas) }

func (c *Cluster) await(t testing.TB, what string, ok func(s *Server) bool) {
	t.Helper()
	testclient.Await(t, what, func() bool { return !slices.ContainsFunc(c.nodes(), func(s *Server) bool { return !ok(s) }) })
}

func (c *Cluster) startNode(t testing.TB) *Server {
	t.Helper()
	port := freeClusterPort(t)
	c.Addrs = append(c.Addrs, net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	return Start(t, "--bind", "127.0.0.1", "--port", strconv.Itoa(port), "--cluster-enabled", "yes", "--cluster-node-timeout", "1000",
		"--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1")
}

// freeClusterPort is a free port whose fellow of the cluster bus, 10000 above, is free, too.
func freeClusterPort(t testing.TB) int {
	t.Helper()
	const above, most = 10000, 65535
	for {
		port := FreePort(t)
		if port+above > most {
			continue
		}
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port+above)); err == nil {
			l.Close()
			return port
		}
	}
}

// Owner is the number of the master that has the slot of key at the beginning.
func (c *Cluster) Owner(key string) int {
	return int(c.slot(key) * int64(len(c.Masters)) / slots)
}

func (c *Cluster) slot(key string) int64 { return c.Masters[0].Int("CLUSTER", "KEYSLOT", key) }

// Move moves the slot of key from one master to another as redis-cli does, and has something happen when half of its keys are there.
func (c *Cluster) Move(t testing.TB, key string, from, to int, between func()) {
	t.Helper()
	slot := strconv.FormatInt(c.slot(key), 10)
	source, target := c.Masters[from], c.Masters[to]
	sourceID, targetID := source.text("CLUSTER", "MYID"), target.text("CLUSTER", "MYID")
	target.Do("CLUSTER", "SETSLOT", slot, "IMPORTING", sourceID)
	source.Do("CLUSTER", "SETSLOT", slot, "MIGRATING", targetID)
	host, port, _ := net.SplitHostPort(c.Addrs[to])
	half := source.Int("CLUSTER", "COUNTKEYSINSLOT", slot) / 2
	for moved := int64(0); ; moved++ {
		m := source.Do("CLUSTER", "GETKEYSINSLOT", slot, "1")
		keys, err := m.AsStrSlice()
		if err != nil {
			t.Fatal(err)
		}
		if moved == half {
			between()
		}
		if len(keys) == 0 {
			break
		}
		source.Do("MIGRATE", host, port, keys[0], "0", "5000")
	}
	target.Do("CLUSTER", "SETSLOT", slot, "NODE", targetID)
	source.Do("CLUSTER", "SETSLOT", slot, "NODE", targetID)
}
