package ratelimit

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Limits of one address. Zero: none.
type Limits struct {
	Connections int // at once
	PerSecond   int // that come; those of burstSeconds may come at once
	IPv6Prefix  int // bits of an address of version 6 that make one; a network of 64 is what a household has
	// Exempt are not limited: offices and schools whose people all come from one address.
	Exempt []netip.Prefix
}

// burstSeconds is how long an address may save up connections.
const burstSeconds = 10

// Verdict is what an address is told.
type Verdict uint8

// The verdicts.
const (
	Admitted Verdict = iota
	TooMany          // connections at once
	TooFast
)

// Addresses counts the connections of each address. There may be any number of addresses: those with connections are bounded by those, and
// of the others only so many are remembered, for as long as they have not saved up all that they may. Who is forgotten too early may have a
// burst more; nobody is refused for want of memory. Its methods may be called from any goroutine.
type Addresses struct {
	bounds atomic.Pointer[bounds] // nil: there are none
	seed   maphash.Seed
	shards [shards]shard
}

// shards are locked one at a time; loops hardly ever meet.
const shards = 64

// maxIdle is how many addresses without connections a shard remembers: 65,536 in all, some 5 MB.
const maxIdle = 1024

type shard struct {
	mu      sync.Mutex
	entries map[netip.Addr]entry
	idle    int // entries without connections
	_       [32]byte
}

// entry is an address: a token bucket as the time at which it is full again (the generic cell rate algorithm), and what it has open.
type entry struct {
	full  int64 // Unix, nanoseconds
	conns int32
}

// bounds are Limits in use.
type bounds struct {
	Limits
	every time.Duration
}

// NewAddresses bounds nothing if no limit is set.
func NewAddresses(l Limits) *Addresses {
	a := &Addresses{seed: maphash.MakeSeed()}
	a.Change(l)
	return a
}

// Change has other limits count for whoever comes from now on. Connections that came without limits are not counted.
func (a *Addresses) Change(l Limits) {
	if l.Connections <= 0 && l.PerSecond <= 0 {
		a.bounds.Store(nil)
		return
	}
	b := &bounds{Limits: l}
	if l.PerSecond > 0 {
		b.every = time.Second / time.Duration(l.PerSecond)
	}
	a.bounds.Store(b)
}

// Limits says whether there are any.
func (a *Addresses) Limits() bool { return a.bounds.Load() != nil }

// Place is what a connection has of its address, until it is left. The zero value is none.
type Place struct{ key netip.Addr }

// Taken says whether there is something to leave.
func (p Place) Taken() bool { return p.key.IsValid() }

// Addr is what the connection counts as.
func (p Place) Addr() netip.Addr { return p.key }

// Enter takes a place for a connection of addr; begins says that it comes now, instead of going on. Who is refused is told after how long
// to come again.
func (a *Addresses) Enter(addr netip.Addr, begins bool, now time.Time) (p Place, v Verdict, after time.Duration) {
	b := a.bounds.Load()
	if b == nil || b.exempt(addr) {
		return p, Admitted, 0
	}
	key := b.key(addr)
	s := a.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	e, known := s.entries[key]
	if most := b.Connections; most > 0 && int(e.conns) >= most {
		return p, TooMany, Spread(leastTooMany, mostTooMany)
	}
	if begins && b.every > 0 {
		full := max(e.full, now.UnixNano()) + int64(b.every)
		if early := time.Duration(full-now.UnixNano()) - burstSeconds*time.Second; early > 0 {
			return p, TooFast, early
		}
		e.full = full
	}
	s.enter(key, e, known)
	return Place{key}, Admitted, 0
}

func (s *shard) enter(key netip.Addr, e entry, known bool) {
	if known && e.conns == 0 {
		s.idle--
	}
	e.conns++
	s.put(key, e)
}

func (s *shard) put(key netip.Addr, e entry) {
	if s.entries == nil {
		s.entries = make(map[netip.Addr]entry)
	}
	s.entries[key] = e
}

// Resume takes a place for a connection that has one in another process, of which it is known what that counts as (Place.Addr). It has come
// already, so there is one.
func (a *Addresses) Resume(addr netip.Addr) (p Place) {
	b := a.bounds.Load()
	if b == nil {
		return p
	}
	key := b.key(addr)
	s := a.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	e, known := s.entries[key]
	s.enter(key, e, known)
	return Place{key}
}

