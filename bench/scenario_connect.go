package bench

import (
	"context"
	"time"

	"push-server/bench/load"
	"push-server/bench/result"
)

var connect = &Scenario{
	Name:     "connect",
	Doc:      "connect, upgrade, check signatures, subscribe: rate and CPU each",
	Defaults: Params{N: 10_000},
	Plan:     func(p Params) *load.Plan { return everybody(p, portalUser) },
	Run:      runConnect,
}

// enoughConnects are measured, in as many waves as it takes: processor time is counted in steps of 10 ms, which is what a thousand of
// them need.
const (
	enoughConnects = 20_000
	mostWaves      = 20
)

// runConnect lets everybody come, go and come again: the first time warms up and does not count.
func runConnect(ctx context.Context, t *Trial) error {
	if _, err := t.connect(ctx, all, 0); err != nil {
		return err
	}
	var opened int64
	var elapsed, cpu time.Duration
	for opened < int64(min(mostWaves*t.N, enoughConnects)) {
		if err := t.Fleet.Drop(ctx, load.Drop{Group: all, Reset: true}); err != nil {
			return err
		}
		if err := pause(ctx, parkTime); err != nil {
			return err
		}
		var d *load.Dialed
		s, err := t.measure(ctx, func() (err error) {
			d, err = t.connect(ctx, all, 0)
			return err
		})
		if err != nil {
			return err
		}
		opened, elapsed, cpu = opened+int64(d.Opened), elapsed+d.Elapsed, cpu+s.Cost.Server.Total()
		t.Run.Latency["connect"] = result.Describe(d.Latency)
	}
	t.set("connectsPerSecond", perSecond(opened, elapsed))
	t.set("cpuPerConnect", micros(cpu, opened))
	return nil
}
