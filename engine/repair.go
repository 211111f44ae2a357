package engine

import (
	"context"
	"slices"
	"time"

	"push-server/protocol"
)

// repair closes a gap: live publications are held; an echo says up to where (its counter) history has to be read; every loop names
// its channels and stops answering from the window; history is read; both are merged and appended. A new gap in the meantime starts
// it again from the same id, still holding. Hub.mu guards its fields.
type repair struct {
	number uint64             // of this repair
	from   protocol.MessageID // nothing is missing up to here
	held   []*protocol.Publication
	again  bool
	// createdSince, if not 0, makes this the repair of a late start: the newest publications that are not older (Unix seconds).
	createdSince uint32
	echo         uint64 // the last one heard, and its counter
	counter      protocol.MessageID
	heard        chan struct{} // holds a token when echo or again has changed
}

// repaired is what a repair has served of one publication.
type repaired struct {
	receivers []protocol.Receiver
	at        time.Time
}

const (
	repairPause    = 20 * time.Millisecond
	repairPauseMax = time.Second
	repairWait     = 2 * time.Second  // for its echo, before another one is sent
	repairedTime   = 10 * time.Second // how late a copy of a repaired publication may come
	repairChannels = 256              // channels in one query
)

// rest is p for the receivers that the repair did not ask for; nil if there are none.
func (r *repaired) rest(p *protocol.Publication) *protocol.Publication {
	served := func(x protocol.Receiver) bool {
		return slices.ContainsFunc(r.receivers, func(y protocol.Receiver) bool { return x.Channel == y.Channel })
	}
	q := *p
	q.Receivers = slices.DeleteFunc(slices.Clone(p.Receivers), served)
	if len(q.Receivers) == 0 {
		return nil
	}
	return &q
}

func (r *repair) hold(p *protocol.Publication, limit int) {
	if len(r.held) >= limit { // what is stored will be read from history instead
		r.held = r.held[:0]
		r.restart()
	}
	r.held = append(r.held, p)
}

func (r *repair) hear(n uint64, counter protocol.MessageID) {
	if n >= r.echo {
		r.echo, r.counter = n, counter
		r.signal()
	}
}

func (r *repair) restart() {
	r.again = true
	r.signal()
}

func (r *repair) signal() {
	select {
	case r.heard <- struct{}{}:
	default:
	}
}

// startRepair begins a repair, or starts the one under way again. h.mu is held.
func (h *Hub) startRepair(why string) {
	if h.repair != nil {
		h.repair.restart()
		return
	}
	h.stats.gaps.Add(1)
	h.beginRepair(why)
}

// beginRepair begins a repair. h.mu is held.
func (h *Hub) beginRepair(why string) {
	h.repairs++
	h.repair = &repair{number: h.repairs, from: h.holes.lastGood(h.highest), heard: make(chan struct{}, 1)}
	h.log.Info("something may be missing, reading history", "why", why, "from", h.repair.from)
	r := h.repair
	h.engine.background(func(ctx context.Context) { h.runRepair(ctx, r) })
}

func (h *Hub) runRepair(ctx context.Context, r *repair) {
	retry := backoff{first: repairPause, limit: repairPauseMax}
	for ctx.Err() == nil {
		h.mu.Lock()
		r.again = false
		h.mu.Unlock()
		counter, ok := h.repairEcho(ctx, r)
		if !ok {
			retry.wait(ctx)
			continue
		}
		absent, ps, err := h.readGap(ctx, r, counter)
		if err != nil {
			h.log.Warn("history cannot be read to close a gap, trying again", "err", err)
			retry.wait(ctx)
			continue
		}
		if h.closeGap(r, ps, absent, counter) {
			h.wakeLoops()
			return
		}
	}
}

// repairEcho sends an echo and waits for it. It returns the counter up to which history has to be read.
func (h *Hub) repairEcho(ctx context.Context, r *repair) (counter protocol.MessageID, ok bool) {
	ctx, cancel := context.WithTimeout(ctx, repairWait)
	defer cancel()
	n, err := h.bus.Echo(ctx)
	if err != nil {
		return counter, false
	}
	for {
		h.mu.Lock()
		heard, again := r.echo >= n, r.again
		counter = r.counter
		h.mu.Unlock()
		if again || heard {
			return counter, !again
		}
		select {
		case <-ctx.Done():
			return counter, false
		case <-r.heard:
		}
	}
}

// readGap reads what the gap has swallowed, and which of its ids were not stored by then: those may be under way.
func (h *Hub) readGap(ctx context.Context, r *repair, to protocol.MessageID) (absent []protocol.MessageID, ps []*protocol.Publication, err error) {
	absent, err = h.readAbsent(ctx, r.from, to) // before history, which then has everything that is not absent
	if err == nil {
		ps, err = h.readMissed(ctx, r, to)
	}
	return absent, ps, err
}

