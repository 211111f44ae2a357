package feed

import (
	"context"
	"time"

	"push-server/engine/outage"
)

// probeBus sends one echo a second: it moves positions in quiet times, shows a lost tail, and unmasks a connection that is alive but
// deaf.
func (f *Feed) probeBus(ctx context.Context) {
	deaf := deafness{limit: 3 * f.o.EchoInterval}
	for ctx.Err() == nil {
		f.probe(ctx, &deaf)
		f.checkHoles(ctx)
		f.forgetRepaired()
		f.clock.Await(ctx, f.hurry, f.o.EchoInterval)
	}
}

// deafness notices that echoes are sent but not heard.
type deafness struct {
	limit   time.Duration
	waiting bool
	since   time.Duration // of the first echo that is not heard
	sent    uint64
}

// probe sends an echo, and has the bus connect anew if it has been deaf for too long.
func (f *Feed) probe(ctx context.Context, d *deafness) {
	f.mu.Lock()
	heard := f.heard >= d.sent
	f.mu.Unlock()
	if heard {
		d.waiting = false
	}
	now := f.clock.Now()
	if bus, ok := f.bus.(reconnecter); ok && d.waiting && now-d.since > d.limit {
		f.log.Warn("the bus connection is silent, connecting again", "silent", now-d.since)
		d.waiting = false
		f.Stats.Rebuilds.Add(1)
		bus.Reconnect()
	}
	n, err := f.sendEcho(ctx)
	if err != nil {
		d.waiting = false // the bus is away, which it says itself
		return
	}
	if d.sent = n; !d.waiting {
		d.waiting, d.since = true, f.clock.Now()
	}
}

// Pulse is the one task of a feed that nobody reads: its process only publishes, and does not subscribe to the bus. There an echo has come
// when the bus has taken it.
func (f *Feed) Pulse(ctx context.Context) {
	trouble := outage.New(f.log, "the bus does not answer", "asking again")
	for ctx.Err() == nil {
		if err := f.beat(ctx); err == nil {
			trouble.Over()
		} else if ctx.Err() == nil {
			trouble.Failed(err)
		}
		f.clock.Await(ctx, f.hurry, f.o.EchoInterval)
	}
}

func (f *Feed) beat(ctx context.Context) error {
	if _, err := f.sendEcho(ctx); err != nil {
		return err
	}
	f.noteEcho()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open()
	return nil
}

const (
	holeTime  = time.Second // how late a publication may come before it counts as missing
	holeBatch = 1000        // holes looked at in one call
)

// checkHoles looks whether publications that are overdue exist. Those that do not (given up by their publisher, or never stored) are
// forgotten; if one does, it was lost on the way.
func (f *Feed) checkHoles(ctx context.Context) {
	f.mu.Lock()
	overdue := f.holes.overdue(f.clock.Now()-holeTime, holeBatch)
	f.mu.Unlock()
	if len(overdue) == 0 {
		return
	}
	ctx, cancel := f.clock.Bounded(ctx, busTimeout)
	defer cancel()
	remaining, err := f.bus.Remaining(ctx, overdue)
	if err != nil {
		return // asked again next time
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.repair != nil {
		return
	}
	for i, id := range overdue {
		if remaining[i] > 0 && f.holes.has(id) {
			f.startRepair("a publication is missing")
			return
		}
	}
	for _, id := range overdue {
		f.holes.fill(id)
	}
}
