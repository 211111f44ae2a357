package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"push-server/engine/handover"
	"push-server/engine/ratelimit"
	"push-server/poll"
	"push-server/protocol"
)

// channelLimits makes the oldest subscriber of a channel leave where the process has too many. A channel over the limit has more
// than its share on one loop at least, so only channels that are over the share on some loop are known here: hardly any, and
// everybody else pays for one look at a counter. A table of all channels cost 50 bytes per connection.
type channelLimits struct {
	loops func() []*loop
	full  chan newcomer

	crowded atomic.Int64 // length of places
	mu      sync.Mutex
	places  map[protocol.ChannelID]int // loops on which it is crowded
}

// maxEvictions is the number of evictions that may be under way.
const maxEvictions = 4096

// newcomer is a connection of a channel that may have one too many now, by the limit that counted when it came.
type newcomer struct {
	ch  protocol.ChannelID
	max int
}

func newChannelLimits(loops func() []*loop) *channelLimits {
	return &channelLimits{loops: loops, full: make(chan newcomer, maxEvictions), places: make(map[protocol.ChannelID]int)}
}

// enter notes that a loop, whose share is given, has n connections of ch now, one more than before.
func (c *channelLimits) enter(ch *protocol.ChannelID, n, share int) {
	if n == share+1 {
		c.crowd(ch, 1)
	}
}

// leave notes that such a loop has n connections of ch now, one less than before.
func (c *channelLimits) leave(ch *protocol.ChannelID, n, share int) {
	if n == share {
		c.crowd(ch, -1)
	}
}

// recountCrowds says anew which channels are crowded here, since the share of a loop is another one.
func (l *loop) recountCrowds(was, now int) {
	if was == now {
		return
	}
	l.table.EachPrivate(func(ch *protocol.ChannelID, n int) {
		switch {
		case n > was && n <= now:
			l.engine.limits.crowd(ch, -1)
		case n <= was && n > now:
			l.engine.limits.crowd(ch, 1)
		}
	})
}

func (c *channelLimits) crowd(ch *protocol.ChannelID, by int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.places[*ch] += by; c.places[*ch] == 0 {
		delete(c.places, *ch)
	}
	c.crowded.Store(int64(len(c.places)))
}

// check has connections of ch closed if there are more than max. When thousands are being closed already, one more may stay.
func (c *channelLimits) check(ch *protocol.ChannelID, max int) {
	if c.crowded.Load() == 0 {
		return
	}
	c.mu.Lock()
	_, crowded := c.places[*ch]
	c.mu.Unlock()
	if !crowded {
		return
	}
	select {
	case c.full <- newcomer{*ch, max}:
	default:
	}
}

// run serves evictions one after the other: each sees what the last one has left.
func (c *channelLimits) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case n := <-c.full:
			c.evictOldest(ctx, n.ch, n.max)
		}
	}
}

// evictOldest asks every loop for its connections of ch, and if they are too many in all, tells the loop of the oldest one to
// close it. An order that a loop gets is carried out before the next question to it.
func (c *channelLimits) evictOldest(ctx context.Context, ch protocol.ChannelID, max int) {
	var mu sync.Mutex
	var oldest struct {
		loop  *loop
		ref   sessionRef
		since uint64
	}
	all := 0
	err := askLoops(ctx, c.loops(), func(l *loop) {
		n, ref, since := l.oldest(ch)
		mu.Lock()
		defer mu.Unlock()
		all += n
		if n > 0 && (oldest.loop == nil || since < oldest.since) {
			oldest.loop, oldest.ref, oldest.since = l, ref, since
		}
	})
	if err != nil || all <= max {
		return
	}
	ref := oldest.ref
	oldest.loop.call(func(l *loop) {
		if s := l.slab.at(ref); s != nil {
			l.end(s, CloseEvicted)
		}
	})
	if all-1 > max { // since the limit was lowered
		c.check(&ch, max)
	}
}

// bound has each lane take that many publications from now on.
func (q *publishQueue) bound(publications int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := range q.lanes {
		q.lanes[i].maxCount = publications
	}
}

// clientBurst is how long a client may save up what it may publish and ask, in seconds.
const clientBurst = 10

// mayAsk says whether the client of s may publish or ask n times now. One that may not is closed: the protocol has no way to slow it down,
// and leaving out what it publishes would lose that without a word.
func (l *loop) mayAsk(s *Session, n int) bool {
	if l.settings.ClientRate < 0 {
		return true
	}
	if l.rateOf(s).AllowN(time.Now(), n) {
		return true
	}
	l.end(s, CloseRate)
	return false
}

