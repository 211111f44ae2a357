package engine

import (
	"push-server/engine/feed"
	"push-server/poll"
	"push-server/protocol"
)

// startPoll subscribes the poll in l.head and answers it, or lets it wait. more: it was answered.
func (l *loop) startPoll(s *Session) (more bool) {
	if e := l.sub.Parse(&l.head, l.signer); e != nil {
		l.refusePoll(s, e)
		return true
	}
	if l.sub.Binary {
		s.set(flagBinary)
	}
	if l.sub.HasMid {
		s.set(flagMid)
		s.mid = l.sub.Mid
	}
	s.gen++
	l.deadlines.start(s, timerPoll)
	l.catchUp()
	l.subscribe(s, l.sub.Items)
	l.touchPoll(s)
	l.stats.polls.Add(1)
	if l.sub.HasMid {
		l.startReplay(s, l.sub.Mid)
	} else {
		s.state = stateParked
	}
	return s.state == stateHead
}

// endPoll takes a poll from its channels. Its answer follows.
func (l *loop) endPoll(s *Session) {
	l.unsubscribe(s)
	l.dropReplay(s)
}

// answerPoll answers a poll with messages, in the order given.
func (l *loop) answerPoll(s *Session, es []*feed.Entry) {
	if s.is(flagTraced) {
		l.traceSend(s, es)
	}
	enc := s.encoding()
	size := 0
	for _, e := range es {
		size += len(l.reader.Frame(e, enc).Payload())
	}
	l.endPoll(s)
	l.scratch = poll.AppendPollReplyHead(l.scratch[:0], s.replyOptions(), s.is(flagBinary), size)
	for _, e := range es {
		l.scratch = append(l.scratch, l.reader.Frame(e, enc).Payload()...)
	}
	l.stats.countDelivered(len(es))
	l.reply(s, l.scratch)
	l.trimScratch()
}

// trimScratch lets go of what one huge reply needed.
func (l *loop) trimScratch() {
	if cap(l.scratch) > 8*scratchLimit {
		l.scratch = nil
	}
}

func (l *loop) refusePoll(s *Session, e *protocol.Error) {
	l.endPoll(s)
	l.scratch = poll.AppendPollError(l.scratch[:0], s.replyOptions(), e)
	l.reply(s, l.scratch)
}

// timeoutPoll answers a poll for which nothing has come; the client goes on from mid. A message that is under way to it goes first: mid
// may be behind it.
func (l *loop) timeoutPoll(s *Session, mid protocol.MessageID) {
	if s.outFirst != 0 {
		l.deliver(s)
		return
	}
	l.endPoll(s)
	l.scratch = poll.AppendPollTimeout(l.scratch[:0], s.replyOptions(), mid)
	l.reply(s, l.scratch)
}

// pollExpired ends a poll whose time is over.
func (l *loop) pollExpired(s *Session) {
	if s.is(flagMid) {
		l.timeoutPoll(s, s.mid)
		return
	}
	l.askNewest(s)
}

// graceExpired ends a poll whose newest id could not be told in time, or names a message that has not come by.
func (l *loop) graceExpired(s *Session) { l.timeoutPoll(s, l.reader.Highest()) }

// hearNewest ends a poll without mid: from the newest stored message of its channels, or, where there is none, from the greatest
// id seen, because an empty position would lose what is published before the next poll. A stored message that has not come by
// yet must not be named, or the client would never get it: the poll stays a little longer and gets it.
func (l *loop) hearNewest(s *Session, n *feed.Newest) {
	newest := l.reader.Highest()
	if n.Known && !n.ID.IsZero() {
		newest = n.ID
	}
	if newest.Compare(l.reader.Highest()) <= 0 {
		l.timeoutPoll(s, newest)
	}
}
