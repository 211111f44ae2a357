package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"push-server/engine/outage"
	"push-server/poll"
	"push-server/protocol"
)

// publishQueue brings publications to the bus: one ordered, bounded queue and one sender per process. What gathers while a batch
// is under way is the next batch. Accepted publications are kept and tried again until the bus has them.
type publishQueue struct {
	bus                Bus
	log                *slog.Logger
	maxCount, maxBytes int
	patience           time.Duration // that a publisher has
	stats              *publishStats
	outage             *outage.Outage
	arrived            chan struct{} // holds a token while ps may be non-empty

	mu      sync.Mutex
	ps      []*protocol.Publication // not stored yet. The sender alone removes from the front, and so may read there without mu
	askers  []asker                 // of ps, in the same order
	bytes   int
	told    int           // leading askers that wait no more
	overdue *time.Timer   // runs out when the first asker after those has waited for too long
	waited  bool          // overdue runs
	idle    chan struct{} // closed when everything is stored; nil: nobody wants to know
}

// asker is who handed over publications at once.
type asker struct {
	answer chan error // gets nil when all are stored, why one was refused, or poll.ErrAccepted; nil: nobody waits
	by     *followed  // whose lines tell under which ids they are stored; nil: nobody's
	since  time.Time
	left   int // publications not stored yet
	bytes  int
	err    error
}

const (
	// sendBatch is the number of publications in one batch.
	sendBatch = 256
	// queueKeep is the capacity that an empty queue keeps.
	queueKeep = 16 * sendBatch
)

func newPublishQueue(bus Bus, o *Options, stats *publishStats) *publishQueue {
	q := &publishQueue{
		bus: bus, log: o.Logger, maxCount: o.PublishQueue, maxBytes: o.PublishQueueBytes, patience: o.AcceptTimeout, stats: stats,
		arrived: make(chan struct{}, 1),
	}
	q.outage = outage.New(o.Logger, "publications cannot be stored")
	q.overdue = time.AfterFunc(time.Hour, q.tellOverdue)
	q.overdue.Stop()
	return q
}

// publicationOverhead is what a publication takes without its bytes, so that many small ones are bounded, too.
const publicationOverhead = 256

func bodyBytes(ps []*protocol.Publication) (n int) {
	for _, p := range ps {
		n += publicationOverhead + len(p.Body) + len(p.Receivers)*64
	}
	return n
}

// enqueue takes the publications, all or nothing; ps itself is not kept. answer, if given, gets one value, for which it must have
// room, after AcceptTimeout at the latest. by is the request that they come from, if it is followed. The error is poll.ErrQueueFull. It does not block and may be called from any goroutine;
// calls are served in order.
func (q *publishQueue) enqueue(ps []*protocol.Publication, answer chan error, by *followed) error {
	a := asker{answer: answer, by: by, left: len(ps), bytes: bodyBytes(ps), since: time.Now()}
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.ps)+len(ps) > q.maxCount || q.bytes+a.bytes > q.maxBytes {
		q.stats.rejected.Add(uint64(len(ps)))
		return poll.ErrQueueFull
	}
	if q.told > 0 { // what came before has been waiting for too long: waiting tells nobody more, and takes the place of another
		a.tell(poll.ErrAccepted)
	}
	q.ps = append(q.ps, ps...)
	q.askers = append(q.askers, a)
	q.bytes += a.bytes
	if !q.waited {
		q.waited = true
		q.overdue.Reset(q.patience)
	}
	select {
	case q.arrived <- struct{}{}:
	default:
	}
	return nil
}

// held is what is in the queue, and what may be, in bytes.
func (q *publishQueue) held() (bytes, most int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.bytes, q.maxBytes
}

// tellOverdue tells those who have waited for too long that their publications are accepted. One timer for all publishers: it is
// set a few times a second, not at each publication.
func (q *publishQueue) tellOverdue() {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	for ; q.told < len(q.askers); q.told++ {
		a := &q.askers[q.told]
		if left := q.patience - now.Sub(a.since); left > 0 {
			q.overdue.Reset(left)
			return
		}
		a.tell(poll.ErrAccepted)
	}
	q.waited = false
}

func (a *asker) tell(err error) {
	if a.answer != nil {
		a.answer <- err
		a.answer = nil
	}
}

