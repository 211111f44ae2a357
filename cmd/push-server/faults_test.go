package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"push-server/protocol/testclient"
	"push-server/redisbus/redistest"
)

// A fault is something that breaks under a load of real clients and publishers, and mends again.
type fault struct {
	name    string
	redis   []string       // how Redis is run; none: it keeps nothing on disk
	user    bool           // the servers are a user of their own there
	proxy   bool           // the servers see Redis through run.proxy
	group   bool           // sentinels say where Redis is
	cluster bool           // Redis is one
	again   time.Duration  // publications are stored again within; 0: nobody looks
	change  func(c config) // of each server; nil: none
	size    loadSize       // of nothing: faultLoad
	happens func(f *faultRun)
}

// A faultRun is a fault with what it happens to.
type faultRun struct {
	*load
	redis *redistest.Server
	proxy *redistest.Proxy
	queue string // the page for operators of the server of publishers
	group *redistest.Group
	takes *redistest.Server // takes over in a cluster
	again time.Duration
	begin int // publications before it happens
	long  bool
}

// faultLoad runs for five seconds, of which the fault may take three.
var faultLoad = loadSize{channels: 20, webSockets: 40, pollers: 10, publishers: 4, publications: 1600, stay: 60, pause: 40 * time.Millisecond}

var everysec = []string{"--appendonly", "yes", "--appendfsync", "everysec"}
var always = []string{"--appendonly", "yes", "--appendfsync", "always"}

func faults() []fault {
	return slices.Concat(faultsOfRedis(), faultsOfFailover(), faultsOfLines(), faultsOfRights(), faultsOfServers())
}

func faultsOfRedis() []fault {
	return []fault{
		{name: "killed, comes back empty", happens: func(f *faultRun) { f.killEmpty(); f.last(time.Second); f.redis.Restart() }},
		{name: "killed, comes back empty at once", happens: func(f *faultRun) { f.times(10, f.restartEmpty) }},
		{name: "killed, AOF of every second", redis: everysec, happens: func(f *faultRun) { f.redis.Kill(); f.last(time.Second); f.redis.Restart() }},
		{name: "killed, AOF of everything", redis: always, happens: func(f *faultRun) { f.redis.Kill(); f.last(time.Second); f.redis.Restart() }},
		{name: "stopped", happens: func(f *faultRun) { f.redis.Pause(); f.last(4 * time.Second); f.redis.Resume() }},
		{name: "slow", redis: []string{"--enable-debug-command", "yes"}, happens: func(f *faultRun) {
			f.times(8, func() { f.redis.Do("DEBUG", "SLEEP", "0.25") })
		}},
		{name: "busy", redis: []string{"--busy-reply-threshold", "50"}, happens: busy},
		{name: "out of memory", happens: func(f *faultRun) {
			f.redis.Do("CONFIG", "SET", "maxmemory", "1")
			f.last(2 * time.Second)
			f.redis.Do("CONFIG", "SET", "maxmemory", "0")
		}},
		{name: "read-only", happens: func(f *faultRun) {
			f.redis.Do("REPLICAOF", "127.0.0.1", "1")
			f.last(2 * time.Second)
			f.redis.Do("REPLICAOF", "NO", "ONE")
		}},
	}
}

// failoverTime is how long it may take until publications are stored by another master. Sentinels take one to be down after a second.
const failoverTime = 5 * time.Second

func faultsOfFailover() []fault {
	return []fault{
		{name: "failover by hand", group: true, again: failoverTime, happens: func(f *faultRun) {
			f.group.Sentinels[0].Do("SENTINEL", "FAILOVER", redistest.MasterName)
			f.last(3 * time.Second)
		}},
		{name: "master killed", group: true, again: failoverTime, happens: func(f *faultRun) { f.redis.Kill(); f.last(3 * time.Second) }},
		{name: "failover in a cluster", cluster: true, happens: func(f *faultRun) { f.takes.Do("CLUSTER", "FAILOVER"); f.last(3 * time.Second) }},
		{name: "master stopped", group: true, happens: func(f *faultRun) { f.redis.Pause(); f.group.AwaitMoved(f.t); f.last(time.Second); f.redis.Resume() }},
	}
}

