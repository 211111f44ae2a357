package feed

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"push-server/engine/budget"
	"push-server/engine/outage"
	"push-server/protocol"
)

// question is what a client wants to know from history: a replay, or the newest id.
type question struct {
	reader *Reader
	replay *Replay
	newest *Newest
	query  protocol.HistoryQuery
}

// history reads what clients ask for: whatever has gathered while the last batch was under way is one batch, one echo serves all of it,
// and a publication that several of them get is one entry, with its frames.
type history struct {
	bus      Bus
	clock    Clock
	outage   *outage.Outage
	limit    int
	maxBytes int
	budget   *budget.Budget
	arrived  Signal

	mu    sync.Mutex
	queue []question
}

// batchLimit is the number of questions in one batch.
const batchLimit = 512

func newHistory(bus Bus, o *Options) *history {
	return &history{
		bus: bus, clock: o.Clock, outage: outage.New(o.Logger, "history cannot be read", "trying again"), limit: o.MaxQuestions, maxBytes: o.AnswerBytes, budget: o.Answers,
		arrived: newSignal(),
	}
}

// ask queues q. It returns false if too many wait already. It may be called from any goroutine.
func (h *history) ask(q question) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.queue) >= h.limit {
		return false
	}
	h.queue = append(h.queue, q)
	h.arrived.give()
	return true
}

// take returns the next batch; nil: ctx has ended.
func (h *history) take(ctx context.Context) []question {
	for h.clock.Await(ctx, h.arrived, 0) {
		h.mu.Lock()
		n := min(len(h.queue), batchLimit)
		batch := append([]question(nil), h.queue[:n]...)
		clear(h.queue[:n])
		if h.queue = h.queue[n:]; len(h.queue) == 0 {
			h.queue = nil
		} else {
			h.arrived.give()
		}
		h.mu.Unlock()
		if n > 0 {
			return batch
		}
	}
	return nil
}

// serve answers questions until ctx ends. Several may run at once.
func (h *history) serve(ctx context.Context) {
	width := batchLimit
	for batch := h.take(ctx); batch != nil; batch = h.take(ctx) {
		width = h.answerAll(ctx, batch, width)
	}
}

// answerAll asks the bus until it answers: a client that cannot get its history now waits for it. Questions about the newest id are
// answered at once, without knowing. It asks width questions at a time, and no more than twice as many as there was room to answer the
// last time: the bus looks at each of them. It returns the width for the next batch.
func (h *history) answerAll(ctx context.Context, batch []question, width int) int {
	retry := newRetry(50*time.Millisecond, 2*time.Second)
	for len(batch) > 0 && h.awaitRoom(ctx) {
		asked := min(width, len(batch))
		answers, echo, err := h.read(ctx, batch[:asked])
		if err == nil {
			h.outage.Over()
			h.answer(batch[:len(answers)], answers, echo)
			batch = batch[len(answers):]
			if len(answers) == width || len(answers) < asked {
				width = max(1, min(2*len(answers), batchLimit))
			}
			continue
		}
		if ctx.Err() != nil {
			return width
		}
		h.outage.Failed(err, "clients", len(batch))
		batch = giveUp(batch)
		h.clock.Sleep(ctx, retry.NextBackOff())
	}
	return width
}

// giveUp answers who does not wait, and returns the others.
func giveUp(batch []question) []question {
	waiting := batch[:0]
	for _, q := range batch {
		switch {
		case q.newest != nil:
			q.reader.post(func(r *Reader) { r.newest = append(r.newest, q.newest) })
		case !q.replay.canceled.Load():
			waiting = append(waiting, q)
		}
	}
	return waiting
}

// awaitRoom waits until clients have taken so much of what was read for them that there is room for more.
func (h *history) awaitRoom(ctx context.Context) bool {
	for h.budget.Limit() > 0 && h.budget.Used() >= h.budget.Limit() && ctx.Err() == nil {
		h.clock.Sleep(ctx, 10*time.Millisecond)
	}
	return ctx.Err() == nil
}

// read asks the bus once. It may answer the leading questions only.
func (h *history) read(ctx context.Context, batch []question) (answers []protocol.HistoryAnswer, echo uint64, err error) {
	ctx, cancel := h.clock.Bounded(ctx, busTimeout)
	defer cancel()
	queries := make([]protocol.HistoryQuery, len(batch))
	for i := range batch {
		queries[i] = batch[i].query
	}
	if answers, err = h.bus.History(ctx, queries, h.maxBytes); err != nil {
		return nil, 0, err
	}
	echo, err = h.bus.Echo(ctx)
	return answers, echo, err
}

// answer gives each question its answer.
func (h *history) answer(batch []question, answers []protocol.HistoryAnswer, echo uint64) {
	shared := make(map[protocol.MessageID]*Entry)
	a := &answer{budget: h.budget}
	entries := make([][]*Entry, len(batch))
	for i := range batch {
		if batch[i].replay == nil {
			continue
		}
		a.left.Add(1)
		if i > 0 && sameList(answers[i].Publications, answers[i-1].Publications) && batch[i-1].replay != nil {
			entries[i] = entries[i-1]
			continue
		}
		for _, p := range answers[i].Publications {
			e := shared[p.ID]
			if e == nil {
				e = &Entry{Publication: p}
				shared[p.ID] = e
				a.bytes += e.size()
			}
			entries[i] = append(entries[i], e)
		}
	}
	h.budget.Add(a.bytes)
	if a.left.Load() == 0 {
		h.budget.Give(a.bytes)
	}
	for i, q := range batch {
		if q.newest != nil {
			if ps := answers[i].Publications; len(ps) > 0 {
				q.newest.ID = ps[len(ps)-1].ID
			}
			q.newest.Known = true
			q.reader.post(func(r *Reader) { r.newest = append(r.newest, q.newest) })
			continue
		}
		es, more := entries[i], answers[i].More
		q.reader.post(func(r *Reader) { r.hear(q.replay, es, more, echo, a) })
	}
}

// sameList says whether a and b are one list.
func sameList(a, b []*protocol.Publication) bool {
	return len(a) == len(b) && len(a) > 0 && &a[0] == &b[0]
}

// answer is what one batch holds until all its clients have taken it, or have gone.
type answer struct {
	budget *budget.Budget
	bytes  int
	left   atomic.Int64
}

func (a *answer) done() {
	if a.left.Add(-1) == 0 {
		a.budget.Give(a.bytes)
	}
}
