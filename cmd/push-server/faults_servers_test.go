package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"push-server/protocol/testclient"
)

func faultsOfServers() []fault {
	return []fault{
		{name: "server killed", happens: func(f *faultRun) { f.restart(1, syscall.SIGKILL) }},
		{name: "server terminated", happens: func(f *faultRun) { f.restart(1, syscall.SIGTERM) }},
		{name: "server of publishers terminated", happens: func(f *faultRun) { f.restart(0, syscall.SIGTERM) }},
		{name: "server stopped", happens: func(f *faultRun) {
			f.in.signal(f.t, 1, syscall.SIGSTOP)
			f.last(2 * time.Second)
			f.in.signal(f.t, 1, syscall.SIGCONT)
		}},
		{name: "server told twice to end", happens: func(f *faultRun) { f.restart(1, syscall.SIGTERM, syscall.SIGTERM) }},
		{name: "disk of logs full", happens: func(f *faultRun) {
			f.replace(func(i int) *process {
				f.in.configs[i]["debug"] = map[string]any{"folderName": fullFolder(f.t), "ip": []any{"127.0.0.1"}}
				return start(f.t, f.in.configs[i])
			})
			f.noise()
		}},
		{name: "log files at their limit", change: followAll, happens: func(f *faultRun) {
			for _, p := range f.in.procs {
				if err := unix.Prlimit(p.cmd.Process.Pid, unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 1, Max: 1}, nil); err != nil {
					f.t.Fatal(err)
				}
			}
			f.noise()
		}},
		{name: "readers of logs gone", happens: func(f *faultRun) {
			f.replace(f.startUnread)
			f.noise()
			f.replace(func(i int) *process { return start(f.t, f.in.configs[i]) }) // whose output the next fault may want to read
		}},
		{name: "clocks of hosts an hour apart", happens: publishFromElsewhere},
		{name: "logs opened again", happens: func(f *faultRun) {
			f.times(10, func() {
				for i := range f.in.procs {
					f.in.signal(f.t, i, syscall.SIGUSR1)
				}
			})
		}},
		{name: "reloaded under load", happens: reloadedUnderLoad},
	}
}

// restart ends a server and starts it again in its place.
func (f *faultRun) restart(i int, signals ...syscall.Signal) {
	for _, signal := range signals {
		if err := f.in.procs[i].cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
			f.t.Fatal(err)
		}
	}
	testclient.AwaitFrom(f.t, "the server ends", f.in.procs[i].done)
	f.last(500 * time.Millisecond)
	f.in.procs[i] = start(f.t, f.in.configs[i])
}

// followAll has each request written into the log files.
func followAll(c config) { c["debug"].(map[string]any)["ip"] = []any{"127.0.0.1"} }

// replace ends all servers, one after the other, and starts others in their places.
func (f *faultRun) replace(start func(i int) *process) {
	for i := range f.in.procs {
		f.in.signal(f.t, i, syscall.SIGTERM)
		testclient.AwaitFrom(f.t, "the server ends", f.in.procs[i].done)
		f.in.procs[i] = start(i)
	}
}

// noise gives the servers something to write into their logs.
func (f *faultRun) noise() { f.times(10, func() { f.redis.KillPubSub() }) }

// fullFolder is a folder on whose files nothing can be written.
func fullFolder(t *testing.T) string {
	t.Helper()
	dir, today := t.TempDir(), time.Now().Format("2006-01-02")
	for _, name := range []string{"info.log", "error." + today + ".log", "system-error." + today + ".log", "debug." + today + ".log"} {
		if err := os.Symlink("/dev/full", filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// startUnread starts server i with an output that nobody reads any more.
func (f *faultRun) startUnread(i int) *process {
	r, w := pipe(f.t)
	p := launchInto(f.t, "", w, writeConfigs(f.t, f.in.configs[i])...)
	w.Close()
	for _, listener := range f.in.configs[i].listeners() {
		p.waitListening(fmt.Sprintf("127.0.0.1:%v", listener["port"]))
	}
	r.Close()
	return p
}

// beginning is the mid of a client that wants all that there is.
var beginning = strings.Repeat("0", 26)

// publishFromElsewhere publishes as Node processes do whose clocks are an hour fast and an hour slow, to clients of the servers: what they
// get, and what they have missed, does not depend on when somebody else says that it was created.
func publishFromElsewhere(f *faultRun) {
	const messages = 60
	node := startNode(f.t, f.redis, "elsewhere")
	o := newOutage(f.t, f.in)
	o.socket, o.polls = followSocket(o.dial(beginning)), followPolls(f.t.Context(), f.in.subs[1], o.channel)
	o.polls.mid = beginning
	for n := range messages {
		apart := []time.Duration{-time.Hour, time.Hour, 0}[n%3]
		m := nodeMessage{
			id: node.takeID(), receivers: []testclient.Receiver{o.channel.PrivateReceiver()}, body: numbered(n + 1), expiry: 60,
			created: uint32(time.Now().Add(apart).Unix()),
		}
		node.store(m)
		node.send(m)
		o.sent++
		f.last(2 * time.Second / messages)
	}
	o.arrived()
}

// A publisher waits for no longer, whatever happens to Redis: the server gives up after 300 ms, PHP after a second.
const longestWait = 500 * time.Millisecond

// checkWaits wants publishers answered in time, and publications stored again. A machine that is slow by itself makes them wait, too.
func (f *faultRun) checkWaits(slowness time.Duration) {
	f.t.Helper()
	longest, unstored := time.Duration(f.longest.Load()), time.Duration(f.unstored.Load())
	if longest > longestWait+2*slowness {
		f.t.Errorf("a publisher waited for %v, on a machine that is late by %v", longest, slowness)
	}
	if f.again > 0 && unstored > f.again+2*slowness {
		f.t.Errorf("nothing was stored for %v, on a machine that is late by %v", unstored, slowness)
	}
	ms := func(d time.Duration) time.Duration { return d.Round(time.Millisecond) }
	f.t.Logf("longest answer %v, longest time without a stored publication %v, the machine is late by up to %v", ms(longest), ms(unstored), ms(slowness))
}

// watchMachine asks the server of publishers all the time for something that needs neither Redis nor anybody else. The function that it
// returns ends that, and gives the longest time that it took.
func (l *load) watchMachine() (slowness func() time.Duration) {
	var work sync.WaitGroup
	var longest time.Duration
	end := make(chan struct{})
	work.Go(func() {
		pace := time.NewTicker(10 * time.Millisecond)
		defer pace.Stop()
		client := testclient.NewHTTP(false)
		for {
			begin := time.Now()
			_, _ = client.Poll(l.t.Context(), "http://"+l.in.pub+"/nothing") // it may be away
			longest = max(longest, time.Since(begin))
			select {
			case <-end:
				return
			case <-l.ctx.Done():
				return
			case <-pace.C:
			}
		}
	})
	return sync.OnceValue(func() time.Duration {
		close(end)
		work.Wait()
		return longest
	})
}
