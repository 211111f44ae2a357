package redisbus

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"
)

// cluster is a Redis Cluster. All keys of an installation are in one slot, and all connections lead to the node that owns it: what that
// publishes is heard there first and in its order, an echo after what came before it. When the slot moves, the owner is another server than
// before, as after a failover. A client that spreads commands over a cluster would have no use here.
type cluster struct {
	seeds []string
	key   string // one of the slot

	mu    sync.Mutex
	known []string // the last owner and some of its peers
}

// maxHops is how often a node is asked where the slot is that another one has named.
const maxHops = 4

// claim is what came of asking one address.
type claim struct {
	conn   net.Conn
	server server
	err    error
}

// connect connects to the owner of the slot. A node that is cut off from the others may take itself for that: of those that do, the one with
// the latest configuration is.
func (c *cluster) connect(ctx context.Context, connectTo func(ctx context.Context, addr string) (net.Conn, server, error)) (net.Conn, server, error) {
	addrs := c.addrs()
	claims := make(chan claim, len(addrs))
	for _, addr := range addrs {
		go func() { claims <- findOwner(ctx, addr, connectTo) }()
	}
	var best claim
	var failures []error
	var late <-chan time.Time
	heard := 0
	for waiting := true; waiting && heard < len(addrs); {
		select {
		case next := <-claims:
			if heard++; next.err != nil {
				failures = append(failures, next.err)
				continue
			}
			if best.conn == nil {
				late = time.After(secondOpinion)
			} else if next.server.epoch <= best.server.epoch {
				next, best = best, next
			}
			best.discard()
			best = next
		case <-late:
			waiting = false
		case <-ctx.Done():
			waiting = false
			failures = append(failures, ctx.Err())
		}
	}
	go func() {
		for range len(addrs) - heard {
			(<-claims).discard()
		}
	}()
	if best.conn == nil {
		return nil, server{}, fmt.Errorf("redisbus: no node of the cluster has the slot: %w", errors.Join(failures...))
	}
	c.learn(best.server)
	return best.conn, best.server, nil
}

func (c claim) discard() {
	if c.conn != nil {
		c.conn.Close()
	}
}

// findOwner asks the node at addr, and those that it names.
func findOwner(ctx context.Context, addr string, connectTo func(ctx context.Context, addr string) (net.Conn, server, error)) claim {
	for range maxHops {
		conn, s, err := connectTo(ctx, addr)
		if err != nil {
			return claim{err: fmt.Errorf("%s: %w", addr, err)}
		}
		if s.moved == "" {
			return claim{conn: conn, server: s}
		}
		conn.Close()
		host, port, err := net.SplitHostPort(s.moved)
		if err != nil {
			return claim{err: fmt.Errorf("%s: the slot is at %q: %w", addr, s.moved, err)}
		}
		if host == "" || host == "?" { // it does not know under which name it is reached
			host, _, _ = net.SplitHostPort(addr)
		}
		addr = net.JoinHostPort(host, port)
	}
	return claim{err: fmt.Errorf("%s: the nodes do not agree where the slot is", addr)}
}

func (c *cluster) addrs() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	addrs := slices.Concat(c.known, c.seeds)
	slices.Sort(addrs)
	return slices.Compact(addrs)
}

// maxPeers bounds the nodes that are asked besides the owner and the seeds.
const maxPeers = 7

// learn notes who may own the slot next, since the seeds may all be gone by then.
func (c *cluster) learn(s server) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known = append([]string{s.addr}, s.peers[:min(len(s.peers), maxPeers)]...)
}

// takeOwner reads the answer to a question for a key of the slot.
func takeOwner(s *server, text string) error {
	code, rest, _ := strings.Cut(text, " ")
	switch code {
	case "-MOVED":
		_, s.moved, _ = strings.Cut(rest, " ")
	case "-CLUSTERDOWN", "-LOADING", "-MASTERDOWN":
		return errors.New(strings.TrimPrefix(text, "-"))
	}
	return nil // -ASK: it is being moved away, and is here still
}

// takeNodes reads how the node sees the cluster.
func takeNodes(s *server, text string) error {
	const (
		id, addr, flags, master, epoch, least = 0, 1, 2, 3, 6, 8
	)
	if strings.HasPrefix(text, "-") {
		return nil // it is no cluster, or the user may not ask
	}
	var nodes [][]string
	own := ""
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) < least {
			continue
		}
		nodes = append(nodes, words)
		if strings.Contains(words[flags], "myself") {
			own = words[id]
			s.epoch, _ = strconv.ParseInt(words[epoch], 10, 64)
		}
	}
	slices.SortStableFunc(nodes, func(a, b []string) int { return compareTrue(a[master] == own, b[master] == own) })
	for _, words := range nodes {
		if words[id] != own && !strings.Contains(words[flags], "noaddr") {
			s.peers = append(s.peers, nodeAddr(words[addr]))
		}
	}
	return nil
}

// compareTrue sorts what is true to the front.
func compareTrue(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

// nodeAddr is host:port of ip:port@busport[,hostname[,…]].
func nodeAddr(text string) string {
	hostPort, rest, _ := strings.Cut(text, "@")
	words := strings.Split(rest, ",")
	at := strings.LastIndexByte(hostPort, ':')
	if at < 0 {
		return hostPort
	}
	host := hostPort[:at] // of version 6 without brackets
	if len(words) > 1 && words[1] != "" && !strings.Contains(words[1], "=") {
		host = words[1]
	}
	return net.JoinHostPort(host, hostPort[at+1:])
}

func (o *Options) validateCluster() error {
	switch {
	case o.Cluster == "" && len(o.Nodes) > 0:
		return errors.New("redisbus: nodes of a cluster, and no word with which its keys begin")
	case o.Cluster == "":
		return nil
	case len(o.Sentinels) > 0 || o.MasterName != "":
		return errors.New("redisbus: both sentinels and a cluster")
	case strings.ContainsFunc(o.Cluster, func(r rune) bool { return notWord(r) && !strings.ContainsRune("-_.", r) }):
		return fmt.Errorf("redisbus: keys in a cluster cannot begin with {%s}: want letters, digits, dots, - and _", o.Cluster)
	}
	for _, addr := range o.Nodes {
		if err := checkHostPort(addr); err != nil {
			return fmt.Errorf("redisbus: nodes: %w", err)
		}
	}
	return nil
}

// takeNodes puts addresses that stood elsewhere beside the nodes.
func (o *Options) takeNodes(c *rueidis.ClientOption, network string) error {
	switch {
	case network != "tcp":
		return errors.New("redisbus: nodes of a cluster have no unix socket")
	case c.SelectDB != 0:
		return errors.New("redisbus: a cluster has no other database than 0")
	case c.Sentinel.MasterSet != "" || len(o.Sentinels) > 0:
		return errors.New("redisbus: both sentinels and a cluster")
	}
	o.Nodes = append(slices.Clone(o.Nodes), c.InitAddress...)
	c.InitAddress = c.InitAddress[:1] // is not looked at
	if c.TLSConfig != nil && o.URL != "" && (o.TLS == nil || o.TLS.ServerName == "") {
		c.TLSConfig.ServerName = "" // it was that of the first one
	}
	return nil
}
