package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"push-server/protocol/testclient"
)

// hears wants each user to get these messages of servers, next and in order, over the connection that it has.
func (p *portal) hears(commands ...string) {
	p.t.Helper()
	deadline := time.After(patience)
	for _, u := range p.users {
		for i := 0; i < len(commands); {
			switch e := p.next(u, deadline, "get "+commands[i]); {
			case e.Status == "offline":
				p.t.Fatalf("%s has lost its connection before %s", u.name, commands[i])
			case e.Status != "":
			case e.From != "server" || e.Command != commands[i]:
				p.t.Fatalf("%s got %s from %s, want %s", u.name, e.Command, e.From, commands[i])
			default:
				i++
			}
		}
	}
}

// A WebSocket of the vendor's client in a browser stays the same object, and is told of no close, over five upgrades while messages arrive.
func TestUpgradesBelowABrowser(t *testing.T) {
	t.Parallel()
	s := startService(t, func(c config) { c.option("v5", map[string]any{"enabled": true}) })
	p := openPortal(t, &installation{subs: []string{s.config.addr("sub")}, pub: s.config.addr("pub")}, inChromium)
	for _, version := range []int{3, 4, 5} {
		u := p.addUser(fmt.Sprintf("version %d", version), version, true)
		p.start(u)
		p.waitConnected(u)
	}
	backend := testclient.NewHTTP(false)
	for range 5 {
		s.upgradeWhile(func() {
			var commands []string
			for range 3 {
				command := fmt.Sprintf("message-%d", p.mids)
				p.publishText(backend, 60, command, p.shared)
				commands = append(commands, command)
			}
			p.hears(commands...)
		})
	}
	opened := 0
	for sockets := p.eventsOf("sockets"); ; {
		select {
		case e := <-sockets:
			if opened++; e.Status != "opened" {
				t.Fatalf("a socket was %s", e.Status)
			}
			continue
		default:
		}
		break
	}
	if opened != len(p.users) {
		t.Errorf("%d users have opened %d sockets", len(p.users), opened)
	}
}

// besideNodeThroughNginx are six of our processes, each of which can be upgraded, behind nginx, which takes them in turn.
func besideNodeThroughNginx(t *testing.T, redis string) (all []*service, in *installation) {
	t.Helper()
	addrs := map[string][]string{}
	for i, name := range []string{"sub", "sub", "sub", "sub", "pub", "pub"} {
		c := recordedConfig(t, "default-"+name, redis)
		c["processUniqueId"] = fmt.Sprint(name, i)
		c.option("idleTimeout", "60s")
		all = append(all, startServiceOf(t, c))
		addrs[name] = append(addrs[name], c.addr(name))
	}
	ports := map[string]string{"ip_hash": "least_conn"} // all clients have one address
	for _, name := range []string{"sub", "pub"} {
		first := strings.ToUpper(name)
		ports[first+"1"], ports[first+"2"] = addrs[name][0], strings.Join(addrs[name][1:], "; server ")
	}
	for _, name := range []string{"WEB", "BACKEND", "OLD"} {
		ports[name] = fmt.Sprintf("127.0.0.1:%d", freePort(t))
	}
	startNginx(t, ports)
	in = &installation{subs: slices.Clone(addrs["sub"]), pub: ports["BACKEND"]}
	in.waitDelivering(t) // each of them, of which nginx hides all but one
	in.subs = []string{ports["WEB"]}
	return all, in
}

// Six of our processes and two of Node share a Redis, and each of ours is upgraded in turn while all of them publish: the vendor's clients,
// behind nginx, get everything once and in order.
func TestUpgradesBesideNode(t *testing.T) {
	t.Parallel()
	redis := startRedis(t)
	services, in := besideNodeThroughNginx(t, socketOf(redis))
	p := openPortal(t, in, inNode)
	for i := range 4 {
		p.addUser(fmt.Sprintf("websocket-%d", i), 4-i%2, true)
		p.addUser(fmt.Sprintf("poll-%d", i), 4-i%2, false)
	}
	for _, u := range p.users {
		p.start(u)
	}
	for _, u := range p.users {
		waitOnline(t, in, u.channel)
	}
	nodes := []*nodeProcess{startNode(t, redis, "n0desrv1"), startNode(t, redis, "n0desrv2")}
	backend, sent := testclient.NewHTTP(false), map[string]int{}
	publish := func() {
		t.Helper()
		command, from := fmt.Sprintf("message-%d", p.mids), p.mids%(len(nodes)+1)
		if from == len(nodes) {
			p.publishText(backend, 60, command, p.shared)
			sent["us"]++
		} else {
			node, now := nodes[from], uint32(time.Now().Unix())
			m := nodeMessage{id: node.takeID(), receivers: []testclient.Receiver{p.shared.PrivateReceiver()}, body: p.body(command), expiry: 60, created: now}
			node.store(m)
			node.send(m)
			sent[node.channel]++
		}
	}
	next := func(n int) {
		t.Helper()
		var commands []string
		for range n {
			commands = append(commands, fmt.Sprintf("message-%d", p.mids))
			publish()
		}
		p.hears(commands...)
	}
	next(3)
	for _, s := range services {
		s.upgradeWhile(func() { next(5) })
		next(3)
	}
	if len(sent) != 3 {
		t.Errorf("published by %v", slices.Sorted(maps.Keys(sent)))
	}
	t.Logf("published: %v", sent)
}
