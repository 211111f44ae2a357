package feed

import (
	"encoding/binary"
	"iter"
	"sync/atomic"
	"time"

	"push-server/protocol"
)

// window holds the latest publications in the order in which they arrived, bounded by number and bytes. It is the queue that
// readers go through with a cursor each, and the memory that answers clients who were away for a moment.
//
// One goroutine at a time appends (the feed, under its mutex); any goroutine reads, without a lock. Sequence numbers start at 1.
type window struct {
	slots    []atomic.Pointer[Entry]
	heads    []atomic.Uint64 // per hash of a channel: the newest entry for it; older ones follow by Entry.prev
	head     atomic.Uint64   // the next sequence number
	tail     atomic.Uint64   // the oldest one that is kept
	evicted  sharedID        // the greatest id that was evicted
	bytes    atomic.Int64    // of what is kept; the writer's
	maxBytes int64
}

func newWindow(count, maxBytes int) *window {
	w := &window{
		slots:    make([]atomic.Pointer[Entry], count),
		heads:    make([]atomic.Uint64, count),
		maxBytes: int64(maxBytes),
	}
	w.head.Store(1)
	w.tail.Store(1)
	return w
}

// append adds e and evicts what no longer fits. Only the feed calls it.
func (w *window) append(e *Entry) {
	seq := w.head.Load()
	e.seq = seq
	w.bytes.Add(int64(e.size()))
	for tail := w.tail.Load(); tail < seq && (seq-tail >= uint64(len(w.slots)) || w.bytes.Load() > w.maxBytes); tail++ {
		w.evict(tail)
	}
	w.link(e)
	w.slots[seq&uint64(len(w.slots)-1)].Store(e)
	w.index(e) // after the slot, so that a reader of heads finds it; before head, so that who has read e finds it there
	w.head.Store(seq + 1)
}

func (w *window) evict(seq uint64) {
	slot := &w.slots[seq&uint64(len(w.slots)-1)]
	e := slot.Load()
	if e.Publication != nil && e.Publication.ID.Compare(w.evicted.load()) > 0 {
		w.evicted.store(e.Publication.ID)
	}
	w.tail.Store(seq + 1)
	slot.Store(nil)
	w.bytes.Add(-int64(e.size()))
}

// link notes for each receiver of e the entry before it.
func (w *window) link(e *Entry) {
	if e.Publication == nil {
		return
	}
	e.prev = e.prevBuf[:0]
	for i := range e.Publication.Receivers {
		e.prev = append(e.prev, w.heads[w.bucket(&e.Publication.Receivers[i].Channel)].Load())
	}
}

func (w *window) index(e *Entry) {
	for i := range e.prev {
		w.heads[w.bucket(&e.Publication.Receivers[i].Channel)].Store(e.seq)
	}
}

// bucket needs no hash function: ids are digests already.
func (w *window) bucket(ch *protocol.ChannelID) uint64 {
	return binary.LittleEndian.Uint64(ch.Bytes[:]) & uint64(len(w.heads)-1)
}

// newest is the number of the newest entry, 0 if there is none.
func (w *window) newest() uint64 { return w.head.Load() - 1 }

// at returns the entry with number seq. nil, false: it is not there yet; nil, true: it has been evicted.
func (w *window) at(seq uint64) (e *Entry, lost bool) {
	if seq >= w.head.Load() {
		return nil, false
	}
	e = w.get(seq)
	return e, e == nil
}

// get returns the entry with number seq, nil if it is not kept.
func (w *window) get(seq uint64) *Entry {
	e := w.slots[seq&uint64(len(w.slots)-1)].Load()
	if e == nil || e.seq != seq {
		return nil
	}
	return e
}

// publications are the entries with a publication from number from on, as far as they are kept, oldest first.
func (w *window) publications(from uint64) iter.Seq[*Entry] {
	return func(yield func(*Entry) bool) {
		for seq := from; seq < w.head.Load(); seq++ {
			if e := w.get(seq); e != nil && e.Publication != nil && !yield(e) {
				return
			}
		}
	}
}

// length is the number of entries that are kept.
func (w *window) length() int { return int(w.head.Load() - w.tail.Load()) }

// highest is the greatest id that has arrived.
func (w *window) highest() (id protocol.MessageID) {
	if e := w.get(w.head.Load() - 1); e != nil {
		return e.highest
	}
	return id
}

// since appends to dst the entries before upto that were stored for ch with an id above id and have not expired at now, newest
// first, at most limit (0: all). whole is false if the window may have lost some of them.
func (w *window) since(dst []*Entry, ch *protocol.ChannelID, id protocol.MessageID, upto uint64, limit int, now time.Duration) (_ []*Entry, whole bool) {
	start := len(dst)
	for seq := w.heads[w.bucket(ch)].Load(); seq != 0 && (limit == 0 || len(dst)-start < limit); {
		e := w.get(seq)
		if e == nil || e.highest.Compare(id) <= 0 {
			break // evicted, or at most id, and so are all entries before it
		}
		next, mine := e.step(w, ch)
		if mine && seq < upto && e.Publication.ID.Compare(id) > 0 && e.replayable(now) {
			dst = append(dst, e)
		}
		seq = next
	}
	return dst, id.Compare(w.evicted.load()) >= 0
}

// latest appends to dst the newest n entries before upto for ch with an id above id, stored or not, newest first. whole is false if there were
// more of them, which the window has lost.
func (w *window) latest(dst []*Entry, ch *protocol.ChannelID, id protocol.MessageID, upto uint64, n int) (_ []*Entry, whole bool) {
	end := len(dst) + n
	for seq := w.heads[w.bucket(ch)].Load(); seq != 0 && len(dst) < end; {
		e := w.get(seq)
		if e == nil || e.highest.Compare(id) <= 0 {
			break
		}
		next, mine := e.step(w, ch)
		if mine && seq < upto && e.Publication.ID.Compare(id) > 0 {
			dst = append(dst, e)
		}
		seq = next
	}
	return dst, len(dst) == end || id.Compare(w.evicted.load()) >= 0
}

// step finds the next older entry of ch's bucket, and whether e itself is for ch.
func (e *Entry) step(w *window, ch *protocol.ChannelID) (next uint64, mine bool) {
	want := w.bucket(ch)
	for i := range e.Publication.Receivers {
		c := &e.Publication.Receivers[i].Channel
		if w.bucket(c) != want {
			continue
		}
		mine = mine || *c == *ch
		next = e.prev[i] // the same for all receivers of one bucket
	}
	return next, mine
}

// sharedID is an id that one goroutine at a time writes and any goroutine reads. A pointer to the id of an entry would keep the
// whole entry in memory, a copy would be an allocation for each publication.
type sharedID struct {
	version            atomic.Uint64 // odd while it is written
	startdate, counter atomic.Uint64
}

func (s *sharedID) store(id protocol.MessageID) {
	s.version.Add(1)
	s.startdate.Store(id.Startdate())
	s.counter.Store(id.Counter())
	s.version.Add(1)
}

func (s *sharedID) load() protocol.MessageID {
	for {
		before := s.version.Load()
		startdate, counter := s.startdate.Load(), s.counter.Load()
		if before%2 == 0 && s.version.Load() == before {
			return protocol.MakeMessageID(startdate, counter)
		}
	}
}
