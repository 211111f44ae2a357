package main

import (
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"push-server/protocol/testclient"
)

// TestChaos lets one fault after the other happen, at random, for the time in PUSH_TEST_CHAOS (make chaos). PUSH_TEST_SEED repeats the order
// of a run. In every other run a Node process publishes to others on the same Redis. A third of the clients speak version 5.
func TestChaos(t *testing.T) {
	length, err := time.ParseDuration(os.Getenv("PUSH_TEST_CHAOS"))
	if err != nil {
		t.Skip("make chaos runs it")
	}
	seed, err := strconv.ParseUint(os.Getenv("PUSH_TEST_SEED"), 10, 64)
	if err != nil {
		seed = rand.Uint64N(1_000_000)
	}
	t.Logf("PUSH_TEST_SEED=%d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	all := slices.DeleteFunc(faults(), func(c fault) bool { return c.group || c.cluster || slices.Contains(c.redis, "everysec") })
	f := newFaultRun(t, &fault{user: true, proxy: true,
		redis: slices.Concat(always, []string{"--enable-debug-command", "yes", "--busy-reply-threshold", "50",
			"--auto-aof-rewrite-min-size", "4mb"})}, false) // so that it does not take longer to start with each minute
	f.size.publications = 1 << 30
	enough := make(chan struct{})
	f.enough = enough
	if seed%2 == 0 {
		f.publishAsNode(enough)
	}
	f.run(func(f *faultRun) {
		defer close(enough)
		for end := time.Now().Add(length); time.Now().Before(end); {
			c := all[random.IntN(len(all))]
			begin := time.Now()
			c.happens(f)
			took := time.Since(begin)
			f.caughtUp(c.name)
			t.Logf("%-40s lasted %4d ms, all was well after %4d ms", c.name, took.Milliseconds(), (time.Since(begin) - took).Milliseconds())
		}
	})
}

// publishAsNode has a Node process publish to a channel of its own until enough is closed: ids are taken first and used later, or never.
func (f *faultRun) publishAsNode(enough <-chan struct{}) {
	node := startNode(f.t, f.redis, strings.Repeat("n", 8))
	node.rough = true
	to := testclient.NewChannel(testKey).PrivateReceiver()
	done := make(chan struct{})
	f.t.Cleanup(func() { <-done })
	go func() {
		defer close(done)
		for n := 1; ; n++ {
			m := nodeMessage{id: node.takeID(), receivers: []testclient.Receiver{to}, body: numbered(n), expiry: 600, created: uint32(time.Now().Unix())}
			select {
			case <-enough:
				return
			case <-f.ctx.Done():
				return
			case <-time.After(time.Duration(rand.IntN(40)) * time.Millisecond):
			}
			if n%7 != 0 {
				node.store(m)
				node.send(m)
			}
		}
	}()
}
