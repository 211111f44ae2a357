// Package membus is the bus of an installation of one process: history lives in the memory of the process and ends with it. Take
// redisbus where several processes or hosts serve one portal, or where history must survive a restart.
//
// Another process may take it over, with all that it has:
//
//	this process                                     the next one
//	Offer: sockets for it ─────────────────────────► Follow: copies what there is, and is told of whatever comes
//	Freeze: nothing is stored, but can be read ────► an echo: it has everything
//	Leave: forgets it, asks and tells the next one ◄─ Lead: from here on it stores, in the same order of ids
//
// Before Lead whatever goes wrong ends in Cancel, and nothing has happened. What the two say to each other are calls of net/rpc over
// socket pairs: first the next process asks, then this one.
package membus

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"push-server/protocol"
)

var errSubscribed = errors.New("membus: the bus has a subscriber already")

// Options are the options of a Bus. The zero value of each means its default.
type Options struct {
	// MessageTTL is the longest time that a publication stays in history, in whole seconds: a larger Expiry is cut to it.
	// Default 24 h; negative: nothing is stored.
	MessageTTL time.Duration
	// ChannelTTL is how long the history of a channel is kept after its last stored publication. Default 24 h.
	ChannelTTL time.Duration
	// PerChannel is how many publications are kept of each channel, the newest. Default 1000.
	PerChannel int
	// MaxBytes bounds the memory of all history, an estimate with overheads. Beyond it the oldest publications go. Default
	// 256 MiB.
	MaxBytes int64
	// Now is the clock. Default time.Now.
	Now func() time.Time
}

