// Package ratelimit bounds what comes: the connections of a process in a second, and those of one address, at once and in a second.
package ratelimit

import (
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Rate lets so many come in a second, and as many at once after a quiet one. Who comes too early is told when to come again: as long as
// the queue of those who were told so takes. So those who all come at once are spread over the time that they need, in the order in which
// they came, instead of coming all at once again. Its methods may be called from any goroutine.
type Rate struct {
	limiter *rate.Limiter
	every   time.Duration

	mu  sync.Mutex
	end time.Time // of the queue of those who were told to come again
}

// longestQueue bounds what anybody is told.
const longestQueue = time.Minute

// NewRate returns nil, which bounds nothing, if perSecond is not positive.
func NewRate(perSecond int) *Rate {
	if perSecond <= 0 {
		return nil
	}
	return &Rate{limiter: rate.NewLimiter(rate.Limit(perSecond), perSecond), every: time.Second / time.Duration(perSecond)}
}

// Take says whether somebody may come now, and if not, after how long.
func (r *Rate) Take(now time.Time) (ok bool, after time.Duration) {
	if r == nil || r.limiter.AllowN(now, 1) {
		return true, 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.end.Before(now) {
		r.end = now
	}
	if after = r.end.Sub(now) + r.every; after > longestQueue {
		return false, Spread(longestQueue/2, longestQueue)
	}
	r.end = r.end.Add(r.every)
	return false, after
}

// Spread is a random time from least to most, so that those who are turned away together do not come again together.
func Spread(least, most time.Duration) time.Duration { return least + rand.N(most-least+1) }
