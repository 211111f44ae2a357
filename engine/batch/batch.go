// Package batch gathers what many goroutines want to be written, so that a wave of connections is a few commands.
package batch

import (
	"context"
	"sync"
)

// Queue is what is due to be written, by key. Its methods may be called from any goroutine.
type Queue[K comparable, V any] struct {
	write   func(ctx context.Context, some map[K]V)
	mu      sync.Mutex
	due     map[K]V
	arrived chan struct{}
}

const (
	maxDue = 1 << 20 // keys; more are dropped, so that whoever puts something has to put it again some day
	most   = 1000    // keys that are written at once
)

// New makes a queue. Run has write called with up to a thousand keys at a time; it returns when they are written, or when ctx ends.
func New[K comparable, V any](write func(ctx context.Context, some map[K]V)) *Queue[K, V] {
	return &Queue[K, V]{write: write, due: make(map[K]V), arrived: make(chan struct{}, 1)}
}

// Put has v written soon, instead of what is due for the same key. It does not block.
func (q *Queue[K, V]) Put(k K, v V) {
	q.mu.Lock()
	if _, there := q.due[k]; there || len(q.due) < maxDue {
		q.due[k] = v
	}
	q.mu.Unlock()
	select {
	case q.arrived <- struct{}{}:
	default:
	}
}

func (q *Queue[K, V]) take() map[K]V {
	q.mu.Lock()
	defer q.mu.Unlock()
	some := make(map[K]V, min(len(q.due), most))
	for k, v := range q.due {
		if len(some) == most {
			break
		}
		delete(q.due, k)
		some[k] = v
	}
	return some
}

// Run writes until ctx ends.
func (q *Queue[K, V]) Run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-q.arrived:
		}
		for some := q.take(); len(some) > 0; some = q.take() {
			q.write(ctx, some)
		}
	}
}
