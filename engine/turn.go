package engine

import (
	"sync"
	"time"

	"push-server/engine/feed"
)

// budgetEvery is the number of writes between two looks at the clock.
const budgetEvery = 16

// outbox is what a turn has collected: for each session a chain of entries. It belongs to its loop.
type outbox struct {
	sessions []sessionRef
	links    []link
	at       int // the next session to flush
}

type link struct {
	entry *feed.Entry
	next  uint32 // +1
}

// maxLinks bounds what is collected before it is flushed. One publication may exceed it.
const maxLinks = 1 << 16

func (o *outbox) empty() bool   { return len(o.sessions) == 0 }
func (o *outbox) hasRoom() bool { return len(o.links) < maxLinks }

// add adds e to what s gets, once, even if two of its channels match.
func (o *outbox) add(s *Session, e *feed.Entry) {
	if s.outLast != 0 && o.links[s.outLast-1].entry == e {
		return
	}
	o.links = append(o.links, link{entry: e})
	n := uint32(len(o.links))
	if s.outFirst == 0 {
		s.outFirst = n
		o.sessions = append(o.sessions, s.ref())
	} else {
		o.links[s.outLast-1].next = n
	}
	s.outLast = n
}

func (o *outbox) reset() {
	clear(o.links) // let go of the entries
	o.sessions, o.links, o.at = o.sessions[:0], o.links[:0], 0
	if cap(o.links) > 4*maxLinks {
		o.links = nil
	}
}

// mailbox brings answers and orders to a loop from any goroutine. What is in it is never dropped; the number of
// questions that lead to answers is bounded elsewhere.
type mailbox struct {
	mu    sync.Mutex
	items []mail
	spare []mail // the loop's, swapped with items
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

// take returns everything that is there. The slice is valid until the next call. Only the loop calls it.
func (b *mailbox) take() []mail {
	clear(b.spare)
	if cap(b.spare) > mailboxKeep { // a burst need not be remembered for ever
		b.spare = nil
	}
	b.mu.Lock()
	b.items, b.spare = b.spare[:0], b.items
	b.mu.Unlock()
	return b.spare
}

// mailboxKeep is the capacity that an idle mailbox keeps, in items.
const mailboxKeep = 4096

// readMail serves the mailbox.
func (l *loop) readMail() {
	for _, m := range l.mailbox.take() {
		if m.kind == mailCall {
			m.call(l)
			continue
		}
		s := l.slab.at(m.ref)
		if s == nil {
			continue // has gone, or moved on
		}
		s.via().hear(l, s, &m)
	}
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
	start := time.Now()
	l.now = start.UnixNano()
	l.awake.Store(false) // before looking: what comes later wakes again
	l.serveTurn(start)
	l.joined.forget()
	l.stats.turns.Add(1)
	took := time.Since(start)
	l.stats.turnTime.Add(int64(took))
	l.engine.latency.Turn.Observe(took)
}

func (l *loop) serveTurn(start time.Time) {
	l.readMail()
	if l.adoption != nil {
		return
	}
	l.runDeadlines()
	for {
		if !l.outbox.empty() && !l.flush(start) { // finish the last collection first, or a later message would overtake
			l.wake()
			return
		}
		if !l.release(start) {
			l.wake()
			return
		}
		if len(l.unfinished) > 0 {
			l.resumeReplays()
		}
		if !l.collect() {
			return
		}
		if time.Since(start) > l.o.TurnBudget { // a stream of small collections must not keep sockets waiting either
			l.wake()
			return
		}
	}
}

// collect reads what is published into the outbox. It touches no socket. It returns false if there was nothing.
func (l *loop) collect() (found bool) {
	l.intricate = true
	for l.outbox.hasRoom() { // asked first: what Next has handed out must be collected
		e := l.reader.Next()
		if e == nil {
			break
		}
		found = true
		for i := range e.Publication.Receivers {
			for _, m := range l.table.Subscribers(&e.Publication.Receivers[i].Channel) {
				l.offer(l.slab.get(m.Session), e)
			}
		}
	}
	l.intricate = false
	return found || l.reader.HasReleased()
}

// offer gives e to a subscriber: into the outbox, or to those that wait for history.
func (l *loop) offer(s *Session, e *feed.Entry) {
	switch s.state {
	case stateLive, stateParked:
		l.outbox.add(s, e)
	case stateReplaying:
		l.reader.Keep(s.replay, e)
	}
}

// flush writes what was collected, one write per session. It returns false when the budget was used up. A write may close
// its session, so nothing leaves the table before sweep.
func (l *loop) flush(start time.Time) bool {
	o := &l.outbox
	for o.at < len(o.sessions) {
		ref := o.sessions[o.at]
		o.at++
		if s := l.slab.at(ref); s != nil && s.outFirst != 0 {
			l.deliver(s)
		}
		if o.at%budgetEvery == 0 {
			now := time.Now()
			l.now = now.UnixNano()
			if now.Sub(start) > l.o.TurnBudget && o.at < len(o.sessions) {
				return false
			}
		}
	}
	if n := len(o.links); n > 0 {
		if age, ok := l.reader.Age(o.links[n-1].entry); ok {
			l.engine.latency.Delivery.Observe(age)
		}
	}
	o.reset()
	return true
}

// deliver writes the chain of s.
func (l *loop) deliver(s *Session) {
	first := s.outFirst
	s.outFirst, s.outLast = 0, 0
	if s.state == stateLive || s.state == stateParked {
		s.via().deliver(l, s, first)
	}
}
