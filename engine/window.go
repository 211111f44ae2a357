package engine

import (
	"encoding/binary"
	"iter"
	"sync/atomic"

	"push-server/protocol"
)

// window holds the latest publications in the order in which they arrived, bounded by number and bytes. It is the queue that
// loops read with a cursor each, and the memory that answers clients who were away for a moment.
//
// One goroutine at a time appends (the hub, under its mutex); any goroutine reads, without a lock. Sequence numbers start at 1.
type window struct {
	slots    []atomic.Pointer[entry]
	heads    []atomic.Uint64 // per hash of a channel: the newest entry for it; older ones follow by entry.prev
	head     atomic.Uint64   // the next sequence number
	tail     atomic.Uint64   // the oldest one that is kept
	evicted  atomic.Pointer[protocol.MessageID]
	bytes    int // of bodies kept; the writer's
	maxBytes int
}

// entry is a place in the window: a publication, or an echo (pub is nil). It is immutable but for its frames, which are built
// once, when the first loop needs them.
type entry struct {
	seq     uint64
	expires int64 // when it leaves history, Unix milliseconds; 0: it is not there
	pub     *protocol.Publication
	echo    uint64             // number of the echo
	mark    mark               // what an echo says besides
	repair  uint64             // the last repair that was begun when an echo was appended
	highest protocol.MessageID // the greatest id, or counter that an echo showed, up to and including this entry
	prev    []uint64           // per receiver: the entry before this one with the same hash, 0: none
	prevBuf [2]uint64
	frames  [formats]frameSlot
}

// mark is what an echo means to the loops.
type mark uint8

const (
	markEcho   mark = iota
	markRepair      // a gap was closed: the window answers ids from highest on again
	markReset       // the counter went back: positions start anew at highest
)

func newWindow(count, maxBytes int) *window {
	w := &window{
		slots:    make([]atomic.Pointer[entry], count),
		heads:    make([]atomic.Uint64, count),
		maxBytes: maxBytes,
	}
	w.head.Store(1)
	w.tail.Store(1)
	w.evicted.Store(&protocol.MessageID{})
	return w
}

// append adds e and evicts what no longer fits. Only the hub calls it.
func (w *window) append(e *entry) {
	seq := w.head.Load()
	e.seq = seq
	w.bytes += e.size()
	for tail := w.tail.Load(); tail < seq && (seq-tail >= uint64(len(w.slots)) || w.bytes > w.maxBytes); tail++ {
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
	if e.pub != nil && e.pub.ID.Compare(*w.evicted.Load()) > 0 {
		w.evicted.Store(&e.pub.ID)
	}
	w.tail.Store(seq + 1)
	slot.Store(nil)
	w.bytes -= e.size()
}

// link notes for each receiver of e the entry before it.
func (w *window) link(e *entry) {
	if e.pub == nil {
		return
	}
	e.prev = e.prevBuf[:0]
	for i := range e.pub.Receivers {
		e.prev = append(e.prev, w.heads[w.bucket(&e.pub.Receivers[i].Channel)].Load())
	}
}

func (w *window) index(e *entry) {
	for i := range e.prev {
		w.heads[w.bucket(&e.pub.Receivers[i].Channel)].Store(e.seq)
	}
}

// forget makes the window answer only ids from floor on: those before it are of another counter.
func (w *window) forget(floor protocol.MessageID) {
	w.evicted.Store(&floor)
	for i := range w.heads {
		w.heads[i].Store(0)
	}
}

// bucket needs no hash function: ids are digests already.
func (w *window) bucket(ch *protocol.ChannelID) uint64 {
	return binary.LittleEndian.Uint64(ch.Bytes[:]) & uint64(len(w.heads)-1)
}

// newest is the number of the newest entry, 0 if there is none.
func (w *window) newest() uint64 { return w.head.Load() - 1 }

// at returns the entry with number seq. nil, false: it is not there yet; nil, true: it has been evicted.
func (w *window) at(seq uint64) (e *entry, lost bool) {
	if seq >= w.head.Load() {
		return nil, false
	}
	e = w.get(seq)
	return e, e == nil
}

// get returns the entry with number seq, nil if it is not kept.
func (w *window) get(seq uint64) *entry {
	e := w.slots[seq&uint64(len(w.slots)-1)].Load()
	if e == nil || e.seq != seq {
		return nil
	}
	return e
}

// publications are the entries with a publication from number from on, as far as they are kept, oldest first.
func (w *window) publications(from uint64) iter.Seq[*entry] {
	return func(yield func(*entry) bool) {
		for seq := from; seq < w.head.Load(); seq++ {
			if e := w.get(seq); e != nil && e.pub != nil && !yield(e) {
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

// since appends to dst the entries before upto that were stored for ch with an id above id and have not expired at now (Unix
// milliseconds), newest first, at most limit. ok is false if the window may have lost some of them.
func (w *window) since(dst []*entry, ch *protocol.ChannelID, id protocol.MessageID, upto uint64, limit int, now int64) (_ []*entry, ok bool) {
	start := len(dst)
	for seq := w.heads[w.bucket(ch)].Load(); seq != 0 && len(dst)-start < limit; {
		e := w.get(seq)
		if e == nil || e.highest.Compare(id) <= 0 {
			break // evicted, or at most id, and so are all entries before it
		}
		next, mine := e.step(w, ch)
		if mine && seq < upto && e.pub.ID.Compare(id) > 0 && e.replayable(now) {
			dst = append(dst, e)
		}
		seq = next
	}
	return dst, id.Compare(*w.evicted.Load()) >= 0
}

// step finds the next older entry of ch's bucket, and whether e itself is for ch.
func (e *entry) step(w *window, ch *protocol.ChannelID) (next uint64, mine bool) {
	want := w.bucket(ch)
	for i := range e.pub.Receivers {
		c := &e.pub.Receivers[i].Channel
		if w.bucket(c) != want {
			continue
		}
		mine = mine || *c == *ch
		next = e.prev[i] // the same for all receivers of one bucket
	}
	return next, mine
}

// replayable says whether history would have e at now (Unix milliseconds).
func (e *entry) replayable(now int64) bool { return e.expires > now }

// expiry is when a publication that arrived at now leaves history (Unix milliseconds). Created is in whole seconds: it bounds what
// arrives late, but alone it would drop the last second.
func expiry(p *protocol.Publication, now int64) int64 {
	if p.Expiry == 0 {
		return 0
	}
	life := int64(p.Expiry) * 1000
	return min(now, int64(p.Created)*1000+1000) + life
}

// size is what e takes in memory at most: its body, and a frame of it in each format.
func (e *entry) size() int {
	if e.pub == nil {
		return entryOverhead
	}
	return entryOverhead + (1+formats)*(len(e.pub.Body)+frameOverhead) + len(e.pub.Receivers)*receiverSize
}

const (
	entryOverhead = 256 // an entry and a publication without their bytes, so that many small ones are bounded, too
	frameOverhead = 128 // what framing adds to a body
	receiverSize  = 56
)
