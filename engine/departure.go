package engine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"reflect"
	"slices"
	"time"
	"unsafe"

	"github.com/bytedance/sonic"
	"github.com/panjf2000/gnet/v2"
	"github.com/panjf2000/gnet/v2/pkg/buffer/elastic"
	"golang.org/x/sys/unix"

	"push-server/engine/accept"
	"push-server/engine/handover"
	"push-server/protocol"
)

// Departure is an engine whose loops stand still, so that another process can take its sessions over. Either Cancel or Leave ends it.
//
//	serving ──Depart──► standing still ──Leave──► without the sessions that have gone: what is left ends in its own time, then Drain
//	   ▲                      │
//	   └───────Cancel─────────┘   as if nothing had been
//
// Its methods belong to one goroutine.
type Departure struct {
	State    handover.Engine
	Sessions []Parting // those that go, by when their deadlines are
	Since    time.Time // when the loops were told to stand still

	engine *Engine
	orders []chan func(l *loop) // by loop
	gone   [][]sessionRef       // by loop
}

// Parting is a session that goes, written down, and its socket, which stays the engine's.
type Parting struct {
	Body   []byte
	Socket int
	left   int64 // until its deadline, milliseconds
}

// settleTime is how long loops that stand still wait for what goroutines are doing for their sessions.
const settleTime = 50 * time.Millisecond

// errMoves says that there is more to read or to write than a loop should stand still for.
var errMoves = errors.New("engine: an event loop does not come to rest")

// Place is where what is published has got to: a successor that begins after it finds what follows.
func (e *Engine) Place() uint64 { return e.feed.Place() }

// ExpectDeparture does beforehand what takes long.
func (e *Engine) ExpectDeparture() { compileSessions() }

// Started is when the service began, which may have been another process.
func (e *Engine) Started() time.Time { return e.started }

// Sockets are the listening sockets of each listener. They stay the engine's.
func (e *Engine) Sockets(ctx context.Context) ([][]int, error) {
	all := make([][]int, len(e.ports))
	byLoop := make([][]int, len(e.loops))
	if err := askLoops(ctx, e.loops, func(l *loop) { byLoop[l.id] = l.acceptor.listeners }); err != nil {
		return nil, err
	}
	for _, socket := range slices.Concat(byLoop...) {
		addr, err := accept.Address(socket)
		if err != nil {
			return nil, err
		}
		if i, ok := e.portOf(addr); ok {
			all[i] = append(all[i], socket)
		}
	}
	for _, p := range e.tlsPorts {
		socket, err := accept.Socket(p.socket)
		if err != nil {
			return nil, err
		}
		all[p.index] = append(all[p.index], socket)
	}
	return all, nil
}

// Depart has all loops stand still and writes down what their sessions are, for a successor that began to listen to the bus after since.
// Sessions stay that need this process: encrypted ones, and those whose request a goroutine answers. After an error everything goes on.
func (e *Engine) Depart(ctx context.Context, since uint64) (*Departure, error) {
	d := &Departure{Since: time.Now(), engine: e, gone: make([][]sessionRef, len(e.loops))}
	if err := askLoops(ctx, e.loops, (*loop).lookAway); err != nil {
		return nil, fmt.Errorf("engine: the event loops do not stand still: %w", err)
	}
	for _, l := range e.loops {
		orders := make(chan func(l *loop))
		d.orders = append(d.orders, orders)
		l.call(func(l *loop) { l.orders = orders })
	}
	if err := d.write(ctx, since); err != nil {
		d.Cancel()
		return nil, err
	}
	return d, nil
}

// lookAway has the loop accept nobody. It is a turn before it stands still: what epoll has reported with that turn is still accepted.
func (l *loop) lookAway() {
	l.acceptor.left, l.acceptor.leftIn = true, l.stats.turns.Load()
	l.listenFor(0)
}

// lookBack ends it.
func (l *loop) lookBack() {
	l.acceptor.left = false
	l.listenFor(unix.EPOLLIN | unix.EPOLLPRI) // as gnet does
}

// standStill has the loop do nothing but what it is ordered to, if there is somebody who gives orders, until that has no more.
func (l *loop) standStill() {
	orders := l.orders
	if orders == nil {
		return
	}
	if l.stats.turns.Load() == l.acceptor.leftIn+1 { // it was this turn: who was reported with it is still to come in
		l.wake()
		return
	}
	l.orders = nil
	for f := range orders {
		f(l)
	}
	l.wake()
}

