package load

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Workers is the number of processes with users.
func (f *Fleet) Workers() int { return len(f.workers) }

// FloorPID is the process id of the floor, 0 without one.
func (f *Fleet) FloorPID() int {
	if f.floor == nil {
		return 0
	}
	return f.floor.cmd.Process.Pid
}

// PIDs are the process ids of the workers with users.
func (f *Fleet) PIDs() (pids []int) {
	for _, w := range f.workers {
		pids = append(pids, w.cmd.Process.Pid)
	}
	return pids
}

// Totals are the running counts of all workers.
func (f *Fleet) Totals() Totals { return f.board.Total() }

// Connect opens the connections of a group, in all workers at the same time. Limit and Rate are those of the fleet.
func (f *Fleet) Connect(ctx context.Context, o Connect) (*Dialed, error) {
	o.Limit = max(o.Limit/len(f.workers), 1)
	o.Rate /= float64(len(f.workers))
	sum := &Dialed{Latency: NewLatency()}
	err := f.each(ctx, Order{Connect: &o}, func(a Answer) error {
		sum.Opened += a.Dialed.Opened
		sum.Failed += a.Dialed.Failed
		sum.Retried += a.Dialed.Retried
		sum.Elapsed = max(sum.Elapsed, a.Dialed.Elapsed)
		return sum.Latency.Add(a.Dialed.Latency)
	})
	return sum, err
}

// Drop closes the connections of a group.
func (f *Fleet) Drop(ctx context.Context, o Drop) error {
	return f.each(ctx, Order{Drop: &o}, nil)
}

// Churn closes and opens connections of a group again and again; Rate is that of the fleet.
func (f *Fleet) Churn(ctx context.Context, o Churn) error {
	o.Rate /= float64(len(f.workers))
	return f.each(ctx, Order{Churn: &o}, nil)
}

// Publish carries out a campaign, from the first worker. Speakers must be among the users of that.
func (f *Fleet) Publish(ctx context.Context, c Campaign) (*Published, error) {
	a, err := f.workers[0].call(ctx, Order{Publish: &c})
	return a.Published, err
}

// Spread has the floor write.
func (f *Fleet) Spread(ctx context.Context, o Spread) (time.Duration, error) {
	if f.floor == nil {
		return 0, fmt.Errorf("load: this fleet has no floor")
	}
	a, err := f.floor.call(ctx, Order{Spread: &o})
	return time.Duration(a.Elapsed), err
}

// Stats sums the stats of all workers; with reset the counts begin anew.
func (f *Fleet) Stats(ctx context.Context, reset bool) (*Stats, error) {
	sum := new(Stats)
	err := f.each(ctx, Order{Stats: &Measure{Reset: reset}}, func(a Answer) error { return sum.Add(a.Stats) })
	return sum, err
}

// Pending is how many published messages subscribers have not read yet.
func (f *Fleet) Pending(ctx context.Context) (n int64, err error) {
	err = f.each(ctx, Order{Lag: new(struct{})}, func(a Answer) error {
		n += a.Pending
		return nil
	})
	return n, err
}

// Settle waits until nothing is pending, or until nothing has come for patience, and returns what is pending then: it is lost.
func (f *Fleet) Settle(ctx context.Context, patience time.Duration) (int64, error) {
	const pause = 20 * time.Millisecond
	var last Totals
	for quiet := time.Duration(0); ; quiet += pause {
		n, err := f.Pending(ctx)
		if err != nil || n == 0 || quiet > patience {
			return n, err
		}
		if t := f.Totals(); t != last {
			last, quiet = t, 0
		}
		select {
		case <-ctx.Done():
			return n, ctx.Err()
		case <-time.After(pause):
		}
	}
}

// each gives the order to all workers with users and calls collect, if any, with each answer in turn.
func (f *Fleet) each(ctx context.Context, o Order, collect func(Answer) error) error {
	answers := make([]Answer, len(f.workers))
	errs := make([]error, len(f.workers))
	var wait sync.WaitGroup
	for i, w := range f.workers {
		wait.Go(func() { answers[i], errs[i] = w.call(ctx, o) })
	}
	wait.Wait()
	for i, a := range answers {
		if errs[i] != nil {
			return errs[i]
		}
		if collect == nil {
			continue
		}
		if err := collect(a); err != nil {
			return err
		}
	}
	return nil
}
