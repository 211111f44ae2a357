package engine

import (
	"github.com/panjf2000/gnet/v2"

	"push-server/engine/feed"
	"push-server/protocol"
)

// state is where a session is. Transitions: head → body → waiting → head … for requests that a worker answers; head → replaying
// → parked → head … for long polls; head → replaying → live → closing for WebSocket; any → flushing or closed. One switch in
// loop.input handles them; what cannot happen says BUG.
type state uint8

const (
	stateHead      state = iota // waits for a request head
	stateBody                   // has a head, waits for its body
	stateWaiting                // a worker has the request
	stateReplaying              // subscribed; live messages go to pending until history has come
	stateParked                 // a long poll that waits for a message
	stateLive                   // a WebSocket
	stateClosing                // a WebSocket that was sent a close frame and waits for the peer's
	stateFlushing               // HTTP: the last reply was written; waits for the peer to take it and to finish
	stateClosed
)

// Flags of a session.
const (
	flagWebSocket uint16 = 1 << iota
	flagBinary           // messages in protobuf
	flagHTTP10           // the request under way is HTTP/1.0
	flagClose            // the connection ends with the reply under way
	flagMid              // the poll said a mid
	flagPinged           // a ping is out and no pong has come
	flagGone             // gnet has closed the connection already
	flagPublicID         // the first subscription with a public id is at Session.publicAt
	flagLimited          // counted in the limit per channel
	flagShut             // our side of the connection is shut down
	flagReleased         // is in loop.released
	flagForwarded        // a proxy said whose connection it is: Session.forwarded
	flagPeer             // whose connection it is stands in loop.peers
	flagQuiet            // its refusals are not logged
	flagTraced           // an operator follows it: loop.traced
)

// Session is one connection on its loop: plain data, without closures, channels or contexts, so that another process can take
// it over. Only its loop touches it. Its size is guarded by a test; what only few sessions need hides behind replay, request
// and assembly.
type Session struct {
	conn gnet.Conn // the one replaceable field

	// Identity on the loop.
	index  uint32 // in the slab
	gen    uint32 // moves on with every question that may be answered too late, and when the session closes
	state  state
	reason CloseReason // why it is going to end, once that is known
	timer  timer       // which deadline list it is in
	flags  uint16

	listener uint16 // whose routes hold
	publicAt uint16 // index in subs of the first public id, which is the sender of what it publishes

	// Deadline list, intrusive.
	prev, next uint32
	due        uint32 // tick

	// What it listens to.
	subs []subscription
	born uint64 // order of arrival in the process; the oldest makes room

	// The turn under way.
	outFirst uint32 // first and last link in the outbox, +1
	outLast  uint32

	// The last online mark: when (tick), and four bytes of whose.
	marked   uint32
	markedAs uint32

	slack uint32 // output that was buffered by one large write, on top of the limit
	skip  uint32 // bytes of a request body that are still to be ignored

	mid       protocol.MessageID // of the poll under way
	forwarded [4]byte            // the client's address of version 4, if a proxy said so
	input     []byte             // partial input: gnet's buffer is never left with bytes in it
	assembly  *protocol.Assembly // a fragmented message
	replay    *feed.Replay       // while replaying
}

func (s *Session) is(flag uint16) bool { return s.flags&flag != 0 }
func (s *Session) set(flag uint16)     { s.flags |= flag }
func (s *Session) clear(flag uint16)   { s.flags &^= flag }

// encoding is how s gets its messages.
func (s *Session) encoding() *feed.Encoding {
	if s.is(flagBinary) {
		return &dialectProtobuf
	}
	return &dialectText
}

// sessionRef names a session as it was when a question was asked.
type sessionRef struct {
	index, gen uint32
}

func (s *Session) ref() sessionRef { return sessionRef{s.index, s.gen} }

// tag is ref as a number.
func (r sessionRef) tag() uint64 { return uint64(r.index)<<32 | uint64(r.gen) }

func refOf(tag uint64) sessionRef { return sessionRef{uint32(tag >> 32), uint32(tag)} }

// sessionSlab keeps sessions in chunks, so that their addresses stay and lists can name them by a number.
type sessionSlab struct {
	chunks []*[slabChunk]Session
	free   []uint32
	n      int
}

// noSession is not the index of any session.
const noSession = ^uint32(0)

func (b *sessionSlab) get(i uint32) *Session { return &b.chunks[i/slabChunk][i%slabChunk] }

// at returns the session of ref, or nil if it is gone or has moved on.
func (b *sessionSlab) at(ref sessionRef) *Session {
	if s := b.get(ref.index); s.gen == ref.gen && s.state != stateClosed {
		return s
	}
	return nil
}

func (b *sessionSlab) take() *Session {
	if len(b.free) == 0 {
		base := uint32(len(b.chunks) * slabChunk)
		b.chunks = append(b.chunks, new([slabChunk]Session))
		for i := uint32(slabChunk); i > 0; i-- {
			s := b.get(base + i - 1)
			s.index, s.state = base+i-1, stateClosed
			b.free = append(b.free, s.index)
		}
	}
	s := b.get(b.free[len(b.free)-1])
	b.free = b.free[:len(b.free)-1]
	b.n++
	*s = Session{index: s.index, gen: s.gen + 1, prev: noSession, next: noSession}
	return s
}

func (b *sessionSlab) put(s *Session) {
	*s = Session{index: s.index, gen: s.gen, state: stateClosed}
	b.free = append(b.free, s.index)
	b.n--
}

// each calls f with every open session.
func (b *sessionSlab) each(f func(s *Session)) {
	for _, c := range b.chunks {
		for i := range c {
			if c[i].state != stateClosed {
				f(&c[i])
			}
		}
	}
}
