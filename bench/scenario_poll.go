package bench

import (
	"context"

	"push-server/bench/load"
	"push-server/bench/result"
)

var poll = &Scenario{
	Name:     "poll",
	Doc:      "long polls answered and parked again at a given rate",
	Defaults: Params{N: 10_000, Rate: 1000},
	Plan:     func(p Params) *load.Plan { return everybody(p, load.Group{Own: true, Poll: true}) },
	Run:      runPoll,
}

func runPoll(ctx context.Context, t *Trial) error {
	if _, err := t.connect(ctx, all, 0); err != nil {
		return err
	}
	c := load.Campaign{First: t.Fleet.Plan.OwnStream(0), Streams: t.N, Connections: t.Connections, Rate: t.Rate, Time: t.Time / 5}
	t.say("warming up")
	if _, err := t.publish(ctx, c); err != nil {
		return err
	}
	t.say("answering polls")
	c.Time = t.Time
	s, err := t.measure(ctx, func() error {
		_, err := t.publish(ctx, c)
		return err
	})
	if err != nil {
		return err
	}
	t.set("serverCpuPerAnswer", micros(s.Cost.Server.Total(), s.Stats.Polls))
	t.set("redisCpuPerAnswer", micros(s.Cost.Redis.Total(), s.Stats.Polls))
	t.set("cpuPerAnswer", micros(s.Cost.Server.Total()+s.Cost.Redis.Total(), s.Stats.Polls))
	p := result.Describe(s.Stats.Delivery)
	t.Run.Latency["poll"] = p
	t.set("pollP50", p.P50)
	t.set("pollP99", p.P99)
	return nil
}