// each has every loop do f, all at once, and waits.
func (d *Departure) each(ctx context.Context, f func(l *loop)) error {
	done := make(chan struct{}, len(d.orders))
	for _, orders := range d.orders {
		select {
		case orders <- func(l *loop) { f(l); done <- struct{}{} }:
		case <-ctx.Done():
			return fmt.Errorf("engine: the event loops do not stand still: %w", ctx.Err())
		}
	}
	for range d.orders {
		<-done
	}
	return nil
}

func (l *loop) standingTurn() {
	l.beginCallback()
	l.turn()
	l.endCallback()
}

// settle waits a moment until nothing is under way for sessions but what they wait for themselves, so that they neither miss an answer nor
// overtake themselves with what they publish.
func (d *Departure) settle(ctx context.Context) error {
	e := d.engine
	for begin := time.Now(); ; time.Sleep(time.Millisecond) {
		quiet := len(e.requests.places) == 0 && e.publishing.pending(clients) == 0 && len(e.limits.full) == 0
		if err := d.each(ctx, (*loop).standingTurn); err != nil {
			return err
		}
		if quiet || time.Since(begin) > settleTime {
			return nil
		}
	}
}

// pending is the number of publications of one kind that are not stored yet.
func (q *publishQueue) pending(kind publisherKind) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.lanes[kind].ps)
}

func (d *Departure) write(ctx context.Context, since uint64) error {
	if err := d.settle(ctx); err != nil {
		return err
	}
	e := d.engine
	e.feed.Hold()
	written := make([][]Parting, len(e.loops))
	errs := make([]error, len(e.loops))
	err := d.each(ctx, func(l *loop) {
		if errs[l.id] = l.rest(); errs[l.id] == nil {
			written[l.id], d.gone[l.id], errs[l.id] = l.writeSessions()
		}
	})
	if err = errors.Join(append(errs, err)...); err != nil {
		return err
	}
	d.State.Totals = e.totals()
	if !e.subscribes() {
		return nil
	}
	if err := e.feed.Served(since, func(id protocol.MessageID) { d.State.Served = handover.AppendID(d.State.Served, id) }); err != nil {
		return fmt.Errorf("engine: %w", err)
	}
	d.Sessions = slices.Concat(written...)
	slices.SortStableFunc(d.Sessions, func(a, b Parting) int { return int(a.left - b.left) })
	d.State.Sessions, d.State.Subscriptions = len(d.Sessions), e.subscriptions.Load()
	d.State.Keys = e.settings.Load().digests()
	return nil
}

// restTurns is how many turns a loop may take to come to rest.
const restTurns = 256

// rest has the loop read and write what there is up to where readers are held.
func (l *loop) rest() error {
	if l.acceptor.poller < 0 {
		return errors.New("engine: listeners cannot be let go of without /proc")
	}
	for range restTurns {
		l.standingTurn()
		if l.outbox.empty() && len(l.swept) == 0 && !l.mailbox.unread() && l.reader.Settled() {
			return nil
		}
	}
	return errMoves
}

// goes says whether another process can take s over.
func (l *loop) goes(s *Session) bool {
	switch {
	case s.is(flagOwn), s.is(flagGone), s.state == stateWaiting:
		return false
	}
	return l.o.Listeners[s.listener].TLS == nil
}

func (l *loop) writeSessions() (written []Parting, refs []sessionRef, err error) {
	written, refs = make([]Parting, 0, l.slab.n), make([]sessionRef, 0, l.slab.n)
	w := new(handover.Session)
	l.slab.each(func(s *Session) {
		if err != nil || !l.goes(s) {
			return
		}
		l.writeSession(w, s)
		body, failed := sonic.Marshal(w)
		if failed != nil {
			err = fmt.Errorf("engine: a session cannot be written down: %w", failed)
			return
		}
		written = append(written, Parting{body, s.conn.Fd(), w.Left})
		refs = append(refs, s.ref())
	})
	return written, refs, err
}

