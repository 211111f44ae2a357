package bench

import (
	"context"
	"fmt"
	"time"

	"push-server/bench/load"
	"push-server/bench/result"
)

// Everybody misses this many messages, one of them to the own channel.
const missed = 5

var replay = &Scenario{
	Name:     "replay",
	Doc:      "everybody loses the connection, misses five messages, and returns at once",
	Defaults: Params{N: 10_000, Dial: 2048},
	Plan:     func(p Params) *load.Plan { return everybody(p, portalUser) },
	Run:      runReplay,
	Without:  foreign,
}

func runReplay(ctx context.Context, t *Trial) error {
	away := load.Campaign{First: t.Fleet.Plan.OwnStream(0), Streams: t.N, Connections: t.Connections, Count: t.N}
	return t.storm(ctx, missed, t.shared(0, 1), away, t.shared(0, missed-1))
}

// storm gives everybody a position by first, has them miss what is published then, so many messages each, brings them back, and waits
// until they have what they missed.
func (t *Trial) storm(ctx context.Context, missed int, first load.Campaign, away ...load.Campaign) error {
	if _, err := t.connect(ctx, all, 0); err != nil {
		return err
	}
	t.say("giving everybody a position")
	if _, err := t.publish(ctx, first); err != nil {
		return err
	}
	if err := t.Fleet.Drop(ctx, load.Drop{Group: all, Reset: true}); err != nil {
		return err
	}
	t.say("publishing what they miss")
	for _, c := range away {
		c.Await = false
		if _, err := t.Fleet.Publish(ctx, c); err != nil {
			return err
		}
	}
	return t.comeBack(ctx, missed)
}

// comeBack brings everybody back and waits until they have what they missed.
func (t *Trial) comeBack(ctx context.Context, missed int) error {
	reads, err := t.historyReads()
	if err != nil {
		return err
	}
	t.say("everybody returns")
	want := t.Fleet.Totals().Deliveries + int64(t.N*missed)
	var whole time.Duration
	s, err := t.measure(ctx, func() error {
		began := time.Now()
		d, err := t.connect(ctx, all, 0)
		if err != nil {
			return err
		}
		t.Run.Latency["return"] = result.Describe(d.Latency)
		if err := t.awaitDeliveries(ctx, want); err != nil {
			return err
		}
		whole = time.Since(began)
		return nil
	})
	if err != nil {
		return err
	}
	t.set("replaySeconds", whole.Seconds())
	t.set("cpuPerReturn", micros(s.Cost.Server.Total()+s.Cost.Redis.Total(), int64(t.N)))
	t.set("cpuPerMissed", micros(s.Cost.Server.Total(), int64(t.N*missed)))
	t.set("userPerMissed", micros(s.Cost.Server.User, int64(t.N*missed)))
	after, err := t.historyReads()
	if t.Server.Redis != nil {
		t.set("redisReadsPerReturn", float64(after-reads)/float64(t.N))
	}
	return err
}

func (t *Trial) awaitDeliveries(ctx context.Context, want int64) error {
	quiet, last := time.Now(), int64(0)
	for {
		n := t.Fleet.Totals().Deliveries
		if n >= want {
			return nil
		}
		if n != last {
			quiet, last = time.Now(), n
		}
		if time.Since(quiet) > t.Patience {
			return fmt.Errorf("bench: %d of %d messages did not come", want-n, want)
		}
		if err := pause(ctx, time.Millisecond); err != nil {
			return err
		}
	}
}

// historyReads is how often history has been read from Redis: indexes and bodies.
func (t *Trial) historyReads() (n int64, err error) {
	if t.Server.Redis == nil {
		return 0, nil
	}
	calls, err := t.Server.Redis.Calls()
	for _, name := range []string{"zrange", "zrangebylex", "zrevrange", "zrevrangebylex", "mget", "get"} {
		n += calls[name]
	}
	return n, err
}
