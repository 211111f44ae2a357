package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/bytedance/sonic"
	"github.com/panjf2000/gnet/v2"
	"golang.org/x/sys/unix"

	"push-server/engine/adopt"
	"push-server/engine/channels"
	"push-server/engine/feed"
	"push-server/engine/handover"
	"push-server/engine/receipt"
	"push-server/engine/recorder"
	"push-server/protocol"
)

// The words for what a session is written down with; those of states, transports, dialects and reasons are in their tables.
var (
	timerNames = [timers]string{
		timerHead: "head", timerBody: "body", timerIdle: "idle", timerRequest: "request", timerPoll: "poll", timerGrace: "grace",
		timerPing: "ping", timerPulse: "pulse", timerClose: "close", timerLinger: "linger",
	}
	askNames = map[uint8]string{
		asksHTTP10: "http10", asksClose: "close", asksMid: "mid", isPinged: "pinged", isQuiet: "quiet",
	}
)

// Takeover is what a process gets of the one before: its sessions, and what they have had.
type Takeover struct {
	engine   *Engine
	served   []protocol.MessageID
	sessions []arriving
	made     uint64 // subscriptions
	totals   handover.Totals
	counters Stats

	listeners []int              // by those of the process before
	keys      [MaxKeys + 1]uint8 // the same
}

// arriving is a session on its way to a loop, with its socket.
type arriving struct {
	socket    int
	body      []byte // as it came
	written   handover.Session
	state     state
	reason    CloseReason
	timer     timer
	transport transportKind
	dialect   dialectKind
	asks      uint8
	channels  []protocol.ChannelID
	replay    *feed.ReplayState
}

// Prepare has the loops run and listens to the bus, in place of Start, and returns when it is known what is published. Nobody is served, and
// nobody let in, before TakeOver. It does beforehand what takes long for so many connections.
func (e *Engine) Prepare(ctx context.Context, connections int) error {
	for _, l := range e.loops {
		l.standsBy = true
	}
	growDescriptors(connections)
	compileSessions()
	if err := e.startLoops(ctx); err != nil {
		e.abandon(ctx)
		return err
	}
	e.listenToBus()
	if !e.subscribes() {
		return nil
	}
	select {
	case <-e.feed.Ready():
		return nil
	case err := <-e.failed:
		return err
	case <-ctx.Done():
		return fmt.Errorf("engine: the bus has not answered: %w", ctx.Err())
	}
}

// growDescriptors has the system make room for so many more descriptors. It would do so in steps while they come, in each of which it waits
// until no other processor can still look at the smaller table: half a second for 10,000 of them.
func growDescriptors(connections int) {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return
	}
	const others = 1024
	highest := min(uint64(connections+connections/4+others), limit.Cur) - 1
	if fd, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0); err == nil {
		if last, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, int(highest)); err == nil {
			_ = unix.Close(last) // the room stays
		}
		_ = unix.Close(fd)
	}
}

// compileSessions prepares what writes and reads sessions, which at their first use would take longer than for all sessions.
func compileSessions() {
	if err := sonic.Pretouch(reflect.TypeFor[handover.Session]()); err != nil {
		panic("BUG: engine: sessions cannot be written down: " + err.Error())
	}
}

// Receive makes a takeover of what the process before says of all its sessions. listeners are those of e in the order of the process before.
func (e *Engine) Receive(w *handover.Engine, listeners []int) (*Takeover, error) {
	served, err := handover.IDs(w.Served)
	if err != nil {
		return nil, err
	}
	counters, err := readCounters(w.Counters)
	if err != nil {
		return nil, err
	}
	e.admission.adjust()
	if room := e.admission.max.Load(); int64(w.Sessions) > room {
		return nil, fmt.Errorf("engine: %d connections are more than there is room for: %d", w.Sessions, room)
	}
	return &Takeover{
		engine: e, served: served, made: w.Subscriptions, totals: w.Totals, counters: counters, listeners: listeners, keys: numbersAmong(e.settings.Load().digests(), w.Keys),
		sessions: make([]arriving, 0, max(w.Sessions, 0)),
	}, nil
}

// Add takes a session, as it was written down, with its socket.
func (t *Takeover) Add(body []byte, socket int) {
	t.sessions = append(t.sessions, arriving{socket: socket, body: body})
}

// Complete says whether all that was added can be taken over: whether it is understood, and there are descriptors enough to serve. It is
// asked while the process before can still go on.
func (t *Takeover) Complete() error {
	var tasks sync.WaitGroup
	readers := runtime.GOMAXPROCS(0)
	errs := make([]error, readers)
	for i := range readers {
		tasks.Go(func() {
			for k := i; k < len(t.sessions) && errs[i] == nil; k += readers {
				errs[i] = t.sessions[k].read(t)
			}
		})
	}
	tasks.Wait()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("engine: a session cannot be taken over: %w", err)
	}
	return t.room()
}

