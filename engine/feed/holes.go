package feed

import (
	"slices"
	"time"

	"push-server/protocol"
)

// holes are ids that were handed out but have not come by, in ascending order. Publishers of the Node server take an id first
// and publish later, so most holes fill themselves; failed calls leave holes for ever. The zero value is empty.
type holes struct {
	startdate uint64
	reached   uint64 // greatest counter whose predecessors are accounted for
	open      []hole
}

type hole struct {
	counter uint64
	since   time.Duration // on the clock of the feed
}

// maxJump is the largest step between two counters that is taken for missing publications, and the number of holes that are
// kept. A larger step is another counter.
const maxJump = 1 << 14

// restart begins anew at id.
func (h *holes) restart(id protocol.MessageID) {
	*h = holes{startdate: id.Startdate(), reached: id.Counter(), open: h.open[:0]}
}

// come notes that id has come by.
func (h *holes) come(id protocol.MessageID, now time.Duration) {
	h.adopt(id)
	counter := id.Counter()
	if h.jumps(id) {
		h.restart(id)
		return
	}
	if counter <= h.reached {
		h.fill(id)
		return
	}
	h.digTo(counter-1, now)
	h.reached = counter
}

// reach notes that all ids up to id have been handed out.
func (h *holes) reach(id protocol.MessageID, now time.Duration) {
	h.adopt(id)
	if h.jumps(id) {
		h.restart(id)
		return
	}
	h.digTo(id.Counter(), now)
}

// adopt takes the start date of the first id of a store that was empty: its counter began at 1.
func (h *holes) adopt(id protocol.MessageID) {
	if h.startdate == 0 && h.reached == 0 {
		h.startdate = id.Startdate()
	}
}

func (h *holes) jumps(id protocol.MessageID) bool {
	return id.Startdate() != h.startdate || id.Counter() > h.reached+maxJump
}

// dig notes that ids, in ascending order, have not come by, though greater ones may have. It follows restart.
func (h *holes) dig(ids []protocol.MessageID, now time.Duration) {
	for _, id := range ids {
		if id.Startdate() == h.startdate && id.Counter() <= h.reached {
			h.open = append(h.open, hole{id.Counter(), now})
		}
	}
}

func (h *holes) digTo(counter uint64, now time.Duration) {
	if counter <= h.reached {
		return
	}
	for c := h.reached + 1; c <= counter; c++ {
		h.open = append(h.open, hole{c, now})
	}
	if len(h.open) > maxJump {
		h.open = append(h.open[:0], h.open[len(h.open)-maxJump:]...)
	}
	h.reached = counter
}

func (h *holes) find(id protocol.MessageID) (int, bool) {
	if id.Startdate() != h.startdate {
		return 0, false
	}
	return slices.BinarySearchFunc(h.open, id.Counter(), func(x hole, c uint64) int {
		switch {
		case x.counter < c:
			return -1
		case x.counter > c:
			return 1
		}
		return 0
	})
}

func (h *holes) has(id protocol.MessageID) bool { _, ok := h.find(id); return ok }

// served says whether id has come by: it is accounted for, and no hole.
func (h *holes) served(id protocol.MessageID) bool {
	return id.Startdate() == h.startdate && id.Counter() <= h.reached && !h.has(id)
}

// fill closes the hole of id, if there is one.
func (h *holes) fill(id protocol.MessageID) {
	if i, ok := h.find(id); ok {
		h.open = slices.Delete(h.open, i, i+1)
	}
}

// beyond says whether an id above id has been accounted for: id is of a store that has lost data.
func (h *holes) beyond(id protocol.MessageID) bool {
	return protocol.MakeMessageID(h.startdate, h.reached).Compare(id) > 0
}

func (h *holes) none() bool { return len(h.open) == 0 }

// overdue returns up to limit holes that were there before t.
func (h *holes) overdue(t time.Duration, limit int) (ids []protocol.MessageID) {
	for _, x := range h.open {
		if x.since < t && len(ids) < limit {
			ids = append(ids, protocol.MakeMessageID(h.startdate, x.counter))
		}
	}
	return ids
}

// lastGood is the id up to which nothing is missing, given the greatest one seen.
func (h *holes) lastGood(highest protocol.MessageID) protocol.MessageID {
	if len(h.open) == 0 {
		return highest
	}
	return before(protocol.MakeMessageID(h.startdate, h.open[0].counter))
}

// before is the id that precedes id.
func before(id protocol.MessageID) protocol.MessageID {
	if n := id.Counter(); n > 0 {
		return protocol.MakeMessageID(id.Startdate(), n-1)
	}
	return protocol.MessageID{}
}
