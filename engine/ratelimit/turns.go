package ratelimit

import (
	"net/netip"
	"time"
)

// turns are when those who were told to come again have their turn, of each address in the order in which they were told. At a rate of so
// many a second there are no more than rate times the seconds that somebody may be told, and grace, of them: some 100 bytes each.
type turns struct {
	count  int // that nobody has taken
	line   []turn
	first  int // of line; those before are over
	byAddr map[netip.Addr][]time.Time
}

type turn struct {
	addr netip.Addr
	due  time.Time
}

// grace is for how long somebody may come late. Those whom nobody can tell when, the scripts of a page, come after 15 s.
const grace = 20 * time.Second

// wait is how long it is until the last turn.
func (t *turns) wait(now time.Time) time.Duration {
	if t.first == len(t.line) {
		return 0
	}
	return max(0, t.line[len(t.line)-1].due.Sub(now))
}

// give gives addr a turn. The last one that was given is no later.
func (t *turns) give(addr netip.Addr, due time.Time) {
	addr = plain(addr)
	if t.byAddr == nil {
		t.byAddr = make(map[netip.Addr][]time.Time)
	}
	t.line = append(t.line, turn{addr, due})
	t.byAddr[addr] = append(t.byAddr[addr], due)
	t.count++
}

// due says whether it is the turn of addr, or anybody's, and whose.
func (t *turns) due(addr netip.Addr, now time.Time) (whose netip.Addr, ok bool) {
	for _, whose = range [2]netip.Addr{plain(addr), anybody} {
		if own := t.byAddr[whose]; len(own) > 0 && !own[0].After(now) {
			return whose, true
		}
	}
	return whose, false
}

// anybody has turns of which it is not known whose they are.
var anybody netip.Addr

// take takes the first turn of whose.
func (t *turns) take(whose netip.Addr) {
	own := t.byAddr[whose]
	if t.count--; len(own) == 1 {
		delete(t.byAddr, whose)
		return
	}
	t.byAddr[whose] = own[1:]
}

// expire forgets turns of which nobody has made use.
func (t *turns) expire(now time.Time) {
	for ; t.first < len(t.line) && now.Sub(t.line[t.first].due) > grace; t.first++ {
		over := t.line[t.first]
		if own := t.byAddr[over.addr]; len(own) > 0 && own[0].Equal(over.due) {
			t.take(over.addr)
		}
	}
	switch {
	case t.first == len(t.line):
		*t = turns{} // a map does not shrink
	case t.first > len(t.line)/2:
		t.line = append([]turn(nil), t.line[t.first:]...)
		t.first = 0
	}
}

func plain(addr netip.Addr) netip.Addr { return addr.Unmap().WithZone("") }