func (l *loop) writeSession(w *handover.Session, s *Session) {
	*w = handover.Session{
		State: stateNames[s.state], Reason: closeTable[s.reason].label, Shut: s.is(flagShut), Listener: int(s.listener),
		Timer: timerNames[s.timer], Left: l.deadlines.left(s), Opened: int64(s.opened), Sent: s.sent, Input: s.input, Output: unsent(s.conn),
	}
	if addr, ok := s.conn.RemoteAddr().(*net.TCPAddr); ok {
		w.Addr = handover.Addr{IP: addr.IP, Port: addr.Port, Zone: addr.Zone}
	}
	if s.is(flagPeer) {
		w.Peer = []byte(l.peers[s.index])
	}
	l.writeLimits(w, s)
	r := &w.Request
	*r = handover.Request{
		Skip: s.skip, Transport: s.via().label, Dialect: s.speaks().label, Agent: []byte(l.agents.Text(s.agent)), User: s.user, Named: int(s.named), Since: s.since, Mid: handover.IDOf(s.mid),
		Key: s.key, Pulses: s.pulses, Faults: s.faults, Assembly: s.assembly.State(),
	}
	if client := l.clients[s.index]; s.has(hasForwarded) && client.IsValid() {
		r.Forwarded = client.AsSlice()
	} else if s.has(hasForwarded) {
		r.Forwarded = s.forwarded[:]
	}
	receipt := l.receipts.Of(s.index)
	r.Acked, r.Acks = handover.IDOf(receipt.Last), receipt.Count
	if s.expires != 0 {
		r.Expires = time.Now().Add(l.engine.untilExpiry(s)).Unix()
	}
	for flag, name := range askNames {
		if s.has(flag) {
			r.Asks = append(r.Asks, name)
		}
	}
	for _, sub := range s.subs {
		r.Channels = handover.AppendChannel(r.Channels, l.table.Channel(sub))
	}
	if s.replay != nil {
		q := s.replay.State()
		r.Replay = &handover.Replay{First: handover.IDOf(q.First), Mid: handover.IDOf(q.Mid), Parts: q.Parts}
		for _, p := range q.Pending {
			r.Replay.Pending = append(r.Replay.Pending, protocol.AppendNotification(nil, p))
		}
	}
}

// left is how long it is until the deadline of s, in milliseconds.
func (d *deadlines) left(s *Session) int64 {
	if s.timer == timerNone {
		return 0
	}
	return max(int64(s.due)-int64(d.now), 0) * int64(tick/time.Millisecond)
}

// buffered is where gnet keeps what a peer has not taken. It has no method that shows it.
func buffered(c gnet.Conn) *elastic.Buffer {
	field := reflect.ValueOf(c).Elem().FieldByName("outboundBuffer")
	if !field.IsValid() || field.Type() != reflect.TypeFor[elastic.Buffer]() {
		panic("BUG: engine: gnet keeps its output elsewhere")
	}
	return (*elastic.Buffer)(unsafe.Pointer(field.UnsafeAddr()))
}

// unsent is what the peer has not taken; it stays where it is.
func unsent(c gnet.Conn) (b []byte) {
	if c.OutboundBuffered() == 0 {
		return nil
	}
	parts, err := buffered(c).Peek(-1)
	if err != nil {
		panic("BUG: engine: output that gnet has cannot be read: " + err.Error())
	}
	return slices.Concat(parts...)
}

// Stay has all sessions stay, to end here: only the ports go.
func (d *Departure) Stay() {
	d.State, d.Sessions = handover.Engine{Totals: d.State.Totals}, nil
	clear(d.gone)
}

// Cancel has everything go on as if nothing had been.
func (d *Departure) Cancel() {
	for _, l := range d.engine.loops {
		l.call((*loop).lookBack)
	}
	d.release()
}

// release has the loops turn again.
func (d *Departure) release() {
	d.engine.feed.LetGo()
	for _, orders := range d.orders {
		close(orders)
	}
}

// Leave lets go of the sessions that have gone, which end here without a word, and of all ports. What is left goes on until it ends: Left
// says how much that is. Drain follows.
func (d *Departure) Leave() {
	e := d.engine
	e.left.Store(true)
	for _, p := range e.tlsPorts {
		_ = p.listener.Close() // its socket is another process's, too
		<-p.ended              // whom it has accepted has a place
	}
	e.admission.closed.Store(true)
	_ = d.each(context.Background(), func(l *loop) { l.leaveTo(d.gone[l.id]) }) // they stand still: it cannot fail
	d.release()
}

// Left is how many connections are still here, those of publishers among them.
func (e *Engine) Left() int {
	_, connections := e.moves()
	return connections + int(e.publishers.active.Load())
}

func (l *loop) leaveTo(gone []sessionRef) {
	l.beginCallback()
	for _, ref := range gone {
		if s := l.slab.at(ref); s != nil {
			l.part(s)
		}
	}
	l.slab.each(func(s *Session) {
		if s.state == stateWaiting {
			s.mark(asksClose)
		}
	})
	l.endCallback()
	l.sweepAll() // a socket that is still open here would take what is for the other process
}

// part lets go of a session that another process has. Its socket is closed here, which its peer does not notice.
func (l *loop) part(s *Session) {
	if b := buffered(s.conn); !b.IsEmpty() {
		_, _ = b.Discard(b.Buffered()) // gnet would write it
	}
	l.unfollow(s)
	l.deadlines.stop(s)
	l.dropReplay(s)
	s.state = stateClosed
	s.gen++
	delete(l.watched, s.index)
	l.swept = append(l.swept, s.index)
}
