package engine

import (
	"slices"
	"sync/atomic"
	"time"

	"push-server/engine/channels"
	"push-server/engine/feed"
	"push-server/engine/recorder"
	"push-server/protocol"
)

// catchUp collects what concerned nobody here so far, so that who subscribes now begins at the present. It comes before the peer
// is told that it is connected: what is published from then on has to reach it.
func (l *loop) catchUp() {
	l.collect()
	if !l.outbox.empty() || l.reader.HasReleased() {
		l.wake()
	}
}

// subscribe makes s a subscriber of the channels of items.
func (l *loop) subscribe(s *Session, items []protocol.Item) {
	n := len(items)
	for i := range items {
		if items[i].HasPublic {
			n++
		}
	}
	if s.since == 0 { // a WebSocket has its place already
		s.since = l.engine.subscriptions.Add(1)
	}
	s.subs = make([]channels.Subscription, 0, n)
	for i := range items {
		l.add(s, protocol.ChannelID{Bytes: items[i].Private, Private: true}, items[i].HasPublic || i == 0 && l.sub.Token.User != 0)
		if items[i].HasPublic {
			l.add(s, protocol.ChannelID{Bytes: items[i].Public}, false)
		}
	}
	s.named = uint16(len(s.subs))
	l.listening(s).Add(1)
	l.stats.keys[s.key].Add(1)
	l.note(s, recorder.Subscribed, 0, uint16(min(len(s.subs), 1<<16-1)))
}

// rememberUser notes whose connection s is, if a token has said it.
func (l *loop) rememberUser(s *Session) {
	if t := &l.sub.Token; t.Expires != 0 {
		s.user, s.expires = t.User, l.engine.expiryOf(time.Unix(t.Expires, 0))
		l.userComes(s)
	}
}

// join has s, which is subscribed, listen to ch, too. A session is as old as its last join.
func (l *loop) join(s *Session, ch protocol.ChannelID, limited bool) {
	if l.subscriptionOf(s, &ch) < 0 {
		s.since = l.engine.subscriptions.Add(1)
	}
	l.add(s, ch, limited)
}

// add has s listen to ch from now on. limited: where ch has too many subscribers, the oldest makes room.
func (l *loop) add(s *Session, ch protocol.ChannelID, limited bool) {
	if l.subscriptionOf(s, &ch) < 0 {
		l.enterTable(s, &ch)
	}
	if limited {
		l.engine.limits.check(&ch, l.settings.MaxConnPerChannel)
	}
	if l.reader.Behind() {
		l.wake() // it may concern s, but the feed did not know yet
	}
}

func (l *loop) enterTable(s *Session, ch *protocol.ChannelID) {
	at := len(s.subs)
	l.intricate = true
	sub := l.table.Join(ch, s.index, uint32(at))
	s.subs = append(s.subs, sub)
	if ch.Private {
		l.engine.limits.enter(ch, l.table.Count(sub), l.settings.share)
	}
	l.intricate = false
	if !ch.Private && !s.has(hasPublicID) {
		s.mark(hasPublicID)
		s.publicAt = uint16(at)
	}
}

// subscriptionOf is the index of s's subscription of ch; -1: there is none.
func (l *loop) subscriptionOf(s *Session, ch *protocol.ChannelID) int {
	for i := len(s.subs) - 1; i >= 0; i-- { // from the end, where leave is called first
		if l.table.Channel(s.subs[i]) == *ch {
			return i
		}
	}
	return -1
}

// leave has s listen to ch no longer. It must not be called while the table is iterated.
func (l *loop) leave(s *Session, ch protocol.ChannelID) {
	at := l.subscriptionOf(s, &ch)
	if at < 0 {
		return
	}
	l.intricate = true
	sub := s.subs[at]
	if ch.Private {
		l.engine.limits.leave(&ch, l.table.Count(sub)-1, l.settings.share)
	}
	if moved, ok := l.table.Leave(sub); ok {
		l.slab.get(moved.Session).subs[moved.At].Pos = sub.Pos
	}
	s.subs = slices.Delete(s.subs, at, at+1)
	for i := at; i < len(s.subs); i++ {
		l.table.Renumber(s.subs[i], uint32(i))
	}
	l.intricate = false
	if s.has(hasPublicID) && at <= int(s.publicAt) {
		l.findPublic(s)
	}
}

// findPublic finds the first public id that s listens to, which is the sender of what it publishes.
func (l *loop) findPublic(s *Session) {
	s.unmark(hasPublicID)
	for i, sub := range s.subs {
		if !l.table.Channel(sub).Private {
			s.mark(hasPublicID)
			s.publicAt = uint16(i)
			return
		}
	}
}

