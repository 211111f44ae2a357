package engine

import (
	"context"
	"errors"
	"sync"
	"time"

	"push-server/poll"
	"push-server/protocol"
)

// watchedBus is the bus of a publish queue that says of publications of followed requests when they are stored.
type watchedBus struct {
	Bus
	mu      sync.Mutex
	waiting map[*protocol.Publication]handed
}

// handed is who handed over a publication, and when.
type handed struct {
	by    *followed
	since time.Time
}

// watch has it written what becomes of what followed requests publish and ask. It runs before anything else does.
func (e *Engine) watch() {
	e.watched = &watchedBus{Bus: e.bus, waiting: make(map[*protocol.Publication]handed)}
	e.publishing.bus = e.watched
	w := watchedEngine{e}
	e.http.Publisher, e.http.Presence, e.http.Statistics = w, w, w
}

// during has publish hand over ps, which belong to a request that is followed.
func (b *watchedBus) during(f *followed, ps []*protocol.Publication, publish func() error) error {
	h := handed{f, time.Now()}
	b.mu.Lock()
	for _, p := range ps {
		b.waiting[p] = h
	}
	b.mu.Unlock()
	err := publish()
	if errors.Is(err, poll.ErrQueueFull) {
		b.settle(ps, false)
	}
	return err
}

// Publish implements Bus.
func (b *watchedBus) Publish(ctx context.Context, ps []*protocol.Publication) (stored int, err error) {
	stored, err = b.Bus.Publish(ctx, ps)
	b.settle(ps[:stored], true)
	if errors.Is(err, ErrRefused) {
		b.settle(ps[stored:stored+1], false)
	}
	return stored, err
}

// settle forgets ps: they are stored, or never will be.
func (b *watchedBus) settle(ps []*protocol.Publication, stored bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.waiting) == 0 {
		return
	}
	for _, p := range ps {
		h, ok := b.waiting[p]
		if !ok {
			continue
		}
		delete(b.waiting, p)
		if stored {
			h.by.sayStored(p.ID, h.since)
		}
	}
}

// watchedEngine writes what comes of publications and questions of followed requests. It stands between the handlers and the
// engine when somebody is followed.
type watchedEngine struct{ *Engine }

// Publish implements poll.Publisher.
func (e watchedEngine) Publish(ctx context.Context, ps []*protocol.Publication) error {
	x := exchangeOf(ctx)
	if x == nil {
		return e.Engine.Publish(ctx, ps)
	}
	return e.watched.during(x.followed, ps, func() error { return e.Engine.Publish(ctx, ps) })
}

// Online implements poll.Presence.
func (e watchedEngine) Online(ctx context.Context, chs []protocol.ChannelID) ([]bool, error) {
	begin := time.Now()
	online, err := e.Engine.Online(ctx, chs)
	if x := exchangeOf(ctx); x != nil {
		n := len(chs)
		if err != nil {
			n = 0 // the answer is an empty list
		}
		x.answers = commandChannelStats
		x.say("[CHANNELS-STATS] %d %dms %s", n, time.Since(begin).Milliseconds(), x.client)
	}
	return online, err
}

// ServerStats implements poll.Statistics.
func (e watchedEngine) ServerStats(ctx context.Context) []byte {
	begin := time.Now()
	page := e.Engine.ServerStats(ctx)
	if x := exchangeOf(ctx); x != nil {
		x.answers = commandServerStats
		x.say("[SERVER-STATS] %dms %s", time.Since(begin).Milliseconds(), x.client)
	}
	return page
}
