package feed

import (
	"slices"
	"sync/atomic"

	"push-server/protocol"
)

// Replay is what one client has missed, on its way to it. The client's session enters the channel table first, and gives its live
// publications to Keep; history is read; then an echo is sent through the bus. When that comes by, everything published before the read
// has come by, in whatever order: history and what was kept are complete together.
//
//	outcome := reader.Begin(q, channels, shared)     // Waiting: until q is among reader.Released()
//	entries, more := reader.Take(q, channels)        // write them; more: Begin again when they are on their way
//
// A large replay is taken in parts, so that nobody holds more of it than Options.AnswerBytes. It belongs to the reader's goroutine.
type Replay struct {
	Tag uint64 // the caller's

	first protocol.MessageID // what the client knew when it came
	mid   protocol.MessageID // what it knows with the parts that were taken
	parts int                // taken

	state     replayState
	echo      uint64 // of a read: what was published before it has come by with this echo
	history   []*Entry
	more      bool // history has more than it was asked for
	answer    *answer
	canceled  atomic.Bool
	pending   []*Entry
	bytes     int // of pending
	overflown bool
}

type replayState uint8

const (
	replayIdle    replayState = iota
	replayWindow              // the window has it all
	replayReached             // the reader must reach mid
	replayAsked               // history is being read
	replayRead                // history has been read, its echo has not come
)

// NewReplay begins a replay for a client that has everything up to mid.
func NewReplay(tag uint64, mid protocol.MessageID) *Replay {
	return &Replay{Tag: tag, first: mid, mid: mid}
}

// Overflown says that more live publications came than may be kept: the client has to come again.
func (q *Replay) Overflown() bool { return q.overflown }

// Mid is what the client knows with the parts that were taken.
func (q *Replay) Mid() protocol.MessageID { return q.mid }

// Outcome is what becomes of a replay.
type Outcome uint8

// The outcomes of Reader.Begin.
const (
	Complete Outcome = iota // it is to be taken, before any other call of the reader
	Waiting                 // it will be among Released
	Busy                    // too many questions wait already
)

// Begin looks where the next part of q is to be had: in the window if that can answer, else in history. channels are those of the
// client, shared says which of them have other subscribers; neither is kept.
func (r *Reader) Begin(q *Replay, channels []protocol.ChannelID, shared []bool) Outcome {
	if r.covers(q.mid) && q.mid.Compare(r.highest) <= 0 && r.readWindow(q, channels) {
		q.state = replayWindow
		return Complete
	}
	if !r.blind && !r.lag.behind && q.mid.Compare(r.highest) > 0 && q.mid.Compare(r.feed.window.highest()) <= 0 {
		// The client was served by a reader that is ahead of this one: what it misses is still to come here.
		q.state = replayReached
		r.waiting = append(r.waiting, q)
		return Waiting
	}
	query := protocol.HistoryQuery{Channels: slices.Clone(channels), Shared: slices.Clone(shared), Since: q.mid}
	if q.parts == 0 { // the rest was within the limits then
		query.Limit, query.Total = r.feed.o.HistoryPerChannel, r.feed.o.HistoryTotal
	}
	q.state = replayAsked
	if !r.feed.history.ask(question{reader: r, replay: q, query: query}) {
		return Busy
	}
	return Waiting
}

// readWindow collects in found what the window has for q, newest first. It returns false if the window does not reach back to mid.
func (r *Reader) readWindow(q *Replay, channels []protocol.ChannelID) (whole bool) {
	limit := 0
	if q.parts == 0 {
		limit = r.feed.o.HistoryPerChannel
	}
	now := r.feed.clock.Now()
	r.found, whole = r.found[:0], true
	for i := range channels {
		var ok bool
		r.found, ok = r.feed.window.since(r.found, &channels[i], q.mid, r.cursor, limit, now)
		whole = whole && ok
	}
	return whole
}

// Keep keeps a live publication for q. It returns false if there is no room: q is overflown then, and will be among Released.
func (r *Reader) Keep(q *Replay, e *Entry) bool {
	if q.overflown {
		return false
	}
	size := e.Publication.Size() + pendingOverhead
	if q.bytes+size > r.feed.o.PendingBytes || !r.feed.o.Pending.Take(size) {
		r.Cancel(q)
		q.overflown = true
		r.released = append(r.released, q)
		return false
	}
	if n := len(q.pending); n == 0 || q.pending[n-1] != e { // once, even if two of its channels match
		q.pending = append(q.pending, e)
		q.bytes += size
	} else {
		r.feed.o.Pending.Give(size)
	}
	return true
}

// pendingOverhead is what an entry takes besides its body while it is kept.
const pendingOverhead = 64

// Cancel lets go of everything that q holds: its client has gone, or begins anew.
func (r *Reader) Cancel(q *Replay) {
	q.canceled.Store(true)
	q.release()
	r.feed.o.Pending.Give(q.bytes)
	q.pending, q.bytes = nil, 0
}

// release lets go of history.
func (q *Replay) release() {
	q.history = nil
	if q.answer != nil {
		q.answer.done()
		q.answer = nil
	}
}

// hear takes what history has for q.
func (r *Reader) hear(q *Replay, es []*Entry, more bool, echo uint64, a *answer) {
	if q.canceled.Load() {
		a.done()
		return
	}
	q.history, q.more, q.echo, q.answer, q.state = es, more, echo, a, replayRead
	r.waiting = append(r.waiting, q)
	r.moved = true
}

// complete says whether everything that q waits for has come by.
func (r *Reader) complete(q *Replay) bool {
	if q.state == replayRead {
		return r.echo >= q.echo
	}
	return r.highest.Compare(q.mid) >= 0
}

