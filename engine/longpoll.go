package engine

import (
	"push-server/engine/feed"
	"push-server/poll"
	"push-server/protocol"
)

func init() {
	transportTable[transportPoll] = transport{
		label: "poll", read: (*loop).skipBody, unread: pipelined, deliver: (*loop).deliverPoll, give: (*loop).giveMissed,
		hear: (*loop).hearReply, end: (*loop).endPolling,
	}
}

// pipelined bounds what may come behind a request that is under way, in bytes: another head.
const pipelined = poll.MaxHead + 2

// speak notes in which dialect s gets its messages.
func (s *Session) speak(sub *poll.Subscription) {
	switch {
	case sub.JSONRPC:
		s.dialect = dialectJSONRPC
	case sub.Binary:
		s.dialect = dialectProtobuf
	}
	s.key = uint8(sub.Key)
}

// startPoll subscribes the poll in l.head and answers it, or lets it wait. more: it was answered.
func (l *loop) startPoll(s *Session) (more bool) {
	if e := l.sub.Parse(&l.head, l.signer, l.tokens); e != nil {
		l.countToken()
		l.noteRefused(s)
		l.refusePoll(s, e)
		return true
	}
	if !l.admitRequest(s, false) {
		return false
	}
	s.transport = transportPoll
	s.speak(&l.sub)
	if l.sub.HasMid {
		s.mark(asksMid)
		s.mid = l.sub.Mid
	}
	s.gen++
	l.deadlines.start(s, timerPoll)
	l.catchUp()
	l.subscribe(s, l.sub.Items)
	l.rememberUser(s)
	l.touchAgain(s)
	if l.sub.HasMid {
		l.startReplay(s, l.sub.Mid)
	} else {
		s.state = stateParked
	}
	return s.state == stateHead
}

// endPoll takes a poll from its channels. Its answer follows.
func (l *loop) endPoll(s *Session) {
	l.leaveRequest(s)
	l.unsubscribe(s)
	l.dropReplay(s)
}

// deliverPoll answers a poll with what the outbox has for it.
func (l *loop) deliverPoll(s *Session, first uint32) {
	l.entries = l.entries[:0]
	for i := first; i != 0; i = l.outbox.links[i-1].next {
		l.entries = append(l.entries, l.outbox.links[i-1].entry)
	}
	l.answerPoll(s, l.entries)
	clear(l.entries)
}

// giveMissed answers a poll with what it has missed, if that is anything. Its client comes back for more.
func (l *loop) giveMissed(s *Session, es []*feed.Entry, _ bool) {
	l.dropReplay(s)
	s.state = stateParked
	if len(es) > 0 {
		l.answerPoll(s, es)
	}
}

// endPolling ends a poll for another reason than its own.
func (l *loop) endPolling(s *Session, reason CloseReason) {
	switch reason {
	case CloseEvicted:
		l.refusePoll(s, protocol.ErrTooManyConnections)
	case CloseDrain, CloseOperator:
		l.drainPoll(s)
	default:
		l.close(s, reason)
	}
}

// drainPoll gives a poll its regular empty answer: an empty 200 would make the client forget its position.
func (l *loop) drainPoll(s *Session) {
	s.mark(asksClose)
	mid := l.reader.Highest()
	if s.has(asksMid) {
		mid = s.mid
	}
	l.timeoutPoll(s, mid)
}

// answerPoll answers a poll with messages, in the order given.
func (l *loop) answerPoll(s *Session, es []*feed.Entry) {
	if s.has(isTraced) {
		l.traceSend(s, es)
	}
	j := &s.speaks().joint
	for _, e := range es {
		l.built = append(l.built, l.frame(s, e))
	}
	size := j.size(l.built)
	l.endPoll(s)
	l.scratch = poll.AppendPollReplyHead(l.scratch[:0], s.replyOptions(), s.speaks().binary, size)
	l.scratch = j.append(l.scratch, l.built)
	l.countSent(s, len(es), es[len(es)-1], size)
	l.reply(s, l.scratch)
	l.trimScratch()
}

// noFrames empties built.
func (l *loop) noFrames() {
	clear(l.built)
	l.built = l.built[:0]
}

// trimScratch lets go of frames, and of what one huge reply needed.
func (l *loop) trimScratch() {
	l.noFrames()
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
	if s.has(asksMid) {
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
