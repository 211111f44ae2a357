package recorder

import (
	"context"
	"sync"
)

// Follower brings the events of one connection to a viewer as they happen. A viewer who is slow loses the newest, and is told how many.
type Follower struct {
	mu     sync.Mutex
	events []Event
	lost   int
	ended  bool
	ready  chan struct{} // holds a token while there is something
}

// maxFollowed is how many events wait for a viewer: 64 KiB.
const maxFollowed = 2048

// NewFollower follows nothing yet.
func NewFollower() *Follower { return &Follower{ready: make(chan struct{}, 1)} }

// Add is called by the loop of the connection. It does not wait.
func (f *Follower) Add(e Event) {
	f.mu.Lock()
	switch {
	case len(f.events) < maxFollowed:
		f.events = append(f.events, e)
	default:
		f.lost++
	}
	f.ended = f.ended || e.Kind == Closed
	f.mu.Unlock()
	f.give()
}

func (f *Follower) give() {
	select {
	case f.ready <- struct{}{}:
	default:
	}
}

// Next returns what has come since the last call, how many events there was no room for behind them, and whether the connection has ended
// with it. It waits until there is something, or until ctx ends; then it returns nothing.
func (f *Follower) Next(ctx context.Context) (events []Event, lost int, ended bool) {
	select {
	case <-f.ready:
	case <-ctx.Done():
		return nil, 0, false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	events, lost, ended = f.events, f.lost, f.ended
	f.events, f.lost = nil, 0
	return events, lost, ended
}
