package engine

import (
	"github.com/panjf2000/gnet/v2"

	"push-server/engine/budget"
)

// backlog is the output that peers of one loop have not taken yet. gnet keeps it and tells nobody when it is gone, so the connections
// that have some are looked at with every tick.
type backlog struct {
	waiting []laggard
	bytes   int            // of all of them, as the process's account has it
	budget  *budget.Budget // of the process
}

// laggard is a connection with output that its peer has not taken.
type laggard struct {
	index uint32
	conn  gnet.Conn // the session may be another one's by now
	size  int       // at the last look
	since uint32    // tick of the last progress
}

// keep notes that n bytes more wait for s. If that is too much for the process, the largest of this loop go.
func (l *loop) keep(s *Session, n int) {
	b := &l.backlog
	if !s.is(flagBacklog) {
		s.set(flagBacklog)
		b.waiting = append(b.waiting, laggard{index: s.index, conn: s.conn, since: l.deadlines.now})
	}
	b.bytes += n
	if b.budget.Add(n) {
		return
	}
	l.lookAtBacklog()
	for b.budget.Used() > b.budget.Limit() {
		if !l.closeLargest(CloseOutputTotal, func(s *Session) int { return s.conn.OutboundBuffered() }) {
			return
		}
		l.lookAtBacklog()
	}
}

// closeLargest closes the session of which size is greatest, if it is not 0 for all.
func (l *loop) closeLargest(reason CloseReason, size func(s *Session) int) bool {
	var largest *Session
	most := 0
	l.slab.each(func(s *Session) {
		if n := size(s); n > most && !s.is(flagGone) {
			largest, most = s, n
		}
	})
	if largest == nil {
		return false
	}
	l.close(largest, reason)
	return true
}

// lookAtBacklog notes what peers have taken. A peer of HTTP that takes nothing for CloseTimeout is cut off; one of a WebSocket has its
// pings. It closes no other session than such.
func (l *loop) lookAtBacklog() {
	b := &l.backlog
	bytes, kept := 0, b.waiting[:0]
	for _, w := range b.waiting {
		s := l.slab.get(w.index)
		if s.state == stateClosed || s.conn != w.conn {
			continue
		}
		size := s.conn.OutboundBuffered()
		if size == 0 {
			s.flags &^= flagBacklog
			l.drained(s)
			continue
		}
		if size != w.size {
			w.size, w.since = size, l.deadlines.now
		}
		if s.via().silent(s) && l.deadlines.now-w.since > l.deadlines.length[timerClose] {
			l.close(s, CloseSlowReader)
			continue
		}
		bytes += size
		kept = append(kept, w)
	}
	clear(b.waiting[len(kept):])
	b.waiting = kept
	b.budget.Add(bytes - b.bytes)
	b.bytes = bytes
}

// drained is for a session whose output has gone: what comes behind a reply begins only now.
func (l *loop) drained(s *Session) {
	switch s.state {
	case stateFlushing:
		l.shut(s)
	case stateHead:
		if s.timer == timerNone {
			l.deadlines.start(s, timerIdle)
		}
		if len(s.input) > 0 {
			l.resumed = append(l.resumed, s.ref())
		}
	}
}

// account notes what s holds of unread input now. If that is too much for the process, the largest of this loop go.
func (l *loop) account(s *Session) {
	size := s.inputSize()
	n := size - int(s.held)
	s.held = uint32(size)
	if n == 0 || l.engine.input.Add(n) {
		return
	}
	for n > 0 && l.engine.input.Used() > l.engine.input.Limit() {
		if !l.closeLargest(CloseInputTotal, (*Session).inputSize) {
			return
		}
	}
}

// inputSize is what s holds of input that is not complete.
func (s *Session) inputSize() int { return cap(s.input) + s.assembly.Size() }

// dropInput lets go of input that nobody will read.
func (l *loop) dropInput(s *Session) {
	s.input, s.assembly = nil, nil
	l.account(s)
}