func faultsOfLines() []fault {
	return []fault{
		{name: "subscriptions killed", happens: func(f *faultRun) { f.times(10, func() { f.redis.KillPubSub() }) }},
		{name: "all connections killed", happens: func(f *faultRun) { f.times(10, func() { f.redis.Do("CLIENT", "KILL", "TYPE", "normal") }) }},
		{name: "output limit of subscriptions", happens: func(f *faultRun) {
			f.redis.Do("CONFIG", "SET", "client-output-buffer-limit", "pubsub 1 1 1")
			f.last(2 * time.Second)
			f.redis.Do("CONFIG", "SET", "client-output-buffer-limit", "pubsub 0 0 0")
		}},
		{name: "connections cut", proxy: true, happens: func(f *faultRun) { f.times(10, func() { f.proxy.Drop() }) }},
		{name: "answers lost", proxy: true, happens: func(f *faultRun) { f.times(10, func() { f.proxy.LoseAnswer("EVALSHA") }) }},
		{name: "silent subscriptions", proxy: true, happens: func(f *faultRun) { f.proxy.Deafen(); f.last(time.Second) }},
		{name: "silent lines", proxy: true, happens: func(f *faultRun) { f.proxy.DeafenAll(); f.last(time.Second) }},
		{name: "lines that take nothing", proxy: true, happens: func(f *faultRun) { f.proxy.Gag(); f.last(time.Second) }},
		{name: "lines silent both ways", proxy: true, happens: func(f *faultRun) { f.proxy.Gag(); f.proxy.DeafenAll(); f.last(time.Second) }},
		{name: "answers late", proxy: true, happens: func(f *faultRun) {
			f.times(3, func() { f.proxy.Hold(); f.last(700 * time.Millisecond); f.proxy.Release() })
		}},
	}
}

func faultsOfRights() []fault {
	return []fault{
		{name: "PUBLISH taken away", user: true, happens: rights("-publish", "+publish")},
		{name: "channels taken away", user: true, happens: rights("resetchannels", "allchannels")},
		{name: "keys taken away", user: true, happens: rights("resetkeys ~server:* ~message:*", "~*")},
		{name: "scripts taken away", user: true, happens: rights("-@scripting", "+@scripting")},
		{name: "password changed", user: true, happens: func(f *faultRun) {
			f.redis.Do("ACL", "SETUSER", "portal", "resetpass", ">another")
			f.redis.Do("CLIENT", "KILL", "USER", "portal")
			f.last(2 * time.Second)
			f.redis.Do("ACL", "SETUSER", "portal", ">secret")
		}},
		{name: "scripts flushed", happens: func(f *faultRun) { f.times(20, func() { f.redis.Do("SCRIPT", "FLUSH") }) }},
		{name: "data flushed", happens: func(f *faultRun) { f.times(3, func() { f.redis.Do("FLUSHALL") }) }},
		{name: "counter of a wrong type", happens: func(f *faultRun) {
			f.redis.Do("SET", "server:messagecounter", "none")
			f.last(2 * time.Second)
			f.redis.Do("DEL", "server:messagecounter")
		}},
		{name: "keys of wrong types", happens: func(f *faultRun) {
			const replace = "redis.call('DEL', 'server:startdate', 'stats') redis.call('LPUSH', 'server:startdate', 'x') redis.call('SET', 'stats', 'x')"
			f.times(4, func() { f.redis.Do("EVAL", replace, "0") })
			f.redis.Do("DEL", "stats")
		}},
	}
}

// reloadedUnderLoad has all servers read configurations in which everything that may change does, one of them broken.
func reloadedUnderLoad(f *faultRun) {
	security := f.in.configs[0]["security"].(map[string]any)
	turn := 0
	f.times(10, func() {
		turn++
		for i, c := range f.in.configs {
			security["key"] = []any{testKey, fmt.Sprint("a key that is as good, of turn ", turn)}
			if turn%2 == 0 {
				security["key"] = []any{fmt.Sprint("a newer key, of turn ", turn), testKey}
			}
			c["security"] = security
			c["limits"] = map[string]any{"maxConnPerChannel": 50 + turn, "maxMessagesPerRequest": 100 + turn, "maxChannelsPerRequest": 100 + turn}
			for _, key := range []string{"maxConnections", "maxBuffered", "requestBytes", "inputBytes", "outputBytes", "pendingBytes", "replayBytes", "publishQueue"} {
				c.option(key, 64<<20+turn)
			}
			c.option("pubAllow", []string{"127.0.0.1", fmt.Sprint("192.0.2.", turn)})
			c.option("logLevel", []string{"info", "warn"}[turn%2])
			text, err := json.Marshal(c)
			if err != nil {
				f.t.Fatal(err)
			}
			if turn == 5 {
				text = text[:len(text)/2]
			}
			if err := os.WriteFile(f.in.procs[i].cmd.Args[2], text, 0o600); err != nil {
				f.t.Fatal(err)
			}
			f.in.signal(f.t, i, syscall.SIGHUP)
		}
	})
	testclient.AwaitNil(f.t, "the last configuration is read", func() error {
		for i, p := range f.in.procs {
			if log := p.log.String(); !strings.Contains(log, "192.0.2.10") || !strings.Contains(log, "is refused, keeping the old one") {
				return fmt.Errorf("process %d: %s", i, log)
			}
		}
		return nil
	})
}

