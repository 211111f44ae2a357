package engine

import (
	"slices"
	"time"

	"push-server/protocol"
)

// replay is what a session needs while its history is read. It enters the table first; live messages go to pending; history is
// read; then an echo is sent through the bus. When it comes by in the window, everything published before the read has come by,
// in whatever order: history and pending together are complete.
type replay struct {
	mid        protocol.MessageID // what the client knows already
	pending    []*entry
	history    []*protocol.Publication
	asked      bool // history is needed
	heard      bool // history has come
	echo       uint64
	overflowed bool
}

// startReplay gives s what was published after mid: from the window if it can answer, else from history.
func (l *loop) startReplay(s *Session, mid protocol.MessageID) {
	if l.windowCovers(mid) && mid.Compare(l.highest) <= 0 {
		if es, ok := l.replayWindow(s, mid); ok {
			l.stats.replaysWindow.Add(1)
			l.finishReplay(s, es)
			return
		}
	}
	r := &replay{mid: mid}
	s.replay = r
	s.state = stateReplaying
	if !l.blind && !l.lagging && mid.Compare(l.highest) > 0 && mid.Compare(l.window.highest()) <= 0 {
		// The client was served by a loop that is ahead of this one: what it misses is still to come here.
		l.waiting = append(l.waiting, s.ref())
		return
	}
	r.asked = true
	l.stats.replaysHistory.Add(1)
	chs, shared := l.sessionChannels(s)
	query := protocol.HistoryQuery{Channels: chs, Shared: shared, Since: mid, Limit: l.o.HistoryPerChannel, Total: l.o.HistoryTotal}
	if !l.engine.worker.ask(question{loop: l, ref: s.ref(), kind: mailHistory, query: query}) {
		l.end(s, CloseOverload)
	}
}

// windowCovers says whether the window may know everything after mid.
func (l *loop) windowCovers(mid protocol.MessageID) bool {
	return !l.blind && !l.lagging && !l.base.IsZero() && mid.Compare(l.base) >= 0
}

// replayWindow collects from the window what s has missed, oldest first, within the limits of history, up to the loop's
// position. ok is false if the window does not reach back to mid. The result is valid until the next call.
func (l *loop) replayWindow(s *Session, mid protocol.MessageID) (es []*entry, ok bool) {
	now := time.Now().UnixMilli()
	l.found = l.found[:0]
	for _, sub := range s.subs {
		ch := l.table.channel(sub)
		if l.found, ok = l.window.since(l.found, &ch, mid, l.cursor, l.o.HistoryPerChannel, now); !ok {
			return nil, false
		}
	}
	return newestEntries(mergeEntries(l.found), l.o.HistoryTotal), true
}

// mergeEntries sorts es by id and drops doubles, of which the first one stays.
func mergeEntries(es []*entry) []*entry {
	slices.SortStableFunc(es, func(a, b *entry) int { return a.pub.ID.Compare(b.pub.ID) })
	return slices.CompactFunc(es, func(a, b *entry) bool { return a.pub.ID == b.pub.ID })
}

func newestEntries(es []*entry, limit int) []*entry {
	if len(es) > limit {
		return es[len(es)-limit:]
	}
	return es
}

// keepPending keeps a live message until history has come.
func (l *loop) keepPending(s *Session, e *entry) {
	r := s.replay
	if len(r.pending) >= l.o.MaxPending { // the table is being iterated: the session goes with the next release
		r.pending, r.overflowed = nil, true
		l.released = append(l.released, s.ref())
	}
	if r.overflowed {
		return
	}
	r.pending = append(r.pending, e)
}

// hearHistory takes what a worker has read for s.
func (l *loop) hearHistory(s *Session, read *historyRead) {
	if s.state != stateReplaying {
		return
	}
	r := s.replay
	r.history, r.echo, r.heard = read.pubs, read.echo, true
	if l.replayComplete(r) {
		l.released = append(l.released, s.ref())
		return
	}
	l.waiting = append(l.waiting, s.ref())
}

