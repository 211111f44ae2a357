// Package ratelimit bounds what comes: the connections of a process in a second, and those of one address, at once and in a second.
package ratelimit

import (
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// Rate lets so many come in a second, and as many at once after a quiet one. Who comes too early is told when to come again: as long as
// the queue of those who were told so takes. So those who all come at once are spread over the time that they need, in the order in which
// they came, instead of coming all at once again. Its methods may be called from any goroutine.
//
// Whoever was told to come again has a turn then, and nobody who comes later is let in before him. People are known by their addresses, so
// those of one address may have each other's turns.
type Rate struct {
	limiter atomic.Pointer[rate.Limiter] // nil: there is no limit

	mu    sync.Mutex
	turns turns
}

const (
	// longestQueue bounds what anybody is told.
	longestQueue = time.Minute
	// patience is for how many seconds room is kept for those whose turn it is: they are told whole seconds, and so up to one too many, and
	// some are late. What they leave then is for whoever comes.
	patience = 3
)

// NewRate bounds nothing if perSecond is not positive.
func NewRate(perSecond int) *Rate {
	r := new(Rate)
	r.Change(perSecond)
	return r
}

// Change has another number count from now on. It may be called from one goroutine at a time.
func (r *Rate) Change(perSecond int) {
	limiter, limit := r.limiter.Load(), rate.Limit(perSecond)
	switch {
	case perSecond <= 0:
		r.limiter.Store(nil)
	case limiter == nil:
		r.limiter.Store(rate.NewLimiter(limit, perSecond))
	case limiter.Limit() != limit: // what was saved up stays
		limiter.SetLimit(limit)
	}
}

// Limits says whether there is a limit.
func (r *Rate) Limits() bool { return r.limiter.Load() != nil }

// Take says whether somebody at addr may come now, and if not, after how long.
func (r *Rate) Take(addr netip.Addr, now time.Time) (ok bool, after time.Duration) {
	limiter := r.limiter.Load()
	if limiter == nil {
		return true, 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.turns.expire(now)
	every := interval(limiter)
	burst, least := int(limiter.Limit()), 1 // what may be saved up, and what has to be there
	whose, isDue := r.turns.due(addr, now)
	if r.turns.count > 0 {
		if burst *= patience; !isDue {
			least = burst
		}
	}
	if burst != limiter.Burst() {
		limiter.SetBurstAt(now, burst)
	}
	if limiter.TokensAt(now) >= float64(least) && limiter.AllowN(now, 1) {
		if isDue {
			r.turns.take(whose)
		}
		return true, 0
	}
	if isDue { // others are late, and have come just before
		return false, every
	}
	if after = r.turns.wait(now) + every; after > longestQueue {
		return false, Spread(longestQueue/2, longestQueue)
	}
	r.turns.give(addr, now.Add(after))
	return false, after
}

// Saved is what another process needs to go on: how many may come at once now, and how long the queue is of those who were told to come
// again. ok is false if there is no limit.
func (r *Rate) Saved(now time.Time) (n float64, queue time.Duration, ok bool) {
	limiter := r.limiter.Load()
	if limiter == nil {
		return 0, 0, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return limiter.TokensAt(now), r.turns.wait(now), true
}

// GoOn has no more come at once than another process would let in, behind those whom that has told to come again.
// Who they are is not known: whoever comes first has the turns. Nobody has come here yet.
func (r *Rate) GoOn(now time.Time, saved float64, queue time.Duration) {
	limiter := r.limiter.Load()
	if limiter == nil {
		return
	}
	Spend(limiter, now, saved)
	r.mu.Lock()
	defer r.mu.Unlock()
	every := interval(limiter)
	for after := every; after <= min(queue, longestQueue); after += every {
		r.turns.give(anybody, now.Add(after))
	}
}

// interval is the time between two turns.
func interval(limiter *rate.Limiter) time.Duration {
	return time.Duration(float64(time.Second) / float64(limiter.Limit()))
}

// Spend leaves a fresh limiter no more than was saved elsewhere.
func Spend(limiter *rate.Limiter, now time.Time, saved float64) {
	limiter.AllowN(now, max(limiter.Burst()-max(int(saved), 0), 0))
}

// Spread is a random time from least to most, so that those who are turned away together do not come again together.
func Spread(least, most time.Duration) time.Duration { return least + rand.N(most-least+1) }