// TestFaults breaks what can break between real servers, a real Redis and real clients, one thing at a time. Each client sees every
// accepted publication of its channels once and in order, nobody hangs, publishers are answered in time, and afterwards all goes on
// by itself.
func TestFaults(t *testing.T) {
	form := os.Getenv("PUSH_TEST_FAULTS")
	if form == "" {
		t.Skip("make test-faults runs it")
	}
	long := form == "long"
	for _, c := range faults() {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			newFaultRun(t, &c, long).run(c.happens)
		})
	}
}

func newFaultRun(t *testing.T, c *fault, long bool) *faultRun {
	t.Helper()
	f := &faultRun{long: long, again: c.again, begin: 300}
	storage := f.startRedis(t, c)
	in := &installation{redis: f.redis}
	for i, name := range []string{"default-pub", "default-sub", "default-sub"} {
		config := recordedConfig(t, name, "")
		config["storage"] = storage
		config.hasty()
		config.option("v5", map[string]any{"enabled": true})
		if i == 0 {
			f.queue = fmt.Sprintf("127.0.0.1:%d", freePort(t))
			config.option("metrics", f.queue)
		}
		config["processUniqueId"] = fmt.Sprint(name, i)
		if c.change != nil {
			c.change(config)
		}
		in.add(t, config)
	}
	in.waitDelivering(t)
	size := cmp.Or(c.size, faultLoad)
	if long {
		size.publications *= 4
	}
	if long && c.group {
		size.pause = 25 * time.Millisecond // 500 publications a second
	}
	f.load = newLoad(t, in, size)
	f.rough = true
	return f
}

// startRedis starts Redis as c wants it, and returns what the servers are told of it.
func (f *faultRun) startRedis(t *testing.T, c *fault) map[string]any {
	t.Helper()
	if c.group {
		f.group = redistest.StartGroup(t, redistest.GroupOptions{})
		f.redis = f.group.Servers[0]
		return map[string]any{"type": "redis", "sentinels": f.group.Addrs, "masterName": redistest.MasterName}
	}
	if c.cluster {
		cluster := redistest.StartCluster(t, 3, true)
		owner := cluster.Owner("{push-server}")
		f.redis, f.takes = cluster.Masters[owner], cluster.Replicas[owner]
		return map[string]any{"type": "redis", "cluster": true, "nodes": cluster.Addrs[owner : owner+1]}
	}
	portal := []string{"--user", "portal", "on", ">secret", "~*", "&*", "+@all"} // each start makes him anew
	f.redis = redistest.Start(t, slices.Concat(c.redis, portal)...)
	socket := f.redis.Addr()
	if c.proxy {
		f.proxy = f.redis.Proxy(t)
		socket = f.proxy.Addr()
	}
	if c.user {
		socket = "unix://portal:secret@" + socket
	}
	return map[string]any{"type": "redis", "socket": socket}
}

// run has something happen under the load, and looks at what has become of everybody.
func (f *faultRun) run(happens func(f *faultRun)) {
	f.t.Helper()
	before := f.in.descriptors(f.t)
	f.addListeners()
	listening := f.listen()
	f.waitReady()
	slowness := f.watchMachine()
	publishing := f.publish()
	f.awaitPublished(f.begin)
	begin := time.Now()
	happens(f)
	over := time.Since(begin)
	<-publishing // each publisher and each listener gives up by itself
	listening.Wait()
	if err := context.Cause(f.ctx); err != nil {
		f.t.Error(err)
		return
	}
	f.checkComplete()
	f.checkWaits(slowness())
	f.checkServers(before)
	f.t.Logf("it took %v; %d publications, %d deliveries, %d of them in version 5, %d returns of clients, %d refusals",
		over.Round(time.Millisecond), f.published.Load(), f.delivered.Load(), f.fives.Load(), f.returns.Load(), f.refused.Load())
}

