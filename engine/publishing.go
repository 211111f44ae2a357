package engine

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"push-server/engine/budget"
	"push-server/engine/latency"
	"push-server/engine/outage"
	"push-server/poll"
	"push-server/protocol"
)

// publishQueue brings publications to the bus: what back ends publish, what clients publish, and one sender per process for both. What
// gathers while a batch is under way is the next batch. Accepted publications are kept and tried again until the bus has them.
type publishQueue struct {
	bus      Bus
	stats    *publishStats
	outage   *outage.Outage
	refusals *outage.Outage
	arrived  chan struct{} // holds a token while a lane may be non-empty

	mu        sync.Mutex
	lanes     [publisherKinds]lane
	batch     []*protocol.Publication // that the sender has; its memory is used again
	forbidden error                   // why nothing is stored now, while what was accepted earlier is tried again
	closed    bool
	idle      chan struct{} // closed when everything is stored; nil: nobody wants to know
}

// publisherKind is who publishes. Each kind has a lane of its own, with bounds of its own, so that clients, of whom there are many and who
// may do as they like, neither delay back ends nor take their room. While that is more than half full, clients are refused. In a batch the
// lanes go in this order.
type publisherKind int

const (
	backEnds publisherKind = iota
	clients
	publisherKinds
)

// laneShare is how many publications of a lane a batch takes. What back ends wait for is at most the batch under way and their own, so
// clients get the smaller share.
var laneShare = [publisherKinds]int{backEnds: 192, clients: 64}

// laneBatchBytes is what a batch takes of a lane, in bytes, if that is more than one publication.
const laneBatchBytes = 1 << 20

// lane is a queue of publications in the order in which they came.
type lane struct {
	share    int // publications in one batch
	maxCount int
	budget   *budget.Budget
	patience time.Duration // that a publisher has
	took     *latency.Histogram

	ps       []*protocol.Publication // not stored yet. The sender alone removes from the front
	underWay int                     // of ps, which the sender has: the bus may have stored them already
	askers   []asker                 // of ps, in the same order
	told     int                     // leading askers that wait no more
	overdue  *time.Timer             // runs out when the first asker after those has waited for too long
	waited   bool                    // overdue runs
}

// asker is who handed over publications at once.
type asker struct {
	answer chan error // gets nil when all are stored, why one was refused, or poll.ErrAccepted; nil: nobody waits
	by     *followed  // whose lines tell under which ids they are stored; nil: nobody's
	since  time.Time
	begun  bool // some are stored
	left   int  // publications not stored yet
	bytes  int
	err    error
}

// queueKeep is the capacity that an empty lane keeps.
const queueKeep = 4096

func newPublishQueue(bus Bus, o *Options, stats *publishStats) *publishQueue {
	q := &publishQueue{bus: bus, stats: stats, arrived: make(chan struct{}, 1)}
	q.outage = outage.New(o.Logger, "publications cannot be stored", "trying again")
	q.refusals = outage.New(o.Logger, "publications are refused by the bus", "dropping them")
	bytes := [publisherKinds]int{backEnds: o.PublishQueueBytes, clients: o.ClientQueueBytes}
	for kind := range q.lanes {
		la := &q.lanes[kind]
		*la = lane{share: laneShare[kind], budget: budget.New(int64(bytes[kind])), patience: o.AcceptTimeout, took: stats.took}
		la.overdue = time.AfterFunc(time.Hour, func() { q.tellOverdue(la) })
		la.overdue.Stop()
	}
	q.bound(o.PublishQueue)
	return q
}

// enqueue takes the publications, all or nothing; ps itself is not kept. answer, if given, gets one value, for which it must have
// room, after AcceptTimeout at the latest. by is the request that they come from, if it is followed. The error is poll.ErrQueueFull:
// there is no room, or nobody sends any more. It does not block and may be called from any goroutine; calls for one kind are served in order.
func (q *publishQueue) enqueue(kind publisherKind, ps []*protocol.Publication, answer chan error, by *followed) error {
	a := asker{answer: answer, by: by, left: len(ps), bytes: publicationsBytes(ps), since: time.Now()}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.forbidden != nil && answer != nil {
		return q.forbidden
	}
	if q.closed || kind == clients && q.clientsWait() || !q.lanes[kind].take(ps, a) {
		q.stats.rejected.Add(uint64(len(ps)))
		return poll.ErrQueueFull
	}
	select {
	case q.arrived <- struct{}{}:
	default:
	}
	return nil
}

