package engine

import (
	"iter"
	"slices"
	"unsafe"

	"github.com/panjf2000/gnet/v2"
	"golang.org/x/sys/unix"

	"push-server/engine/budget"
	"push-server/engine/recorder"
)

// write sends b to the peer, or keeps what the socket does not take. It is the one function that writes to a socket. A reader so
// slow that the buffer passes its limit is closed; but an empty buffer takes a write of any size, or a large replay could
// never be delivered. b is not kept.
func (l *loop) write(s *Session, b []byte) {
	if s.state == stateClosed || len(b) == 0 {
		return
	}
	if s == l.corked && l.gather(b) {
		return
	}
	buffered := s.conn.OutboundBuffered()
	if buffered == 0 {
		l.writeNow(s, b)
		return
	}
	if buffered+len(b) > int(s.slack)+l.settings.MaxBuffered {
		l.close(s, CloseSlowReader)
		return
	}
	l.buffer(s, b)
}

// cork has the answers to what a client says at once leave together: 16 KiB of pings are thousands of answers, and everybody else on the loop
// would wait for as many system calls. It lasts for one callback, of one session.
type cork struct {
	corked   *Session
	gathered []byte
}

// corkLimit is how much is gathered before it is written, in bytes.
const corkLimit = 16 << 10

// gather takes b for the corked session. It returns false if b has to be written by itself; what came before it has been then.
func (l *loop) gather(b []byte) bool {
	if s := l.corked; len(l.gathered)+len(b) > corkLimit {
		if l.uncork(); s.state == stateClosed {
			return true
		}
		l.corked = s
	}
	if len(b) > corkLimit {
		return false
	}
	l.gathered = append(l.gathered, b...)
	return true
}

// uncork writes what was gathered. It comes before whatever depends on what the peer has taken, and before the end of the connection.
func (l *loop) uncork() {
	s := l.corked
	l.corked = nil
	if s == nil || len(l.gathered) == 0 {
		return
	}
	b := l.gathered
	l.gathered = b[:0]
	l.write(s, b)
	if s.timer == timerIdle && s.is(flagBacklog) {
		l.deadlines.stop(s) // as in reply
	}
}

// writeMore is write for the rest of one large message: it may exceed the limit.
func (l *loop) writeMore(s *Session, b []byte) {
	if s == l.corked {
		l.uncork()
	}
	if s.state == stateClosed {
		return
	}
	if s.conn.OutboundBuffered() == 0 {
		l.writeNow(s, b)
		return
	}
	s.slack += uint32(len(b))
	l.buffer(s, b)
}

// writeNow writes without the scheduler's bookkeeping around a system call: the socket does not block, and that bookkeeping
// costs 14 % of a broadcast.
func (l *loop) writeNow(s *Session, b []byte) {
	s.slack = 0
	l.quantum.Spend(len(b))
	n, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(s.conn.Fd()), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	if errno == 0 && int(n) == len(b) {
		return
	}
	if errno != 0 {
		n = 0
	}
	s.slack = uint32(len(b) - int(n))
	l.buffer(s, b[n:]) // EAGAIN: gnet waits for the socket; another error: gnet closes and calls OnClose
}

// buffer leaves b to gnet, which copies it.
func (l *loop) buffer(s *Session, b []byte) {
	l.note(s, recorder.Buffered, len(b), 0)
	l.quantum.Spend(len(b))
	if l.makeRoom(s, len(b)); s.state == stateClosed {
		return
	}
	if _, err := s.conn.Write(b); err != nil {
		if !s.is(flagGone) {
			l.close(s, ClosePeer)
		}
		return
	}
	l.keep(s, len(b))
}

// backlog is the output that peers of one loop have not taken yet. gnet keeps it and tells nobody when it is gone, so the connections
// that have some are looked at ten times a second.
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

// keep notes that n bytes more wait for s.
func (l *loop) keep(s *Session, n int) {
	b := &l.backlog
	if !s.is(flagBacklog) {
		s.set(flagBacklog)
		b.waiting = append(b.waiting, laggard{index: s.index, conn: s.conn, since: l.deadlines.now})
		l.deadlines.wakeBy(l.deadlines.now + 1)
	}
	b.bytes += n
	if !b.budget.Add(n) {
		l.engine.relieve(l)
	}
}

