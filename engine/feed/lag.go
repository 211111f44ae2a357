package feed

import (
	"context"

	"push-server/protocol"
)

// fallBehind starts the repair of a reader whose next entry has left the window.
func (r *Reader) fallBehind() {
	g := &r.lag
	g.behind = true
	g.since = r.highest
	if old := g.recent.oldest(); !old.IsZero() && old.Compare(g.since) < 0 {
		g.since = old
	}
	if r.blind && r.floor.Compare(g.since) < 0 {
		g.since = r.floor
	}
	if g.since.Compare(r.accounted) < 0 {
		g.since = r.accounted
	}
	g.late = r.blind && r.late
	r.feed.Stats.Lags.Add(1)
	r.feed.log.Warn("an event loop fell behind the window, reading history", "from", g.since)
	g.begun.Store(true)
	r.feed.lagged.give()
}

// catchUpReaders repairs readers that fall behind, once the feed knows its position.
func (f *Feed) catchUpReaders(ctx context.Context) {
	if !f.clock.Await(ctx, f.ready, 0) && ctx.Err() != nil {
		return
	}
	for f.clock.Await(ctx, f.lagged, 0) {
		for _, r := range f.readers {
			if r.lag.begun.CompareAndSwap(true, false) {
				f.catchUp(ctx, r, r.lag.since)
			}
		}
	}
}

// catchUp reads what r missed since an id: what had come by when it begins. What came later must still be in the window when it is
// served, or it reads again; what history has but the bus has not brought yet is still to come.
func (f *Feed) catchUp(ctx context.Context, r *Reader, since protocol.MessageID) {
	retry := newRetry(repairPause, repairPauseMax)
	one := []*Reader{r}
	for ctx.Err() == nil {
		chs, err := f.channels(ctx, one, nil) // of now: who subscribes later reads history
		if err != nil {
			return
		}
		head, bound := f.window.head.Load(), f.window.highest()
		missed, upto, err := f.readPart(ctx, chs, since, bound, 0)
		if err != nil {
			f.history.outage.Failed(err, "for", "a loop that fell behind")
			f.clock.Sleep(ctx, retry.NextBackOff())
			continue
		}
		if r.lag.late {
			missed = f.sinceStart(missed)
		}
		if upto != bound {
			if f.order(ctx, one, func(r *Reader) { r.takeDetour(missed) }) != nil || f.awaitDetour(ctx, r) != nil {
				return
			}
			since = upto
			continue
		}
		resumed := false
		if f.order(ctx, one, func(r *Reader) { resumed = r.endLag(head, bound, missed) }) != nil || resumed {
			return
		}
	}
}

// awaitDetour waits until r has served what was put before it.
func (f *Feed) awaitDetour(ctx context.Context, r *Reader) error {
	for done := false; !done; {
		f.clock.Sleep(ctx, repairPause)
		if err := f.order(ctx, []*Reader{r}, func(r *Reader) { done = len(r.lag.detour) == 0 }); err != nil {
			return err
		}
	}
	return nil
}

// takeDetour has r serve what was missed before it goes on. Copies that the window still has, or gets, are left out then.
func (r *Reader) takeDetour(missed []stored) {
	g := &r.lag
	if g.detoured == nil {
		g.detoured = make(map[protocol.MessageID]bool)
	}
	highest := r.highest
	for _, p := range missed {
		if g.detoured[p.ID] || g.recent.has(p.ID) {
			continue
		}
		if p.ID.Compare(highest) > 0 {
			highest = p.ID
		}
		g.detour = append(g.detour, &Entry{Publication: p.Publication, highest: highest})
		g.detoured[p.ID] = true
	}
	if g.until != never {
		g.until = r.feed.clock.Now() + stale
	}
}

// endLag takes up service with what was missed and what is left in the window. It returns false if the window has lost something since
// head. bound is the greatest id that had come by at head.
func (r *Reader) endLag(head uint64, bound protocol.MessageID, missed []stored) bool {
	w := r.feed.window
	tail := w.tail.Load()
	if tail > head {
		return false
	}
	kept := make(map[protocol.MessageID]bool)
	accounted := bound // by the detour; what is kept is accounted for when it is served
	for e := range w.publications(tail) {
		kept[e.Publication.ID] = true
		if e.Publication.ID.Compare(accounted) <= 0 {
			accounted = before(e.Publication.ID)
		}
	}
	lost := missed[:0]
	for _, p := range missed {
		if !kept[p.ID] {
			lost = append(lost, p)
		}
	}
	r.takeDetour(lost)
	r.cursor, r.lag.behind = tail, false
	if accounted.Compare(r.accounted) > 0 {
		r.accounted = accounted
	}
	r.consumer.Wake()
	return true
}
