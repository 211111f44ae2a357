package membus

import (
	"context"
	"sync"
	"time"
)

// lastSeen remembers users for a while: two generations, of which the older one goes when the younger one is full or old.
type lastSeen struct {
	mu         sync.Mutex
	young, old map[uint64]int64
	since      time.Time
}

const (
	seenFor  = 15 * 24 * time.Hour // a generation; a user is remembered for one to two of them
	maxUsers = 1 << 19             // of a generation: some 20 MB
)

// See implements engine.LastSeen.
func (b *Bus) See(_ context.Context, seen map[uint64]int64) error {
	s := &b.lastSeen
	s.mu.Lock()
	defer s.mu.Unlock()
	for user, at := range seen {
		if now := b.now(); s.young == nil || len(s.young) >= maxUsers || now.Sub(s.since) > seenFor {
			s.old, s.young, s.since = s.young, make(map[uint64]int64), now
		}
		s.young[user] = max(at, s.young[user], s.old[user])
	}
	return nil
}

// LastSeen implements engine.LastSeen.
func (b *Bus) LastSeen(_ context.Context, users []uint64) ([]int64, error) {
	s := &b.lastSeen
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := make([]int64, len(users))
	for i, user := range users {
		seen[i] = max(s.young[user], s.old[user])
	}
	return seen, nil
}
