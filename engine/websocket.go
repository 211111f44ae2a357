package engine

import (
	"errors"
	"slices"

	"github.com/gobwas/ws"

	"push-server/engine/feed"
	"push-server/engine/recorder"
	"push-server/poll"
	"push-server/protocol"
)

func init() {
	transportTable[transportWebSocket] = transport{
		label: "websocket", read: (*loop).readFrame, unread: protocol.MaxUnread, pings: true, deliver: (*loop).deliverFrames,
		give: (*loop).giveFrames, hear: (*loop).hearFrame, end: (*loop).endWebSocket,
	}
}

// pingPayload is that of the Node server.
var pingFrame = protocol.AppendFrame(nil, ws.OpPing, []byte("ws ping"))

// upgrade answers a WebSocket handshake. Wrong channels are refused after it, because clients act on that close code only.
func (l *loop) upgrade(s *Session, size int) (n int, more bool) {
	hs := l.head.Handshake(l.o.Listeners[s.listener].Routes.Sub)
	if refusal := hs.Check(); refusal != nil {
		l.scratch = protocol.AppendHandshakeRefusal(l.scratch[:0], refusal, l.head.Header.IsHead())
		return l.refuse(s, size)
	}
	if !l.settings.Origins.Allow(l.head.List("Origin")) {
		l.scratch = protocol.AppendHandshakeRefusal(l.scratch[:0], protocol.RefusedOrigin, l.head.Header.IsHead())
		s.reason = CloseOrigin
		l.write(s, l.scratch)
		l.finish(s)
		return size, false
	}
	if !l.admitRequest(s, true) {
		return size, false
	}
	l.catchUp()
	s.since = l.engine.subscriptions.Add(1) // before its client can open another connection, on another loop
	l.scratch = protocol.AppendSwitchingProtocols(l.scratch[:0], hs.Key, hs.Subprotocols)
	l.write(s, l.scratch)
	if s.state == stateClosed {
		return size, false
	}
	s.transport = transportWebSocket
	s.gen++
	l.deadlines.start(s, timerPing)
	l.startWebSocket(s)
	return size, true
}

// startWebSocket subscribes a connection that is a WebSocket now.
func (l *loop) startWebSocket(s *Session) {
	s.state = stateLive
	if l.o.ErrorLog != nil {
		l.rememberForwarded(s, l.head.List("X-Forwarded-For"))
		l.rememberTest(s)
	}
	e := l.sub.Parse(&l.head, l.signer, l.tokens)
	s.speak(&l.sub)
	s.sent = 0 // what polls on this connection got was perhaps for others, and nobody acknowledges it
	if s.speaks().pulse != nil {
		l.deadlines.start(s, timerPulse)
	}
	if e != nil {
		l.countToken()
		l.noteRefused(s)
		l.sayGoodbye(s, CloseProtocol, e.Code, e.Reason())
		return
	}
	l.subscribe(s, l.sub.Items)
	l.rememberUser(s)
	l.touchOnline(s)
	if s.has(isTraced) {
		l.traceWebSocket(s)
	}
	if l.sub.HasMid {
		l.startReplay(s, l.sub.Mid)
	}
}

// sayGoodbye sends a close frame; what follows from the peer but its own close frame is ignored.
func (l *loop) sayGoodbye(s *Session, reason CloseReason, code uint16, text string) {
	if s.reason == CloseNone {
		s.reason = reason
	}
	if s.has(isTraced) {
		l.traceGoodbye(s, code, text)
	}
	l.note(s, recorder.CloseFrame, len(text), code)
	l.unsubscribe(s)
	l.dropReplay(s)
	l.scratch = protocol.AppendClose(l.scratch[:0], code, text)
	l.write(s, l.scratch)
	if s.state == stateClosed {
		return
	}
	s.state = stateClosing
	s.gen++
	l.deadlines.start(s, timerClose)
}

// endWebSocket closes with the code of the reason, if it has one.
func (l *loop) endWebSocket(s *Session, reason CloseReason) {
	row := &closeTable[reason]
	if row.wsCode == 0 {
		l.close(s, reason)
		return
	}
	l.sayGoodbye(s, reason, row.wsCode, row.wsText)
}

