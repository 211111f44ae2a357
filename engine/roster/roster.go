// Package roster knows which users of version 5 are connected to this process, and finds out with the other processes of the installation
// when one comes to the first of them and leaves the last.
package roster

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"push-server/engine/outage"
)

// Bus knows which users are entered by which process.
type Bus interface {
	// Enter notes that users are connected to this process, and returns those who were connected to none before.
	Enter(ctx context.Context, users []uint64) (came []uint64, err error)
	// Leave notes that users are connected to this process no longer, and returns those who are connected to none any more.
	Leave(ctx context.Context, users []uint64) (gone []uint64, err error)
	// Renew has the users of this process be entered for another ttl, and those of processes that have not renewed theirs in time leave; gone
	// are those who are connected to none any more. known is false if nobody is entered by this process, whatever was entered before.
	Renew(ctx context.Context, ttl time.Duration) (known bool, gone []uint64, err error)
	// Retire has others take the users of this process for gone after that time. Nothing else is called afterwards.
	Retire(ctx context.Context, after time.Duration) error
	// Connected says of each user whether some process has entered it.
	Connected(ctx context.Context, users []uint64) ([]bool, error)
}

// Options are the options of a Roster. All are needed.
type Options struct {
	Delay time.Duration // how long a user without a connection still counts as connected: pages change
	TTL   time.Duration // how long users of a process that was killed do
	// Changed is told who came or went, as the whole installation sees it. It may block for a while.
	Changed func(ctx context.Context, users []uint64, online bool)
	Failing *outage.Outage
}

// Roster is the list of a process. Come and Go may be called from any goroutine, and do not block.
type Roster struct {
	bus Bus
	o   Options

	begun time.Time

	mu      sync.Mutex
	users   map[uint64]user     // by value: there are as many as connections
	fresh   map[uint64]struct{} // users that are to be entered
	absent  map[uint64]struct{} // users without a connection
	arrived chan struct{}
}

// user is one that is connected, counts as connected, or is entered.
type user struct {
	until       time.Duration // counts as connected, since Roster.begun
	connections int32
	entered     bool
	// doubtful: the bus did not answer when this user was to be entered or to leave, and may have done it. Then nobody is told by its next answer.
	doubtful bool
}

func (u *user) here(now time.Duration) bool { return u.connections > 0 || now < u.until }

// New makes an empty list.
func New(bus Bus, o Options) *Roster {
	return &Roster{
		bus: bus, o: o, begun: time.Now(), users: make(map[uint64]user), fresh: make(map[uint64]struct{}), absent: make(map[uint64]struct{}),
		arrived: make(chan struct{}, 1),
	}
}

// Come notes a connection of a user.
func (r *Roster) Come(id uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	u := r.users[id]
	u.connections++
	r.users[id] = u
	delete(r.absent, id)
	if !u.entered {
		r.enterSoon(id)
	}
}

// Go notes that a connection of a user has ended, who counts as connected for at least stay, and Options.Delay.
func (r *Roster) Go(id uint64, stay time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	u := r.users[id]
	if u.connections == 0 {
		panic("BUG: roster: a user leaves who has not come")
	}
	u.connections--
	if until := time.Since(r.begun) + max(stay, r.o.Delay); until > u.until {
		u.until = until
	}
	r.users[id] = u
	if u.connections == 0 {
		r.absent[id] = struct{}{}
	}
}

// enterSoon has Run enter a user. r.mu is held.
func (r *Roster) enterSoon(id uint64) {
	r.fresh[id] = struct{}{}
	select {
	case r.arrived <- struct{}{}:
	default:
	}
}

// Connected says of each user whether it is connected to any process.
func (r *Roster) Connected(ctx context.Context, users []uint64) ([]bool, error) {
	return r.bus.Connected(ctx, users)
}

// callTimeout bounds a call of the bus.
const callTimeout = 5 * time.Second

// Run keeps the bus up to date until ctx ends.
func (r *Roster) Run(ctx context.Context) {
	defer r.retire()
	period := min(max(min(r.o.TTL/4, r.o.Delay/4), 50*time.Millisecond), 2*time.Second)
	ticker := time.NewTicker(period)
	defer ticker.Stop()
	renewed := r.renew(ctx)
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.arrived:
		case <-ticker.C:
			renewed = r.renew(ctx)
			r.leave(ctx)
		}
		if renewed { // a process that nobody knows must not enter users, who would never leave if it died
			r.enter(ctx)
		}
	}
}

func (r *Roster) retire() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = r.bus.Retire(ctx, r.o.Delay) // otherwise they count as connected for TTL
}

func (r *Roster) renew(ctx context.Context) (ok bool) {
	var known bool
	var gone []uint64
	ok = r.try(ctx, func(ctx context.Context) (err error) {
		known, gone, err = r.bus.Renew(ctx, r.o.TTL)
		return err
	})
	if ok && !known {
		r.forget()
	}
	r.tellGone(ctx, gone)
	return ok
}