// Debts calls f with each address that has not saved up all that it may, and how long that would take it.
func (a *Addresses) Debts(now time.Time, f func(addr netip.Addr, left time.Duration)) {
	for i := range a.shards {
		a.shards[i].debts(now.UnixNano(), f)
	}
}

func (s *shard) debts(now int64, f func(addr netip.Addr, left time.Duration)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, e := range s.entries {
		if e.full > now {
			f(key, time.Duration(e.full-now))
		}
	}
}

// Owe has addr owe what it does in another process.
func (a *Addresses) Owe(addr netip.Addr, left time.Duration, now time.Time) {
	b := a.bounds.Load()
	if b == nil || b.every == 0 || left <= 0 {
		return
	}
	key := b.key(addr)
	s := a.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	e, known := s.entries[key]
	e.full = max(e.full, now.Add(min(left, burstSeconds*time.Second)).UnixNano())
	s.put(key, e)
	if known {
		return
	}
	if s.idle++; s.idle > maxIdle {
		s.evict()
	}
}

// When an address that has too many connections may come again: nobody knows when one of them ends.
const (
	leastTooMany = 5 * time.Second
	mostTooMany  = 15 * time.Second
)

// Leave gives a place back, which may be none.
func (a *Addresses) Leave(p Place, now time.Time) { a.leave(p, 0, now) }

// Undo gives a place back as if it had never been taken.
func (a *Addresses) Undo(p Place, now time.Time) {
	var every time.Duration
	if b := a.bounds.Load(); b != nil {
		every = b.every
	}
	a.leave(p, every, now)
}

func (a *Addresses) leave(p Place, refund time.Duration, now time.Time) {
	if !p.Taken() {
		return
	}
	s := a.shard(p.key)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[p.key]
	e.conns--
	e.full -= int64(refund)
	switch {
	case e.conns > 0:
		s.entries[p.key] = e
	case e.full <= now.UnixNano():
		delete(s.entries, p.key)
	default:
		s.entries[p.key] = e
		if s.idle++; s.idle > maxIdle {
			s.evict()
		}
	}
}

// looked is how many addresses are compared to find one that is worth least.
const looked = 8

// evict forgets the address without connections that has saved up most, among some: a map hands them out in a random order.
func (s *shard) evict() {
	var worst netip.Addr
	var full int64
	n := 0
	for key, e := range s.entries {
		if e.conns > 0 {
			continue
		}
		if n == 0 || e.full < full {
			worst, full = key, e.full
		}
		if n++; n == looked {
			break
		}
	}
	delete(s.entries, worst)
	s.idle--
}

// Forget lets go of addresses without connections that have saved up all that they may.
func (a *Addresses) Forget(now time.Time) {
	for i := range a.shards {
		a.shards[i].forget(now.UnixNano())
	}
}

func (s *shard) forget(now int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.idle > 0 {
		for key, e := range s.entries {
			if e.conns == 0 && e.full <= now {
				delete(s.entries, key)
				s.idle--
			}
		}
	}
	if len(s.entries) == 0 {
		s.entries = nil // a map does not shrink
	}
}

// Len is the number of addresses that are remembered.
func (a *Addresses) Len() (n int) {
	for i := range a.shards {
		s := &a.shards[i]
		s.mu.Lock()
		n += len(s.entries)
		s.mu.Unlock()
	}
	return n
}

func (b *bounds) exempt(addr netip.Addr) bool {
	addr = addr.Unmap()
	for _, p := range b.Exempt {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// key is what addr counts as.
func (b *bounds) key(addr netip.Addr) netip.Addr {
	addr = addr.Unmap().WithZone("")
	if !addr.Is6() || b.IPv6Prefix <= 0 {
		return addr
	}
	prefix, err := addr.Prefix(min(b.IPv6Prefix, addr.BitLen()))
	if err != nil {
		panic("BUG: ratelimit: " + err.Error())
	}
	return prefix.Addr()
}

func (a *Addresses) shard(key netip.Addr) *shard {
	b := key.As16()
	return &a.shards[maphash.Bytes(a.seed, b[:])%shards]
}
