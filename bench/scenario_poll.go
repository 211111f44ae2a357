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
	Without:  noPolls,
}

func runPoll(ctx context.Context, t *Trial) error {
	if _, err := t.connect(ctx, all, 0); err != nil {
		return err
	}
	own := load.Campaign{First: t.Fleet.Plan.OwnStream(0), Streams: t.N, Connections: t.Connections}
	t.say("warming up")
	warm := own
	warm.Rate, warm.Time = t.Rate, t.Time/5
	if _, err := t.publish(ctx, warm); err != nil {
		return err
	}
	if err := t.pollOpen(ctx, own); err != nil {
		return err
	}
	return t.pollClosed(ctx, own)
}

// pollOpen answers polls at the given rate, which is what a server lives with.
func (t *Trial) pollOpen(ctx context.Context, c load.Campaign) error {
	t.say("answering polls at a rate")
	c.Rate, c.Time = t.Rate, t.Time
	s, _, err := t.measurePublishing(ctx, c)
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

// pollClosed answers as many as the server can, where waking up is no longer part of the cost.
func (t *Trial) pollClosed(ctx context.Context, c load.Campaign) error {
	t.say("answering polls as fast as possible")
	c.Time, c.Await = t.Time, true
	s, p, err := t.measurePublishing(ctx, c)
	if err != nil {
		return err
	}
	t.set("answersPerSecond", perSecond(p.Sent, p.Elapsed))
	t.set("cpuPerAnswerBusy", micros(s.Cost.Server.Total()+s.Cost.Redis.Total(), s.Stats.Polls))
	return nil
}