// readAbsent returns the ids in (from, to] that are not stored, in ascending order: a publisher of the Node server may have taken them
// and not published yet. Such a one is as late as a few publications are, so no more than holeBatch ids are asked for.
func (h *Hub) readAbsent(ctx context.Context, from, to protocol.MessageID) (absent []protocol.MessageID, err error) {
	first := to.Counter() - min(to.Counter(), holeBatch) + 1
	if from.Startdate() == to.Startdate() {
		first = max(first, from.Counter()+1)
	}
	var ids []protocol.MessageID
	for c := first; c <= to.Counter(); c++ {
		ids = append(ids, protocol.MakeMessageID(to.Startdate(), c))
	}
	if len(ids) == 0 {
		return nil, nil
	}
	stored, err := h.bus.Stored(ctx, ids)
	if err != nil {
		return nil, err
	}
	for i, id := range ids {
		if !stored[i] {
			absent = append(absent, id)
		}
	}
	return absent, nil
}

// readMissed reads the history of every channel of this process.
func (h *Hub) readMissed(ctx context.Context, r *repair, to protocol.MessageID) ([]*protocol.Publication, error) {
	channels := make(chan []protocol.ChannelID, len(h.loops))
	err := askLoops(ctx, h.loops, func(l *loop) {
		l.blind, l.blindUntil = true, r.number // in this step, so that who subscribes later reads history, too
		channels <- l.table.channels()
	})
	if err != nil {
		return nil, err
	}
	close(channels)
	seen := make(map[protocol.ChannelID]bool)
	var all []protocol.ChannelID
	for chs := range channels {
		for _, ch := range chs {
			if !seen[ch] {
				seen[ch] = true
				all = append(all, ch)
			}
		}
	}
	if to.Compare(r.from) <= 0 {
		return nil, nil
	}
	limit := 0
	if r.createdSince != 0 {
		limit = h.o.HistoryPerChannel
	}
	ps, err := h.readHistory(ctx, all, r.from, to, limit)
	return slices.DeleteFunc(ps, func(p *protocol.Publication) bool { return p.Created < r.createdSince }), err
}

// readHistory reads what is in (from, to] of chs, of each channel the newest limit (0: all), each publication once, by id.
func (h *Hub) readHistory(ctx context.Context, chs []protocol.ChannelID, from, to protocol.MessageID, limit int) (ps []*protocol.Publication, err error) {
	byID := make(map[protocol.MessageID]*protocol.Publication)
	for len(chs) > 0 {
		n := min(len(chs), repairChannels)
		query := protocol.HistoryQuery{Channels: chs[:n], Since: from, Until: to, Limit: limit}
		answers, err := h.bus.History(ctx, []protocol.HistoryQuery{query})
		if err != nil {
			return nil, err
		}
		for _, p := range answers[0] {
			if q, ok := byID[p.ID]; ok {
				q.Receivers = append(q.Receivers, p.Receivers...) // of another part of the channels
				continue
			}
			q := *p
			byID[p.ID] = &q
			ps = append(ps, &q)
		}
		chs = chs[n:]
	}
	slices.SortFunc(ps, func(a, b *protocol.Publication) int { return a.ID.Compare(b.ID) })
	return ps, nil
}

// closeGap merges what was read with what was held and ends the repair, unless there is a new gap. Of two copies that of the bus
// wins: history names only the channels that were asked for.
func (h *Hub) closeGap(r *repair, ps []*protocol.Publication, absent []protocol.MessageID, counter protocol.MessageID) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if r.again {
		return false
	}
	h.repair = nil
	if counter.Compare(r.from) < 0 {
		h.reset(r.echo, counter)
	}
	come := h.cameBefore(r)
	for _, p := range r.held {
		come[p.ID] = true
	}
	merged := slices.Clone(r.held)
	fromHistory := make(map[*protocol.Publication]bool, len(ps))
	for _, p := range ps {
		if !come[p.ID] && (r.createdSince != 0 || !h.holes.served(p.ID)) {
			fromHistory[p] = true
			merged = append(merged, p)
		}
	}
	slices.SortStableFunc(merged, func(a, b *protocol.Publication) int { return a.ID.Compare(b.ID) })
	h.holes.restart(counter)
	h.holes.dig(absent)
	for _, p := range merged { // fills and digs holes, too: what is held may be beyond the counter, and not all that there is
		h.accept(p)
		if fromHistory[p] {
			h.repaired[p.ID] = repaired{p.Receivers, time.Now()}
		}
	}
	if counter.Compare(h.highest) > 0 {
		h.highest = counter
	}
	h.appendEcho(r.echo, markRepair)
	if r.createdSince != 0 {
		close(h.ready)
	}
	h.log.Info("gap closed", "missed", len(fromHistory), "held", len(r.held), "up to", counter)
	return true
}

// cameBefore returns the ids that came by before the repair of a late start: counters do not tell, but the window has nothing else yet.
func (h *Hub) cameBefore(r *repair) map[protocol.MessageID]bool {
	come := make(map[protocol.MessageID]bool)
	if r.createdSince != 0 {
		for e := range h.window.publications(h.window.tail.Load()) {
			come[e.pub.ID] = true
		}
	}
	return come
}

func (h *Hub) forgetRepaired(now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for id, r := range h.repaired {
		if now.Sub(r.at) > repairedTime {
			delete(h.repaired, id)
		}
	}
}
