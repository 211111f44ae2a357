package feed

import (
	"context"
	"slices"
	"time"

	"push-server/protocol"
)

// repair closes a gap: live publications are held; an echo says up to where (its counter) history has to be read; every reader names
// its channels and stops answering from the window; history is read, in parts where it is large; what was read and what was held are
// merged and appended. A new gap in the meantime starts it again from where it is, still holding. Feed.mu guards its fields.
//
// A late start is a repair, too. Its starting point is not an id, since none is known, but the moment from which on clients could
// connect.
type repair struct {
	number    uint64             // of this repair
	began     protocol.MessageID // nothing was missing up to here when it began
	from      protocol.MessageID // nothing is missing up to here now
	late      bool               // it begins when clients could connect, at no id
	held      []*protocol.Publication
	heldBytes int
	again     bool
	asked     uint64 // the first echo since then
	echo      uint64 // the last one heard, and its counter
	counter   protocol.MessageID
	heard     Signal // echo or again has changed
}

// repaired is what a repair has served of one publication.
type repaired struct {
	receivers []protocol.Receiver
	at        time.Duration
}

const (
	repairPause    = 20 * time.Millisecond
	repairPauseMax = time.Second
	repairWait     = 2 * time.Second  // for its echo, before another one is sent
	firstWait      = repairPause      // for the first one: the bus may not listen yet
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

func (r *repair) hold(p *protocol.Publication, maxBytes int) {
	size := sizeOf(p)
	if r.heldBytes+size > maxBytes { // what is stored will be read from history instead
		r.held, r.heldBytes = nil, 0
		r.restart()
	}
	r.held = append(r.held, p)
	r.heldBytes += size
}

func (r *repair) hear(n uint64, counter protocol.MessageID) {
	if n >= r.echo {
		r.echo, r.counter = n, counter
		r.heard.give()
	}
}

func (r *repair) restart() {
	r.again = true
	r.heard.give()
}

// startRepair begins a repair, or starts the one under way again. f.mu is held.
func (f *Feed) startRepair(why string) {
	if f.repair != nil {
		f.repair.restart()
		return
	}
	f.Stats.Gaps.Add(1)
	f.beginRepair()
	f.log.Info("publications may have been missed, reading history", "why", why, "from", f.repair.from)
}

// beginRepair begins a repair. f.mu is held.
func (f *Feed) beginRepair() {
	f.repairs++
	good := f.holes.lastGood(f.highest)
	f.repair = &repair{number: f.repairs, began: good, from: good, heard: newSignal()}
	f.begun.give()
}

// closeGaps runs repairs as they begin.
func (f *Feed) closeGaps(ctx context.Context) {
	for f.clock.Await(ctx, f.begun, 0) {
		f.mu.Lock()
		r := f.repair
		f.mu.Unlock()
		if r != nil {
			f.runRepair(ctx, r)
		}
	}
}

func (f *Feed) runRepair(ctx context.Context, r *repair) {
	retry := newRetry(repairPause, repairPauseMax)
	for ctx.Err() == nil {
		f.mu.Lock()
		if r.again {
			r.again, r.asked = false, 0
		}
		f.mu.Unlock()
		to, ok := f.repairEcho(ctx, r)
		if !ok {
			f.clock.Sleep(ctx, retry.NextBackOff())
			continue
		}
		gap, err := f.readGap(ctx, r, to)
		if err != nil {
			f.history.outage.Failed(err, "to", "close a gap")
			f.clock.Sleep(ctx, retry.NextBackOff())
			continue
		}
		if f.closeGap(r, gap, to) {
			f.wakeReaders()
			return
		}
	}
}

// repairEcho sends an echo and waits for it. It returns the counter up to which history has to be read.
func (f *Feed) repairEcho(ctx context.Context, r *repair) (counter protocol.MessageID, ok bool) {
	bounded, cancel := f.clock.Bounded(ctx, busTimeout)
	defer cancel()
	n, err := f.bus.Echo(bounded)
	if err != nil {
		return counter, false
	}
	wait := repairWait
	if r.late {
		wait = firstWait
	}
	for deadline := f.clock.Now() + wait; ; {
		f.mu.Lock()
		if r.asked == 0 {
			r.asked = n
		}
		heard, again := r.echo >= r.asked, r.again
		counter = r.counter
		f.mu.Unlock()
		if again || heard {
			return counter, !again
		}
		left := deadline - f.clock.Now()
		if left <= 0 || !f.clock.Await(ctx, r.heard, left) {
			return counter, false
		}
	}
}

// gap is what a repair has read, by id.
type gap struct {
	found  []stored
	absent []protocol.MessageID // not stored by then: they may be under way
}

// stored is a publication in history, and when it leaves that.
type stored struct {
	*protocol.Publication
	expires time.Duration
}

// readGap reads what the gap has swallowed. What is too much to be held at once is served in parts, all but the last one here.
func (f *Feed) readGap(ctx context.Context, r *repair, to protocol.MessageID) (g gap, err error) {
	if g.absent, err = f.readAbsent(ctx, r.began, to); err != nil { // before history, which then has everything that is not absent
		return g, err
	}
	chs, err := f.channels(ctx, f.readers, func(reader *Reader) {
		reader.goBlind(r) // in this step, so that who subscribes later reads history, too
	})
	if err != nil || len(chs) == 0 || to.Compare(r.from) <= 0 {
		return g, err
	}
	limit := 0
	if r.late {
		limit = f.o.HistoryPerChannel
	}
	for {
		part, upto, err := f.readPart(ctx, chs, r.from, to, limit)
		if err != nil {
			return g, err
		}
		if r.late {
			part = f.sinceStart(part)
		}
		if upto == to {
			g.found = part
			return g, nil
		}
		if err := f.servePart(ctx, r, part, upto); err != nil {
			return g, err
		}
	}
}

// readAbsent returns the ids in (from, to] that are not stored, in ascending order: a publisher of the Node server may have taken them
// and not published yet. Such a one is as late as a few publications are, so no more than holeBatch ids are asked for.
func (f *Feed) readAbsent(ctx context.Context, from, to protocol.MessageID) (absent []protocol.MessageID, err error) {
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
	remaining, err := f.bus.Remaining(ctx, ids)
	if err != nil {
		return nil, err
	}
	for i, id := range ids {
		if remaining[i] == 0 {
			absent = append(absent, id)
		}
	}
	return absent, nil
}

// sinceStart leaves out what was published before clients could connect.
func (f *Feed) sinceStart(ps []stored) []stored {
	return slices.DeleteFunc(ps, func(p stored) bool {
		published := p.expires - time.Duration(p.Expiry)*time.Second
		return published+startSlack < f.started
	})
}

// startSlack is how much too old a publication may look that came with the first clients: a store counts in milliseconds, and an answer
// takes a while.
const startSlack = time.Second

// servePart appends a part of what is missing and waits until all readers have it, so that the window does not overtake them.
func (f *Feed) servePart(ctx context.Context, r *repair, part []stored, upto protocol.MessageID) error {
	f.mu.Lock()
	var held, rest []*protocol.Publication
	for _, p := range r.held {
		if p.ID.Compare(upto) <= 0 {
			held = append(held, p)
			r.heldBytes -= sizeOf(p)
		} else {
			rest = append(rest, p)
		}
	}
	r.held, r.from = rest, upto
	f.merge(gap{found: part}, held, upto)
	end := f.window.head.Load()
	f.mu.Unlock()
	f.wakeReaders()
	for ctx.Err() == nil && slices.ContainsFunc(f.readers, func(reader *Reader) bool { return reader.passed.Load() < end }) {
		f.clock.Sleep(ctx, repairPause)
	}
	return ctx.Err()
}

// closeGap merges what was read with what was held and ends the repair, unless there is a new gap.
func (f *Feed) closeGap(r *repair, g gap, to protocol.MessageID) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.again {
		return false
	}
	f.repair = nil
	missed := f.merge(g, r.held, to)
	if to.Compare(f.highest) > 0 {
		f.highest = to
	}
	f.appendEcho(r.echo, nil)
	f.hurry.give() // to show at once that there is delivery again
	f.open()
	if !r.late || missed > 0 {
		f.log.Info("gap closed", "missed", missed, "held", len(r.held), "up to", to)
	}
	return true
}

