package engine

import (
	"github.com/panjf2000/gnet/v2"

	"push-server/engine/channels"
	"push-server/engine/feed"
	"push-server/protocol"
)

// state is where a session is. Transitions: proxy → head; head → body → waiting → head … for requests that a worker answers; head → replaying
// → parked → head … for long polls; head → replaying → live → closing for WebSocket; any → flushing or closed. One switch in
// loop.consume handles them; what cannot happen says BUG.
type state uint8

const (
	stateHead      state = iota // waits for a request head
	stateBody                   // has a head, waits for its body
	stateWaiting                // a worker has the request
	stateReplaying              // subscribed; what is live is kept until history has come
	stateParked                 // a long poll that waits for a message
	stateLive                   // a WebSocket
	stateClosing                // a WebSocket that was sent a close frame and waits for the peer's
	stateFlushing               // HTTP: the last reply was written; waits for the peer to take it and to finish
	stateProxy                  // waits for the header of a proxy, which says whose connection it is
	stateClosed
	states
)

// stateNames are what operators see.
var stateNames = [states]string{
	stateHead: "idle", stateBody: "body", stateWaiting: "waiting", stateReplaying: "replaying", stateParked: "parked", stateLive: "live",
	stateClosing: "closing", stateFlushing: "flushing", stateProxy: "proxy", stateClosed: "closed",
}

// Flags of a connection.
const (
	flagGone    uint8 = 1 << iota // gnet has closed the connection already
	flagShut                      // our side of the connection is shut down
	flagPeer                      // whose connection it is stands in loop.peers
	flagBacklog                   // is in loop.backlog
	flagPaced                     // its client has published or asked: its rate is in loop.rates
	flagOwn                       // is the process's own: no place is taken for it, and nothing is counted
	flagWatched                   // operators watch it: loop.watched
	flagPlace                     // has a place among those of its address: loop.places
)

// Session is one connection on its loop: plain data, without closures, channels or contexts, so that another process can take
// it over. Only its loop touches it. Its size is guarded by a test; what only few sessions need hides behind pointers.
//
// A connection may carry requests of different people, one after the other: proxies keep connections. So what belongs to a request is
// a value of its own, and every head begins a new one.
type Session struct {
	conn gnet.Conn // the one replaceable field

	// Identity on the loop.
	index  uint32 // in the slab
	gen    uint32 // moves on with every question that may be answered too late, and when the session closes
	state  state
	reason CloseReason // why it is going to end, once that is known
	timer  timer       // which deadline list it is in
	flags  uint8

	listener uint16 // whose routes hold
	expires  uint16 // when the token of a WebSocket does, as expiryOf says; 0: there is none

	// Deadline list, intrusive.
	prev, next uint32
	due        uint32 // tick

	// The turn under way.
	outFirst uint32 // first and last link in the outbox, +1
	outLast  uint32

	// The last online mark: when (tick), and four bytes of whose.
	marked   uint32
	markedAs uint32

	slack uint32 // output that was buffered by one large write, on top of the limit
	held  uint32 // bytes of unread input that the process's account has of it
	sent  uint32 // messages

	born   uint32 // gen with which it began
	opened uint32 // seconds after the start of the service

	input []byte // partial input: gnet's buffer is never left with bytes in it

	request
}

// request is the request or subscription under way.
type request struct {
	skip      uint32 // bytes of a body that are still to be ignored, or waited for
	publicAt  uint16 // index in subs of the first public id, which is the sender of what it publishes
	transport transportKind
	dialect   dialectKind
	user      uint64 // of version 5; 0: nobody

	subs  []channels.Subscription // what it listens to
	since uint64                  // order of subscriptions in the process; the oldest makes room

	mid       protocol.MessageID // that a poll has said, or that a WebSocket was sent last
	forwarded [4]byte            // the client's address of version 4, if a proxy said so; zero: it is in loop.clients
	asks      uint8              // flags
	key       uint8              // that its channels are signed with
	pulses    uint8              // pings of version 5 without an answer
	faults    uint8              // messages of version 5 that were no JSON
	agent     uint8              // what the client calls itself: a number of loop.agents
	named     uint16             // of subs, those that the request has named; users whose coming and going it watches follow
	assembly  *protocol.Assembly // a message of a client that has not come in one piece
	replay    *feed.Replay       // while replaying
}

// Flags of a request.
const (
	asksHTTP10   uint8 = 1 << iota // it is HTTP/1.0
	asksClose                      // the connection ends with the reply
	asksMid                        // the poll said a mid
	hasPublicID                    // the first subscription with a public id is at publicAt
	hasForwarded                   // a proxy said whose connection it is: forwarded
	isPinged                       // a ping is out and no pong has come
	isQuiet                        // its refusals are not logged
	isTraced                       // an operator follows it: loop.traced
)

func (s *Session) is(flag uint8) bool { return s.flags&flag != 0 }
func (s *Session) set(flag uint8)     { s.flags |= flag }

func (r *request) has(flag uint8) bool { return r.asks&flag != 0 }
func (r *request) mark(flag uint8)     { r.asks |= flag }
func (r *request) unmark(flag uint8)   { r.asks &^= flag }

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

// slabChunk sessions are whole pages: behind a chunk of 128 the allocator rounds up, which costs 21 bytes each.
const slabChunk = 256

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
	*s = Session{index: s.index, gen: s.gen + 1, born: s.gen + 1, prev: noSession, next: noSession}
	return s
}

func (b *sessionSlab) put(s *Session) {
	*s = Session{index: s.index, gen: s.gen, state: stateClosed}
	b.free = append(b.free, s.index)
	b.n--
}

// places is how many sessions there have been at a time, open ones among them.
func (b *sessionSlab) places() uint32 { return uint32(len(b.chunks) * slabChunk) }

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
