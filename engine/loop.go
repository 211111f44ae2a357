package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/netip"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/panjf2000/gnet/v2"
	"golang.org/x/sys/unix"
	"golang.org/x/time/rate"

	"push-server/engine/channels"
	"push-server/engine/feed"
	"push-server/engine/intern"
	"push-server/engine/quantum"
	"push-server/engine/receipt"
	"push-server/engine/recorder"
	"push-server/poll"
	"push-server/protocol"
)

// loop is one event loop: a gnet engine of its own, its sessions, their channels and their deadlines. Everything below the
// line "loop only" is touched by the loop's goroutine alone; everybody else writes to the mailbox and wakes the loop.
type loop struct {
	gnet.BuiltinEventEngine

	id       int
	engine   *Engine
	o        *Options
	log      *slog.Logger
	mailbox  mailbox
	awake    atomic.Bool // a wake-up is on its way
	wakeFD   int         // our end of the control connection; a byte there makes the loop run a turn; -1: there is none
	ringing  sync.Mutex  // held while an alarm uses wakeFD
	stats    loopStats
	gnet     gnet.Engine
	standIns []standIn
	started  chan struct{} // closed when gnet runs the loop
	ended    chan struct{} // closed when gnet.Run has returned

	// Loop only.
	control  gnet.Conn
	ending   bool // was ordered to end
	acceptor acceptor

	slab      sessionSlab
	table     channels.Table
	deadlines deadlines
	outbox    outbox
	swept     []uint32     // closed, not yet out of the table
	resumed   []sessionRef // have input that waits for the parser
	backlog   backlog      // output that peers have not taken
	cork
	unread    int                             // bytes of input that is not complete, of all sessions, as the process's account has it
	busy      bool                            // inside a callback that sweeps at its end
	intricate bool                            // what belongs to all sessions is being changed
	peers     map[uint32]string               // clients of sessions with flagPeer, by index
	clients   map[uint32]netip.Addr           // of version 6, of sessions with hasForwarded, by index
	places    map[uint32]place                // of sessions with flagPlace, by index
	rates     map[uint32]*rate.Limiter        // of sessions with flagPaced, by index
	traced    map[uint32]*traced              // sessions with isTraced, by index
	arrivals  []arrival                       // of all sessions, by index, if somebody is followed
	watched   map[uint32][]*recorder.Follower // sessions with flagWatched, by index
	recorder  recorder.Recorder
	receipts  receipt.Book       // of clients of version 5
	flights   receipt.Flights    // what was sent to them lately
	agents    intern.Table       // what clients call themselves, of all sessions
	now       int64              // Unix, nanoseconds: as of the callback, or of the last look at the clock in it
	orders    <-chan func(*loop) // it stands still after this turn, and does only these
	standsBy  bool               // for the sessions of the process before: nobody else is let in until it has them

	settings   *settings    // that count here
	reader     *feed.Reader // what is published
	unfinished []sessionRef // replaying, with a part of it under way or not begun
	replayed   int          // pieces of work for replays that began since the last turn
	quantum    quantum.Quantum

	// Scratch.
	scratch []byte
	entries []*feed.Entry
	built   []feed.Frame
	own     []protocol.ChannelID
	shared  []bool
	heads   poll.Reader
	head    poll.Request
	client  netip.Addr // who sent it, if a proxy that is trusted passed it on
	joined  joined
	sub     poll.Subscription
	frames  protocol.FrameReader
	signer  *protocol.Signer
	tokens  *protocol.TokenReader // nil: version 5 is not spoken
	request protocol.Request
}

func newLoop(e *Engine, id int) *loop {
	l := &loop{
		id: id, engine: e, o: &e.o, log: e.o.Logger,
		started: make(chan struct{}), ended: make(chan struct{}),
		table: channels.New(), wakeFD: -1, acceptor: acceptor{poller: -1}, quantum: quantum.New(e.o.TurnBudget),
	}
	l.deadlines = newDeadlines(&l.slab, l.o, l.ring)
	l.reader = e.feed.NewReader(l, nil)
	l.use(e.settings.Load())
	l.backlog.budget = e.output
	if e.o.V5.Enabled {
		l.flights = receipt.NewFlights()
	}
	return l
}

var _ feed.Consumer = (*loop)(nil)

