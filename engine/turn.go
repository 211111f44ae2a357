package engine

import (
	"sync"
	"time"

	"push-server/engine/feed"
	"push-server/engine/quantum"
)

// outbox is what was collected and has not been written: for each session a chain of entries, which leaves as one, so that nobody gets
// them swapped. It belongs to its loop.
type outbox struct {
	queues [queues]queue
	links  []link
	bytes  int // of publications
}

// queue is a queue of sessions that have a chain. What few get does not wait behind what is for a crowd; each queue has its share of a turn.
type queue struct {
	sessions []sessionRef
	at       int         // the next one to serve
	newest   *feed.Entry // that was collected for it
}

type queueKind uint8

const (
	queueFew queueKind = iota
	queueCrowd
	queues
)

type link struct {
	entry *feed.Entry
	next  uint32 // +1
	ahead bool   // the session stands in the queue of few
}

// maxLinks bounds what is collected before all of it is written, collectShare what is collected at once. One publication may exceed them.
const (
	maxLinks     = 1 << 18
	collectShare = 1 << 16
)

// crowd is from how many pieces of work on, as package quantum has them, a publication is for a crowd: about a millisecond of writes.
const crowd = 128

// queueOf is the queue of a publication with so many receivers on this loop.
func queueOf(e *feed.Entry, receivers int) queueKind {
	if receivers*(1+len(e.Publication.Body)/quantum.Piece) < crowd {
		return queueFew
	}
	return queueCrowd
}

func (o *outbox) empty() bool { return len(o.links) == 0 }

// add adds e to what s gets, once, even if two of its channels match.
func (o *outbox) add(s *Session, e *feed.Entry, k queueKind) {
	if s.outLast != 0 && o.links[s.outLast-1].entry == e {
		return
	}
	ahead := false
	n := uint32(len(o.links)) + 1
	if s.outFirst == 0 {
		s.outFirst = n
		o.queues[k].enter(s, e)
		ahead = k == queueFew
	} else {
		last := &o.links[s.outLast-1]
		last.next, ahead = n, last.ahead
		if k == queueFew && !ahead {
			o.queues[k].enter(s, e) // with what it was to get in the crowd
			ahead = true
		}
	}
	o.links = append(o.links, link{entry: e, ahead: ahead})
	s.outLast = n
}

func (q *queue) enter(s *Session, e *feed.Entry) {
	q.sessions = append(q.sessions, s.ref())
	q.newest = e
}

func (o *outbox) reset() {
	clear(o.links) // let go of the entries
	o.links, o.bytes = o.links[:0], 0
	if cap(o.links) > 4*collectShare {
		o.links = nil
	}
}

// mailbox brings answers and orders to a loop from any goroutine. What is in it is never dropped; the number of
// questions that lead to answers is bounded elsewhere.
type mailbox struct {
	mu    sync.Mutex
	items []mail
	taken []mail // the loop's, swapped with items
	read  int    // how many of those
}

// mail is one item: a function of what it is. Fields that a kind does not need are zero.
type mail struct {
	kind  mailKind
	ref   sessionRef
	reply []byte        // mailReply: bytes for the socket
	close bool          // mailReply: the connection ends behind them
	call  func(l *loop) // mailCall: a rare order or question
}

type mailKind uint8

const (
	mailReply mailKind = iota // what a worker answers to a request
	mailCall
)

// put adds m.
func (b *mailbox) put(m mail) {
	b.mu.Lock()
	b.items = append(b.items, m)
	b.mu.Unlock()
}

// next returns the next one, valid until the next call; nil: there is none. Only the loop calls it.
func (b *mailbox) next() *mail {
	if b.read == len(b.taken) {
		b.take()
	}
	if b.read == len(b.taken) {
		return nil
	}
	b.read++
	return &b.taken[b.read-1]
}

// unread says whether a turn ended before it had read everything.
func (b *mailbox) unread() bool { return b.read < len(b.taken) }

// take takes everything that is there, once what was taken before is read.
func (b *mailbox) take() {
	clear(b.taken)
	if cap(b.taken) > mailboxKeep { // a burst need not be remembered for ever
		b.taken = nil
	}
	b.mu.Lock()
	b.items, b.taken = b.taken[:0], b.items
	b.mu.Unlock()
	b.read = 0
}

// mailboxKeep is the capacity that an idle mailbox keeps, in items.
const mailboxKeep = 4096

// look reads the clock.
func (l *loop) look() (now time.Time) {
	now = time.Now()
	l.now = now.UnixNano()
	l.quantum.Start(now)
	return now
}

// over says whether what the loop does now has taken its time, and brings now up to date.
func (l *loop) over() bool {
	if !l.quantum.Due() {
		return false
	}
	now := time.Now()
	l.now = now.UnixNano()
	return l.quantum.Over(now)
}

// readMail serves the mailbox. Like all that a turn does it returns false when its time is up.
func (l *loop) readMail() (done bool) {
	l.quantum.Begin()
	for m := l.mailbox.next(); m != nil; m = l.mailbox.next() {
		l.quantum.Spend(0)
		if m.kind == mailCall {
			m.call(l)
		} else if s := l.slab.at(m.ref); s != nil { // else it has gone, or moved on
			s.via().hear(l, s, m)
		}
		if l.over() {
			return false
		}
	}
	return true
}

