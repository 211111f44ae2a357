package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"push-server/bench/load"
	"push-server/bench/proc"
	"push-server/bench/result"
	"push-server/bench/target"
)

// parkTime is how long servers are given to park polls: a client gets no sign of it.
const parkTime = 500 * time.Millisecond

var errTrouble = errors.New("bench: clients had trouble")

// Trial is one run of a scenario under way.
type Trial struct {
	Params
	Server *target.Running
	Fleet  *load.Fleet
	Run    *result.Run
	say    func(string) // tells the progress line what is going on
}

// set records a metric.
func (t *Trial) set(metric string, v float64) { t.Run.Metrics[metric] = v }

// Sample is what happened while something was measured.
type Sample struct {
	Elapsed    time.Duration
	Cost       target.Cost
	Deliveries int64
	Metrics    target.Samples // differences; nil if the server has none
	Stats      *load.Stats    // since the beginning of the measurement
}

// measure has f done and says what it took.
func (t *Trial) measure(ctx context.Context, f func() error) (*Sample, error) {
	if _, err := t.Fleet.Stats(ctx, true); err != nil {
		return nil, err
	}
	idle := t.Server.Scrape(ctx)
	before := t.Server.Scrape(ctx)
	others, err := t.others()
	if err != nil {
		return nil, err
	}
	cost, err := t.Server.Cost()
	if err != nil {
		return nil, err
	}
	deliveries, began := t.Fleet.Totals().Deliveries, time.Now()
	if err := f(); err != nil {
		return nil, err
	}
	s := &Sample{Elapsed: time.Since(began), Deliveries: t.Fleet.Totals().Deliveries - deliveries}
	after, err := t.Server.Cost()
	if err != nil {
		return nil, err
	}
	s.Cost = after.Sub(cost)
	othersAfter, err := t.others()
	if err != nil {
		return nil, err
	}
	noise := 100 * (othersAfter - others).Seconds() / s.Elapsed.Seconds()
	t.set(result.Noise, max(t.Run.Metrics[result.Noise], noise))
	s.Metrics = t.Server.Scrape(ctx)
	for name := range s.Metrics {
		s.Metrics[name] -= before[name]
	}
	const allocations = "go_memstats_mallocs_total"
	if s.Metrics[allocations] > 0 { // looking at metrics is a thousand of them
		s.Metrics[allocations] = max(s.Metrics[allocations]-(before[allocations]-idle[allocations]), 1)
	}
	s.Stats, err = t.Fleet.Stats(ctx, true)
	return s, err
}

// others is the processor time used so far by processes that are no part of the run.
func (t *Trial) others() (time.Duration, error) {
	busy, err := proc.Busy()
	if err != nil {
		return 0, err
	}
	pids := append(t.Fleet.PIDs(), os.Getpid())
	pids = append(pids, t.Server.PIDs...)
	if t.Server.Redis != nil {
		pids = append(pids, t.Server.Redis.PID)
	}
	if floor := t.Fleet.FloorPID(); floor != 0 {
		pids = append(pids, floor)
	}
	ours, err := proc.CPUOf(pids...)
	return busy - ours.Total(), err
}

// connect opens the connections of a group and waits until polls are parked.
func (t *Trial) connect(ctx context.Context, group string, rate float64) (*load.Dialed, error) {
	t.say("connecting " + group)
	d, err := t.Fleet.Connect(ctx, load.Connect{Group: group, Limit: t.Dial, Rate: rate})
	if err != nil {
		return nil, err
	}
	if d.Failed > 0 {
		return nil, fmt.Errorf("bench: %d of %d connections failed", d.Failed, d.Failed+d.Opened)
	}
	g, err := t.Fleet.Plan.Group(group)
	if err == nil && g.Poll {
		err = pause(ctx, parkTime)
	}
	return d, err
}

// publish carries out a campaign and waits until everything has arrived, or does not.
func (t *Trial) publish(ctx context.Context, c load.Campaign) (*load.Published, error) {
	p, err := t.Fleet.Publish(ctx, c)
	if err != nil {
		return nil, err
	}
	_, err = t.Fleet.Settle(ctx, t.Patience)
	return p, err
}

// measurePublishing carries out a campaign and says what it took.
func (t *Trial) measurePublishing(ctx context.Context, c load.Campaign) (s *Sample, p *load.Published, err error) {
	s, err = t.measure(ctx, func() (err error) {
		p, err = t.publish(ctx, c)
		return err
	})
	return s, p, err
}

// shared is a campaign to shared channel k, one message after the other, each when all have the last one.
func (t *Trial) shared(k, count int) load.Campaign {
	return load.Campaign{First: t.Fleet.Plan.SharedStream(k), Streams: 1, Connections: 1, Count: count, Await: true}
}

// conclude holds the run against what must not happen in any.
func (t *Trial) conclude(ctx context.Context) error {
	lost, err := t.Fleet.Settle(ctx, t.Patience)
	if err != nil {
		return err
	}
	s, err := t.Fleet.Stats(ctx, false)
	if err != nil {
		return err
	}
	t.Run.Integrity, t.Run.Troubles = s.Integrity, s.Troubles
	t.Run.Integrity.Lost = lost
	if i := t.Run.Integrity; !i.OK() {
		return fmt.Errorf("bench: of %d messages %d lost, %d doubled, %d reordered, %d damaged, %d misrouted",
			i.Deliveries, i.Lost, i.Doubled, i.Reordered, i.Damaged, i.Misrouted)
	}
	if len(s.Troubles) > 0 {
		return fmt.Errorf("%w: %v", errTrouble, s.Troubles)
	}
	return t.Server.Alive()
}

// memory is what the server occupies: the sum of RSS for one process; of PSS for several, which share pages.
func (t *Trial) memory() (float64, error) {
	m, err := proc.MemoryOf(t.Server.PIDs...)
	if len(t.Server.PIDs) > 1 {
		return float64(m.PSS), err
	}
	return float64(m.RSS), err
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// micros is the time per operation in µs.
func micros(d time.Duration, operations int64) float64 {
	if operations == 0 {
		return 0
	}
	return float64(d) / float64(time.Microsecond) / float64(operations)
}

// perSecond is operations a second.
func perSecond(operations int64, d time.Duration) float64 {
	if d == 0 {
		return 0
	}
	return float64(operations) / d.Seconds()
}
