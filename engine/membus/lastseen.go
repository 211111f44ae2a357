package membus

import (
	"context"
	"maps"
	"time"
)

// lastSeen remembers users for a while: two generations, of which the older one goes when the younger one is full or old. The owner of the
// bus guards it.
type lastSeen struct {
	Young, Old map[uint64]int64
	Since      time.Time
}

const (
	seenFor  = 15 * 24 * time.Hour // a generation; a user is remembered for one to two of them
	maxUsers = 1 << 19             // of a generation: some 20 MB
)

func (s *lastSeen) see(seen map[uint64]int64, now time.Time) {
	for user, at := range seen {
		if s.Young == nil || len(s.Young) >= maxUsers || now.Sub(s.Since) > seenFor {
			s.Old, s.Young, s.Since = s.Young, make(map[uint64]int64), now
		}
		s.Young[user] = max(at, s.Young[user], s.Old[user])
	}
}

// See implements engine.LastSeen.
func (b *Bus) See(ctx context.Context, seen map[uint64]int64) error {
	next, err := b.decide(ctx)
	if err != nil {
		return err
	}
	if next != nil {
		_, err := ask[None](ctx, next, "See", seen)
		return err
	}
	defer b.mu.Unlock()
	b.tell(Event{Seen: maps.Clone(seen)})
	b.lastSeen.see(seen, b.now())
	return nil
}

// LastSeen implements engine.LastSeen.
func (b *Bus) LastSeen(ctx context.Context, users []uint64) (seen []int64, err error) {
	next, err := b.look(ctx)
	if err != nil {
		return nil, err
	}
	if next != nil {
		return ask[[]int64](ctx, next, "LastSeen", users)
	}
	defer b.mu.Unlock()
	s := &b.lastSeen
	seen = make([]int64, len(users))
	for i, user := range users {
		seen[i] = max(s.Young[user], s.Old[user])
	}
	return seen, nil
}