// hearReply writes what a worker answers to a request.
func (l *loop) hearReply(s *Session, m *mail) {
	if m.close {
		s.mark(asksClose)
	}
	l.reply(s, m.reply)
}

// turn serves what is new: the mailbox, the clock, and the window. One map lookup per receiver, no lock, no allocation.
func (l *loop) turn() {
	start := l.look()
	l.awake.Store(false) // before looking: what comes later wakes again
	if !l.serveTurn(start) {
		l.wake() // the rest when sockets have been served
	}
	l.joined.forget()
	l.replayed = 0
	l.stats.turns.Add(1)
	took := time.Since(start)
	l.stats.turnTime.Add(int64(took))
	l.engine.latency.Turn.Observe(took)
}

// serveTurn does of each kind of work as much as its time allows. It returns false if something is left.
func (l *loop) serveTurn(start time.Time) (done bool) {
	done = l.readMail()
	done = l.runDeadlines() && done
	if !l.sweep() {
		return false // what closed sockets hold goes before more is written
	}
	for {
		more := l.collect()
		done = l.flush() && done
		done = l.release() && done
		done = l.resumeReplays() && done
		if !done || !more {
			return done
		}
		if time.Since(start) > l.o.TurnBudget { // a stream of small collections must not keep sockets waiting either
			return false
		}
	}
}

// hasRoom says whether more may be collected.
func (l *loop) hasRoom() bool {
	return len(l.outbox.links) < maxLinks && (l.outbox.bytes < l.o.WindowBytes/8 || l.outbox.empty())
}

// collect reads what is published into the outbox, behind what is there. It touches no socket. It returns false if there was nothing.
func (l *loop) collect() (more bool) {
	l.intricate = true
	o, before := &l.outbox, len(l.outbox.links)
	for {
		if !l.hasRoom() || len(o.links)-before >= collectShare { // asked first: what Next has handed out must be collected
			more = true
			break
		}
		e := l.reader.Next()
		if e == nil {
			break
		}
		more = true
		known := len(o.links)
		for i := range e.Publication.Receivers {
			members := l.table.Subscribers(&e.Publication.Receivers[i].Channel)
			k := queueOf(e, len(members))
			for _, m := range members {
				l.offer(l.slab.get(m.Session), e, k)
			}
		}
		if len(o.links) > known {
			o.bytes += e.Publication.Size()
		}
	}
	l.intricate = false
	return more || l.reader.HasReleased()
}

// offer gives e to a subscriber: into the outbox, or to those that wait for history.
func (l *loop) offer(s *Session, e *feed.Entry, k queueKind) {
	switch s.state {
	case stateLive, stateParked:
		l.outbox.add(s, e, k)
	case stateReplaying:
		l.reader.Keep(s.replay, e)
	}
}

// flush writes what was collected, one write per session. A write may close its session, so nothing leaves the table before sweep.
func (l *loop) flush() (done bool) {
	if l.outbox.empty() {
		return true
	}
	done = true
	for i := range l.outbox.queues {
		done = l.flushQueue(&l.outbox.queues[i]) && done
	}
	if done {
		l.outbox.reset()
	}
	return done
}

// flushQueue writes the chains of the sessions in a queue.
func (l *loop) flushQueue(q *queue) (done bool) {
	l.quantum.Begin()
	for q.at < len(q.sessions) {
		if l.over() {
			return false
		}
		ref := q.sessions[q.at]
		q.at++
		if s := l.slab.at(ref); s != nil && s.outFirst != 0 {
			l.deliver(s)
		}
	}
	if q.newest != nil {
		if age, ok := l.reader.Age(q.newest); ok {
			l.engine.latency.Delivery.Observe(age)
		}
	}
	q.sessions, q.at, q.newest = q.sessions[:0], 0, nil
	return true
}

// deliver writes the chain of s.
func (l *loop) deliver(s *Session) {
	first := s.outFirst
	s.forgetChain()
	if s.state == stateLive || s.state == stateParked {
		s.via().deliver(l, s, first)
	}
}

// forgetChain is for a session whose chain is written, or will not be.
func (s *Session) forgetChain() { s.outFirst, s.outLast = 0, 0 }

// sweep lets go of closed sessions, as many as its time allows; the others wait for the next turn.
func (l *loop) sweep() (done bool) {
	l.quantum.Begin()
	for len(l.swept) > 0 {
		if l.over() {
			l.wake()
			return false
		}
		l.quantum.Spend(sweepWork)
		s := l.slab.get(l.swept[len(l.swept)-1])
		l.swept = l.swept[:len(l.swept)-1]
		l.unsubscribe(s)
		l.dropInput(s)
		if !s.is(flagGone) {
			s.conn.SetContext(nil) // OnClose has nothing to do any more
			if err := s.conn.EventLoop().Close(s.conn); err != nil {
				l.log.Debug("close failed", "err", err)
			}
		}
		l.forgetPeer(s)
		l.forgetRate(s)
		l.agents.Drop(s.agent)
		l.leavePlace(s)
		if !s.is(flagOwn) {
			l.engine.admission.leave()
		}
		l.slab.put(s)
	}
	return true
}

// sweepAll lets go of all closed sessions.
func (l *loop) sweepAll() {
	for !l.sweep() {
	}
}

// sweepWork is what it costs to close a socket, in bytes that could be written instead.
const sweepWork = 3 * quantum.Piece
