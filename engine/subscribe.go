package engine

import (
	"slices"

	"push-server/engine/channels"
	"push-server/protocol"
)

// catchUp collects what concerned nobody here so far, so that who subscribes now begins at the present. It comes before the peer
// is told that it is connected: what is published from then on has to reach it.
func (l *loop) catchUp() {
	if !l.outbox.empty() {
		return // a turn is due
	}
	l.collect()
	if !l.outbox.empty() || l.reader.HasReleased() {
		l.wake()
	}
}

// subscribe makes s a subscriber of the channels of items.
func (l *loop) subscribe(s *Session, items []protocol.Item) {
	l.enterTable(s, items)
	s.via().count(&l.stats).Add(1)
	if l.reader.Behind() {
		l.wake() // it may concern s, but the feed did not know yet
	}
}

// enterTable enters s for every channel of items, each once, and makes room where a channel is full.
func (l *loop) enterTable(s *Session, items []protocol.Item) {
	l.channels = l.channels[:0]
	for i := range items {
		l.channels = appendOnce(l.channels, items[i].Private, true)
		if !items[i].HasPublic {
			continue
		}
		if !s.has(hasPublicID) {
			s.mark(hasPublicID)
			s.publicAt = uint16(len(l.channels))
		}
		l.channels = appendOnce(l.channels, items[i].Public, false)
	}
	s.since = l.engine.subscriptions.Add(1)
	l.intricate = true
	s.subs = make([]channels.Subscription, 0, len(l.channels))
	for i := range l.channels {
		sub := l.table.Join(&l.channels[i], s.index, uint32(i))
		s.subs = append(s.subs, sub)
		if l.channels[i].Private {
			l.engine.limits.enter(&l.channels[i], l.table.Count(sub))
		}
	}
	l.intricate = false
	for i := range items {
		if items[i].HasPublic {
			l.engine.limits.check(&protocol.ChannelID{Bytes: items[i].Private, Private: true})
		}
	}
}

func appendOnce(chs []protocol.ChannelID, id [16]byte, private bool) []protocol.ChannelID {
	ch := protocol.ChannelID{Bytes: id, Private: private}
	if slices.Contains(chs, ch) {
		return chs
	}
	return append(chs, ch)
}

// unsubscribe takes s out of the table. It must not be called while the table is iterated.
func (l *loop) unsubscribe(s *Session) {
	if s.subs == nil {
		return
	}
	l.intricate = true
	for _, sub := range s.subs {
		ch := l.table.Channel(sub)
		if ch.Private {
			l.engine.limits.leave(&ch, l.table.Count(sub)-1)
		}
		if moved, ok := l.table.Leave(sub); ok {
			l.slab.get(moved.Session).subs[moved.At].Pos = sub.Pos
		}
	}
	l.intricate = false
	s.subs = nil
	s.unmark(hasPublicID)
	s.via().count(&l.stats).Add(-1)
}

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
	if l.engine.presence == nil || len(s.subs) == 0 {
		return
	}
	l.engine.presence.touch(l.table.Channel(s.subs[0]))
	if s.publicAt == 1 && s.has(hasPublicID) {
		l.engine.presence.touch(l.table.Channel(s.subs[1]))
	}
}

// touchPoll is touchOnline for a poll: on a connection that polls again and again, a quarter of the mark's life is often enough.
func (l *loop) touchPoll(s *Session) {
	if l.engine.presence == nil {
		return
	}
	as := channels.Hash(&l.channels[0])
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
