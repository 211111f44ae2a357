package membus

import (
	"context"
	"time"
)

// users are those who are connected, as the processes say that share the bus: one, but while one takes over from another. The owner of the
// bus guards it.
type users struct {
	processes map[uint64]*process
	on        map[uint64]int // by how many processes
}

// process is what one of them has said. Until that time it has to say that it is there.
type process struct {
	on    map[uint64]struct{}
	until time.Time
}

func newUsers() users {
	return users{processes: make(map[uint64]*process), on: make(map[uint64]int)}
}

func (u *users) process(id uint64) (p *process, known bool) {
	p, known = u.processes[id]
	if !known {
		p = &process{on: make(map[uint64]struct{})}
		u.processes[id] = p
	}
	return p, known
}

func (u *users) enter(id uint64, users []uint64) (came []uint64) {
	p, _ := u.process(id)
	for _, user := range users {
		if _, on := p.on[user]; on {
			continue
		}
		p.on[user] = struct{}{}
		if u.on[user]++; u.on[user] == 1 {
			came = append(came, user)
		}
	}
	return came
}

func (u *users) leave(id uint64, users []uint64) (gone []uint64) {
	p, _ := u.process(id)
	for _, user := range users {
		if _, on := p.on[user]; !on {
			continue
		}
		delete(p.on, user)
		if u.on[user]--; u.on[user] == 0 {
			delete(u.on, user)
			gone = append(gone, user)
		}
	}
	return gone
}

// renew has a process be there for ttl, and forgets those that have not said so in time.
func (u *users) renew(id uint64, ttl time.Duration, now time.Time) (known bool, gone []uint64) {
	p, known := u.process(id)
	p.until = now.Add(ttl)
	for other, p := range u.processes {
		if p.until.IsZero() || now.Before(p.until) {
			continue
		}
		for user := range p.on {
			gone = append(gone, u.leave(other, []uint64{user})...)
		}
		delete(u.processes, other)
	}
	return known, gone
}

// Enter implements roster.Bus.
func (b *Bus) Enter(ctx context.Context, users []uint64) (came []uint64, err error) {
	return b.enter(ctx, b.id, users)
}

func (b *Bus) enter(ctx context.Context, process uint64, users []uint64) (came []uint64, err error) {
	next, err := b.decide(ctx)
	if err != nil {
		return nil, err
	}
	if next != nil {
		return ask[[]uint64](ctx, next, "Enter", Users{process, users})
	}
	defer b.mu.Unlock()
	b.tell(Event{Came: &Users{process, users}})
	return b.users.enter(process, users), nil
}

// Leave implements roster.Bus.
func (b *Bus) Leave(ctx context.Context, users []uint64) (gone []uint64, err error) {
	return b.leave(ctx, b.id, users)
}

func (b *Bus) leave(ctx context.Context, process uint64, users []uint64) (gone []uint64, err error) {
	next, err := b.decide(ctx)
	if err != nil {
		return nil, err
	}
	if next != nil {
		return ask[[]uint64](ctx, next, "Leave", Users{process, users})
	}
	defer b.mu.Unlock()
	b.tell(Event{Gone: &Users{process, users}})
	return b.users.leave(process, users), nil
}

// Renew implements roster.Bus.
func (b *Bus) Renew(ctx context.Context, ttl time.Duration) (known bool, gone []uint64, err error) {
	r, err := b.renew(ctx, Renewal{b.id, ttl})
	return r.Known, r.Gone, err
}

func (b *Bus) renew(ctx context.Context, of Renewal) (r Renewed, err error) {
	next, err := b.decide(ctx)
	if err != nil {
		return r, err
	}
	if next != nil {
		return ask[Renewed](ctx, next, "Renew", of)
	}
	defer b.mu.Unlock()
	r.Known, r.Gone = b.users.renew(of.Process, of.TTL, b.now())
	return r, nil
}

// Retire implements roster.Bus.
func (b *Bus) Retire(ctx context.Context, after time.Duration) error {
	_, err := b.renew(ctx, Renewal{b.id, after})
	return err
}

// Connected implements roster.Bus.
func (b *Bus) Connected(ctx context.Context, users []uint64) (online []bool, err error) {
	next, err := b.look(ctx)
	if err != nil {
		return nil, err
	}
	if next != nil {
		return ask[[]bool](ctx, next, "Connected", users)
	}
	defer b.mu.Unlock()
	online = make([]bool, len(users))
	for i, user := range users {
		online[i] = b.users.on[user] > 0
	}
	return online, nil
}
