// Package lastseen brings the bus what event loops see of the users of version 5: when each was there last.
package lastseen

import (
	"context"
	"sync"
	"time"
)

// Memory is the optional ability of a bus to remember when users were seen. Its methods may be called from any goroutine.
type Memory interface {
	// See notes when users were seen, in Unix seconds. An earlier time than the one that is known changes nothing.
	See(ctx context.Context, seen map[uint64]int64) error
	// LastSeen returns of each user when that was; 0: nobody knows.
	LastSeen(ctx context.Context, users []uint64) ([]int64, error)
}

// Queue is what is on its way to a Memory.
type Queue struct {
	Memory
	write   func(ctx context.Context, f func(ctx context.Context) error)
	mu      sync.Mutex
	due     map[uint64]int64
	arrived chan struct{}
}

const (
	maxDue = 1 << 20 // more are dropped: each comes again with the next word of its client
	batch  = 1000
)

// New makes a queue. write calls f until it succeeds, or ctx ends.
func New(m Memory, write func(ctx context.Context, f func(ctx context.Context) error)) *Queue {
	return &Queue{Memory: m, write: write, due: make(map[uint64]int64), arrived: make(chan struct{}, 1)}
}

// Note says that user is there at now. It does not block and may be called from any goroutine.
func (q *Queue) Note(user uint64, now time.Time) {
	q.mu.Lock()
	if _, there := q.due[user]; there || len(q.due) < maxDue {
		q.due[user] = now.Unix()
	}
	q.mu.Unlock()
	select {
	case q.arrived <- struct{}{}:
	default:
	}
}

func (q *Queue) take() map[uint64]int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	taken := make(map[uint64]int64, min(len(q.due), batch))
	for user, at := range q.due {
		if len(taken) == batch {
			break
		}
		taken[user] = at
		delete(q.due, user)
	}
	return taken
}

// Run writes until ctx ends.
func (q *Queue) Run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-q.arrived:
		}
		for seen := q.take(); len(seen) > 0 && ctx.Err() == nil; seen = q.take() {
			q.write(ctx, func(ctx context.Context) error { return q.See(ctx, seen) })
		}
	}
}
