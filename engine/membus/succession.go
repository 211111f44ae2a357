package membus

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"golang.org/x/sys/unix"

	"push-server/protocol"
)

// Offer is the way on which another process can take a bus over. Either Cancel or Leave ends it. Its methods belong to one goroutine.
type Offer struct {
	Sockets [2]int // for the other process; Sent closes them here

	bus      *Bus
	ours     [2]int // the same
	server   *server
	follower *follower
}

// Offer makes one.
func (b *Bus) Offer() (*Offer, error) {
	o := &Offer{bus: b, follower: newFollower(copyBytes, false)}
	for i := range o.Sockets {
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			closeSockets(o.Sockets[:i])
			closeSockets(o.ours[:i])
			return nil, fmt.Errorf("membus: %w", err)
		}
		o.ours[i], o.Sockets[i] = pair[0], pair[1]
	}
	c, err := connOf(o.ours[0])
	if err != nil {
		closeSockets(o.Sockets[:])
		closeSockets(o.ours[1:])
		return nil, fmt.Errorf("membus: %w", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	o.server = b.serve(c, o.follower)
	return o, nil
}

func closeSockets(fds []int) {
	for _, fd := range fds {
		_ = unix.Close(fd) // nothing was written
	}
}

// Sent says that the other process has the sockets.
func (o *Offer) Sent() {
	closeSockets(o.Sockets[:])
	o.Sockets = [2]int{-1, -1}
}

// Freeze has the bus store nothing. Who wants to waits; all can be read.
func (o *Offer) Freeze() {
	o.bus.mu.Lock()
	defer o.bus.mu.Unlock()
	o.bus.frozen = make(chan struct{})
}

// thaw ends it. b.mu is locked.
func (b *Bus) thaw() {
	if b.frozen != nil {
		close(b.frozen)
		b.frozen = nil
	}
}

// Cancel has the bus go on as if nothing had been.
func (o *Offer) Cancel() {
	if o.Sockets[0] >= 0 {
		o.Sent()
	}
	closeSockets(o.ours[1:])
	o.server.close()
	o.bus.mu.Lock()
	defer o.bus.mu.Unlock()
	o.bus.thaw()
}

// Leave has the bus forget everything, and ask the other process, which leads from now on. gone is closed if that ends.
func (o *Offer) Leave() (gone <-chan struct{}, err error) {
	b := o.bus
	o.server.close()
	c, err := connOf(o.ours[1])
	b.mu.Lock()
	defer b.mu.Unlock()
	defer b.thaw()
	if err != nil {
		b.broken = fmt.Errorf("membus: %w", err)
		return nil, b.broken
	}
	b.history.clear()
	b.lastSeen, b.users = lastSeen{}, newUsers()
	b.next = dial(c)
	b.tasks.Go(func() { b.hear(b.next) })
	return b.next.lost, nil
}

// Followers is how many other processes ask this one.
func (b *Bus) Followers() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.serving)
}

// State is what a copy begins with.
type State struct {
	Startdate, Counter, Echoes uint64
	LastSeen                   lastSeen
	Users                      map[uint64][]uint64 // by process
}

// Stock is a part of history.
type Stock struct {
	Items []Item
	More  bool
}

// Item is a stored publication.
type Item struct {
	Publication *protocol.Publication
	Expires     int64   // Unix milliseconds
	In          []Place // it is part of the history of these
}

// Place is a receiver of a publication, and when the history of that channel expires.
type Place struct {
	Receiver int
	Expires  int64 // Unix milliseconds
}

// Begin says what there is, but for history, and tells of everything from now on.
func (s *service) Begin(_ None, state *State) error {
	b := s.bus
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.next != nil || b.source != nil {
		return errors.New("another process has it")
	}
	*state = State{Startdate: b.startdate, Counter: b.counter, Echoes: b.echoes, Users: make(map[uint64][]uint64)}
	state.LastSeen = lastSeen{maps.Clone(b.lastSeen.Young), maps.Clone(b.lastSeen.Old), b.lastSeen.Since}
	for id, p := range b.users.processes {
		for user := range p.on {
			state.Users[id] = append(state.Users[id], user)
		}
	}
	s.stock = b.history.all()
	b.followers = append(b.followers, s.follower)
	return nil
}

