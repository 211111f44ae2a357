package engine

import (
	"context"
	"time"

	"github.com/cenkalti/backoff/v5"

	"push-server/engine/feed"
	"push-server/protocol"
)

// ErrRefused is wrapped by the error of Bus.Publish when the bus will never take the first publication that is not stored,
// however often it is sent. The caller leaves it out and goes on with the next.
var ErrRefused = protocol.ErrRefused

// ErrForbidden is wrapped by the error of Bus.Publish when the bus may store nothing until an operator allows it.
var ErrForbidden = protocol.ErrForbidden

// Bus carries publications between processes and remembers them for replay. membus.Bus and redisbus.Bus implement it; package bustest
// holds the contract as tests. All methods may be called from any goroutine.
type Bus interface {
	feed.Bus

	// Publish gives each publication its ID and Created, stores it in the history of each receiver (if its Expiry is not 0) and
	// hands it to the Handler of every process, each as one atomic step, in the order given: the order of IDs is the order of
	// delivery. It returns after all are stored, or with the number of leading publications that are known to be stored and the
	// reason for the rest.
	//
	// What it could not keep for each of its receivers, and never will, counts as stored and is marked as Unkept.
	//
	// There is one caller at a time. After an error it must call again with ps[stored:] before anything else: what was stored
	// although its answer was lost is then recognised and not stored twice. Only if the error wraps ErrRefused may ps[stored]
	// be left out, and any of ps[stored:] if it wraps ErrForbidden.
	Publish(ctx context.Context, ps []*protocol.Publication) (stored int, err error)
	// Close releases connections. Calls under way return an error.
	Close()
}

// Presence is the optional ability of a bus to say who is connected to any process of the installation.
type Presence interface {
	// Touch marks channels as online for the configured time.
	Touch(ctx context.Context, chs []protocol.ChannelID) error
	// Online says of each channel whether it is marked.
	Online(ctx context.Context, chs []protocol.ChannelID) ([]bool, error)
}

// LastSeen is the optional ability of a bus to remember when users of version 5 were seen.
type LastSeen interface {
	// See notes when users were seen, in Unix seconds. An earlier time than the one that is known changes nothing.
	See(ctx context.Context, seen map[uint64]int64) error
	// LastSeen returns of each user when that was; 0: nobody knows.
	LastSeen(ctx context.Context, users []uint64) ([]int64, error)
}

// Statistics is the optional ability of a bus to share one small record per process.
type Statistics interface {
	// PutStatistics stores the record of the process called name, replacing the last one.
	PutStatistics(ctx context.Context, name string, record []byte) error
	// Statistics returns the records of all processes.
	Statistics(ctx context.Context) (map[string][]byte, error)
	// DeleteStatistics removes records.
	DeleteStatistics(ctx context.Context, names []string) error
}

// busTimeout bounds one call of the bus.
const busTimeout = 5 * time.Second

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

// every calls f after each period until ctx ends.
func every(ctx context.Context, period time.Duration, f func(now time.Time)) {
	ticker := time.NewTicker(period)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			f(now)
		}
	}
}

// publicationOverhead is what a publication takes without its bytes, so that many small ones are bounded, too.
const publicationOverhead = 256

func publicationBytes(p *protocol.Publication) int {
	return publicationOverhead + p.Size() + len(p.Receivers)*64
}

func publicationsBytes(ps []*protocol.Publication) (n int) {
	for _, p := range ps {
		n += publicationBytes(p)
	}
	return n
}

// unkept is what the publisher of ps has to know of what the bus has stored.
func unkept(ps []*protocol.Publication) error {
	for _, p := range ps {
		if p.Unkept {
			return protocol.ErrUnkept
		}
	}
	return nil
}