// Wake makes the loop run a turn soon. It may be called from any goroutine.
func (l *loop) Wake() { l.wake() }

// Interested says whether one of the receivers may have a subscriber. It may be called from any goroutine.
func (l *loop) Interested(receivers []protocol.Receiver) bool { return l.table.Interested(receivers) }

// Channels returns every channel with a subscriber among clients.
func (l *loop) Channels() []protocol.ChannelID {
	return slices.DeleteFunc(l.table.All(), func(ch protocol.ChannelID) bool { return ch == l.engine.prober.Channel })
}

// run serves the given addresses until stop. It returns when gnet does.
func (l *loop) run(addrs []string) error {
	defer close(l.ended)
	defer l.acceptor.spare.Release()
	return gnet.Rotate(l, addrs,
		gnet.WithNumEventLoop(1), gnet.WithReusePort(true), gnet.WithReuseAddr(true), gnet.WithTicker(true),
		gnet.WithTCPNoDelay(gnet.TCPNoDelay), gnet.WithReadBufferCap(readSize), gnet.WithLogger(quiet{l.log, l.acceptFailed}))
}

// readSize is how much of what one client has sent is read before it is the next one's turn, in bytes. Hundreds who send a megabyte each at
// the same time are rounds of some milliseconds then; with gnet's 64 KiB they were four times as long, and others wait for some rounds.
const readSize = 16 << 10

// connect opens the control connection: a socket pair whose other end is a connection of the loop. A wake-up is a byte in it, so
// that turns take their place among the sockets; gnet's own queue is emptied before it looks at sockets again.
func (l *loop) connect(ctx context.Context) error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("engine: control connection: %w", err)
	}
	if err := l.register(ctx, pair[1], l); err != nil {
		return errors.Join(fmt.Errorf("engine: control connection: %w", err), unix.Close(pair[0]))
	}
	l.wakeFD = pair[0]
	return nil
}

func (l *loop) closeControl() {
	l.deadlines.alarm.Stop()
	l.ringing.Lock()
	defer l.ringing.Unlock()
	if l.wakeFD >= 0 {
		_ = unix.Close(l.wakeFD) // nothing is buffered there
		l.wakeFD = -1
	}
}

// wake makes the loop run a turn soon. It may be called from any goroutine.
func (l *loop) wake() {
	if !l.awake.CompareAndSwap(false, true) {
		return
	}
	if _, err := unix.Write(l.wakeFD, wakeByte); err != nil && err != unix.EAGAIN && !l.engine.stopping.Load() && !l.hasEnded() {
		l.log.Error("an event loop cannot be woken", "loop", l.id, "err", err)
	}
}

var wakeByte = []byte{1}

// post puts m into the mailbox. It may be called from any goroutine.
func (l *loop) post(m mail) {
	l.mailbox.put(m)
	l.wake()
}

// call runs f on the loop. It may be called from any goroutine; f must not block.
func (l *loop) call(f func(l *loop)) { l.post(mail{kind: mailCall, call: f}) }

// OnBoot keeps the gnet engine.
func (l *loop) OnBoot(e gnet.Engine) gnet.Action {
	l.gnet = e
	return gnet.None
}

// ring wakes the loop for its deadlines. It runs on a goroutine of its timer. One that comes before the engine runs is made up for by Start.
func (l *loop) ring() {
	l.ringing.Lock()
	defer l.ringing.Unlock()
	if l.engine.running.Load() && l.wakeFD >= 0 {
		l.wake()
	}
}

// OnTick runs on a goroutine of gnet's own. Its call says that the loop runs, and there is no other.
func (l *loop) OnTick() (time.Duration, gnet.Action) {
	close(l.started)
	return math.MaxInt64, gnet.None
}

// OnTraffic gives what has come to the session, or, on the control connection, runs a turn.
func (l *loop) OnTraffic(c gnet.Conn) gnet.Action {
	buf, _ := c.Peek(-1)
	if c == l.control {
		_, _ = c.Discard(-1)
		l.beginCallback()
		l.turn()
		l.endCallback()
		l.restore()
		l.standStill()
		if l.ending {
			return gnet.Shutdown
		}
		return gnet.None
	}
	s, ok := c.Context().(*Session)
	if !ok {
		return gnet.Close // was refused by OnOpen
	}
	l.beginCallback()
	l.look()
	l.contained(s, buf)
	_, _ = c.Discard(-1)
	l.endCallback()
	return gnet.None
}

