package membus

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/rpc"
	"os"
	"sync"
	"time"

	"push-server/protocol"
)

// What processes say to each other has exported names, since net/rpc wants it so.

// Event is something that happened to a bus; one of its fields says what.
type Event struct {
	Publication *protocol.Publication
	At          int64 // when it was stored, Unix milliseconds

	Echo    uint64 // of the follower's own
	Highest protocol.MessageID

	Seen       map[uint64]int64
	Came, Gone *Users
	Gap        bool // events are missing here
}

// None is nothing.
type None struct{}

var nothing = None{}

// Users are some of one process.
type Users struct {
	Process uint64
	Users   []uint64
}

// Renewal says that a process is there.
type Renewal struct {
	Process uint64
	TTL     time.Duration
}

// Renewed is the answer.
type Renewed struct {
	Known bool
	Gone  []uint64
}

// Question is one to history.
type Question struct {
	Queries  []protocol.HistoryQuery
	MaxBytes int
}

// Stored is what became of publications.
type Stored struct {
	IDs     []protocol.MessageID // of those that are stored, the leading ones
	Created []uint32
	Expiry  []uint32
	Failed  string // why not the others
}

// link is the way to the bus of another process.
type link struct {
	client *rpc.Client
	lost   chan struct{} // closed when the other process has gone
	once   sync.Once
}

// dial makes a link of a socket, which it takes over.
func dial(c net.Conn) *link { return &link{client: rpc.NewClient(c), lost: make(chan struct{})} }

func (l *link) close() {
	if l != nil {
		_ = l.client.Close() // it may be closed
	}
}

func (l *link) lose() { l.once.Do(func() { close(l.lost) }) }

// serviceName is that of the calls.
const serviceName = "Bus"

// ask calls the bus of another process.
func ask[R any](ctx context.Context, l *link, method string, args any) (r R, err error) {
	reply := new(R)
	call := l.client.Go(serviceName+"."+method, args, reply, make(chan *rpc.Call, 1))
	select {
	case <-call.Done:
		if call.Error != nil {
			return r, fmt.Errorf("membus: the bus of another process: %w", call.Error)
		}
		return *reply, nil
	case <-ctx.Done():
		return r, ctx.Err()
	}
}

// publisher is who publishes over links, one batch at a time.
type publisher struct {
	underWay *rpc.Call // nobody has waited for its end
}

// publish has another process store ps. If ctx ends before there is an answer, the next call, which is about the same publications, gets it.
func (b *publisher) publish(ctx context.Context, l *link, ps []*protocol.Publication) (stored int, err error) {
	if b.underWay == nil {
		b.underWay = l.client.Go(serviceName+".Publish", ps, new(Stored), make(chan *rpc.Call, 1))
	}
	var call *rpc.Call
	select {
	case call = <-b.underWay.Done:
		b.underWay = nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	if call.Error != nil {
		return 0, fmt.Errorf("membus: the process that has taken over: %w", call.Error)
	}
	s := call.Reply.(*Stored)
	n := min(len(s.IDs), len(s.Created), len(s.Expiry), len(ps))
	for i, p := range ps[:n] {
		p.ID, p.Created, p.Expiry = s.IDs[i], s.Created[i], s.Expiry[i]
	}
	switch {
	case s.Failed != "":
		return n, errors.New(s.Failed)
	case n < len(ps):
		return n, errors.New("membus: the process that has taken over has not stored everything")
	}
	return n, nil
}

// connOf makes a connection of a descriptor, which it closes in favour of a duplicate.
func connOf(fd int) (net.Conn, error) {
	file := os.NewFile(uintptr(fd), "bus")
	defer file.Close()
	return net.FileConn(file)
}

// hear brings what happens at the other end of a link, until that ends.
func (b *Bus) hear(l *link) {
	defer l.lose()
	for {
		events, err := ask[[]Event](context.Background(), l, "Next", nothing)
		if err != nil {
			b.lose(l, err)
			return
		}
		for i := range events {
			b.apply(l, &events[i])
		}
	}
}

// lose notes that nothing comes over a link any more.
func (b *Bus) lose(l *link, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.source == l || b.next == l {
		b.broken = err
	}
}

// apply does here what was done there. A bus that is no copy only passes it on.
func (b *Bus) apply(l *link, e *Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	copied := b.source == l
	if !copied && b.next != l {
		return
	}
	b.tell(*e)
	switch {
	case e.Publication != nil && copied:
		b.counter = e.Publication.ID.Counter()
		b.take(e.Publication, time.UnixMilli(e.At))
	case e.Echo != 0 && copied:
		b.echoes = e.Echo
		b.pass(e)
	case e.Seen != nil:
		b.lastSeen.see(e.Seen, b.now())
	case e.Came != nil:
		b.users.enter(e.Came.Process, e.Came.Users)
	case e.Gone != nil:
		b.users.leave(e.Gone.Process, e.Gone.Users)
	default:
		b.pass(e)
	}
}

// pass gives an event to the handler.
func (b *Bus) pass(e *Event) {
	switch {
	case b.handler == nil:
	case e.Publication != nil:
		b.handler.HandlePublication(e.Publication)
	case e.Echo != 0:
		b.handler.HandleEcho(e.Echo, e.Highest)
	case e.Gap:
		b.handler.HandleGap()
	}
}