// clientsWait says whether back ends have so much waiting that clients, of whom there are more, are not to be served beside them: what the
// bus still takes goes to those whose publications get lost when there is no more room.
func (q *publishQueue) clientsWait() bool {
	la := &q.lanes[backEnds]
	if 2*len(la.ps) <= la.maxCount && 2*la.budget.Used() <= la.budget.Limit() {
		return false
	}
	q.lanes[clients].budget.Refuse()
	return true
}

// take appends ps, if there is room.
func (la *lane) take(ps []*protocol.Publication, a asker) bool {
	if len(la.ps)+len(ps) > la.maxCount {
		la.budget.Refuse()
		return false
	}
	if !la.budget.Take(a.bytes) {
		return false
	}
	if la.told > 0 { // what came before has been waiting for too long: waiting tells nobody more, and takes the place of another
		a.tell(poll.ErrAccepted)
	}
	la.ps = append(la.ps, ps...)
	la.askers = append(la.askers, a)
	if !la.waited {
		la.waited = true
		la.overdue.Reset(la.patience)
	}
	return true
}

// tellOverdue tells those who have waited for too long that their publications are accepted. One timer for all publishers of a lane: it
// is set a few times a second, not at each publication.
func (q *publishQueue) tellOverdue(la *lane) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	for ; la.told < len(la.askers); la.told++ {
		a := &la.askers[la.told]
		if left := la.patience - now.Sub(a.since); left > 0 {
			la.overdue.Reset(left)
			return
		}
		a.tell(poll.ErrAccepted)
	}
	la.waited = false
}

func (a *asker) tell(err error) {
	if a.answer != nil {
		a.answer <- err
		a.answer = nil
	}
}

// run sends until ctx ends. Nothing is accepted afterwards.
func (q *publishQueue) run(ctx context.Context) {
	defer q.close()
	calls := callContext{parent: ctx}
	defer calls.end()
	retry := newRetry(10*time.Millisecond, 250*time.Millisecond)
	for {
		select {
		case <-ctx.Done():
			return
		case <-q.arrived:
		}
		for batch := q.next(); len(batch) > 0 && ctx.Err() == nil; batch = q.next() {
			if !q.send(calls.get(), batch) {
				sleep(ctx, retry.NextBackOff())
				continue
			}
			retry.Reset()
		}
	}
}

func (q *publishQueue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
}

// next returns the publications to send next. They are the sender's until it settles them. Those of the last batch that are not known to
// be stored come again, alone and in the same order: the bus recognises by it what it has stored although its answer was lost.
func (q *publishQueue) next() []*protocol.Publication {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.underWay() == 0 {
		for i := range q.lanes {
			q.lanes[i].choose()
		}
	}
	q.batch = q.batch[:0]
	for i := range q.lanes {
		la := &q.lanes[i]
		q.batch = append(q.batch, la.ps[:la.underWay]...)
	}
	return q.batch
}

func (q *publishQueue) underWay() (n int) {
	for i := range q.lanes {
		n += q.lanes[i].underWay
	}
	return n
}

// choose decides how much of the lane the next batch takes.
func (la *lane) choose() {
	bytes := 0
	for la.underWay < min(len(la.ps), la.share) {
		bytes += publicationBytes(la.ps[la.underWay])
		if la.underWay > 0 && bytes > laneBatchBytes {
			break
		}
		la.underWay++
	}
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
		q.refusals.Failed(err)
		q.settle(n, nil)
		q.settle(1, err)
		return true
	default:
		q.stats.retries.Add(1)
		q.outage.Failed(err, "waiting", q.length()-n)
	}
	q.settle(n, nil)
	if errors.Is(err, ErrForbidden) {
		return n > 0 || q.forbid(err)
	}
	return n > 0
}

// forbid refuses requests of which nothing is stored and nothing was acknowledged; their senders may send them again without doubling
// anything. It returns false if others are left, which are tried again.
func (q *publishQueue) forbid(err error) (none bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := range q.lanes {
		q.lanes[i].refuse(err)
	}
	q.forbidden = err
	q.ended()
	return q.forbidden == nil
}