// makeRoom closes the largest sessions of the loop while the process would hold too much output with n bytes more for s, and the loop more
// than its share of it: s itself, if that made it the largest. There is such a loop whenever the process holds too much, so that small ones
// stay, wherever the large ones are. s may be nil.
func (l *loop) makeRoom(s *Session, n int) {
	o, b := l.engine.output, &l.backlog
	full := func(n int) bool { return o.Limit() > 0 && o.Used()+int64(n) > o.Limit() && b.bytes+n > l.share(o) }
	if !full(n) {
		return
	}
	if l.lookAtBacklog(); !full(n) {
		return
	}
	size := func(other *Session) int {
		if other == s {
			return s.conn.OutboundBuffered() + n
		}
		return other.conn.OutboundBuffered()
	}
	for other := range l.largest(size) {
		if l.close(other, CloseOutputTotal); other == s {
			n = 0
		}
		o.Refuse()
		held := other.conn.OutboundBuffered()
		o.Add(-held)
		if b.bytes -= held; !full(n + l.share(o)/spare) {
			break
		}
	}
	l.lookAtBacklog()
}

// share is the part of an account of the process that one loop may use up.
func (l *loop) share(b *budget.Budget) int { return int(b.Limit()) / max(len(l.engine.loops), 1) }

// relieve has sessions closed because the process holds too much for all of them: of the loop l, which has noticed it, at once.
func (e *Engine) relieve(l *loop) {
	l.relieve()
	if !exceeded(e.output) && !exceeded(e.input) || !e.relieving.CompareAndSwap(false, true) {
		return
	}
	e.tasks.Go(func() {
		defer e.relieving.Store(false)
		_ = askLoops(e.ctx, e.loops, (*loop).relieve) // fails only when everything ends
	})
}

func exceeded(b *budget.Budget) bool { return b.Limit() > 0 && b.Used() > b.Limit() }

// relieve closes the largest sessions of the loop while the process holds too much output, or unread input, and the loop more than its share
// of it.
func (l *loop) relieve() {
	l.makeRoom(nil, 0)
	in := l.engine.input
	if !exceeded(in) || l.unread <= l.share(in) {
		return
	}
	for s := range l.largest((*Session).inputSize) {
		l.close(s, CloseInputTotal)
		in.Refuse()
		if l.dropInput(s); in.Used() <= in.Limit()-int64(l.share(in)/spare) || l.unread <= l.share(in) {
			return
		}
	}
}

// spare is the part of a loop's share that is free after sessions were closed for want of room. To look at all of them for each one that has to go
// took six times as long in a broadcast to 5,000.
const spare = 64

// largest yields the sessions that hold something, the largest first.
func (l *loop) largest(size func(s *Session) int) iter.Seq[*Session] {
	return func(yield func(s *Session) bool) {
		type sized struct {
			session *Session
			size    int
		}
		var all []sized
		l.slab.each(func(s *Session) {
			if n := size(s); n > 0 && !s.is(flagGone) {
				all = append(all, sized{s, n})
			}
		})
		slices.SortFunc(all, func(a, b sized) int { return b.size - a.size })
		for _, a := range all {
			if a.session.state != stateClosed && !yield(a.session) {
				return
			}
		}
	}
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

// roomFor makes room for n bytes behind b. It doubles, up to the limit: to grow by a quarter, as append does with what is large, copies
// a message five times while it comes.
func roomFor(b []byte, n, limit int) []byte {
	if cap(b)-len(b) >= n {
		return b
	}
	return slices.Grow(b, max(n, min(2*cap(b), limit)-len(b)))
}

// inputLimit bounds the input that a state may leave unread: a head and its body, a frame, or what is pipelined behind a poll.
func (l *loop) inputLimit(s *Session) int {
	if s.state == stateBody {
		return int(s.skip) + pipelined
	}
	return s.via().unread
}

// account notes what s holds of unread input now.
func (l *loop) account(s *Session) {
	size := s.inputSize()
	n := size - int(s.held)
	if n == 0 {
		return
	}
	s.held = uint32(size)
	l.unread += n
	if !l.engine.input.Add(n) && n > 0 {
		l.engine.relieve(l)
	}
}

// inputSize is what s holds of input that is not complete.
func (s *Session) inputSize() int { return cap(s.input) + s.assembly.Size() }

// dropInput lets go of input that nobody will read.
func (l *loop) dropInput(s *Session) {
	s.input, s.assembly = nil, nil
	l.account(s)
}
