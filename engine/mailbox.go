package engine

import (
	"sync"
)

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