// OnClose may be called inside a write to the connection.
func (l *loop) OnClose(c gnet.Conn, _ error) gnet.Action {
	s, ok := c.Context().(*Session)
	if !ok {
		return gnet.None
	}
	s.set(flagGone)
	l.look()
	if s.state == stateFlushing {
		l.close(s, CloseDone)
	} else {
		l.close(s, ClosePeer)
	}
	if !l.busy {
		l.sweep()
	}
	return gnet.None
}

func (l *loop) beginCallback() {
	l.busy = true
	l.deadlines.catchUp()
}

// endCallback ends a callback: parsers that have input go on, closed sessions go.
func (l *loop) endCallback() {
	for len(l.resumed) > 0 {
		ref := l.resumed[len(l.resumed)-1]
		l.resumed = l.resumed[:len(l.resumed)-1]
		if s := l.slab.at(ref); s != nil {
			l.contained(s, nil)
		}
	}
	l.sweep()
	l.busy = false
	l.stats.publish(l)
}

// contained is input whose panic ends one connection instead of the process. What strangers send is read and acted upon there, by a
// session with state of its own. Where the state of all is changed (the channel table, the outbox, the position in the feed: intricate),
// and in turns, which nobody's bytes begin, a panic still ends the process: to go on with half a change would lose or double messages.
func (l *loop) contained(s *Session, buf []byte) {
	defer func() {
		r := recover()
		if r == nil {
			return
		}
		if l.intricate {
			panic(r)
		}
		l.log.Error("BUG: panic while handling the input of a connection, closing it", "panic", r, "addr", l.peer(s),
			"events", l.lastEvents(s), "stack", string(debug.Stack()))
		l.close(s, CloseBug)
	}()
	l.corked = s
	l.input(s, buf)
	l.uncork()
}

// input feeds what has come, behind what was left, to the state machine, and keeps what it does not take.
func (l *loop) input(s *Session, buf []byte) {
	carried := len(s.input) > 0
	if carried {
		s.input = append(roomFor(s.input, len(buf), l.inputLimit(s)), buf...)
		buf = s.input
	}
	rest := buf[l.consume(s, buf):]
	switch {
	case s.state == stateClosed, s.state == stateFlushing, len(rest) == 0:
		s.input = nil
	case carried:
		s.input = append(s.input[:0], rest...)
	default:
		s.input = append([]byte(nil), rest...)
	}
	if s.state == stateClosed {
		s.assembly = nil
	}
	l.account(s)
	if len(s.input) > l.inputLimit(s) {
		l.close(s, CloseInputOverflow)
	}
}

// consume runs the parser of each state until it wants more bytes. It returns how many it has taken.
func (l *loop) consume(s *Session, buf []byte) (n int) {
	for {
		var used int
		var more bool
		switch s.state {
		case stateHead:
			if s.skip > 0 {
				used, _ = l.skipBody(s, buf[n:])
				more = used > 0
				break
			}
			used, more = l.readHead(s, buf[n:])
		case stateProxy:
			used, more = l.readProxyHeader(s, buf[n:])
		case stateBody:
			used, more = l.readBody(s, buf[n:])
		case stateLive, stateClosing, stateReplaying, stateParked, stateWaiting:
			used, more = s.via().read(l, s, buf[n:])
		case stateFlushing, stateClosed:
			return len(buf)
		default:
			panic(fmt.Sprintf("BUG: engine: input in state %d", s.state))
		}
		n += used
		if !more {
			return n
		}
	}
}

// close ends the connection now. It is the only way to: everything else follows in sweep, because a fan-out may be under way.
func (l *loop) close(s *Session, reason CloseReason) {
	if s == l.corked {
		l.uncork()
	}
	if s.state == stateClosed {
		return
	}
	if s.reason == CloseNone {
		s.reason = reason
	}
	if s.has(isTraced) {
		l.traceClose(s)
	}
	l.deadlines.stop(s)
	l.dropReplay(s)
	s.state = stateClosed
	s.gen++
	if !s.is(flagOwn) {
		l.stats.closes[s.reason].Add(1)
	}
	l.noteClosed(s)
	l.rememberClosed(s)
	l.swept = append(l.swept, s.index)
}
