package engine

import (
	"context"
	"slices"

	"push-server/protocol"
)

// recentIDs remembers what a loop served lately: ids of other publishers arrive out of order, so the greatest one is not enough
// to tell what was served when the window has overtaken the loop.
type recentIDs struct {
	ids [1024]protocol.MessageID
	n   int
}

func (r *recentIDs) add(id protocol.MessageID) {
	r.ids[r.n%len(r.ids)] = id
	r.n++
}

func (r *recentIDs) has(id protocol.MessageID) bool {
	return slices.Contains(r.ids[:min(r.n, len(r.ids))], id)
}

// oldest is an id below which nothing that was served lately is found.
func (r *recentIDs) oldest() (id protocol.MessageID) {
	if r.n == 0 {
		return id
	}
	return slices.MinFunc(r.ids[:min(r.n, len(r.ids))], protocol.MessageID.Compare)
}

// fallBehind starts the repair of a loop whose next entry has left the window: what it missed is read from history, and served
// before what remains in the window. The other loops do not notice.
func (l *loop) fallBehind() {
	l.lagging = true
	l.stats.lags.Add(1)
	l.log.Warn("loop was overtaken by the window, reading history", "loop", l.id)
	since := l.highest
	if old := l.recent.oldest(); !old.IsZero() && old.Compare(since) < 0 {
		since = old
	}
	if since.Compare(l.accounted) < 0 {
		since = l.accounted
	}
	l.engine.background(func(ctx context.Context) { l.engine.hub.repairLoop(ctx, l, since) })
}

// repairLoop reads what l missed: what had come by when it begins. What came later must still be in the window when it is served, or
// it reads again; what history has but the bus has not brought yet is still to come.
func (h *Hub) repairLoop(ctx context.Context, l *loop, since protocol.MessageID) {
	retry := backoff{first: repairPause, limit: repairPauseMax}
	for ctx.Err() == nil {
		var chs []protocol.ChannelID // of now: who subscribes later reads history
		if askLoops(ctx, []*loop{l}, func(l *loop) { chs = l.table.channels() }) != nil {
			return
		}
		head, bound := h.window.head.Load(), h.window.highest()
		missed, err := h.readHistory(ctx, chs, since, bound, 0)
		if err != nil {
			h.log.Warn("history cannot be read for a loop that fell behind, trying again", "loop", l.id, "err", err)
			retry.wait(ctx)
			continue
		}
		resumed := false
		if askLoops(ctx, []*loop{l}, func(l *loop) { resumed = l.resumeAt(head, bound, missed) }) != nil || resumed {
			return
		}
	}
}

// resumeAt takes up service with what was missed and what is left in the window. It returns false if the window has lost
// something since head. bound is the greatest id that had come by at head.
func (l *loop) resumeAt(head uint64, bound protocol.MessageID, missed []*protocol.Publication) bool {
	tail := l.window.tail.Load()
	if tail > head {
		return false
	}
	kept := make(map[protocol.MessageID]bool)
	accounted := bound // by the detour; what is kept is accounted for when it is served
	for e := range l.window.publications(tail) {
		kept[e.pub.ID] = true
		if e.pub.ID.Compare(accounted) <= 0 {
			accounted = before(e.pub.ID)
		}
	}
	highest := l.highest
	l.detour = l.detour[:0]
	if l.detoured == nil {
		l.detoured = make(map[protocol.MessageID]bool)
	}
	for _, p := range missed {
		if kept[p.ID] || l.recent.has(p.ID) {
			continue
		}
		if p.ID.Compare(highest) > 0 {
			highest = p.ID
		}
		l.detour = append(l.detour, &entry{pub: p, highest: highest})
		l.detoured[p.ID] = true
	}
	l.detouredUntil = l.deadlines.now + uint32(repairedTime/tick)
	l.cursor, l.lagging, l.accounted = tail, false, accounted
	l.wake()
	return true
}

// before is the id that precedes id.
func before(id protocol.MessageID) protocol.MessageID {
	if n := id.Counter(); n > 0 {
		return protocol.MakeMessageID(id.Startdate(), n-1)
	}
	return protocol.MessageID{}
}

// wasDetoured says whether e, from the window, was served before: its publisher was late, and history had it earlier than the bus.
func (l *loop) wasDetoured(e *entry) bool {
	if l.detoured == nil {
		return false
	}
	if l.deadlines.now >= l.detouredUntil {
		l.detoured = nil
		return false
	}
	return e.pub != nil && l.detoured[e.pub.ID]
}
