package engine

import (
	"context"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// busTimeout bounds one call of the bus.
const busTimeout = 5 * time.Second

// newRetry returns the pauses between attempts, doubled each time up to a limit.
func newRetry(first, limit time.Duration) *backoff.ExponentialBackOff {
	return &backoff.ExponentialBackOff{InitialInterval: first, Multiplier: 2, MaxInterval: limit}
}

// sleep returns after d, or when ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
