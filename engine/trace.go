package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"push-server/engine/feed"
	"push-server/engine/recorder"
	"push-server/engine/view"
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
		size += len(l.frame(s, e).Payload())
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
	l.traced[s.index].sayFinished(fmt.Sprint(statusOf(reply)))
}

// statusOf is the status of a complete HTTP reply.
func statusOf(reply []byte) (status uint16) {
	const at = len("HTTP/1.1 ")
	for _, digit := range reply[at : at+3] {
		status = 10*status + uint16(digit-'0')
	}
	return status
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

// note records an event of s, and shows it to whoever watches s. What bytes and detail mean is in package recorder.
func (l *loop) note(s *Session, k recorder.Kind, bytes int, detail uint16) {
	l.record(s, recorder.Event{Time: l.now, Place: s.index, Generation: s.born, Kind: k, Bytes: uint32(bytes), Detail: detail})
}

// noteID is note of something about a message.
func (l *loop) noteID(s *Session, k recorder.Kind, bytes int, detail uint16, id *protocol.MessageID) {
	l.record(s, recorder.Event{
		Time: l.now, Place: s.index, Generation: s.born, Kind: k, Bytes: uint32(bytes), Detail: detail, Mid: recorder.Tail(id),
	})
}

func (l *loop) record(s *Session, e recorder.Event) {
	l.recorder.Add(e)
	if s.is(flagWatched) {
		for _, f := range l.watched[s.index] {
			f.Add(e)
		}
	}
}

// noteClosed is for a session that has closed: where that is worth a line, with what happened before.
func (l *loop) noteClosed(s *Session) {
	l.note(s, recorder.Closed, 0, uint16(s.reason))
	if s.is(flagWatched) {
		delete(l.watched, s.index)
	}
	row := &closeTable[s.reason]
	switch {
	case row.notice != "":
		l.engine.notices.noteAfter(row.notice, l.peer(s), func() string { return l.lastEvents(s) })
	case row.fault && l.log.Enabled(context.Background(), slog.LevelDebug):
		l.engine.faults.Do(func() {
			l.log.Debug("connection closed", "reason", row.label, "address", l.peer(s), "events", l.lastEvents(s))
		})
	}
}

// lastEvents is what happened on s last, for the log.
func (l *loop) lastEvents(s *Session) string {
	const shown = 10
	all := l.recorder.Of(s.index, s.born)
	return recorder.Text(all[max(len(all)-shown, 0):], reasonText)
}

func reasonText(detail uint16) string { return CloseReason(detail).String() }

// Events returns what is left of the events of a connection, which may have ended. It may be called from any goroutine.
func (e *Engine) Events(ctx context.Context, id view.ID) (lines []recorder.Line, err error) {
	if id.Loop >= uint32(len(e.loops)) {
		return nil, nil
	}
	var all []recorder.Event
	err = e.askLoop(ctx, e.loops[id.Loop], func(l *loop) { all = l.recorder.Of(id.Place, id.Generation) })
	if err != nil {
		return nil, err
	}
	return Lines(all), nil
}

// Lines are events as operators see them.
func Lines(events []recorder.Event) (lines []recorder.Line) {
	for i := range events {
		lines = append(lines, events[i].Line(reasonText))
	}
	return lines
}

// maxWatchers is how many operators may watch connections at a time.
const maxWatchers = 12

// ErrWatchers is the error of Watch when there are as many as there may be.
var ErrWatchers = errors.New("as many connections are being followed as may be")

// Watch has a connection followed until ctx ends: nil, if there is none called id. It may be called from any goroutine. Only the sessions
// that are watched cost more for it.
func (e *Engine) Watch(ctx context.Context, id view.ID) (f *recorder.Follower, err error) {
	if id.Loop >= uint32(len(e.loops)) {
		return nil, nil
	}
	if e.watchers.Add(1) > maxWatchers {
		e.watchers.Add(-1)
		return nil, ErrWatchers
	}
	f = recorder.NewFollower()
	found, l := false, e.loops[id.Loop]
	if err := e.askLoop(ctx, l, func(l *loop) { found = l.watch(id, f) }); err != nil {
		go e.unwatch(l, id, f) // it may still have been asked
		return nil, err
	}
	if !found {
		e.watchers.Add(-1)
		return nil, nil
	}
	context.AfterFunc(ctx, func() { e.unwatch(l, id, f) })
	return f, nil
}

// unwatch waits until f gets nothing any more, or until the engine ends.
func (e *Engine) unwatch(l *loop, id view.ID, f *recorder.Follower) {
	e.watchers.Add(-1)
	_ = e.askLoop(context.Background(), l, func(l *loop) { l.unwatch(id, f) }) // fails only when there is nothing to unwatch
}

func (l *loop) watch(id view.ID, f *recorder.Follower) (found bool) {
	s := l.sessionOf(id)
	if s == nil {
		return false
	}
	if l.watched == nil {
		l.watched = make(map[uint32][]*recorder.Follower)
	}
	l.watched[s.index] = append(l.watched[s.index], f)
	s.set(flagWatched)
	return true
}

func (l *loop) unwatch(id view.ID, f *recorder.Follower) {
	s := l.sessionOf(id)
	if s == nil {
		return // with which its followers were forgotten
	}
	rest := slices.DeleteFunc(l.watched[s.index], func(other *recorder.Follower) bool { return other == f })
	l.watched[s.index] = rest
	if len(rest) == 0 {
		delete(l.watched, s.index)
		s.flags &^= flagWatched
	}
}