// awaitPublished waits until n publications are accepted.
func (f *faultRun) awaitPublished(n int) {
	f.t.Helper()
	testclient.Await(f.t, "publications", func() bool {
		if err := context.Cause(f.ctx); err != nil {
			f.t.Fatal(err)
		}
		return f.published.Load() >= int64(n)
	})
}

// last has a fault last for d, or four times that.
func (f *faultRun) last(d time.Duration) {
	if f.long {
		d *= 4
	}
	if err := f.sleep(d); err != nil {
		f.t.Fatal(context.Cause(f.ctx))
	}
}

// times has something happen n times in two seconds.
func (f *faultRun) times(n int, happens func()) {
	for range n {
		happens()
		f.last(2 * time.Second / time.Duration(n))
	}
}

// rights takes rights from the user of the servers, and gives them back.
func rights(refuse, allow string) func(f *faultRun) {
	return func(f *faultRun) {
		f.redis.Do(append([]string{"ACL", "SETUSER", "portal"}, strings.Fields(refuse)...)...)
		f.last(2 * time.Second)
		f.redis.Do(append([]string{"ACL", "SETUSER", "portal"}, strings.Fields(allow)...)...)
	}
}

// killEmpty kills a Redis that has told the servers of subscribers everything that it has answered to publishers: the rest is lost with all
// of its data.
func (f *faultRun) killEmpty() {
	f.asking.Lock()
	defer f.asking.Unlock()
	f.awaitTold()
	f.redis.Kill()
}

// restartEmpty has clients catch up first: so soon after the last time, the servers know of much only where to read it.
func (f *faultRun) restartEmpty() {
	f.asking.Lock()
	defer f.asking.Unlock()
	f.awaitTold()
	f.caughtUp("the last restart")
	f.redis.Restart()
}

func (f *faultRun) awaitTold() {
	f.t.Helper()
	awaitMetric(f.t, f.queue, "push_publish_queue", 0)
	f.redis.AwaitPubSub(int64(len(f.in.subs))) // its answer comes when it has told everybody
}

// busy runs a script that does not end by itself.
func busy(f *faultRun) {
	var script sync.WaitGroup
	script.Go(func() { _, _ = f.redis.Try("EVAL", "while true do end", "0") })
	f.last(2 * time.Second)
	conn, err := net.Dial("unix", f.redis.Addr()) // the other connection waits for the script
	if err != nil {
		f.t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("SCRIPT KILL\r\n")); err != nil {
		f.t.Fatal(err)
	}
	script.Wait()
}

// mostMemory is what a server of so few clients may take in any fault.
const mostMemory = 200 << 20

// checkServers wants publications stored at once, as before, nothing left of those who have gone, and no more memory than is reasonable.
func (f *faultRun) checkServers(before []int) {
	f.t.Helper()
	backend := testclient.NewHTTP(false)
	ch := testclient.NewChannel(testKey)
	testclient.AwaitNil(f.t, "publications are stored at once", func() error {
		reply, err := backend.PublishText(f.t.Context(), f.in.pubURL(), `{}`, 60, ch.Private)
		if err == nil && reply.Status != 200 {
			err = fmt.Errorf("answered %d", reply.Status)
		}
		return err
	})
	const spare = 8 // what serves Redis may be another number of connections at any time
	testclient.AwaitNil(f.t, "descriptors are closed", func() error {
		for i, n := range f.in.descriptors(f.t) {
			if n > before[i]+spare {
				return fmt.Errorf("process %d has %d descriptors, %d before", i, n, before[i])
			}
		}
		return nil
	})
	for _, p := range f.in.procs {
		if resident := p.memory("VmRSS"); resident > mostMemory {
			f.t.Errorf("a server takes %d MiB", resident>>20)
		}
	}
}

// caughtUp waits until everybody has what was accepted so far: what is lost by Redis and by a server at once is lost.
func (f *faultRun) caughtUp(what string) {
	f.t.Helper()
	goals := make(map[*loadChannel]int)
	for _, ch := range f.channels {
		goals[ch], _ = ch.progress()
	}
	testclient.AwaitNil(f.t, "everybody has caught up after: "+what, func() error {
		if err := context.Cause(f.ctx); err != nil {
			f.t.Fatal(err)
		}
		for ch, goal := range goals {
			if _, n := ch.progress(); n < goal {
				return fmt.Errorf("channel %s: somebody has %d of %d", ch.name, n, goal)
			}
		}
		return nil
	})
}