// unsubscribe has s leave all its channels.
func (l *loop) unsubscribe(s *Session) {
	if s.subs == nil {
		return
	}
	l.userGoes(s)
	l.endReceipts(s)
	for i := len(s.subs) - 1; i >= 0; i-- {
		l.leave(s, l.table.Channel(s.subs[i]))
	}
	s.subs = nil
	l.seeUser(s)
	l.listening(s).Add(-1)
	if !s.is(flagOwn) {
		l.stats.keys[s.key].Add(-1)
	}
}

// listening is the counter of what s is.
func (l *loop) listening(s *Session) *atomic.Int64 { return &l.stats.listening[s.transport][s.dialect] }

// sessionChannels returns the channels of s, and which of them have other subscribers here. Both slices are valid until the next call.
func (l *loop) sessionChannels(s *Session) (chs []protocol.ChannelID, shared []bool) {
	l.own, l.shared = l.own[:0], l.shared[:0]
	for _, sub := range s.subs {
		l.own = append(l.own, l.table.Channel(sub))
		l.shared = append(l.shared, l.table.Shared(sub))
	}
	return l.own, l.shared
}

// touchOnline marks the first item of s as online for other processes.
func (l *loop) touchOnline(s *Session) {
	l.seeUser(s)
	if l.engine.presence == nil || len(s.subs) == 0 {
		return
	}
	l.engine.presence.touch(l.table.Channel(s.subs[0]))
	if s.publicAt == 1 && s.has(hasPublicID) {
		l.engine.presence.touch(l.table.Channel(s.subs[1]))
	}
}

// touchAgain is touchOnline for what comes again and again, polls and the pongs of version 5: a quarter of the mark's life is often enough.
func (l *loop) touchAgain(s *Session) {
	if l.engine.presence == nil {
		l.seeUser(s)
		return
	}
	first := l.table.Channel(s.subs[0])
	as := channels.Hash(&first)
	if s.marked != 0 && s.markedAs == as && l.deadlines.now-s.marked < uint32(l.o.OnlineTTL/4/tick) {
		return
	}
	s.marked, s.markedAs = max(l.deadlines.now, 1), as
	l.touchOnline(s)
}

// oldest returns how many subscribers ch has here, and the one that subscribed first, with the number of its subscription.
func (l *loop) oldest(ch protocol.ChannelID) (n int, ref sessionRef, since uint64) {
	members := l.table.Subscribers(&ch)
	for i, m := range members {
		if s := l.slab.get(m.Session); i == 0 || s.since < since {
			ref, since = s.ref(), s.since
		}
	}
	return len(members), ref, since
}

// startReplay gives s what was published after mid.
func (l *loop) startReplay(s *Session, mid protocol.MessageID) {
	s.replay = feed.NewReplay(s.ref().tag(), mid)
	s.state = stateReplaying
	l.noteID(s, recorder.Replay, 0, 0, &mid)
	if l.replayed > replayShare {
		l.unfinished = append(l.unfinished, s.ref())
		l.wake()
		return
	}
	before := l.quantum.Spent()
	l.goOn(s)
	l.replayed += l.quantum.Spent() - before
}

// replayShare is how much is given between two turns to those who come, in pieces of work. Turns go on with it.
const replayShare = 1024

// goOn has the next part of what s missed read, and gives it to s if it is at hand.
func (l *loop) goOn(s *Session) {
	l.quantum.Spend(0)
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

// release hands out what is complete.
func (l *loop) release() (done bool) {
	l.quantum.Begin()
	if !l.hearNewestIDs() {
		return false
	}
	for {
		if l.over() {
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
	l.quantum.Spend(0)
	chs, _ := l.sessionChannels(s)
	es, more := l.reader.Take(s.replay, chs)
	if s.has(isTraced) {
		l.traceReplay(s, es)
	}
	s.via().give(l, s, es, more)
	l.reader.Forget()
}

// resumeReplays goes on with replays whose last part has left.
func (l *loop) resumeReplays() (done bool) {
	if len(l.unfinished) == 0 {
		return true
	}
	l.quantum.Begin()
	refs := l.unfinished
	l.unfinished = nil
	for i, ref := range refs {
		if l.over() {
			l.unfinished = slices.Concat(refs[i:], l.unfinished)
			return false
		}
		s := l.slab.at(ref)
		switch {
		case s == nil || s.state != stateReplaying:
		case s.conn.OutboundBuffered() > 0:
			l.unfinished = append(l.unfinished, ref)
		default:
			l.goOn(s)
		}
	}
	return true
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
func (l *loop) hearNewestIDs() (done bool) {
	for !l.over() {
		n := l.reader.Answered()
		if n == nil {
			return true
		}
		l.quantum.Spend(0)
		if s := l.slab.at(refOf(n.Tag)); s != nil && s.state == stateParked {
			if s.has(isTraced) {
				l.traceNewest(s, n.ID)
			}
			l.hearNewest(s, n)
		}
	}
	return false
}
