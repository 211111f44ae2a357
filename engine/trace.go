package engine

import (
	"fmt"
	"strings"
	"time"

	"push-server/poll"
)

// Trace is told what happens on connections that an operator follows. Its methods are called from loops: they must not block.
type Trace interface {
	// Begin says whether the client of a request is followed: addr is the other end of its connection, forwarded what proxies say
	// (nil: nothing). Lines about the request begin with id and call the client client. No id: it is not followed.
	Begin(addr string, forwarded []byte) (id, client string)
	// Line gets a line, without a time.
	Line(text string)
}

// traced is what lines about the request under way need; a WebSocket is the request that began it.
type traced struct {
	id, client string
	target     string
	begin      time.Time
	code       uint16 // of the WebSocket's end
	text       string
}

// noClose is the code of a WebSocket that ended without a close frame (RFC 6455, 7.1.5), emptyClose of one with an empty one.
const (
	emptyClose = 1005
	noClose    = 1006
)

// follow begins to follow the request in l.head, if the operator wants to.
func (l *loop) follow(s *Session) *traced {
	id, client := l.o.Trace.Begin(poll.AddressText(l.addr(s)), l.head.Header.Peek("X-Forwarded-For"))
	if id == "" {
		l.unfollow(s)
		return nil
	}
	if l.traced == nil {
		l.traced = make(map[uint32]*traced)
	}
	t := &traced{id: id, client: client, target: TraceTarget(l.head.Target), begin: time.Now(), code: noClose}
	l.traced[s.index] = t
	s.set(flagTraced)
	return t
}

func (l *loop) unfollow(s *Session) {
	if s.is(flagTraced) {
		delete(l.traced, s.index)
		s.clear(flagTraced)
	}
}

func (l *loop) say(t *traced, format string, args ...any) {
	l.o.Trace.Line(t.id + " " + fmt.Sprintf(format, args...))
}

func (t *traced) ms() int64 { return time.Since(t.begin).Milliseconds() }

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
	l.say(t, "[%s] %s %s", kind, t.target, t.client)
}

func (l *loop) traceWebSocket(s *Session) {
	t := l.traced[s.index]
	l.say(t, "[WS-CONNECTION] %s %s", t.target, t.client)
}

// traceReplay is for a session that has got what it missed.
func (l *loop) traceReplay(s *Session, es []*entry) {
	t := l.traced[s.index]
	l.say(t, "[MESSAGE-GET] %d %dms %s", len(es), t.ms(), t.client)
	if s.is(flagWebSocket) && len(es) > 0 {
		l.traceSend(s, es)
	}
}

func (l *loop) traceChain(s *Session, first uint32) {
	var es []*entry
	for i := first; i != 0; i = l.outbox.links[i-1].next {
		es = append(es, l.outbox.links[i-1].entry)
	}
	l.traceSend(s, es)
}

// traceSend is for messages that are sent together.
func (l *loop) traceSend(s *Session, es []*entry) {
	kind, size, ids := "POLLING", 0, make([]string, len(es))
	if s.is(flagWebSocket) {
		kind = "WEBSOCKET"
	}
	for i, e := range es {
		fr := l.frame(e, s.format())
		size += len(fr.bytes) - fr.payload
		ids[i] = `"` + e.pub.ID.String() + `"`
	}
	l.say(l.traced[s.index], "[%s-SEND] %dB {\"outgoingMessages\":%d} [%s]", kind, size, len(es), strings.Join(ids, ","))
}

// traceReply is for a complete HTTP reply.
func (l *loop) traceReply(s *Session, reply []byte) {
	t := l.traced[s.index]
	const status = len("HTTP/1.1 ")
	l.say(t, "[FINISHED] %dms %s %s", t.ms(), reply[status:status+3], t.client)
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
	case s.is(flagWebSocket):
		l.say(t, "[WS-CLOSED] %d %s %dms %s", t.code, t.text, t.ms(), t.client)
	case s.reason == ClosePeer && (s.state == stateReplaying || s.state == stateParked || s.state == stateWaiting || s.state == stateBody):
		l.say(t, "[CLOSED-BY-CLIENT] %dms %s", t.ms(), t.client)
	}
	l.unfollow(s)
}

// TraceTarget is a request target as lines show it: without signatures, which open channels to whoever reads them.
func TraceTarget(target []byte) string {
	var b strings.Builder
	rest := string(target)
	for rest != "" {
		dot := strings.IndexByte(rest, '.')
		if encoded := strings.Index(strings.ToUpper(rest), "%2E"); encoded >= 0 && (dot < 0 || encoded < dot) {
			dot = encoded + 2
		}
		if dot < 0 {
			break
		}
		b.WriteString(rest[:dot+1])
		rest = rest[dot+1:]
		if n := hexDigits(rest); n >= minSignature {
			b.WriteByte('*')
			rest = rest[n:]
		}
	}
	b.WriteString(rest)
	return b.String()
}

// minSignature is the length of the shortest signature, in hexadecimal digits.
const minSignature = 32

func hexDigits(s string) (n int) {
	for n < len(s) && strings.IndexByte("0123456789abcdefABCDEF", s[n]) >= 0 {
		n++
	}
	return n
}
