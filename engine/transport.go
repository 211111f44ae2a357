package engine

import (
	"time"

	"github.com/gobwas/ws"
	"github.com/panjf2000/gnet/v2"

	"push-server/engine/feed"
	"push-server/protocol"
)

// transport is how publications reach a client: what a loop does with a subscription of this kind. Each is one row, in a file of its
// own; a further one is a further row.
type transport struct {
	label string
	// read takes input that comes while the subscription is there. It returns how many bytes it has taken, and whether to go on.
	read func(l *loop, s *Session, buf []byte) (n int, more bool)
	// unread bounds the input that read may leave.
	unread int
	// deliver writes the publications that the outbox has for s, the first one at link first.
	deliver func(l *loop, s *Session, first uint32)
	// give writes a part of what s has missed, with which it is live if there is no more.
	give func(l *loop, s *Session, es []*feed.Entry, more bool)
	// hear takes what a worker answers.
	hear func(l *loop, s *Session, m *mail)
	// end closes s in the way that its client understands.
	end func(l *loop, s *Session, reason CloseReason)
	// pings says that a peer which does not read is found out by pings.
	pings bool
}

type transportKind uint8

const (
	transportNone  transportKind = iota // a request that subscribes to nothing
	transportProbe                      // the process's own: see package probe
	transportWebSocket
	transportPoll
	transports
)

// transportTable is filled by the files of its rows: their functions refer to it.
var transportTable [transports]transport

// silent says that nothing but its output tells whether the peer of s is still there.
func (t *transport) silent(s *Session) bool { return !t.pings || s.state == stateFlushing }

func (r *request) via() *transport { return &transportTable[r.transport] }

// dialect is how publications look to a client, and what it may say. Like a transport it is a row of a table.
type dialect struct {
	feed.Encoding
	label  string
	binary bool  // a poll's reply is no text
	joint  joint // of messages that leave together
	// hear takes a message of a client; nil: what clients say is read by nobody, and is dropped as it comes.
	hear     func(l *loop, s *Session, payload []byte)
	textOnly bool // what comes in binary frames is dropped
	// own makes the frame of a publication that has something for one client alone; nil: there is no such thing.
	own   func(s *Session, p *protocol.Publication) (frame feed.Frame, ok bool)
	pulse []byte // the frame with which clients are pinged; nil: a ping of WebSocket
}

// joint is what stands around and between messages that leave together.
type joint struct{ open, between, close string }

// size is the length of what append appends.
func (j *joint) size(frames []feed.Frame) (n int) {
	for _, f := range frames {
		n += len(f.Payload())
	}
	if len(frames) > 1 {
		n += len(j.open) + (len(frames)-1)*len(j.between) + len(j.close)
	}
	return n
}

// append appends the messages of frames, as a client finds them in one piece.
func (j *joint) append(dst []byte, frames []feed.Frame) []byte {
	if len(frames) == 1 {
		return append(dst, frames[0].Payload()...)
	}
	dst = append(dst, j.open...)
	for i, f := range frames {
		if i > 0 {
			dst = append(dst, j.between...)
		}
		dst = append(dst, f.Payload()...)
	}
	return append(dst, j.close...)
}

// frame is e as s gets it: shared by all of its dialect, as long as nothing in it is for one of them alone.
func (l *loop) frame(s *Session, e *feed.Entry) feed.Frame {
	d := s.speaks()
	if d.own != nil && e.Publication.Extra != nil {
		if f, ok := d.own(s, e.Publication); ok {
			return f
		}
	}
	return l.reader.Frame(e, &d.Encoding)
}

type dialectKind uint8

const (
	dialectText dialectKind = iota
	dialectProtobuf
	dialectJSONRPC
	dialects
)

// dialectTable has room for as many as can be framed: tests have rows behind those of the product.
var dialectTable [feed.Dialects]dialect

func (r *request) speaks() *dialect { return &dialectTable[r.dialect] }

func init() {
	transportTable[transportNone] = transport{
		label: "none", read: (*loop).skipBody, unread: pipelined, hear: (*loop).hearReply,
		end: (*loop).close,
	}
	transportTable[transportProbe] = transport{
		label: "probe", read: (*loop).skipBody, hear: (*loop).hearReply, end: (*loop).close, pings: true, deliver: (*loop).deliverProbe,
	}
}

// ownConn is what comes with a connection of the process's own to a loop that takes it over.
type ownConn struct{}

// openProbe makes a session of one. It is no client: nobody counts it, marks it as online or asks for it.
func (l *loop) openProbe(c gnet.Conn) {
	s := l.slab.take()
	s.conn = c
	c.SetContext(s)
	s.set(flagOwn)
	s.state, s.transport = stateLive, transportProbe
	l.enterTable(s, &l.engine.prober.Channel)
	l.listening(s).Add(1)
}

// deliverProbe is deliverFrames without the counter.
func (l *loop) deliverProbe(s *Session, first uint32) {
	for i := first; i != 0 && s.state == stateLive; i = l.outbox.links[i-1].next {
		l.write(s, l.reader.Frame(l.outbox.links[i-1].entry, &s.speaks().Encoding).Bytes)
	}
}

// The dialects of versions 3 and 4.
func init() {
	dialectTable[dialectText] = dialect{
		label: "text",
		Encoding: feed.Encoding{Slot: int(dialectText), OpCode: ws.OpText, Append: func(dst []byte, p *protocol.Publication) []byte {
			return protocol.AppendText(dst, p, time.Now().UnixMilli())
		}},
	}
	dialectTable[dialectProtobuf] = dialect{
		label: "protobuf", binary: true, hear: (*loop).hearRequest,
		Encoding: feed.Encoding{Slot: int(dialectProtobuf), OpCode: ws.OpBinary, Append: func(dst []byte, p *protocol.Publication) []byte {
			return protocol.AppendResponse(dst, []*protocol.Publication{p})
		}},
	}
}
