package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"push-server/poll"
	"push-server/protocol"
)

// publishQueue brings publications to the bus: one ordered, bounded queue and one sender per process. What gathers while a batch
// is under way is the next batch. Accepted publications are kept and tried again until the bus has them.
type publishQueue struct {
	bus                Bus
	log                *slog.Logger
	maxCount, maxBytes int

	mu      sync.Mutex
	waiting []queued
	count   int // publications waiting or being sent
	bytes   int
	arrived chan struct{} // holds a token while waiting may be non-empty
	idle    chan struct{} // closed and replaced when everything is stored
	stats   *hubStats
}

// queued is what one publisher handed over at once.
type queued struct {
	ps   []*protocol.Publication
	done chan error // gets nil when all are stored, or why one was refused; nil: nobody waits
	left int        // not stored yet
	err  error
}

// sendBatch is the number of publications in one batch.
const sendBatch = 256

func newPublishQueue(bus Bus, o *Options, stats *hubStats) *publishQueue {
	return &publishQueue{
		bus: bus, log: o.Logger, maxCount: o.PublishQueue, maxBytes: o.PublishQueueBytes, stats: stats,
		arrived: make(chan struct{}, 1), idle: make(chan struct{}),
	}
}

func bodyBytes(ps []*protocol.Publication) (n int) {
	for _, p := range ps {
		n += entryOverhead + len(p.Body) + len(p.Receivers)*64
	}
	return n
}

// enqueue takes ps, all or nothing. done, if given, must have room for one value. The error is poll.ErrQueueFull. It does not
// block and may be called from any goroutine; calls are served in order.
func (q *publishQueue) enqueue(ps []*protocol.Publication, done chan error) error {
	bytes := bodyBytes(ps)
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.count+len(ps) > q.maxCount || q.bytes+bytes > q.maxBytes {
		q.stats.rejected.Add(uint64(len(ps)))
		return poll.ErrQueueFull
	}
	q.count += len(ps)
	q.bytes += bytes
	q.waiting = append(q.waiting, queued{ps: ps, done: done, left: len(ps)})
	select {
	case q.arrived <- struct{}{}:
	default:
	}
	return nil
}

// run sends until ctx ends. What is not stored then is logged: it was accepted and is lost.
func (q *publishQueue) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			q.reportLost()
			return
		case <-q.arrived:
		}
		q.mu.Lock()
		batch := q.waiting
		q.waiting = nil
		q.mu.Unlock()
		for len(batch) > 0 {
			n := batchEnd(batch)
			if !q.send(ctx, batch[:n]) {
				q.reportLost()
				return
			}
			batch = batch[n:]
		}
		q.finished()
	}
}

func batchEnd(batch []queued) (n int) {
	for size := 0; n < len(batch) && (n == 0 || size+len(batch[n].ps) <= sendBatch); n++ {
		size += len(batch[n].ps)
	}
	return n
}

// send brings a batch to the bus, as often as it takes. It returns false when ctx ends before.
func (q *publishQueue) send(ctx context.Context, batch []queued) bool {
	ps, owners := flatten(batch)
	retry := backoff{first: 10 * time.Millisecond, limit: time.Second}
	for len(ps) > 0 {
		n, err := q.publish(ctx, ps)
		for _, owner := range owners[:n] {
			owner.settle(nil)
		}
		ps, owners = ps[n:], owners[n:]
		if n > 0 {
			retry.reset()
		}
		switch {
		case err == nil && len(ps) > 0:
			panic("BUG: engine: the bus stored a part of a batch and named no error")
		case err == nil:
		case errors.Is(err, ErrRefused):
			q.log.Error("publication refused by the bus", "err", err, "id", ps[0].ID)
			owners[0].settle(err)
			ps, owners = ps[1:], owners[1:]
		case ctx.Err() != nil:
			return false
		default:
			q.stats.retries.Add(1)
			q.log.Warn("publications cannot be stored, trying again", "err", err, "waiting", len(ps))
			retry.wait(ctx)
		}
	}
	q.mu.Lock()
	for _, b := range batch {
		q.count -= len(b.ps)
		q.bytes -= bodyBytes(b.ps)
	}
	q.mu.Unlock()
	return true
}

func (q *publishQueue) publish(ctx context.Context, ps []*protocol.Publication) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, busTimeout)
	defer cancel()
	return q.bus.Publish(ctx, ps)
}

func flatten(batch []queued) (ps []*protocol.Publication, owners []*queued) {
	for i := range batch {
		for _, p := range batch[i].ps {
			ps = append(ps, p)
			owners = append(owners, &batch[i])
		}
	}
	return ps, owners
}

// settle notes that one publication of b is done with.
func (b *queued) settle(err error) {
	if b.err == nil {
		b.err = err
	}
	if b.left--; b.left == 0 && b.done != nil {
		b.done <- b.err
	}
}

// finished tells those who wait for an empty queue.
func (q *publishQueue) finished() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.count == 0 {
		close(q.idle)
		q.idle = make(chan struct{})
	}
}

// flush waits until everything that was accepted is stored, or ctx ends.
func (q *publishQueue) flush(ctx context.Context) error {
	for {
		q.mu.Lock()
		n, idle := q.count, q.idle
		q.mu.Unlock()
		if n == 0 {
			return nil
		}
		select {
		case <-idle:
		case <-ctx.Done():
			return fmt.Errorf("engine: %d publications are not stored: %w", n, ctx.Err())
		}
	}
}

func (q *publishQueue) reportLost() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.count > 0 {
		q.log.Error("publications accepted but not stored are lost", "count", q.count)
	}
}

// length is the number of publications accepted and not yet stored.
func (q *publishQueue) length() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.count
}

// Publish hands publications to the bus. nil: they are stored. poll.ErrAccepted: they were taken, but are not stored yet;
// poll.ErrQueueFull: they were not taken. It returns after AcceptTimeout at the latest, or when ctx ends.
func (e *Engine) Publish(ctx context.Context, ps []*protocol.Publication) error {
	if len(ps) == 0 {
		return nil
	}
	w := waiters.Get().(*waiter)
	if err := e.publishing.enqueue(ps, w.done); err != nil {
		waiters.Put(w)
		return err
	}
	w.timer.Reset(e.o.AcceptTimeout)
	select {
	case err := <-w.done:
		w.timer.Stop()
		waiters.Put(w)
		return err
	case <-w.timer.C:
	case <-ctx.Done():
	}
	return poll.ErrAccepted // the queue will still write to w.done, so w is not used again
}

// waiter is what a publisher waits with; made anew it would be four allocations for each publication.
type waiter struct {
	done  chan error
	timer *time.Timer
}

var waiters = sync.Pool{New: func() any {
	w := &waiter{done: make(chan error, 1), timer: time.NewTimer(time.Hour)}
	w.timer.Stop()
	return w
}}