// deliverFrames writes the publications that the outbox has for s.
func (l *loop) deliverFrames(s *Session, first uint32) {
	if s.has(isTraced) {
		l.traceChain(s, first)
	}
	n := &l.outbox.links[first-1]
	if n.next == 0 {
		frame := l.frame(s, n.entry).Bytes
		l.countSent(s, 1, n.entry, len(frame))
		l.write(s, frame)
		return
	}
	l.scratch = l.scratch[:0]
	for i := first; i != 0; i = l.outbox.links[i-1].next {
		e := l.outbox.links[i-1].entry
		frame := l.frame(s, e).Bytes
		l.scratch = append(l.scratch, frame...)
		l.countSent(s, 1, e, len(frame))
		if len(l.scratch) >= scratchLimit {
			l.write(s, l.scratch)
			l.scratch = l.scratch[:0]
		}
	}
	l.write(s, l.scratch)
}

// countSent counts n messages for s in so many bytes, the last of which is e.
func (l *loop) countSent(s *Session, n int, e *feed.Entry, bytes int) {
	l.stats.countDelivered(n)
	s.sent += uint32(n)
	s.mid = e.Publication.ID
	if s.acknowledges() {
		l.noteFlight(e, n)
	}
	l.noteID(s, recorder.Message, bytes, uint16(n), &s.mid)
}

// scratchLimit is the size from which a joined write is sent without waiting for the rest.
const scratchLimit = 256 << 10

// giveFrames writes a part of what s has missed. What is replayed together leaves in one frame, up to a size: clients of the Node server
// find in one frame all that it had ready, and a batch of protobuf responses is their concatenation.
func (l *loop) giveFrames(s *Session, es []*feed.Entry, more bool) {
	d := s.speaks()
	if l.joined.is(es, d) {
		l.write(s, l.joined.frame)
		l.countSent(s, len(es), es[len(es)-1], len(l.joined.frame))
		es = nil
	}
	first := true
	for len(es) > 0 && s.state == stateReplaying {
		n, size := 0, 0
		l.noFrames()
		for ; n < len(es) && (n == 0 || size < replayFrame); n++ {
			f := l.frame(s, es[n])
			l.built = append(l.built, f)
			size += len(f.Payload())
		}
		l.scratch = protocol.AppendFrameHeader(l.scratch[:0], d.OpCode, d.joint.size(l.built))
		l.scratch = d.joint.append(l.scratch, l.built)
		if first {
			if n == len(es) && !hasOwn(es, d) {
				l.joined.keep(es, d, l.scratch)
			}
			l.write(s, l.scratch)
		} else {
			l.writeMore(s, l.scratch)
		}
		l.countSent(s, n, es[n-1], len(l.scratch))
		es, first = es[n:], false
	}
	l.trimScratch()
	switch {
	case s.state != stateReplaying: // closed
	case more:
		l.unfinished = append(l.unfinished, s.ref())
		l.wake()
	default:
		l.dropReplay(s)
		s.state = stateLive
	}
}

// hasOwn says whether one of es may differ from client to client.
func hasOwn(es []*feed.Entry, d *dialect) bool {
	return d.own != nil && slices.ContainsFunc(es, func(e *feed.Entry) bool { return e.Publication.Extra != nil })
}

// joined is the last frame of replayed messages: those who lose their connections at once miss the same. It lasts for a turn.
type joined struct {
	entries []*feed.Entry
	dialect *dialect
	frame   []byte
}

func (j *joined) is(es []*feed.Entry, d *dialect) bool {
	return len(es) > 0 && d == j.dialect && slices.Equal(es, j.entries)
}

func (j *joined) keep(es []*feed.Entry, d *dialect, frame []byte) {
	if len(frame) > 2*replayFrame {
		return
	}
	j.entries, j.dialect, j.frame = append(j.entries[:0], es...), d, append(j.frame[:0], frame...)
}

func (j *joined) forget() {
	clear(j.entries)
	j.entries = j.entries[:0]
}

// replayFrame is the size from which a frame of replayed messages takes no further one, in bytes.
const replayFrame = 64 << 10

// hearFrame passes on what a worker answers.
func (l *loop) hearFrame(s *Session, m *mail) {
	if s.state != stateClosing {
		l.write(s, m.reply)
	}
}

// readFrame takes the next frame, or as much of it as is there. What nobody reads is dropped as it comes.
func (l *loop) readFrame(s *Session, buf []byte) (n int, more bool) {
	if len(buf) == 0 {
		return 0, false
	}
	hear := s.speaks().hear
	if s.state == stateClosing {
		hear = nil
	}
	m, n, err := l.frames.Next(buf, &s.assembly, l.settings.Limits.MaxPayload, hear != nil)
	if err != nil {
		if errors.Is(err, protocol.ErrShort) {
			return 0, false
		}
		return len(buf), l.breakOff(s, errorCode(err))
	}
	if m.OpCode != ws.OpContinuation {
		l.stats.frames.Add(1)
		l.note(s, recorder.Frame, len(m.Payload), uint16(m.OpCode))
	}
	switch m.OpCode {
	case ws.OpClose:
		l.hearClose(s, m.Payload)
	case ws.OpPing:
		l.hearPing(s, m.Payload)
	case ws.OpPong:
		l.hearPong(s)
	case ws.OpText, ws.OpBinary:
		if hear != nil && (m.OpCode == ws.OpText || !s.speaks().textOnly) {
			hear(l, s, m.Payload)
		}
	}
	return n, s.state != stateClosed
}

