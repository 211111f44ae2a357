package engine

import (
	"context"
	"net"
	"net/netip"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"push-server/engine/accept"
	"push-server/engine/ratelimit"
	"push-server/poll"
	"push-server/poll/realip"
)

// admission counts the connections of the process. Whoever finds no place here is told so while there are descriptors to do it with.
type admission struct {
	most   atomic.Int64 // as configured; 0: whatever the descriptor limit leaves
	max    atomic.Int64 // places
	active atomic.Int64
	closed atomic.Bool // draining: nobody comes in any more

	rate      *ratelimit.Rate // of connections that come
	addresses *ratelimit.Addresses
	proxies   *realip.Proxies // nil: there are none
}

func (a *admission) begin(o *Options) {
	a.rate, a.addresses, a.proxies = ratelimit.NewRate(o.ConnectRate), ratelimit.NewAddresses(o.Address), realip.New(o.Proxies)
}

// change has the limits of s count for whoever comes next.
func (a *admission) change(s *settings) {
	a.most.Store(int64(s.MaxConnections))
	a.adjust()
	a.rate.Change(s.ConnectRate)
	a.addresses.Change(s.Address)
}

// limitsClients says whether it matters who a client is, or how many come.
func (a *admission) limitsClients() bool { return a.rate.Limits() || a.addresses.Limits() }

// admit says whether a client at addr may connect: CloseNone, or why not, and after how long it is to come again. What it takes of its
// address has to be left. begins is false for what goes on: the next poll of somebody who polls.
func (a *admission) admit(addr netip.Addr, begins bool) (p ratelimit.Place, reason CloseReason, after time.Duration) {
	if !a.limitsClients() || a.proxies.Trusts(addr) {
		return p, CloseNone, 0
	}
	now := time.Now()
	p, verdict, after := a.addresses.Enter(addr, begins, now)
	switch verdict {
	case ratelimit.TooMany:
		return p, CloseAddressFull, after
	case ratelimit.TooFast:
		return p, CloseAddressRate, after
	}
	if begins {
		if ok, after := a.rate.Take(addr, now); !ok {
			a.addresses.Undo(p, now)
			return ratelimit.Place{}, CloseConnectRate, after
		}
	}
	return p, CloseNone, 0
}

// admitConn is admit for the connection of somebody who is no proxy: of one that is, the requests count. One that has no address is an end
// of a socket pair, of whom somebody else has asked already.
func (a *admission) admitConn(from net.Addr) (p ratelimit.Place, reason CloseReason, after time.Duration) {
	if !a.limitsClients() {
		return p, CloseNone, 0
	}
	addr, ok := realip.Of(from)
	if !ok {
		return p, CloseNone, 0
	}
	return a.admit(addr, true)
}

// expectsHeader says whether a connection to ln begins with the header of a proxy: only from those who are trusted it is believed.
func (a *admission) expectsHeader(ln *Listener, from net.Addr) bool {
	return ln.ProxyProtocol && a.trusts(from)
}

func (a *admission) trusts(from net.Addr) bool {
	addr, ok := realip.Of(from)
	return ok && a.proxies.Trusts(addr)
}

// TrustsProxy says whether from is a proxy that is believed. It may be called from any goroutine, as NoteNoHeader.
func (e *Engine) TrustsProxy(from net.Addr) bool { return e.admission.trusts(from) }

// NoteNoHeader tells the log of a proxy whose connection did not begin with a header.
func (e *Engine) NoteNoHeader(from net.Addr) { e.noteTurnedAway(CloseProxyHeader, from) }

// place is what a session has of its address.
type place struct {
	ratelimit.Place
	request bool // for the request under way only, which came through a proxy
}

func (l *loop) keepPlace(s *Session, p ratelimit.Place, request bool) {
	if !p.Taken() {
		return
	}
	if l.places == nil {
		l.places = make(map[uint32]place)
	}
	l.places[s.index] = place{p, request}
	s.set(flagPlace)
}

// leavePlace is for a session that ends.
func (l *loop) leavePlace(s *Session) { l.engine.admission.addresses.Leave(l.takePlace(s), time.Now()) }

// leaveRequest is for a request that ends.
func (l *loop) leaveRequest(s *Session) {
	if s.is(flagPlace) && l.places[s.index].request {
		l.leavePlace(s)
	}
}

// takePlace takes from s what it has: somebody else is to leave it.
func (l *loop) takePlace(s *Session) ratelimit.Place {
	if !s.is(flagPlace) {
		return ratelimit.Place{}
	}
	p := l.places[s.index]
	delete(l.places, s.index)
	s.flags &^= flagPlace
	return p.Place
}

// admitRequest says whether the request in l.head, with which somebody is to listen, may be served: one that came through a proxy counts as
// a connection of its client. If not, it is answered.
func (l *loop) admitRequest(s *Session, begins bool) bool {
	if !l.client.IsValid() {
		return true
	}
	p, reason, after := l.engine.admission.admit(l.client, begins)
	if reason != CloseNone {
		l.turnAwayRequest(s, reason, after)
		return false
	}
	l.keepPlace(s, p, true)
	return true
}

// forgetAddresses lets go of addresses that are not limited any more, until ctx ends.
func (e *Engine) forgetAddresses(ctx context.Context) {
	every(ctx, forgetEvery, e.admission.addresses.Forget)
}

const forgetEvery = 10 * time.Second

// adjust makes as many places as the descriptor limit leaves now: it may change while the process runs.
func (a *admission) adjust() {
	n, _ := Descriptors()
	if most := a.most.Load(); most > 0 {
		n = min(n, int(most))
	}
	a.max.Store(int64(n))
}