// refuse removes the requests that nothing was promised to.
func (la *lane) refuse(err error) {
	la.underWay = 0
	at, ps := 0, la.ps[:0]
	la.askers = slices.DeleteFunc(la.askers, func(a asker) bool {
		from := at
		at += a.left
		if a.answer == nil || a.begun {
			ps = append(ps, la.ps[from:at]...)
			return false
		}
		a.tell(err)
		la.budget.Give(a.bytes)
		return true
	})
	clear(la.ps[len(ps):])
	la.ps = ps
	la.shrink()
}

// settle removes the first n publications of the batch, which are stored, or refused for the reason err.
func (q *publishQueue) settle(n int, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if n > 0 {
		q.forbidden = nil
	}
	for i := range q.lanes {
		la := &q.lanes[i]
		settled := min(n, la.underWay)
		la.settle(settled, err)
		n -= settled
	}
	q.ended()
}

// ended lets go of a batch that nothing is left of, and says so if nothing waits. q.mu is held.
func (q *publishQueue) ended() {
	if q.underWay() == 0 {
		clear(q.batch)
	}
	if q.waiting() > 0 {
		return
	}
	q.forbidden = nil // the next one is to try
	if q.idle != nil {
		close(q.idle)
		q.idle = nil
	}
}

func (la *lane) settle(n int, err error) {
	served := 0
	for at := 0; at < n; {
		a := &la.askers[served]
		settled := min(n-at, a.left)
		if err == nil && a.by != nil {
			a.by.sayStored(la.ps[at:at+settled], a.since)
		}
		a.left -= settled
		a.begun = a.begun || err == nil
		if a.err == nil {
			a.err = cmp.Or(err, unkept(la.ps[at:at+settled]))
		}
		if a.left == 0 {
			if a.err == nil {
				la.took.Observe(time.Since(a.since))
			}
			a.tell(a.err)
			la.budget.Give(a.bytes)
			served++
		}
		at += settled
	}
	la.ps = slices.Delete(la.ps, 0, n)
	la.askers = slices.Delete(la.askers, 0, served)
	la.underWay -= n
	la.told = max(0, la.told-served)
	la.shrink()
}

// shrink lets go of what a burst has left in a lane that is empty.
func (la *lane) shrink() {
	if len(la.ps) > 0 {
		return
	}
	if cap(la.ps) > queueKeep {
		la.ps = nil
	}
	if cap(la.askers) > queueKeep {
		la.askers = nil
	}
}

// flush waits until everything that was accepted is stored, or ctx ends.
func (q *publishQueue) flush(ctx context.Context) {
	for {
		n, idle := q.untilIdle()
		if n == 0 {
			return
		}
		select {
		case <-idle:
		case <-ctx.Done():
			return
		}
	}
}

func (q *publishQueue) untilIdle() (n int, idle <-chan struct{}) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.idle == nil {
		q.idle = make(chan struct{})
	}
	return q.waiting(), q.idle
}

// waiting is length, under mu.
func (q *publishQueue) waiting() (n int) {
	for i := range q.lanes {
		n += len(q.lanes[i].ps)
	}
	return n
}

// length is the number of publications accepted and not yet stored.
func (q *publishQueue) length() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.waiting()
}

// Publish hands publications of a back end to the bus. nil: they are stored. poll.ErrAccepted: they were taken, but are not stored yet;
// poll.ErrQueueFull: they were not taken. It returns after AcceptTimeout at the latest, or when ctx ends. ps itself is not kept.
func (e *Engine) Publish(ctx context.Context, ps []*protocol.Publication) error {
	return e.publish(ctx, backEnds, ps)
}

// clientPublisher is Publish for clients that publish over HTTP.
type clientPublisher struct{ engine *Engine }

func (c clientPublisher) Publish(ctx context.Context, ps []*protocol.Publication) error {
	return c.engine.publish(ctx, clients, ps)
}

func (e *Engine) publish(ctx context.Context, kind publisherKind, ps []*protocol.Publication) error {
	if len(ps) == 0 {
		return nil
	}
	var by *followed
	if e.o.Trace != nil {
		by = exchangeOf(ctx).of()
	}
	answer := answers.Get().(chan error)
	if err := e.publishing.enqueue(kind, ps, answer, by); err != nil {
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
