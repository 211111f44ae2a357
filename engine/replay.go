package engine

import (
	"time"

	"push-server/engine/feed"
	"push-server/engine/recorder"
	"push-server/protocol"
)

// startReplay gives s what was published after mid.
func (l *loop) startReplay(s *Session, mid protocol.MessageID) {
	s.replay = feed.NewReplay(s.ref().tag(), mid)
	s.state = stateReplaying
	l.noteID(s, recorder.Replay, 0, 0, &mid)
	l.goOn(s)
}

// goOn has the next part of what s missed read, and gives it to s if it is at hand.
func (l *loop) goOn(s *Session) {
	chs, shared := l.sessionChannels(s)
	switch l.reader.Begin(s.replay, chs, shared) {
	case feed.Complete:
		l.stats.replaysWindow.Add(1)
		l.givePart(s)
	case feed.Waiting:
		l.stats.replaysHistory.Add(1)
	case feed.Busy:
		l.end(s, CloseOverload)
	}
}

// dropReplay lets go of what s was to get.
func (l *loop) dropReplay(s *Session) {
	if s.replay != nil {
		l.reader.Cancel(s.replay)
		s.replay = nil
	}
}

// release hands out what is complete. It runs when the outbox is empty: what was collected before has been written. It returns false
// when the budget was used up.
func (l *loop) release(start time.Time) bool {
	l.hearNewestIDs()
	for i := 1; ; i++ {
		if i%budgetEvery == 0 && time.Since(start) > l.o.TurnBudget && l.reader.HasReleased() {
			return false
		}
		q := l.reader.Released()
		if q == nil {
			return true
		}
		s := l.slab.at(refOf(q.Tag))
		switch {
		case s == nil || s.replay != q:
		case q.Overflown():
			l.end(s, CloseReplayOverflow)
		default:
			l.givePart(s)
		}
	}
}

// givePart writes the next part of what was missed. With the last one s is live: from here on ids are not compared any more.
func (l *loop) givePart(s *Session) {
	chs, _ := l.sessionChannels(s)
	es, more := l.reader.Take(s.replay, chs)
	if s.has(isTraced) {
		l.traceReplay(s, es)
	}
	s.via().give(l, s, es, more)
	l.reader.Forget()
}

// resumeReplays goes on with replays whose last part has left.
func (l *loop) resumeReplays() {
	refs := l.unfinished
	l.unfinished = nil
	for _, ref := range refs {
		s := l.slab.at(ref)
		switch {
		case s == nil || s.state != stateReplaying:
		case s.conn.OutboundBuffered() > 0:
			l.unfinished = append(l.unfinished, ref)
		default:
			l.goOn(s)
		}
	}
}

// askNewest asks for the newest stored id of a poll that is over.
func (l *loop) askNewest(s *Session) {
	chs, _ := l.sessionChannels(s)
	l.deadlines.start(s, timerGrace)
	if s.has(isTraced) {
		l.traceAsked(s)
	}
	if !l.reader.AskNewest(s.ref().tag(), chs) {
		l.timeoutPoll(s, l.reader.Highest())
	}
}

// hearNewestIDs takes the answers to askNewest.
func (l *loop) hearNewestIDs() {
	for n := l.reader.Answered(); n != nil; n = l.reader.Answered() {
		if s := l.slab.at(refOf(n.Tag)); s != nil && s.state == stateParked {
			if s.has(isTraced) {
				l.traceNewest(s, n.ID)
			}
			l.hearNewest(s, n)
		}
	}
}