// replayComplete says whether everything that s waits for has come by.
func (l *loop) replayComplete(r *replay) bool {
	if r.asked {
		return r.heard && l.echo >= r.echo
	}
	return l.highest.Compare(r.mid) >= 0
}

// checkWaiting moves sessions that are complete to those that can be released.
func (l *loop) checkWaiting() {
	kept := l.waiting[:0]
	for _, ref := range l.waiting {
		s := l.slab.at(ref)
		switch {
		case s == nil || s.state != stateReplaying:
		case l.replayComplete(s.replay):
			l.released = append(l.released, ref)
		default:
			kept = append(kept, ref)
		}
	}
	l.waiting = kept
}

// release hands out complete replays. It runs when the outbox is empty: what was collected before has been written. It returns
// false when the budget was used up.
func (l *loop) release(start time.Time) bool {
	for i, ref := range l.released {
		if i%budgetEvery == budgetEvery-1 && time.Since(start) > l.o.TurnBudget {
			l.released = append(l.released[:0], l.released[i:]...)
			return false
		}
		s := l.slab.at(ref)
		switch {
		case s == nil || s.state != stateReplaying:
		case s.replay.overflowed:
			l.end(s, CloseReplayOverflow)
		default:
			l.finishReplay(s, l.mergeReplay(s.replay))
		}
	}
	l.released = l.released[:0]
	return true
}

// mergeReplay puts history and live messages together. Of two copies the live one stays: history names only some receivers.
// A mid above everything ever handed out (of the future, or from before a flush) bounds nothing.
func (l *loop) mergeReplay(r *replay) []*entry {
	l.found = append(l.found[:0], r.pending...)
	for _, p := range r.history {
		l.found = append(l.found, &entry{pub: p})
	}
	es := mergeEntries(l.found)
	if r.mid.Compare(l.highest) > 0 {
		return es
	}
	after, _ := slices.BinarySearchFunc(es, r.mid, func(e *entry, mid protocol.MessageID) int {
		if e.pub.ID.Compare(mid) <= 0 {
			return -1
		}
		return 1
	})
	return es[after:]
}

// finishReplay writes what was missed; from here on ids are not compared any more.
func (l *loop) finishReplay(s *Session, es []*entry) {
	s.replay = nil
	if s.is(flagTraced) {
		l.traceReplay(s, es)
	}
	if !s.is(flagWebSocket) {
		s.state = stateParked
		if len(es) > 0 {
			l.answerPoll(s, es)
		}
		return
	}
	s.state = stateLive
	f := s.format()
	first := true
	l.scratch = l.scratch[:0]
	for i, e := range es {
		l.scratch = append(l.scratch, l.frame(e, f).bytes...)
		if len(l.scratch) < scratchLimit && i < len(es)-1 {
			continue
		}
		if first {
			l.write(s, l.scratch)
		} else {
			l.writeMore(s, l.scratch)
		}
		first, l.scratch = false, l.scratch[:0]
	}
	l.stats.countDelivered(len(es))
}

// askNewest asks for the newest stored id of a poll that is over.
func (l *loop) askNewest(s *Session) {
	chs, _ := l.sessionChannels(s)
	query := protocol.HistoryQuery{Channels: chs, Limit: 1, Total: 1}
	l.deadlines.start(s, timerGrace)
	if s.is(flagTraced) {
		l.traceAsked(s)
	}
	if !l.engine.worker.ask(question{loop: l, ref: s.ref(), kind: mailNewest, query: query}) {
		l.timeoutPoll(s, l.highest)
	}
}

// hearEcho notes an echo that comes by.
func (l *loop) hearEcho(e *entry) {
	l.echo = max(l.echo, e.echo)
	switch e.mark {
	case markReset:
		l.highest, l.base = e.highest, e.highest
		l.see(e)
		return
	case markRepair:
		l.base = e.highest
		l.see(e)
	}
	if e.highest.Compare(l.highest) > 0 {
		l.highest = e.highest
	}
}

// see lets the window answer again, unless another repair has begun since e was appended.
func (l *loop) see(e *entry) { l.blind = l.blind && e.repair < l.blindUntil }