func (l *loop) rateOf(s *Session) *rate.Limiter {
	if !s.is(flagPaced) {
		if l.rates == nil {
			l.rates = make(map[uint32]*rate.Limiter)
		}
		l.rates[s.index] = rate.NewLimiter(rate.Limit(l.settings.ClientRate), l.settings.clientBurst())
		s.set(flagPaced)
	}
	return l.rates[s.index]
}

func (s *settings) clientBurst() int {
	return max(s.ClientRate*clientBurst, s.Limits.MaxMessages) // the largest request has to go through
}

// pace has the rate of a client be that of s.
func (s *settings) pace(r *rate.Limiter) {
	if s.ClientRate >= 0 {
		r.SetLimit(rate.Limit(s.ClientRate))
		r.SetBurst(s.clientBurst())
	}
}

// forgetRate is for a session that ends.
func (l *loop) forgetRate(s *Session) {
	if s.is(flagPaced) {
		delete(l.rates, s.index)
	}
}

// totals is what passes over that is no session's. Ports without subscribers serve on until the other process does: what they count
// meanwhile is lost.
func (e *Engine) totals() (w handover.Totals) {
	now := time.Now()
	w.Day = written(e.Counters.Day())
	w.Counters = written(e.Stats())
	if saved, queue, ok := e.admission.rate.Saved(now); ok {
		w.Rate = &handover.Rate{Saved: saved, Queue: queue.Milliseconds()}
	}
	e.admission.addresses.Debts(now, func(addr netip.Addr, left time.Duration) {
		w.Addresses = handover.AppendAddress(w.Addresses, addr, left)
	})
	return w
}

// goOn counts, and limits, from where the process before was. It comes before its sessions.
func (e *Engine) goOn(t *Takeover) error {
	w, now := &t.totals, time.Now()
	if len(w.Day) > 0 {
		var day poll.Day
		if err := json.Unmarshal(w.Day, &day); err != nil {
			return fmt.Errorf("engine: statistics of the process before: %w", err)
		}
		e.Counters.GoOn(day)
	}
	e.goOnCounting(t.counters, len(t.sessions))
	if r := w.Rate; r != nil {
		e.admission.rate.GoOn(now, r.Saved, time.Duration(r.Queue)*time.Millisecond)
	}
	return handover.Addresses(w.Addresses, func(addr netip.Addr, left time.Duration) { e.admission.addresses.Owe(addr, left, now) })
}

// writeLimits writes down what s takes of what is limited.
func (l *loop) writeLimits(w *handover.Session, s *Session) {
	if s.is(flagPaced) {
		saved := l.rates[s.index].Tokens()
		w.Saved = &saved
	}
	if s.is(flagPlace) {
		p := l.places[s.index]
		w.Place = &handover.Place{Addr: p.Addr().AsSlice(), Request: p.request}
	}
}

func (l *loop) adoptLimits(s *Session, w *handover.Session) {
	if w.Saved != nil && l.settings.ClientRate >= 0 {
		ratelimit.Spend(l.rateOf(s), time.Now(), *w.Saved)
	}
	if w.Place == nil {
		return
	}
	if addr, ok := netip.AddrFromSlice(w.Place.Addr); ok {
		l.keepPlace(s, l.engine.admission.addresses.Resume(addr), w.Place.Request)
	}
}

// askLoops runs f on every loop that has not ended and waits until all have run it, or until ctx or the engine ends.
func askLoops(ctx context.Context, loops []*loop, f func(l *loop)) error {
	if len(loops) == 0 {
		return nil
	}
	done := make(chan struct{})
	var left atomic.Int32
	left.Store(int32(len(loops)))
	answered := func() {
		if left.Add(-1) == 0 {
			close(done)
		}
	}
	for _, l := range loops {
		if l.hasEnded() {
			answered() // by nobody: its sessions have ended with it
			continue
		}
		l.call(func(l *loop) {
			f(l)
			answered()
		})
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-loops[0].engine.ctx.Done():
		return errStopped
	}
}

// askLoop is askLoops of one loop, for callers who may come before the engine has started, and when it has stopped.
func (e *Engine) askLoop(ctx context.Context, l *loop, f func(l *loop)) error {
	return e.ask(ctx, []*loop{l}, f)
}

// ask is the same of several loops.
func (e *Engine) ask(ctx context.Context, loops []*loop, f func(l *loop)) error {
	e.controls.RLock()
	defer e.controls.RUnlock()
	switch {
	case !e.running.Load():
		return errStarting
	case e.controlsClosed:
		return errStopped
	}
	return askLoops(ctx, loops, f)
}

// errStopped is the answer to questions that loops cannot answer any more.
var errStopped = errors.New("engine: stopped")