// merge appends what was read, up to an id, and what was held, by id. It returns how many publications only history had. Of two copies
// that of the bus wins: history names only the channels that were asked for.
func (f *Feed) merge(g gap, held []*protocol.Publication, upto protocol.MessageID) (missed int) {
	come := make(map[protocol.MessageID]bool, len(held))
	all := make([]stored, 0, len(held)+len(g.found))
	for _, p := range held {
		come[p.ID] = true
		all = append(all, stored{p, f.life(p)})
	}
	lost := make(map[protocol.MessageID]bool)
	for _, p := range g.found {
		if !come[p.ID] && !f.holes.served(p.ID) {
			lost[p.ID] = true
			all = append(all, p)
		}
	}
	slices.SortStableFunc(all, func(a, b stored) int { return a.ID.Compare(b.ID) })
	now := f.clock.Now()
	if !f.holes.beyond(upto) {
		f.holes.restart(upto)
		f.holes.dig(g.absent, now)
	}
	for _, p := range all { // fills and digs holes, too: what is held may be beyond upto, and not all that there is
		f.accept(p.Publication, p.expires)
		if lost[p.ID] {
			f.repaired[p.ID] = repaired{p.Receivers, now}
		}
	}
	return len(lost)
}

func (f *Feed) forgetRepaired() {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.clock.Now()
	for id, r := range f.repaired {
		if now-r.at > repairedTime {
			delete(f.repaired, id)
		}
	}
}
