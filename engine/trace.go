package engine

import (
	"strings"
	"time"

	"push-server/engine/feed"
	"push-server/poll"
	"push-server/protocol"
)

// traced is the request under way of a session that an operator follows, as its loop knows it.
type traced struct {
	*followed
	target string
	code   uint16 // of the WebSocket's end
	text   string
	asked  time.Time // when the newest id was asked for
}

// noClose is the code of a WebSocket that ended without a close frame (RFC 6455, 7.1.5), emptyClose of one with an empty one.
const (
	emptyClose = 1005
	noClose    = 1006
)

// traceOpen notes when the connection of s came in: whether it is followed, only a request says.
func (l *loop) traceOpen(s *Session, peer *tlsPeer) {
	for int(s.index) >= len(l.arrivals) {
		l.arrivals = append(l.arrivals, arrival{})
	}
	l.arrivals[s.index] = arrival{tcp: time.Now()}
	if peer != nil {
		l.arrivals[s.index] = peer.arrival
	}
}

// follow begins to follow the request in l.head, if the operator wants to.
func (l *loop) follow(s *Session) *traced {
	l.unfollow(s)
	f := follow(l.o.Trace, poll.AddressText(l.addr(s)), l.head.List("X-Forwarded-For"))
	if f == nil {
		return nil
	}
	if l.traced == nil {
		l.traced = make(map[uint32]*traced)
	}
	t := &traced{followed: f, target: traceTarget(l.head.Target), code: noClose}
	l.traced[s.index] = t
	s.mark(isTraced)
	return t
}

func (l *loop) unfollow(s *Session) {
	if s.has(isTraced) {
		delete(l.traced, s.index)
		s.unmark(isTraced)
	}
}

// followedOf returns nil if s is not followed.
func (l *loop) followedOf(s *Session) *followed {
	if !s.has(isTraced) {
		return nil
	}
	return l.traced[s.index].followed
}

// traceRequest is for the request in l.head.
func (l *loop) traceRequest(s *Session) {
	t := l.follow(s)
	if t == nil {
		return
	}
	kind := string(l.head.Header.Method())
	if l.head.Upgrade {
		kind += "-UPGRADE"
	}
	t.sayRequest(l.arrivals[s.index], kind, t.target)
}

func (l *loop) traceWebSocket(s *Session) {
	t := l.traced[s.index]
	t.say("[WS-CONNECTION] %s %s", t.target, t.client)
}

// traceReplay is for a session that has got what it missed.
func (l *loop) traceReplay(s *Session, es []*feed.Entry) {
	t := l.traced[s.index]
	t.say("[MESSAGE-GET] %d %dms %s", len(es), t.ms(), t.client)
	if s.transport == transportWebSocket && len(es) > 0 {
		l.traceSend(s, es)
	}
}

func (l *loop) traceChain(s *Session, first uint32) {
	var es []*feed.Entry
	for i := first; i != 0; i = l.outbox.links[i-1].next {
		es = append(es, l.outbox.links[i-1].entry)
	}
	l.traceSend(s, es)
}

// traceSend is for messages that are sent together.
func (l *loop) traceSend(s *Session, es []*feed.Entry) {
	kind, size, ids := "POLLING", 0, make([]string, len(es))
	if s.transport == transportWebSocket {
		kind = "WEBSOCKET"
	}
	for i, e := range es {
		size += len(l.reader.Frame(e, &s.speaks().Encoding).Payload())
		ids[i] = `"` + e.Publication.ID.String() + `"`
	}
	l.traced[s.index].say("[%s-SEND] %dB {\"outgoingMessages\":%d} [%s]", kind, size, len(es), strings.Join(ids, ","))
}

// traceAsked is for a poll without a message whose newest id is asked for.
func (l *loop) traceAsked(s *Session) { l.traced[s.index].asked = time.Now() }

// traceNewest is for the answer.
func (l *loop) traceNewest(s *Session, newest protocol.MessageID) {
	t := l.traced[s.index]
	t.sayNewest(newest, t.asked)
}

// traceReply is for a complete HTTP reply.
func (l *loop) traceReply(s *Session, reply []byte) {
	const status = len("HTTP/1.1 ")
	l.traced[s.index].sayFinished(string(reply[status : status+3]))
}

// traceGoodbye notes what the close frame of a WebSocket says.
func (l *loop) traceGoodbye(s *Session, code uint16, text string) {
	t := l.traced[s.index]
	t.code, t.text = code, text
	if code == 0 {
		t.code = emptyClose
	}
}

// traceClose is for a session that ends; its state and reason are known.
func (l *loop) traceClose(s *Session) {
	t := l.traced[s.index]
	switch {
	case s.transport == transportWebSocket:
		t.say("[WS-CLOSED] %d %s %dms %s", t.code, t.text, t.ms(), t.client)
	case s.reason == ClosePeer && (s.state == stateReplaying || s.state == stateParked || s.state == stateWaiting || s.state == stateBody):
		t.say("[CLOSED-BY-CLIENT] %dms %s", t.ms(), t.client)
	}
	l.unfollow(s)
}