// checkWaiting moves replays that are complete to those that are released.
func (r *Reader) checkWaiting() {
	if !r.moved || len(r.waiting) == 0 {
		return
	}
	r.moved = false
	kept := r.waiting[:0]
	for _, q := range r.waiting {
		switch {
		case q.canceled.Load():
		case r.complete(q):
			r.released = append(r.released, q)
		default:
			kept = append(kept, q)
		}
	}
	clear(r.waiting[len(kept):])
	r.waiting = kept
}

// Released returns the next replay that is to be taken, or is overflown; nil: there is none now.
func (r *Reader) Released() *Replay {
	for len(r.released) > 0 {
		q := r.released[0]
		r.released[0] = nil
		if r.released = r.released[1:]; len(r.released) == 0 {
			r.released = nil
		}
		if !q.canceled.Load() || q.overflown {
			return q
		}
	}
	return nil
}

// HasReleased says whether Released has one.
func (r *Reader) HasReleased() bool { return len(r.released) > 0 }

// Take returns the next part of q, oldest first, in a slice that is valid until the next call of the reader. more: there is a further
// one, which Begin asks for. Without more q has come to its end: from here on its client gets what comes, whatever its id.
//
// A mid above everything ever handed out (of the future, or of another installation) bounds nothing: such a client gets what is live.
func (r *Reader) Take(q *Replay, channels []protocol.ChannelID) (es []*Entry, more bool) {
	if q.state != replayWindow {
		r.readWindow(q, channels) // what the store has lost since may still be there
		r.found = append(r.found, q.history...)
	}
	stored := merge(r.found)
	end := len(stored)
	if q.more {
		last := q.history[len(q.history)-1].Publication.ID
		end = after(stored, last)
	}
	stored = stored[:end]
	if q.parts == 0 && !q.more {
		stored = stored[max(0, len(stored)-r.feed.o.HistoryTotal):]
	}
	all := merge(append(stored, q.pending...))
	if q.first.Compare(r.highest) <= 0 {
		all = all[after(all, q.first):]
	}
	r.found = all[:0]
	es, more = r.cut(q, all)
	q.parts++
	q.release()
	q.keepRest(r, es, more)
	return es, more
}

// Forget lets go of what Take has returned.
func (r *Reader) Forget() {
	clear(r.found[:cap(r.found)])
	if cap(r.found) > foundKeep {
		r.found = nil
	}
}

// foundKeep is the capacity that the scratch of an idle reader keeps, in entries.
const foundKeep = 4096

// cut returns the part of es that q may have now.
func (r *Reader) cut(q *Replay, es []*Entry) (part []*Entry, more bool) {
	n := len(es)
	if q.more {
		n = after(es, q.history[len(q.history)-1].Publication.ID)
	}
	bytes := 0
	for i, e := range es[:n] {
		if bytes += e.Publication.Size(); bytes > r.feed.o.AnswerBytes && i > 0 {
			return es[:i], true
		}
	}
	return es[:n], q.more
}

// keepRest notes what the client knows after es, and keeps of what is live what it does not know yet.
func (q *Replay) keepRest(r *Reader, es []*Entry, more bool) {
	given := 0
	if more {
		q.mid = es[len(es)-1].Publication.ID
		kept := q.pending[:0]
		for _, e := range q.pending {
			if e.Publication.ID.Compare(q.mid) > 0 {
				kept = append(kept, e)
			} else {
				given += e.Publication.Size() + pendingOverhead
			}
		}
		clear(q.pending[len(kept):])
		q.pending = kept
	} else {
		given, q.pending = q.bytes, nil
	}
	q.bytes -= given
	r.feed.o.Pending.Give(given)
	q.more, q.state = false, replayIdle
}

// merge sorts es by id and drops doubles, of which the first one stays.
func merge(es []*Entry) []*Entry {
	rising := func(i int) bool { return es[i].Publication.ID.Compare(es[i+1].Publication.ID) < 0 }
	i := 0
	for i < len(es)-1 && rising(i) {
		i++
	}
	if i >= len(es)-1 { // as history has it
		return es
	}
	slices.SortStableFunc(es, func(a, b *Entry) int { return a.Publication.ID.Compare(b.Publication.ID) })
	return slices.CompactFunc(es, func(a, b *Entry) bool { return a.Publication.ID == b.Publication.ID })
}

// after is the index of the first entry above id.
func after(es []*Entry, id protocol.MessageID) int {
	i, _ := slices.BinarySearchFunc(es, id, func(e *Entry, id protocol.MessageID) int {
		if e.Publication.ID.Compare(id) <= 0 {
			return -1
		}
		return 1
	})
	return i
}

// Newest is a question for the newest stored id of some channels.
type Newest struct {
	Tag   uint64 // the caller's
	ID    protocol.MessageID
	Known bool // false: the bus did not answer
}

// AskNewest asks for the newest stored id of channels, which are not kept. It returns false if too many questions wait already. The answer
// is among Answered.
func (r *Reader) AskNewest(tag uint64, channels []protocol.ChannelID) bool {
	return r.feed.history.ask(question{
		reader: r, newest: &Newest{Tag: tag}, query: protocol.HistoryQuery{Channels: slices.Clone(channels), Limit: 1, Total: 1},
	})
}

// Answered returns the next answer to AskNewest; nil: there is none now.
func (r *Reader) Answered() *Newest {
	if len(r.newest) == 0 {
		return nil
	}
	n := r.newest[0]
	if r.newest = r.newest[1:]; len(r.newest) == 0 {
		r.newest = nil
	}
	return n
}
