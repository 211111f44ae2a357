package channels

import (
	"sync/atomic"

	"push-server/protocol"
)

// interest says of a loop which channels may have subscribers there, so that a publication wakes the loops that it is for and no others:
// on two cores, waking the second one for nothing was a quarter of what answering a poll cost, and with more cores it is worse. Its loop
// writes, anybody reads. It counts channels by hash in four bits each; a counter that was full once stays so, since yes is never wrong.
type interest struct {
	words atomic.Pointer[[]atomic.Uint32] // eight counters each; a power of two
}

const (
	countersPerBucket = 2 // of the table: one or two in ten channels that are not there look as if they were
	counterFull       = 15
)

// count counts anew, for a table with that many buckets.
func (in *interest) count(buckets int, slots []uint32, hash func(slot uint32) uint32) {
	words := make([]atomic.Uint32, countersPerBucket*buckets/8)
	for _, slot := range slots {
		if slot != 0 {
			add(words, hash(slot), 1)
		}
	}
	in.words.Store(&words)
}

func (in *interest) enter(hash uint32) { add(*in.words.Load(), hash, 1) }
func (in *interest) leave(hash uint32) { add(*in.words.Load(), hash, -1) }

// add is no atomic addition, since nobody else writes.
func add(words []atomic.Uint32, hash uint32, by int) {
	w, shift := counter(words, hash)
	old := w.Load()
	n := old >> shift & counterFull
	if n == counterFull {
		return
	}
	w.Store(old&^(counterFull<<shift) | uint32(int(n)+by)<<shift)
}

func counter(words []atomic.Uint32, hash uint32) (w *atomic.Uint32, shift uint32) {
	return &words[hash>>3&uint32(len(words)-1)], hash & 7 * 4
}

// has says whether one of the receivers may have a subscriber. It may be called from any goroutine.
func (in *interest) has(receivers []protocol.Receiver) bool {
	words := *in.words.Load()
	for i := range receivers {
		w, shift := counter(words, Hash(&receivers[i].Channel))
		if w.Load()>>shift&counterFull != 0 {
			return true
		}
	}
	return false
}