// try calls the bus once; what fails is tried again with the next tick.
func (r *Roster) try(ctx context.Context, f func(ctx context.Context) error) (ok bool) {
	attempt, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := f(attempt); err != nil {
		if ctx.Err() == nil {
			r.o.Failing.Failed(err)
		}
		return false
	}
	r.o.Failing.Over()
	return true
}

// forget has all users entered again: the bus knows none of them.
func (r *Roster) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, u := range r.users {
		u.entered = false
		r.users[id] = u
		r.enterSoon(id)
	}
}

// most is how many users one call of the bus is about.
const most = 500

// some removes up to most users from a set that ask says yes to.
func (r *Roster) some(set map[uint64]struct{}, ask func(u *user) bool) (ids []uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id := range set {
		if len(ids) == most {
			break
		}
		if u := r.users[id]; ask(&u) {
			delete(set, id)
			ids = append(ids, id)
		}
	}
	return ids
}

// shrink lets go of the room that a crowd has taken in a set, once nobody is in it.
func (r *Roster) shrink(set *map[uint64]struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(*set) == 0 {
		*set = make(map[uint64]struct{})
	}
}

func (r *Roster) enter(ctx context.Context) {
	for {
		ids := r.some(r.fresh, func(*user) bool { return true })
		if len(ids) == 0 {
			r.shrink(&r.fresh)
			return
		}
		var came []uint64
		ok := r.try(ctx, func(ctx context.Context) (err error) {
			came, err = r.bus.Enter(ctx, ids)
			return err
		})
		came = r.settle(ids, came, ok, true)
		if !ok {
			return
		}
		if len(came) > 0 {
			r.o.Changed(ctx, came, true)
		}
	}
}

// settle notes what has become of users that were to be entered, or to leave. It returns those of whom others are to be told: whom the bus has
// named as changed, and the doubtful.
func (r *Roster) settle(ids, changed []uint64, ok, entered bool) []uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range ids {
		u := r.users[id]
		switch {
		case !ok:
			u.doubtful, u.entered = true, false
			r.users[id] = u
			if entered {
				r.fresh[id] = struct{}{} // the ticker comes back to it
			}
			continue
		case u.doubtful && !slices.Contains(changed, id):
			changed = append(changed, id)
		}
		u.doubtful, u.entered = false, entered
		r.users[id] = u
	}
	return changed
}

// absentees are those of users whom no process has entered.
func (r *Roster) absentees(ctx context.Context, users []uint64) (absent []uint64) {
	if len(users) == 0 {
		return nil
	}
	r.try(ctx, func(ctx context.Context) error {
		online, err := r.bus.Connected(ctx, users)
		for i := range online {
			if !online[i] {
				absent = append(absent, users[i])
			}
		}
		return err
	})
	return absent
}

// leave takes those off the bus who have been without a connection for long enough.
func (r *Roster) leave(ctx context.Context) {
	now := time.Since(r.begun)
	for {
		ids := r.some(r.absent, func(u *user) bool { return !u.here(now) })
		if len(ids) == 0 {
			r.shrink(&r.absent)
			return
		}
		var gone []uint64
		ok := r.try(ctx, func(ctx context.Context) (err error) {
			gone, err = r.bus.Leave(ctx, ids)
			return err
		})
		told := r.settle(ids, slices.Clone(gone), ok, false)
		r.left(ids, ok)
		if !ok {
			return
		}
		r.tellGone(ctx, append(gone, r.absentees(ctx, told[len(gone):])...)) // another process may have the doubtful
	}
}

// left settles users who were to leave. Some may have come back meanwhile.
func (r *Roster) left(ids []uint64, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range ids {
		u := r.users[id]
		switch {
		case u.connections > 0 && !u.entered:
			r.enterSoon(id)
		case u.connections > 0:
		case ok && time.Since(r.begun) >= u.until:
			delete(r.users, id)
			delete(r.fresh, id)
		default:
			r.absent[id] = struct{}{}
		}
	}
}

// tellGone tells who has gone. Another process may have told at the same time that one has come back, and its message may have been stored
// before this one: then that is told again, so that the last message is right.
func (r *Roster) tellGone(ctx context.Context, gone []uint64) {
	for some := range slices.Chunk(gone, most) {
		r.o.Changed(ctx, some, false)
		var back []uint64
		r.try(ctx, func(ctx context.Context) error {
			online, err := r.bus.Connected(ctx, some)
			for i := range online {
				if online[i] {
					back = append(back, some[i])
				}
			}
			return err
		})
		if len(back) > 0 {
			r.o.Changed(ctx, back, true)
		}
	}
}

// Users are those who count as connected to this process, in order.
func (r *Roster) Users() []uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Sorted(maps.Keys(r.users))
}