// errorCode is the close code of an error in a frame. It is apart because the variable costs an allocation.
func errorCode(err error) uint16 {
	var e *protocol.Error
	if !errors.As(err, &e) {
		panic("BUG: engine: error of a frame without a code: " + err.Error())
	}
	return e.Code
}

// breakOff ends a connection whose bytes make no sense any more (RFC 6455, 7.1.7: fail the connection).
func (l *loop) breakOff(s *Session, code uint16) (more bool) {
	if s.state != stateClosing {
		l.sayGoodbye(s, CloseProtocol, code, "")
	}
	l.finish(s)
	return false
}

// hearClose answers a close frame with its own code and reason, and ends the connection (RFC 6455, 5.5.1: a server closes
// the TCP connection first).
func (l *loop) hearClose(s *Session, payload []byte) {
	if s.state == stateClosing {
		l.finish(s)
		return
	}
	code, err := protocol.ParseClose(payload)
	if err != nil {
		l.breakOff(s, errorCode(err))
		return
	}
	text := ""
	if len(payload) > 2 {
		text = string(payload[2:])
	}
	l.sayGoodbye(s, CloseHandshake, code, text)
	l.finish(s)
}

// hearPing answers with the same payload (RFC 6455, 5.5.3).
func (l *loop) hearPing(s *Session, payload []byte) {
	if s.state == stateClosing {
		return
	}
	l.scratch = protocol.AppendFrame(l.scratch[:0], ws.OpPong, payload)
	l.write(s, l.scratch)
}

// hearPong notes that the peer is alive. The payload is not compared.
func (l *loop) hearPong(s *Session) {
	s.unmark(isPinged)
	l.touchOnline(s)
}

// pingExpired sends the next ping, or cuts off a peer that has not answered the last one.
func (l *loop) pingExpired(s *Session) {
	if s.has(isPinged) {
		l.close(s, CloseNoPong)
		return
	}
	s.mark(isPinged)
	l.note(s, recorder.Ping, 0, 0)
	l.write(s, pingFrame)
	if s.state != stateClosed {
		l.deadlines.start(s, timerPing)
	}
}

// hearRequest does what a client's protobuf request asks for.
func (l *loop) hearRequest(s *Session, payload []byte) {
	if e := l.doRequest(s, payload); e != nil {
		l.logRefusal(s, e)
		l.sayGoodbye(s, CloseProtocol, e.Code, e.Reason())
	}
}

func (l *loop) doRequest(s *Session, payload []byte) *protocol.Error {
	if !s.has(hasPublicID) {
		return protocol.ErrPublicRequired
	}
	if e := l.request.Parse(payload); e != nil {
		return e
	}
	sender := l.table.Channel(s.subs[s.publicAt])
	origin := protocol.Origin{PublicID: sender.Bytes[:], Signer: l.signer}
	if e := l.request.Allowed(&origin); e != nil {
		return e
	}
	l.engine.Counters.CountRequest(l.request.Command)
	if l.request.Command == protocol.CommandChannelStats {
		return l.askOnline(s, &origin)
	}
	ps, e := l.request.Publications(&origin, &l.settings.Limits)
	if e != nil || len(ps) == 0 {
		return e
	}
	if !l.mayAsk(s, len(ps)) {
		return nil
	}
	for _, p := range ps {
		l.engine.Counters.CountMessage(p.Type)
	}
	if err := l.engine.publishing.enqueue(clients, ps, nil, l.followedOf(s)); errors.Is(err, poll.ErrQueueFull) {
		l.end(s, CloseOverload)
	}
	return nil
}

// askOnline has the question answered by a goroutine: it may need the bus, or the other loops.
func (l *loop) askOnline(s *Session, origin *protocol.Origin) *protocol.Error {
	stats, e := l.request.Channels(origin, &l.settings.Limits)
	if e != nil || !l.mayAsk(s, 1) {
		return e
	}
	if !l.engine.requests.askOnline(l, s, stats) {
		l.end(s, CloseOverload)
	}
	return nil
}
