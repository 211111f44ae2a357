package redistest

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"push-server/protocol/testclient"
)

// MasterName is what the sentinels of a Group call its master.
const MasterName = "portal"

// Group is a master with a replica, and three sentinels that watch them.
type Group struct {
	Servers   []*Server // the first one begins as the master
	Ports     []int     // of Servers
	Sentinels []*Server
	Addrs     []string // of Sentinels, host:port
}

// GroupOptions say how a Group is run. The zero value is without TLS and passwords.
type GroupOptions struct {
	Authority        *Authority // TLS everywhere; nil: nowhere
	Password         string     // of the servers
	SentinelPassword string
}

// StartGroup starts a Group and waits until the sentinels could fail over. A server counts as down after a second.
func StartGroup(t testing.TB, o GroupOptions) *Group {
	t.Helper()
	g := StartPair(t, o)
	for range 3 {
		g.startSentinel(t, &o)
	}
	for _, s := range g.Sentinels {
		testclient.Await(t, "sentinels know each other", func() bool {
			m := s.Do("SENTINEL", "MASTER", MasterName)
			state, err := m.AsStrMap()
			return err == nil && state["num-other-sentinels"] == "2" && state["num-slaves"] == "1"
		})
	}
	return g
}

// StartPair starts a Group without sentinels.
func StartPair(t testing.TB, o GroupOptions) *Group {
	t.Helper()
	g := &Group{}
	for i := range 2 {
		port := FreePort(t)
		args := append(o.listen(t, port), "--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1")
		if o.Password != "" {
			args = append(args, "--requirepass", o.Password, "--masterauth", o.Password)
		}
		if i > 0 {
			args = append(args, "--replicaof", "127.0.0.1", strconv.Itoa(g.Ports[0]))
		}
		s := start(t, &Server{args: args, password: o.Password})
		g.Servers, g.Ports = append(g.Servers, s), append(g.Ports, port)
	}
	testclient.Await(t, "the replica has caught up", func() bool {
		return strings.Contains(g.Servers[1].text("INFO", "replication"), "master_link_status:up")
	})
	return g
}

// AwaitReplica waits until the replica has what its master has.
func (g *Group) AwaitReplica(t testing.TB) {
	t.Helper()
	g.Servers[0].Do("SET", "redistest:last", "1") // WAIT is about what its own connection has written
	if g.Servers[0].Int("WAIT", "1", "20000") != 1 {
		t.Fatal("the replica lags behind")
	}
}

// AwaitMoved waits until all sentinels say that the second server is the master.
func (g *Group) AwaitMoved(t testing.TB) {
	t.Helper()
	for _, s := range g.Sentinels {
		testclient.Await(t, "sentinels have made the replica the master", func() bool {
			m := s.Do("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MasterName)
			addr, err := m.AsStrSlice()
			return err == nil && addr[1] == strconv.Itoa(g.Ports[1])
		})
	}
}

// Promote makes the replica a master. The old one does not know.
func (g *Group) Promote() { g.Servers[1].Do("REPLICAOF", "NO", "ONE") }

// Demote makes the old master the replica of the new one.
func (g *Group) Demote() { g.Servers[0].Do("REPLICAOF", "127.0.0.1", strconv.Itoa(g.Ports[1])) }

// listen are the options of a server or a sentinel at that port.
func (o *GroupOptions) listen(t testing.TB, port int) []string {
	t.Helper()
	if o.Authority != nil {
		return append(o.Authority.ServerArgs(t, port), "--tls-replication", "yes")
	}
	return []string{"--bind", "127.0.0.1", "--port", strconv.Itoa(port)}
}

func (g *Group) startSentinel(t testing.TB, o *GroupOptions) {
	t.Helper()
	port := FreePort(t)
	s := &Server{sentinel: true, password: o.SentinelPassword, args: o.listen(t, port)}
	var conf strings.Builder
	fmt.Fprintf(&conf, "sentinel monitor %s 127.0.0.1 %d 2\n", MasterName, g.Ports[0])
	fmt.Fprintf(&conf, "sentinel down-after-milliseconds %s 1000\nsentinel failover-timeout %[1]s 5000\n", MasterName)
	if o.Password != "" {
		fmt.Fprintf(&conf, "sentinel auth-pass %s %s\n", MasterName, o.Password)
	}
	if o.SentinelPassword != "" {
		fmt.Fprintf(&conf, "requirepass %s\nsentinel sentinel-pass %[1]s\n", o.SentinelPassword)
	}
	file := filepath.Join(t.TempDir(), "sentinel.conf") // which it writes to
	if err := os.WriteFile(file, []byte(conf.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	s.conf = file
	g.Sentinels = append(g.Sentinels, start(t, s))
	g.Addrs = append(g.Addrs, net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
}

// text is an answer that is a text.
func (s *Server) text(args ...string) string {
	s.t.Helper()
	m := s.Do(args...)
	text, err := m.ToString()
	if err != nil {
		s.t.Fatalf("%q: %v", args, err)
	}
	return text
}
