package bench

import (
	"context"
	"time"

	"push-server/bench/load"
	"push-server/bench/result"
)

var unique = &Scenario{
	Name:     "unique",
	Doc:      "publications to one user each: as fast as possible, then at a given rate",
	Defaults: Params{N: 10_000, Rate: 2000},
	Plan:     func(p Params) *load.Plan { return everybody(p, load.Group{Own: true}) },
	Run:      runUnique,
}

func runUnique(ctx context.Context, t *Trial) error {
	if _, err := t.connect(ctx, all, 0); err != nil {
		return err
	}
	own := load.Campaign{First: t.Fleet.Plan.OwnStream(0), Streams: t.N, Connections: t.Connections, Await: true, Time: t.Time}
	t.say("warming up")
	warm := own
	warm.Time = t.Time / 5
	if _, err := t.publish(ctx, warm); err != nil {
		return err
	}
	if err := t.uniqueClosed(ctx, own); err != nil {
		return err
	}
	return t.uniqueOpen(ctx, own)
}

func (t *Trial) uniqueClosed(ctx context.Context, c load.Campaign) error {
	t.say("closed loop")
	s, p, err := t.measurePublishing(ctx, c)
	if err != nil {
		return err
	}
	t.set("publishesPerSecond", perSecond(p.Sent, p.Elapsed))
	t.set("serverCpuPerPublish", micros(s.Cost.Server.Total(), p.Sent))
	t.set("redisCpuPerPublish", micros(s.Cost.Redis.Total(), p.Sent))
	t.set("cpuPerPublish", micros(s.Cost.Server.Total()+s.Cost.Redis.Total(), p.Sent))
	t.Run.Latency["closed"] = result.Describe(s.Stats.Delivery)
	if allocs := s.Metrics["go_memstats_mallocs_total"]; allocs > 0 {
		t.set("allocsPerPublish", allocs/float64(p.Sent))
		t.set("collections", s.Metrics["go_gc_duration_seconds_count"])
	}
	return nil
}

func (t *Trial) uniqueOpen(ctx context.Context, c load.Campaign) error {
	t.say("open loop")
	c.Rate, c.Await = t.Rate, false
	if err := pause(ctx, time.Second); err != nil { // what the closed loop left behind is not this one's
		return err
	}
	s, p, err := t.measurePublishing(ctx, c)
	if err != nil {
		return err
	}
	delivery := result.Describe(s.Stats.Delivery)
	t.Run.Latency["open"] = delivery
	t.Run.Latency["answer"] = result.Describe(p.Answer)
	t.set("openP50", delivery.P50)
	t.set("openP99", delivery.P99)
	t.set("openP999", delivery.P999)
	return nil
}