func (o Options) withDefaults() Options {
	const day = 24 * time.Hour
	if o.MessageTTL == 0 {
		o.MessageTTL = day
	}
	if o.ChannelTTL <= 0 {
		o.ChannelTTL = day
	}
	if o.PerChannel <= 0 {
		o.PerChannel = 1000
	}
	if o.MaxBytes <= 0 {
		o.MaxBytes = 256 << 20
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// Bus implements engine.Bus in memory.
//
// Publish and Echo call the Handler themselves, before they return and under the lock that gives out ids: the order of ids is
// the order of delivery. A Handler therefore must not call the bus.
type Bus struct {
	id        uint64 // among the processes that share it
	now       func() time.Time
	maxExpiry uint32 // seconds
	own       publisher

	closed    chan struct{}
	closeOnce sync.Once
	tasks     sync.WaitGroup

	mu         sync.Mutex // guards everything below, and calls of handler
	startdate  uint64
	counter    uint64
	echoes     uint64
	handler    protocol.Handler // nil while nobody subscribes
	interrupts bool             // somebody subscribed before
	history    history
	lastSeen   lastSeen
	users      users

	frozen    chan struct{} // closed when it goes on; nil: it is not frozen
	source    *link         // to the process whose bus this is a copy of; nil: it is none
	next      *link         // to the process that has taken over; nil: none has
	broken    error         // why nobody can say what is stored
	followers []*follower   // that are told of everything
	serving   []*server     // for them
}

// New returns an empty bus. Its ids begin with the present second, so they are above those of an earlier process.
func New(o Options) *Bus {
	o = o.withDefaults()
	return &Bus{
		id:        rand.Uint64(),
		now:       o.Now,
		maxExpiry: uint32(min(max(o.MessageTTL/time.Second, 0), math.MaxUint32)),
		startdate: uint64(o.Now().Unix()),
		closed:    make(chan struct{}),
		history:   newHistory(o),
		users:     newUsers(),
	}
}

// decide locks b.mu, once this process decides what is stored. next: another one does, and b.mu is not locked, nor is it after an error.
func (b *Bus) decide(ctx context.Context) (next *link, err error) {
	for {
		next, err := b.look(ctx)
		if next != nil || err != nil {
			return next, err
		}
		frozen := b.frozen
		if frozen == nil && b.source == nil {
			return nil, nil
		}
		source := b.source
		b.mu.Unlock()
		if source != nil {
			return source, nil
		}
		select {
		case <-frozen:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-b.closed:
			return nil, protocol.ErrBusClosed
		}
	}
}

// look locks b.mu, where this process knows what is stored. next: another one does, and b.mu is not locked, nor is it after an error.
func (b *Bus) look(ctx context.Context) (next *link, err error) {
	if err := b.usable(ctx); err != nil {
		return nil, err
	}
	b.mu.Lock()
	if b.broken == nil && b.next == nil {
		return nil, nil
	}
	defer b.mu.Unlock()
	return b.next, b.broken
}

// Publish implements engine.Bus. It fails only when ctx or the bus has ended, or the process that has taken over.
func (b *Bus) Publish(ctx context.Context, ps []*protocol.Publication) (stored int, err error) {
	return b.publishFor(ctx, &b.own, ps)
}

func (b *Bus) publishFor(ctx context.Context, by *publisher, ps []*protocol.Publication) (stored int, err error) {
	for i, p := range ps {
		next, err := b.decide(ctx)
		if err != nil {
			return i, err
		}
		if next != nil {
			n, err := by.publish(ctx, next, ps[i:])
			return i + n, err
		}
		b.publish(p)
		b.mu.Unlock()
	}
	return len(ps), nil
}

// publish stores p. b.mu is locked.
func (b *Bus) publish(p *protocol.Publication) {
	now := b.now()
	b.counter++
	p.ID = protocol.MakeMessageID(b.startdate, b.counter)
	p.Created = uint32(now.Unix())
	p.Expiry = min(p.Expiry, b.maxExpiry)
	b.tell(Event{Publication: p, At: now.UnixMilli()})
	b.take(p, now)
}

// take has p in history and gives it to the handler.
func (b *Bus) take(p *protocol.Publication, now time.Time) {
	if p.Expiry > 0 {
		b.history.add(p, now)
	}
	if b.handler != nil {
		b.handler.HandlePublication(p)
	}
}

// History implements engine.Bus. The lock is taken once for each query, so a thousand of them do not hold up publishing.
func (b *Bus) History(ctx context.Context, queries []protocol.HistoryQuery, maxBytes int) ([]protocol.HistoryAnswer, error) {
	answers := make([]protocol.HistoryAnswer, 0, len(queries))
	cut := newCut(maxBytes)
	for i := range queries {
		next, err := b.look(ctx)
		if err != nil {
			return nil, err
		}
		if next != nil {
			return ask[[]protocol.HistoryAnswer](ctx, next, "History", Question{queries, maxBytes})
		}
		ps := b.history.read(&queries[i], b.now())
		b.mu.Unlock()
		n := cut.take(ps)
		if n == 0 && len(ps) > 0 {
			break
		}
		answers = append(answers, protocol.HistoryAnswer{Publications: ps[:n], More: n < len(ps)})
		if n < len(ps) {
			break
		}
	}
	return answers, nil
}

// Remaining implements engine.Bus.
func (b *Bus) Remaining(ctx context.Context, ids []protocol.MessageID) ([]time.Duration, error) {
	next, err := b.look(ctx)
	if err != nil {
		return nil, err
	}
	if next != nil {
		return ask[[]time.Duration](ctx, next, "Remaining", ids)
	}
	defer b.mu.Unlock()
	now := b.now()
	remaining := make([]time.Duration, len(ids))
	for i, id := range ids {
		remaining[i] = b.history.remaining(id, now)
	}
	return remaining, nil
}

// Echo implements engine.Bus. The Handler has got the echo when Echo returns, if no other process is asked.
func (b *Bus) Echo(ctx context.Context) (n uint64, err error) {
	next, err := b.look(ctx)
	if err != nil {
		return 0, err
	}
	if next == nil {
		if next = b.source; next == nil {
			defer b.mu.Unlock()
			b.echoes++
			if b.handler != nil {
				b.handler.HandleEcho(b.echoes, b.highest())
			}
			return b.echoes, nil
		}
		b.mu.Unlock()
	}
	return ask[uint64](ctx, next, "Echo", nothing)
}

// highest is the greatest id that was given out. b.mu is locked.
func (b *Bus) highest() protocol.MessageID { return protocol.MakeMessageID(b.startdate, b.counter) }

// Subscribe implements engine.Bus. A second and later Subscribe begins with HandleGap.
func (b *Bus) Subscribe(ctx context.Context, h protocol.Handler) error {
	if err := b.usable(ctx); err != nil {
		return err
	}
	if err := b.attach(h); err != nil {
		return err
	}
	defer b.detach()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-b.closed:
		return protocol.ErrBusClosed
	}
}

func (b *Bus) attach(h protocol.Handler) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.handler != nil {
		return errSubscribed
	}
	b.handler = h
	if b.interrupts {
		h.HandleGap()
	}
	b.interrupts = true
	return nil
}

func (b *Bus) detach() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.handler = nil
}

// Close implements engine.Bus. History is gone with the last reference to the bus.
func (b *Bus) Close() {
	b.closeOnce.Do(func() {
		close(b.closed)
		b.mu.Lock()
		links, servers := []*link{b.source, b.next}, b.serving
		b.mu.Unlock()
		for _, l := range links {
			l.close()
		}
		for _, s := range servers {
			s.close()
		}
	})
	b.tasks.Wait()
}

func (b *Bus) usable(ctx context.Context) error {
	select {
	case <-b.closed:
		return protocol.ErrBusClosed
	default:
		return ctx.Err()
	}
}
