package engine

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"push-server/protocol"
)

// simBus is a bus with everything that can go wrong on the way: delays, lost answers, lost connections, connections that are
// alive but deaf, publishers that take an id first and publish later or never. Time is real but short.
type simBus struct {
	mu      sync.Mutex
	rng     *rand.Rand
	start   uint64
	counter uint64
	known   uint64 // the greatest one that was given out
	echoes  uint64
	stored  []*protocol.Publication
	tokens  map[*protocol.Publication]bool // stored, so that a repetition is recognised
	queue   []func(h protocol.Handler)     // on the connection, in order
	arrived chan struct{}
	deaf    bool
	faults  simFaults
}

// simFaults are probabilities per call or per event.
type simFaults struct {
	lostAnswer  float64 // a publication is stored, its answer lost
	badHistory  float64 // a read fails
	loseOne     float64 // an event of the connection is lost without a word
	disconnect  float64 // the connection is lost with everything under way
	goDeaf      float64 // nothing comes any more, without a word
	slowHistory time.Duration
	delay       time.Duration // of events
}

var errSim = errors.New("engine: simulated failure")

func newSimBus(seed uint64, faults simFaults) *simBus {
	return &simBus{
		rng: rand.New(rand.NewPCG(seed, 1)), start: 1_700_000_000, tokens: make(map[*protocol.Publication]bool),
		arrived: make(chan struct{}, 1), faults: faults,
	}
}

func (b *simBus) chance(p float64) bool { return p > 0 && b.rng.Float64() < p }

// takeID hands out the next id, as a Node publisher does before it publishes.
func (b *simBus) takeID() protocol.MessageID {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.counter++
	return protocol.MakeMessageID(b.start, b.counter)
}

// publishAs stores and sends p, whose id was taken before.
func (b *simBus) publishAs(p *protocol.Publication, id protocol.MessageID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p.ID, p.Created = id, uint32(time.Now().Unix())
	b.put(p)
}

func (b *simBus) put(p *protocol.Publication) {
	q := *p
	b.known = max(b.known, p.ID.Counter())
	if p.Expiry > 0 {
		b.stored = append(b.stored, &q)
	}
	b.send(func(h protocol.Handler) { h.HandlePublication(&q) })
}

func (b *simBus) send(f func(h protocol.Handler)) {
	b.queue = append(b.queue, f)
	b.signal()
}

func (b *simBus) signal() {
	select {
	case b.arrived <- struct{}{}:
	default:
	}
}

func (b *simBus) Publish(_ context.Context, ps []*protocol.Publication) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, p := range ps {
		if !b.tokens[p] {
			b.tokens[p] = true
			b.counter++
			b.raise()
			q := *p
			q.ID, q.Created = protocol.MakeMessageID(b.start, b.counter), uint32(time.Now().Unix())
			b.put(&q)
		}
		if b.chance(b.faults.lostAnswer) {
			return i, errSim
		}
	}
	return len(ps), nil
}

// History is not bounded: what is bounded is tested where there is nothing but the feed.
func (b *simBus) History(ctx context.Context, queries []protocol.HistoryQuery, _ int) ([]protocol.HistoryAnswer, error) {
	b.pause(ctx, b.faults.slowHistory)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.chance(b.faults.badHistory) {
		return nil, errSim
	}
	answers := make([]protocol.HistoryAnswer, len(queries))
	for i, q := range queries {
		answers[i].Publications = b.history(q)
	}
	return answers, nil
}

func (b *simBus) history(q protocol.HistoryQuery) []*protocol.Publication {
	byID := make(map[protocol.MessageID]*protocol.Publication)
	for _, ch := range q.Channels {
		var found []*protocol.Publication
		for _, p := range b.stored {
			in := p.ID.Compare(q.Since) > 0 && (q.Until.IsZero() || p.ID.Compare(q.Until) <= 0)
			if in && slices.ContainsFunc(p.Receivers, func(r protocol.Receiver) bool { return r.Channel == ch }) {
				found = append(found, p)
			}
		}
		sortByID(found)
		if q.Limit > 0 && len(found) > q.Limit {
			found = found[len(found)-q.Limit:]
		}
		for _, p := range found {
			if byID[p.ID] == nil {
				copied := *p
				copied.Receivers = nil
				byID[p.ID] = &copied
			}
			byID[p.ID].Receivers = append(byID[p.ID].Receivers, protocol.Receiver{Channel: ch})
		}
	}
	var all []*protocol.Publication
	for _, p := range byID {
		all = append(all, p)
	}
	sortByID(all)
	if q.Total > 0 && len(all) > q.Total {
		all = all[len(all)-q.Total:]
	}
	return all
}

func sortByID(ps []*protocol.Publication) {
	slices.SortFunc(ps, func(a, b *protocol.Publication) int { return cmp.Compare(a.ID.Compare(b.ID), 0) })
}

func (b *simBus) Remaining(_ context.Context, ids []protocol.MessageID) ([]time.Duration, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	remaining := make([]time.Duration, len(ids))
	for i, id := range ids {
		for _, p := range b.stored {
			if p.ID == id {
				remaining[i] = max(time.Until(time.Unix(int64(p.Created+p.Expiry), 0)), 0)
			}
		}
	}
	return remaining, nil
}

func (b *simBus) Echo(context.Context) (uint64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.echoes++
	b.raise()
	n, id := b.echoes, protocol.MakeMessageID(b.start, b.counter)
	b.send(func(h protocol.Handler) { h.HandleEcho(n, id) })
	return n, nil
}

// Subscribe delivers in order, late, and with the losses that the faults ask for.
func (b *simBus) Subscribe(ctx context.Context, h protocol.Handler) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-b.arrived:
		}
		for f, gap := b.next(); f != nil || gap; f, gap = b.next() {
			if gap {
				h.HandleGap()
			}
			if f == nil {
				continue
			}
			b.pause(ctx, b.faults.delay)
			f(h)
		}
	}
}

// next takes the next event from the connection; gap says that the connection was lost before it.
func (b *simBus) next() (f func(h protocol.Handler), gap bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.queue) > 0 && (b.deaf || b.chance(b.faults.loseOne)) {
		b.queue = b.queue[1:]
	}
	if len(b.queue) == 0 {
		return nil, false
	}
	if b.chance(b.faults.goDeaf) {
		b.deaf, b.queue = true, nil
		return nil, false
	}
	if b.chance(b.faults.disconnect) {
		b.queue = nil
		return nil, true
	}
	f, b.queue = b.queue[0], b.queue[1:]
	return f, false
}

// Reconnect ends deafness.
func (b *simBus) Reconnect() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.deaf, b.queue = false, nil
	b.send(func(h protocol.Handler) { h.HandleGap() })
}

// pause takes up to d.
func (b *simBus) pause(ctx context.Context, d time.Duration) {
	if d == 0 {
		return
	}
	b.mu.Lock()
	d = time.Duration(b.rng.Int64N(int64(d)))
	b.mu.Unlock()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// raise has ids go on above the known ones when data was lost.
func (b *simBus) raise() {
	if b.counter < b.known {
		b.counter = b.known + 1_000_000
	}
}

// flush empties the store.
func (b *simBus) flush() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stored, b.counter = nil, 0
}

func (b *simBus) Close() {}

var (
	_ Bus = (*simBus)(nil)
)