// Copy returns the next part of history. What has gone from it meanwhile is left out.
func (s *service) Copy(_ None, stock *Stock) error {
	s.bus.mu.Lock()
	defer s.bus.mu.Unlock()
	for bytes := int64(0); len(s.stock) > 0 && bytes < chunkBytes; s.stock = s.stock[1:] {
		if item, ok := s.bus.history.item(s.stock[0]); ok {
			stock.Items = append(stock.Items, item)
			bytes += s.stock[0].bytes
		}
	}
	stock.More = len(s.stock) > 0
	return nil
}

// Follow returns a bus that is a copy of that of another process, and stays one until Lead. The sockets are those of its Offer, which Follow
// takes over. o counts from now on: what is too much for it is left out.
func Follow(ctx context.Context, o Options, sockets [2]int) (b *Bus, back *Successor, err error) {
	c, err := connOf(sockets[0])
	if err != nil {
		closeSockets(sockets[1:])
		return nil, nil, fmt.Errorf("membus: %w", err)
	}
	b = New(o)
	l := dial(c)
	if err := b.copy(ctx, l); err != nil {
		closeSockets(sockets[1:])
		l.close()
		return nil, nil, err
	}
	b.source = l
	b.tasks.Go(func() { b.hear(l) })
	return b, &Successor{bus: b, socket: sockets[1]}, nil
}

// copy takes what the other process has.
func (b *Bus) copy(ctx context.Context, l *link) error {
	state, err := ask[State](ctx, l, "Begin", nothing)
	if err != nil {
		return err
	}
	b.startdate, b.counter, b.echoes = state.Startdate, state.Counter, state.Echoes
	b.lastSeen = state.LastSeen
	for id, users := range state.Users {
		b.users.enter(id, users)
	}
	for more := true; more; {
		stock, err := ask[Stock](ctx, l, "Copy", nothing)
		if err != nil {
			return err
		}
		for i := range stock.Items {
			b.history.restore(&stock.Items[i])
		}
		more = stock.More
	}
	return nil
}

// Successor is a bus that is going to take over from another process.
type Successor struct {
	bus    *Bus
	socket int // over which that is going to ask
}

// CatchUp returns when the bus has everything that the one before had at the call.
func (s *Successor) CatchUp(ctx context.Context) error {
	n, err := s.bus.Echo(ctx)
	if err != nil {
		return err
	}
	for ; ctx.Err() == nil; time.Sleep(time.Millisecond / 2) {
		s.bus.mu.Lock()
		heard, broken := s.bus.echoes >= n, s.bus.broken
		s.bus.mu.Unlock()
		if heard || broken != nil {
			return broken
		}
	}
	return ctx.Err()
}

// Lead has the bus be that of its own process, and of the one before. It must have caught up since that froze.
func (s *Successor) Lead() error {
	b := s.bus
	c, err := connOf(s.socket)
	b.mu.Lock()
	source := b.source
	b.source, b.broken = nil, nil
	now := b.now()
	for id, p := range b.users.processes {
		if id != b.id {
			p.until = now.Add(usersOfOthers)
		}
	}
	if err == nil {
		f := newFollower(trailBytes, true)
		b.followers = append(b.followers, f)
		b.serve(c, f)
	}
	b.mu.Unlock()
	source.close()
	if err != nil {
		return fmt.Errorf("membus: the process before cannot ask any more: %w", err)
	}
	return nil
}

// usersOfOthers is how long users of the process before are taken for connected if it does not say that it is there.
const usersOfOthers = 30 * time.Second
