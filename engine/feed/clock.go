package feed

import (
	"context"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// Clock is the time that a feed lives in. Its methods may be called from any goroutine. A feed never looks at the time of day: clocks
// of two hosts differ, and somebody may set the one of this host.
type Clock interface {
	// Now is the time since a moment of the clock's choice. It never goes back.
	Now() time.Duration
	// Sleep returns after d, or when ctx ends.
	Sleep(ctx context.Context, d time.Duration)
	// Await takes the token of s. It returns false without it after d (0: never), or when ctx ends.
	Await(ctx context.Context, s Signal, d time.Duration) bool
	// Bounded is ctx with an end after d.
	Bounded(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc)
}

// Signal says that something has changed. It holds one token, however often it was given.
type Signal chan struct{}

func newSignal() Signal { return make(Signal, 1) }

func (s Signal) give() {
	select {
	case s <- struct{}{}:
	default:
	}
}

// SystemClock returns the clock that everything but tests uses: Go's monotonic one.
func SystemClock() Clock { return systemClock{time.Now()} }

type systemClock struct{ start time.Time }

func (c systemClock) Now() time.Duration { return time.Since(c.start) }

func (c systemClock) Sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

func (c systemClock) Await(ctx context.Context, s Signal, d time.Duration) bool {
	var late <-chan time.Time
	if d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		late = timer.C
	}
	select {
	case <-s:
		return true
	case <-late:
	case <-ctx.Done():
	}
	return false
}

func (c systemClock) Bounded(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, d)
}

// newRetry returns the pauses between attempts, doubled each time up to a limit.
func newRetry(first, limit time.Duration) *backoff.ExponentialBackOff {
	return &backoff.ExponentialBackOff{InitialInterval: first, Multiplier: 2, MaxInterval: limit}
}
