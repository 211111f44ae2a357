package engine

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"push-server/protocol"
)

// question is what a loop wants to know from the bus for one of its sessions.
type question struct {
	loop  *loop
	ref   sessionRef
	kind  mailKind // mailHistory or mailNewest
	query protocol.HistoryQuery
}

// historyRead is the answer. With mailHistory, what was published before the read has come by when echo comes by.
type historyRead struct {
	pubs []*protocol.Publication
	echo uint64
	err  error // mailNewest only: history is asked for until it answers
}

// worker reads history for all loops: whatever has gathered while the last batch was under way is one batch, and one echo
// serves all of it.
type worker struct {
	bus     Bus
	log     *slog.Logger
	limit   int
	mu      sync.Mutex
	queue   []question
	arrived chan struct{} // holds one token while the queue may be non-empty
}

// batchLimit is the number of questions in one batch.
const batchLimit = 512

func newWorker(bus Bus, o *Options) *worker {
	return &worker{bus: bus, log: o.Logger, limit: o.MaxQuestions, arrived: make(chan struct{}, 1)}
}

// ask queues q. It returns false if too many wait already. It may be called from any goroutine.
func (w *worker) ask(q question) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.queue) >= w.limit {
		return false
	}
	w.queue = append(w.queue, q)
	w.signal()
	return true
}

func (w *worker) signal() {
	select {
	case w.arrived <- struct{}{}:
	default:
	}
}

// take returns the next batch.
func (w *worker) take(ctx context.Context) []question {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-w.arrived:
		}
		w.mu.Lock()
		n := min(len(w.queue), batchLimit)
		batch := append([]question(nil), w.queue[:n]...)
		w.queue = append(w.queue[:0], w.queue[n:]...)
		if len(w.queue) > 0 {
			w.signal()
		}
		w.mu.Unlock()
		if n > 0 {
			return batch
		}
	}
}

// run serves questions until ctx ends. Several may run at once.
func (w *worker) run(ctx context.Context) {
	for {
		batch := w.take(ctx)
		if batch == nil {
			return
		}
		w.serve(ctx, batch)
	}
}

// serve asks the bus until it answers: a client that cannot get its history now waits for it. Questions about the newest id
// are answered at once, with the error.
func (w *worker) serve(ctx context.Context, batch []question) {
	retry := backoff{first: 50 * time.Millisecond, limit: 2 * time.Second}
	for len(batch) > 0 {
		answers, echo, err := w.read(ctx, batch)
		if err == nil {
			for i, q := range batch {
				q.answer(&historyRead{pubs: answers[i], echo: echo})
			}
			return
		}
		if ctx.Err() != nil {
			return
		}
		w.log.Warn("history cannot be read, trying again", "err", err, "questions", len(batch))
		waiting := batch[:0]
		for _, q := range batch {
			if q.kind == mailNewest {
				q.answer(&historyRead{err: err})
				continue
			}
			waiting = append(waiting, q)
		}
		batch = waiting
		retry.wait(ctx)
	}
}

func (q *question) answer(read *historyRead) {
	q.loop.post(mail{kind: q.kind, ref: q.ref, read: read})
}

// read asks the bus once.
func (w *worker) read(ctx context.Context, batch []question) (answers [][]*protocol.Publication, echo uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, busTimeout)
	defer cancel()
	queries := make([]protocol.HistoryQuery, len(batch))
	for i := range batch {
		queries[i] = batch[i].query
	}
	if answers, err = w.bus.History(ctx, queries); err != nil {
		return nil, 0, err
	}
	echo, err = w.bus.Echo(ctx)
	return answers, echo, err
}

// busTimeout bounds one call of the bus.
const busTimeout = 5 * time.Second

// backoff is the pause between attempts, doubled each time up to its limit.
type backoff struct {
	first, limit, next time.Duration
}

// wait pauses, or returns early when ctx ends.
func (b *backoff) wait(ctx context.Context) {
	b.next = min(max(2*b.next, b.first), b.limit)
	timer := time.NewTimer(b.next)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// reset makes the next pause the first one again.
func (b *backoff) reset() { b.next = 0 }
