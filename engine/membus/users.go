package membus

import (
	"context"
	"sync"
	"time"
)

// users are those who are connected. There is one process.
type users struct {
	mu sync.Mutex
	on map[uint64]struct{}
}

// Enter implements roster.Bus.
func (b *Bus) Enter(_ context.Context, users []uint64) (came []uint64, err error) {
	u := &b.users
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.on == nil {
		u.on = make(map[uint64]struct{})
	}
	for _, user := range users {
		if _, on := u.on[user]; !on {
			u.on[user] = struct{}{}
			came = append(came, user)
		}
	}
	return came, nil
}

// Leave implements roster.Bus.
func (b *Bus) Leave(_ context.Context, users []uint64) (gone []uint64, err error) {
	u := &b.users
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, user := range users {
		if _, on := u.on[user]; on {
			delete(u.on, user)
			gone = append(gone, user)
		}
	}
	return gone, nil
}

// Renew implements roster.Bus. What is in memory does not get lost, and there is no other process.
func (b *Bus) Renew(context.Context, time.Duration) (known bool, gone []uint64, err error) {
	return true, nil, nil
}

// Retire implements roster.Bus.
func (b *Bus) Retire(context.Context, time.Duration) error { return nil }

// Connected implements roster.Bus.
func (b *Bus) Connected(_ context.Context, users []uint64) ([]bool, error) {
	u := &b.users
	u.mu.Lock()
	defer u.mu.Unlock()
	online := make([]bool, len(users))
	for i, user := range users {
		_, online[i] = u.on[user]
	}
	return online, nil
}
