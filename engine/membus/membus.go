// Package membus is the bus of an installation of one process: history lives in the memory of the process and ends with it. Take
// redisbus where several processes or hosts serve one portal, or where history must survive a restart.
package membus

import (
	"context"
	"errors"
	"math"
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
	lastSeen  lastSeen
	users     users
	now       func() time.Time
	maxExpiry uint32 // seconds
	startdate uint64

	closed    chan struct{}
	closeOnce sync.Once

	mu         sync.Mutex // guards everything below, and calls of handler
	counter    uint64
	echoes     uint64
	handler    protocol.Handler // nil while nobody subscribes
	interrupts bool             // somebody subscribed before
	history    history
}

// New returns an empty bus. Its ids begin with the present second, so they are above those of an earlier process.
func New(o Options) *Bus {
	o = o.withDefaults()
	return &Bus{
		now:       o.Now,
		maxExpiry: uint32(min(max(o.MessageTTL/time.Second, 0), math.MaxUint32)),
		startdate: uint64(o.Now().Unix()),
		closed:    make(chan struct{}),
		history:   newHistory(o),
	}
}

// Publish implements engine.Bus. It fails only when ctx or the bus has ended.
func (b *Bus) Publish(ctx context.Context, ps []*protocol.Publication) (stored int, err error) {
	for i, p := range ps {
		if err := b.usable(ctx); err != nil {
			return i, err
		}
		b.publish(p)
	}
	return len(ps), nil
}

func (b *Bus) publish(p *protocol.Publication) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	b.counter++
	p.ID = protocol.MakeMessageID(b.startdate, b.counter)
	p.Created = uint32(now.Unix())
	p.Expiry = min(p.Expiry, b.maxExpiry)
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
		if err := b.usable(ctx); err != nil {
			return nil, err
		}
		b.mu.Lock()
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
	if err := b.usable(ctx); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	remaining := make([]time.Duration, len(ids))
	for i, id := range ids {
		remaining[i] = b.history.remaining(id, now)
	}
	return remaining, nil
}

// Echo implements engine.Bus. The Handler has got the echo when Echo returns.
func (b *Bus) Echo(ctx context.Context) (n uint64, err error) {
	if err := b.usable(ctx); err != nil {
		return 0, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.echoes++
	if b.handler != nil {
		b.handler.HandleEcho(b.echoes, protocol.MakeMessageID(b.startdate, b.counter))
	}
	return b.echoes, nil
}

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
	b.closeOnce.Do(func() { close(b.closed) })
}

func (b *Bus) usable(ctx context.Context) error {
	select {
	case <-b.closed:
		return protocol.ErrBusClosed
	default:
		return ctx.Err()
	}
}
