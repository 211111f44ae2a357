package membus

import (
	"context"
	"errors"
	"net"
	"net/rpc"
	"slices"
	"sync"
	"time"

	"push-server/protocol"
)

// follower is another process that is told what happens to a bus. The owner of the bus guards it.
type follower struct {
	events   []Event
	bytes    int
	maxBytes int
	patient  bool          // it can do with a gap; otherwise there is an end
	failed   bool          // too much has gathered
	gone     bool          // nobody listens any more
	arrived  chan struct{} // holds a token while events may be there
}

// What gathers for a follower at most, in bytes: for one that copies everything, which a gap would make useless, and for one that can read
// history.
const (
	copyBytes  = 64 << 20
	trailBytes = 8 << 20
)

// chunkBytes bounds an answer, if that is more than one publication.
const chunkBytes = 1 << 20

// eventBytes is what an event takes without its publication.
const eventBytes = 128

func newFollower(maxBytes int, patient bool) *follower {
	return &follower{maxBytes: maxBytes, patient: patient, arrived: make(chan struct{}, 1)}
}

func (e *Event) size() int {
	n := eventBytes + 16*len(e.Seen)
	if e.Publication != nil {
		n += int(entryBytes(e.Publication))
	}
	for _, some := range []*Users{e.Came, e.Gone} {
		if some != nil {
			n += 8 * len(some.Users)
		}
	}
	return n
}

// tell tells all followers what has happened. b.mu is locked.
func (b *Bus) tell(e Event) {
	for _, f := range b.followers {
		f.put(e)
	}
}

func (f *follower) put(e Event) {
	if f.failed || f.patient && e.Publication == nil && e.Echo == 0 && !e.Gap {
		return
	}
	f.bytes += e.size()
	f.events = append(f.events, e)
	if f.bytes > f.maxBytes {
		f.events, f.bytes, f.failed = nil, 0, !f.patient
		if f.patient {
			f.events = append(f.events, Event{Gap: true})
		}
	}
	f.wake()
}

func (f *follower) wake() {
	select {
	case f.arrived <- struct{}{}:
	default:
	}
}

// some removes the next events.
func (f *follower) some() (events []Event) {
	n, bytes := 0, 0
	for n < len(f.events) && (n == 0 || bytes < chunkBytes) {
		bytes += f.events[n].size()
		n++
	}
	events = slices.Clone(f.events[:n])
	f.bytes -= bytes
	if f.events = slices.Delete(f.events, 0, n); len(f.events) == 0 {
		f.events, f.bytes = nil, 0
	} else {
		f.wake()
	}
	return events
}

// server answers another process.
type server struct {
	once sync.Once
	end  func()
}

func (s *server) close() {
	if s != nil {
		s.once.Do(s.end)
	}
}

// serve answers what comes over a connection, which it takes over, until that ends. b.mu is locked.
func (b *Bus) serve(c net.Conn, f *follower) *server {
	rpcs := rpc.NewServer()
	if err := rpcs.RegisterName(serviceName, &service{bus: b, follower: f}); err != nil {
		panic("BUG: membus: " + err.Error())
	}
	s := &server{}
	s.end = func() {
		_ = c.Close() // the other process may have done it
		b.forget(s, f)
	}
	b.serving = append(b.serving, s)
	b.tasks.Go(func() { rpcs.ServeConn(ending{c, s}) })
	return s
}

// ending notices the end of a connection: what waits there for an answer waits no longer.
type ending struct {
	net.Conn
	server *server
}

func (e ending) Read(b []byte) (int, error) {
	n, err := e.Conn.Read(b)
	if err != nil {
		e.server.close()
	}
	return n, err
}

// forget has nobody be told who is not there.
func (b *Bus) forget(s *server, f *follower) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.followers = slices.DeleteFunc(b.followers, func(x *follower) bool { return x == f })
	b.serving = slices.DeleteFunc(b.serving, func(x *server) bool { return x == s })
	f.events, f.gone = nil, true
	f.wake()
}

// service is what another process can ask for.
type service struct {
	bus      *Bus
	follower *follower
	by       publisher
	stock    []*entry // that is being copied
}

// ctx is that of what another process asks for: a bus that is closed ends it.
func (s *service) ctx() context.Context { return context.Background() }

// errTooMuch ends a copy.
var errTooMuch = errors.New("more was published than is kept for a process that takes over")

// Next waits for events. Nobody else may wait.
func (s *service) Next(_ None, events *[]Event) error {
	f := s.follower
	for {
		<-f.arrived
		s.bus.mu.Lock()
		failed, gone := f.failed, f.gone
		*events = f.some()
		s.bus.mu.Unlock()
		switch {
		case gone:
			return protocol.ErrBusClosed
		case failed:
			return errTooMuch
		case len(*events) > 0:
			return nil
		}
	}
}

// Echo has an echo come by behind everything that happened.
func (s *service) Echo(_ None, n *uint64) error {
	b := s.bus
	next, err := b.look(s.ctx())
	if err != nil {
		return err
	}
	if next != nil {
		return s.echoBehind(next, n)
	}
	defer b.mu.Unlock()
	b.echoes++
	*n = b.echoes
	s.follower.put(Event{Echo: b.echoes, Highest: b.highest()})
	return nil
}

// echoBehind is for a process two before the one that stores: what comes goes through this one.
func (s *service) echoBehind(next *link, n *uint64) (err error) {
	*n, err = ask[uint64](s.ctx(), next, "Echo", nothing)
	return err
}

// Publish stores publications of another process.
func (s *service) Publish(ps []*protocol.Publication, stored *Stored) error {
	n, err := s.bus.publishFor(s.ctx(), &s.by, ps)
	for _, p := range ps[:n] {
		stored.IDs, stored.Created, stored.Expiry = append(stored.IDs, p.ID), append(stored.Created, p.Created), append(stored.Expiry, p.Expiry)
	}
	if err != nil {
		stored.Failed = err.Error()
	}
	return nil
}

// History is that of Bus, and so is whatever follows.
func (s *service) History(q Question, answers *[]protocol.HistoryAnswer) (err error) {
	*answers, err = s.bus.History(s.ctx(), q.Queries, q.MaxBytes)
	return err
}

// Remaining is that of Bus.
func (s *service) Remaining(ids []protocol.MessageID, remaining *[]time.Duration) (err error) {
	*remaining, err = s.bus.Remaining(s.ctx(), ids)
	return err
}

// Enter is that of Bus.
func (s *service) Enter(u Users, came *[]uint64) (err error) {
	*came, err = s.bus.enter(s.ctx(), u.Process, u.Users)
	return err
}

// Leave is that of Bus.
func (s *service) Leave(u Users, gone *[]uint64) (err error) {
	*gone, err = s.bus.leave(s.ctx(), u.Process, u.Users)
	return err
}

// Renew is that of Bus.
func (s *service) Renew(of Renewal, r *Renewed) (err error) {
	*r, err = s.bus.renew(s.ctx(), of)
	return err
}

// Connected is that of Bus.
func (s *service) Connected(users []uint64, online *[]bool) (err error) {
	*online, err = s.bus.Connected(s.ctx(), users)
	return err
}

// See is that of Bus.
func (s *service) See(seen map[uint64]int64, _ *None) error { return s.bus.See(s.ctx(), seen) }

// LastSeen is that of Bus.
func (s *service) LastSeen(users []uint64, seen *[]int64) (err error) {
	*seen, err = s.bus.LastSeen(s.ctx(), users)
	return err
}