// enter takes a place, if there is one.
func (a *admission) enter() bool { return a.take(1) }

func (a *admission) leave() { a.give(1) }

// take takes n places, if there are as many: a place stands for a descriptor.
func (a *admission) take(n int64) bool {
	if a.closed.Load() {
		return false
	}
	if active := a.active.Add(n); active > a.max.Load() {
		if a.adjust(); active > a.max.Load() {
			a.active.Add(-n)
			return false
		}
	}
	return true
}

func (a *admission) give(n int64) { a.active.Add(-n) }

// publishers counts the connections of publishers, on ports of their own. They have places that subscribers cannot take; further ones are
// those that subscribers leave.
type publishers struct{ active atomic.Int64 }

// EnterPublisher takes a place for a connection to a port without subscribers, if there is one. It may be called from any goroutine.
func (e *Engine) EnterPublisher() bool {
	_, reserved := Descriptors()
	if e.publishers.active.Add(1) <= int64(reserved) || e.admission.take(1) {
		return true
	}
	e.publishers.active.Add(-1)
	e.notices.note("publishers turned away, all descriptors are in use", "")
	return false
}

// LeavePublisher gives the place back.
func (e *Engine) LeavePublisher() {
	_, reserved := Descriptors()
	if e.publishers.active.Add(-1) >= int64(reserved) {
		e.admission.give(1)
	}
}

// noteTurnedAway tells the log that somebody was turned away, and why. At the end of the process everybody is.
func (e *Engine) noteTurnedAway(reason CloseReason, from net.Addr) {
	if !e.admission.closed.Load() {
		e.notices.note(closeTable[reason].notice, poll.AddressText(from))
	}
}

// free is the number of places that are not taken: none if others have all descriptors.
func (a *admission) free() int {
	var probe accept.Spare
	if !probe.Hold() {
		return 0
	}
	probe.Release()
	a.adjust()
	return int(max(a.max.Load()-a.active.Load(), 0))
}

// Descriptors shares out the descriptor limit of the process: what the connections of subscribers may take, and what those of
// publishers may, on ports of their own. The rest is for the bus, for files, and for connections being handed over.
func Descriptors() (subscribers, publishers int) {
	n := 1024 // the usual limit, if the system does not say
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err == nil {
		n = int(min(limit.Cur, 1<<24))
	}
	reserve := min(1024, n/4)
	return n - reserve, reserve / 2
}

// trimEvery is how long connections have to come and go no more before a wave of them is over.
const trimEvery = 10 * time.Second

// trimmer decides when memory is given back to the system. A wave of connections leaves garbage behind, and while nothing is
// allocated the runtime looks for it every two minutes only and keeps a part: each of 18,900 connections that came at once took 857
// bytes before, 758 after. So do a few connections with much to read or to write: what 150 had sent was kept for minutes, 128 MB.
type trimmer struct {
	trimmed uint64 // moves up to the last time
	seen    uint64 // moves up to the last look

	rest      uint64 // least memory in use since the last time
	allocated uint64 // up to the last look
}

const (
	minWave   = 1000 // moves worth the work
	waveShare = 10   // a wave is at least one move for as many connections
	calmShare = 100  // and is over when there is at most one move for as many
	calmMoves = 10   // or this few

	minGrowth = 16 << 20 // memory worth the work
)

// due is asked once every trimEvery. A move is a connection that came or went.
func (t *trimmer) due(moves uint64, connections int) bool {
	lately, wave := moves-t.seen, moves-t.trimmed
	t.seen = moves
	if wave < uint64(max(minWave, connections/waveShare)) || lately > uint64(max(calmMoves, connections/calmShare)) {
		return false
	}
	t.trimmed = moves
	return true
}

// grown is asked once every trimEvery: whether more memory is in use than there was, and so little is being allocated that the runtime
// will not look for garbage soon.
func (t *trimmer) grown(used, allocated uint64) bool {
	lately := allocated - t.allocated
	t.allocated = allocated
	t.rest = min(t.rest, used)
	return used >= t.rest+minGrowth && lately < used/4
}

// trim gives memory back after each wave of connections and of bytes, until ctx ends.
func (e *Engine) trim(ctx context.Context) {
	var t trimmer
	t.rest, t.allocated = heapUse()
	every(ctx, trimEvery, func(time.Time) {
		wave, grown := t.due(e.moves()), t.grown(heapUse())
		if wave || grown {
			runtime.GC() // pools let go of what they have with the second collection
			debug.FreeOSMemory()
			t.rest, t.allocated = heapUse()
		}
	})
}

// heapUse is the memory that the heap has of the system, and what was allocated since the start, in bytes.
func heapUse() (used, allocated uint64) {
	samples := []metrics.Sample{
		{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/unused:bytes"}, {Name: "/memory/classes/heap/free:bytes"},
		{Name: "/gc/heap/allocs:bytes"},
	}
	metrics.Read(samples)
	for _, s := range samples[:3] {
		used += s.Value.Uint64()
	}
	return used, samples[3].Value.Uint64()
}

// moves is how many connections came and went since the start, and how many there are now.
func (e *Engine) moves() (moves uint64, connections int) {
	now := e.admission.active.Load() - e.tlsConns.Load()*tlsPlaces
	var opened uint64
	for _, l := range e.loops {
		opened += l.stats.opened.Load()
	}
	return 2*opened - uint64(now), int(now)
}
