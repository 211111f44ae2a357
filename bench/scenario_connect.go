package bench

import (
	"context"

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

// runConnect lets everybody come, go and come again: the first time warms up and does not count.
func runConnect(ctx context.Context, t *Trial) error {
	if _, err := t.connect(ctx, all, 0); err != nil {
		return err
	}
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
	t.set("connectsPerSecond", perSecond(int64(d.Opened), d.Elapsed))
	t.set("cpuPerConnect", micros(s.Cost.Server.Total(), int64(d.Opened)))
	t.Run.Latency["connect"] = result.Describe(d.Latency)
	return nil
}
