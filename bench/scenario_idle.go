package bench

import (
	"context"
	"time"

	"push-server/bench/load"
	"push-server/bench/result"
)

// The memory per connection is the slope from the empty server, so that what every process needs once does not count. A server
// that has just had some connections is the empty one: buffers, tables and stacks that it made for the first of them are there.
const (
	idleSteps  = 2
	idleWarmUp = 1000
)

// rest is longer than the server of this project takes to see that no more connections come, and to give memory back. It does so after
// 1,000 connections have come or gone, before it counts as empty, too.
const rest = 22 * time.Second

var idle = &Scenario{
	Name:     "idle",
	Doc:      "memory per idle WebSocket with two channels; one message reaches all",
	Defaults: Params{N: 18_900},
	Plan:     func(p Params) *load.Plan { return everybody(p, portalUser) },
	Run:      runIdle,
}

var idlePoll = &Scenario{
	Name:     "idle-poll",
	Doc:      "the same for parked long polls",
	Defaults: Params{N: 18_900},
	Plan: func(p Params) *load.Plan {
		g := portalUser
		g.Poll = true
		return everybody(p, g)
	},
	Run:     runIdle,
	Without: noPolls,
}

// portalUser has the channels that a portal gives to each of its users.
var portalUser = load.Group{Own: true, Public: true, Shared: []int{0}}

func runIdle(ctx context.Context, t *Trial) error {
	empty, err := t.emptyMemory(ctx)
	if err != nil {
		return err
	}
	emptyHeap := t.heap(ctx)
	t.set("emptyMegabytes", empty/1e6)
	t.Run.Series["memory"] = []result.Point{{X: 0, Y: empty}}
	for step := 1; step <= idleSteps; step++ {
		if err := t.idleStep(ctx, t.N*step/idleSteps, empty); err != nil {
			return err
		}
	}
	if heap := t.heap(ctx) - emptyHeap; heap > 0 && emptyHeap > 0 && len(t.Server.PIDs) == 1 {
		t.set("heapPerConnection", heap/float64(t.N))
	}
	if err := t.pulses(ctx); err != nil {
		return err
	}
	t.say("reaching all")
	began := time.Now()
	if _, err := t.publish(ctx, t.shared(0, 1)); err != nil {
		return err
	}
	t.set("reachSeconds", time.Since(began).Seconds())
	return nil
}

// pulsesTime is two rounds of pings.
const pulsesTime = 20 * time.Second

// pulses measures what it costs to ping clients of version 5 as often as they have to be. Those of other versions are pinged too seldom.
func (t *Trial) pulses(ctx context.Context) error {
	if t.Server.Target.Format != load.JSONRPC {
		return nil
	}
	t.say("pinging")
	s, err := t.measure(ctx, func() error { return pause(ctx, pulsesTime) })
	if err != nil {
		return err
	}
	t.set("idleCpuPercent", 100*s.Cost.Server.Total().Seconds()/s.Elapsed.Seconds())
	return nil
}

// emptyMemory is the memory of the server after its first connections have gone.
func (t *Trial) emptyMemory(ctx context.Context) (float64, error) {
	t.say("warming up")
	if _, err := t.Fleet.Connect(ctx, load.Connect{Group: all, Limit: t.Dial, Count: min(idleWarmUp, t.N)}); err != nil {
		return 0, err
	}
	if err := pause(ctx, parkTime); err != nil {
		return 0, err
	}
	if err := t.Fleet.Drop(ctx, load.Drop{Group: all}); err != nil {
		return 0, err
	}
	return t.restingMemory(ctx)
}

func (t *Trial) idleStep(ctx context.Context, n int, empty float64) error {
	t.say("connecting")
	if _, err := t.Fleet.Connect(ctx, load.Connect{Group: all, Limit: t.Dial, Count: n}); err != nil {
		return err
	}
	if err := pause(ctx, parkTime); err != nil {
		return err
	}
	live, err := t.memory()
	if err != nil {
		return err
	}
	rest, err := t.restingMemory(ctx)
	if err != nil {
		return err
	}
	t.Run.Series["memory"] = append(t.Run.Series["memory"], result.Point{X: float64(n), Y: rest})
	t.set("bytesPerConnectionLive", (live-empty)/float64(n))
	t.set("bytesPerConnection", (rest-empty)/float64(n))
	return nil
}

// heap is the Go heap that is in use, 0 for other servers.
func (t *Trial) heap(ctx context.Context) float64 {
	t.Server.Collect(ctx)
	t.Server.Collect(ctx) // what the first one only found to be garbage
	return t.Server.Scrape(ctx)["go_memstats_heap_alloc_bytes"]
}

// restingMemory has the garbage collected, where the server offers it, and takes the least memory that is seen in the time of Rest.
func (t *Trial) restingMemory(ctx context.Context) (float64, error) {
	const looks = 50
	t.say("letting the memory settle")
	t.Server.Collect(ctx)
	t.Server.Collect(ctx) // what the first one only found to be garbage
	least, err := t.memory()
	for i := 0; err == nil && i < looks; i++ {
		if err = pause(ctx, t.Rest/looks); err != nil {
			break
		}
		var m float64
		m, err = t.memory()
		least = min(least, m)
	}
	return least, err
}