// word finds a word in a table of them.
func word[T ~uint8](what, s string, n T, of func(i T) string) (T, error) {
	for i := range n {
		if of(i) == s {
			return i, nil
		}
	}
	return 0, fmt.Errorf("%s %q is not known", what, s)
}

// read finds out what the words mean here.
func (a *arriving) read(t *Takeover) (err error) {
	w := &a.written
	if err := sonic.Unmarshal(a.body, w); err != nil {
		return err
	}
	a.body = nil
	var errs [7]error
	a.state, errs[0] = word("state", w.State, states, func(i state) string { return stateNames[i] })
	a.reason, errs[1] = word("reason", w.Reason, closeReasons, func(i CloseReason) string { return closeTable[i].label })
	a.timer, errs[2] = word("timer", w.Timer, timers, func(i timer) string { return timerNames[i] })
	a.transport, errs[3] = word("transport", w.Transport, transports, func(i transportKind) string { return transportTable[i].label })
	a.dialect, errs[4] = word("dialect", w.Dialect, dialects, func(i dialectKind) string { return dialectTable[i].label })
	a.channels, errs[5] = handover.Channels(w.Channels)
	for _, name := range w.Asks {
		known := false
		for flag := range maps.Keys(askNames) {
			if askNames[flag] == name {
				a.asks, known = a.asks|flag, true
			}
		}
		if !known {
			errs[6] = fmt.Errorf("flag %q is not known", name)
		}
	}
	if w.Listener < 0 || w.Listener >= len(t.listeners) || w.Key > removedKey {
		return errors.New("it belongs to a port, or to a key, that is not there")
	}
	w.Listener, w.Key = t.listeners[w.Listener], t.keys[w.Key]
	if a.timer == timerGrace { // the question is asked again
		a.timer, w.Left = timerPoll, 0
	}
	if err := errors.Join(errs[:]...); err != nil || w.Replay == nil {
		return err
	}
	a.replay, err = readReplay(w.Replay)
	return err
}

func readReplay(w *handover.Replay) (*feed.ReplayState, error) {
	q := &feed.ReplayState{First: w.First.MessageID(), Mid: w.Mid.MessageID(), Parts: w.Parts}
	for _, b := range w.Pending {
		if err := protocol.ParseNotifications(b, func(p *protocol.Publication) { q.Pending = append(q.Pending, p) }); err != nil {
			return nil, err
		}
	}
	return q, nil
}

// descriptorsToServe is what it takes, at the most, to serve once loops run.
const descriptorsToServe = 32

// room says whether there are descriptors enough.
func (t *Takeover) room() error {
	var taken []int
	defer func() { handover.CloseAll(taken) }()
	for range descriptorsToServe {
		fd, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("engine: with %d connections there are not the %d descriptors left that it takes to serve: %w", len(t.sessions), descriptorsToServe, err)
		}
		taken = append(taken, fd)
	}
	return nil
}

// Refuse lets go of the sockets: the process before goes on with them.
func (t *Takeover) Refuse() {
	for i := range t.sessions {
		_ = unix.Close(t.sessions[i].socket) // the other process has it, too
	}
}

// CatchUp returns when everything has come by that the process before can have had.
func (e *Engine) CatchUp(ctx context.Context) error {
	if !e.subscribes() {
		return nil
	}
	return e.feed.CatchUp(ctx)
}

// TakeOver begins to serve, after Prepare, with the sessions of t, on sockets of the process before (Listener.Sockets). started is when the
// service began. t may be nil.
func (e *Engine) TakeOver(ctx context.Context, t *Takeover, started time.Time) error {
	e.started = started
	if t == nil {
		t = &Takeover{engine: e}
	}
	e.subscriptions.Store(t.made)
	if err := e.goOn(t); err != nil {
		return err
	}
	if err := t.settle(ctx); err != nil {
		return err
	}
	e.run()
	return e.listenTLS(ctx)
}

// settle gives each loop its share of the sessions.
func (t *Takeover) settle(ctx context.Context) error {
	loops := t.engine.loops
	shares := make([][]*arriving, len(loops))
	for i := range t.sessions {
		shares[i%len(loops)] = append(shares[i%len(loops)], &t.sessions[i])
	}
	return askLoops(ctx, loops, func(l *loop) { l.adoptAll(t.served, shares[l.id]) })
}