// run sends until ctx ends.
func (q *publishQueue) run(ctx context.Context) {
	calls := callContext{parent: ctx}
	defer calls.end()
	retry := newRetry(10*time.Millisecond, time.Second)
	for {
		select {
		case <-ctx.Done():
			return
		case <-q.arrived:
		}
		for batch := q.batch(); len(batch) > 0 && ctx.Err() == nil; batch = q.batch() {
			if !q.send(calls.get(), batch) {
				sleep(ctx, retry.NextBackOff())
				continue
			}
			retry.Reset()
		}
	}
}

// batch returns the publications to send next. They are the sender's until it settles them.
func (q *publishQueue) batch() []*protocol.Publication {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.ps[:min(len(q.ps), sendBatch)]
}

// send brings a batch to the bus, as much of it as goes. It returns false if it had no success at all.
func (q *publishQueue) send(ctx context.Context, batch []*protocol.Publication) (progress bool) {
	n, err := q.bus.Publish(ctx, batch)
	switch {
	case err == nil && n < len(batch):
		panic("BUG: engine: the bus stored a part of a batch and named no error")
	case err == nil:
		q.outage.Over("waited", q.length())
	case errors.Is(err, ErrRefused):
		q.log.Error("publication refused by the bus", "err", err, "id", batch[n].ID)
		q.settle(n, nil)
		q.settle(1, err)
		return true
	default:
		q.stats.retries.Add(1)
		q.outage.Failed(err, "waiting", q.length()-n)
	}
	q.settle(n, nil)
	return n > 0
}

// settle removes the first n publications, which are stored, or refused for the reason err.
func (q *publishQueue) settle(n int, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	served := 0
	for at := 0; at < n; {
		a := &q.askers[served]
		settled := min(n-at, a.left)
		if err == nil && a.by != nil {
			a.by.sayStored(q.ps[at:at+settled], a.since)
		}
		at += settled
		a.left -= settled
		if a.err == nil {
			a.err = err
		}
		if a.left == 0 {
			a.tell(a.err)
			q.bytes -= a.bytes
			served++
		}
	}
	q.ps = slices.Delete(q.ps, 0, n)
	q.askers = slices.Delete(q.askers, 0, served)
	q.told = max(0, q.told-served)
	if len(q.ps) == 0 {
		q.emptied()
	}
}

// emptied tells those who wait for an empty queue, and lets go of what a burst has left.
func (q *publishQueue) emptied() {
	if q.idle != nil {
		close(q.idle)
		q.idle = nil
	}
	if cap(q.ps) > queueKeep {
		q.ps = nil
	}
	if cap(q.askers) > queueKeep {
		q.askers = nil
	}
}

// flush waits until everything that was accepted is stored, or ctx ends.
func (q *publishQueue) flush(ctx context.Context) error {
	for {
		n, idle := q.untilIdle()
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

func (q *publishQueue) untilIdle() (n int, idle <-chan struct{}) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.idle == nil {
		q.idle = make(chan struct{})
	}
	return len(q.ps), q.idle
}

// length is the number of publications accepted and not yet stored.
func (q *publishQueue) length() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.ps)
}

// callContext is the context of calls of the bus that are made one after the other. Several share one, because a new one is five
// allocations and a timer: each has between half of busTimeout and all of it.
type callContext struct {
	parent context.Context
	shared context.Context
	cancel context.CancelFunc
	until  time.Time // another one is made
}

func (c *callContext) get() context.Context {
	if now := time.Now(); now.After(c.until) {
		c.end()
		c.shared, c.cancel = context.WithTimeout(c.parent, busTimeout)
		c.until = now.Add(busTimeout / 2)
	}
	return c.shared
}

func (c *callContext) end() {
	if c.cancel != nil {
		c.cancel()
	}
}

// Publish hands publications to the bus. nil: they are stored. poll.ErrAccepted: they were taken, but are not stored yet;
// poll.ErrQueueFull: they were not taken. It returns after AcceptTimeout at the latest, or when ctx ends. ps itself is not kept.
func (e *Engine) Publish(ctx context.Context, ps []*protocol.Publication) error {
	if len(ps) == 0 {
		return nil
	}
	var by *followed
	if e.o.Trace != nil {
		by = exchangeOf(ctx).of()
	}
	answer := answers.Get().(chan error)
	if err := e.publishing.enqueue(ps, answer, by); err != nil {
		answers.Put(answer)
		return err
	}
	select {
	case err := <-answer:
		answers.Put(answer)
		return err
	case <-ctx.Done():
		return poll.ErrAccepted // the queue will still write to answer, so it is not used again
	}
}

// answers are what publishers wait with: a channel is not made anew for each publication.
var answers = sync.Pool{New: func() any { return make(chan error, 1) }}