// adoptAll takes sessions over, in the order of their deadlines, and has the loop serve: what was published since the process before stood
// still comes first, then what clients have said.
func (l *loop) adoptAll(served []protocol.MessageID, some []*arriving) {
	lost := 0
	for _, a := range some {
		ip := a.written.Addr
		remote := &net.TCPAddr{IP: ip.IP, Port: ip.Port, Zone: strings.Clone(ip.Zone)} // gnet uses its memory again
		if adopt.Conn(l.control, a.socket, l.control.LocalAddr(), remote, a) != nil {
			lost++
		}
	}
	if lost > 0 {
		l.log.Error("connections could not be taken over", "connections", lost)
	}
	l.reader.TakeUp(served)
	for l.collect() { // before anybody subscribes, or goes on with a replay: from here on the window is as far as the process before was
		for !l.flush() {
		}
	}
	l.slab.each(func(s *Session) {
		if s.state == stateReplaying {
			l.unfinished = append(l.unfinished, s.ref())
		}
		if len(s.input) > 0 {
			l.resumed = append(l.resumed, s.ref())
		}
	})
	l.takeSockets()
	l.standsBy = false
	l.lookBack()
	l.wake()
}

// adopt makes a session of what was written down.
func (l *loop) adopt(c gnet.Conn, a *arriving) {
	w := &a.written
	s := l.slab.take()
	s.conn = c
	c.SetContext(s)
	s.state, s.reason, s.listener = a.state, a.reason, uint16(w.Listener)
	s.opened, s.sent = uint32(max(w.Opened, 0)), w.Sent
	if w.Shut {
		s.set(flagShut)
	}
	l.engine.admission.active.Add(1)
	l.stats.opened.Add(1)
	l.note(s, recorder.Opened, 0, 0)
	if len(w.Peer) > 0 {
		l.rememberPeer(s, string(w.Peer))
	}
	l.adoptLimits(s, w)
	l.adoptRequest(s, a)
	if a.timer != timerNone {
		left := min(uint32(w.Left/int64(tick/time.Millisecond)), l.deadlines.length[a.timer])
		l.deadlines.startAt(s, a.timer, l.deadlines.now+left)
	}
	s.input = w.Input
	l.account(s)
	if l.write(s, w.Output); len(w.Output) > 0 && !s.is(flagBacklog) {
		l.drained(s)
	}
}

func (l *loop) adoptRequest(s *Session, a *arriving) {
	w := &a.written.Request
	s.request = request{
		skip: w.Skip, transport: a.transport, dialect: a.dialect, user: w.User, since: w.Since, mid: w.Mid.MessageID(), asks: a.asks, agent: l.agents.Take(w.Agent), key: w.Key,
		pulses: w.Pulses, faults: w.Faults, assembly: w.Assembly.Assembly(),
	}
	l.adoptForwarded(s, w.Forwarded)
	l.receipts.Set(s.index, receipt.Receipt{Last: w.Acked.MessageID(), Count: min(w.Acks, s.sent)})
	l.stats.unacknowledged.Add(uint64(l.outstanding(s)))
	if w.Expires != 0 {
		s.expires = l.engine.expiryOf(time.Unix(w.Expires, 0))
	}
	if len(a.channels) > 0 {
		s.subs = make([]channels.Subscription, 0, len(a.channels))
		for i := range a.channels {
			l.enterTable(s, &a.channels[i])
		}
		l.listening(s).Add(1)
		l.stats.keys[s.key].Add(1)
		s.named = uint16(min(max(w.Named, 0), len(s.subs)))
		l.userComes(s) // before the process before says that it has gone
		l.stats.statuses.Add(int64(len(s.subs)) - int64(s.named))
	}
	if a.replay != nil {
		s.replay = l.reader.Resume(s.ref().tag(), *a.replay)
	}
}

// adoptForwarded notes whose connection a proxy has said that it is.
func (l *loop) adoptForwarded(s *Session, b []byte) {
	addr, ok := netip.AddrFromSlice(b)
	if !ok {
		return
	}
	s.mark(hasForwarded)
	if addr.Is4() && !addr.IsUnspecified() {
		s.forwarded = addr.As4()
		return
	}
	if l.clients == nil {
		l.clients = make(map[uint32]netip.Addr)
	}
	l.clients[s.index] = addr
}

// startAt gives s a deadline at a tick, among those of its kind. Few of them are later.
func (d *deadlines) startAt(s *Session, k timer, due uint32) {
	d.stop(s)
	list := &d.lists[k]
	next, prev := uint32(noSession), list.last
	for prev != noSession && d.slab.get(prev).due > due {
		next, prev = prev, d.slab.get(prev).prev
	}
	s.timer, s.due, s.prev, s.next = k, due, prev, next
	if prev == noSession {
		list.first = s.index
	} else {
		d.slab.get(prev).next = s.index
	}
	if next == noSession {
		list.last = s.index
	} else {
		d.slab.get(next).prev = s.index
	}
	d.wakeBy(due)
}
