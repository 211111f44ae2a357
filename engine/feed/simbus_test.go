package feed

import (
	"context"
	"errors"
	"slices"
	"time"

	"push-server/protocol"
)

// faults are what goes wrong in a schedule: probabilities for each call or event, and times at most.
type faults struct {
	delay      time.Duration // of what the bus brings, and of answers
	turnDelay  time.Duration // until a loop takes its turn
	stall      float64       // a turn comes very late
	disconnect float64       // a connection is lost with everything under way
	goDeaf     float64       // a connection brings nothing any more, without a word
	loseOne    float64       // an event is lost without a word
	badCall    float64       // a question fails
	node       int           // publishers of the Node server: they take an id first and publish later or never
	flush      int           // times that the store loses everything
	failover   int           // times that a copy of the store takes over that lacks the latest
	skew       time.Duration // between clocks of hosts
	leave      float64       // clients go away between two messages
	silent     time.Duration // the bus does not answer at first, while clients come
	handover   int           // times that another process takes up the positions of one
}

var errSim = errors.New("feed: the bus fails in this schedule")

// store is Redis: ids, history and who listens.
type store struct {
	sim       *sim
	startdate uint64
	counter   uint64
	kept      []kept
	copied    struct {
		startdate, counter uint64
		kept               []kept
	}
	buses []*simBus
}

type kept struct {
	p       *protocol.Publication
	expires time.Duration
}

const simStart = 1_700_000_000

func (st *store) next(known protocol.MessageID) protocol.MessageID {
	st.counter++
	st.raise(known)
	if st.startdate == 0 {
		st.startdate = simStart + uint64(st.sim.now/time.Second)
	}
	return protocol.MakeMessageID(st.startdate, st.counter)
}

const simMargin = 1_000_000

// raise puts the counter above what is known, if data was lost.
func (st *store) raise(known protocol.MessageID) {
	if !known.IsZero() && (st.startdate < known.Startdate() || st.startdate == known.Startdate() && st.counter <= known.Counter()) {
		if st.startdate == known.Startdate() && st.counter == known.Counter() {
			return
		}
		st.startdate, st.counter = known.Startdate(), known.Counter()+simMargin
	}
}

func (st *store) keep(p *protocol.Publication) {
	if p.Expiry > 0 {
		st.kept = append(st.kept, kept{p, st.sim.now + time.Duration(p.Expiry)*time.Second})
	}
	for _, b := range st.buses {
		b.send(func(h protocol.Handler) {
			if p.ID.Compare(b.known) > 0 {
				b.known = p.ID
			}
			h.HandlePublication(p)
		})
	}
}

// copy is what a replica has.
func (st *store) copy() {
	st.copied.startdate, st.copied.counter, st.copied.kept = st.startdate, st.counter, slices.Clone(st.kept)
}

// failOver loses what came since the last copy.
func (st *store) failOver() {
	st.startdate, st.counter, st.kept = st.copied.startdate, st.copied.counter, slices.Clone(st.copied.kept)
	for _, b := range st.buses {
		b.disconnect()
		if !b.known.IsZero() { // a bus that meets another server expects that ids are gone that it never heard of
			b.known = protocol.MakeMessageID(b.known.Startdate(), b.known.Counter()+1000)
		}
	}
}

func (st *store) flush() {
	st.startdate, st.counter, st.kept = 0, 0, nil
}

// simBus is one process's end of the bus.
type simBus struct {
	sim     *sim
	store   *store
	faults  *faults
	handler protocol.Handler
	known   protocol.MessageID
	echoes  uint64
	line    uint64 // which connection this is
	deaf    bool
	cut     bool // not connected now
	last    time.Duration
	closed  bool
}

var _ Bus = (*simBus)(nil)

// Subscribe is not called: the schedule brings what comes.
func (b *simBus) Subscribe(context.Context, protocol.Handler) error { panic("BUG: not in the model") }

// send puts an event on the connection, in order.
func (b *simBus) send(f func(h protocol.Handler)) {
	switch {
	case b.closed, b.cut, b.deaf:
		return
	case b.sim.chance(b.faults.loseOne):
		return
	case b.sim.chance(b.faults.disconnect):
		b.disconnect()
		return
	case b.sim.chance(b.faults.goDeaf):
		b.deaf = true
		return
	}
	b.last = max(b.last, b.sim.now+b.sim.upTo(b.faults.delay))
	line := b.line
	b.sim.after(b.last-b.sim.now, func() {
		if b.line == line && !b.closed {
			f(b.handler)
		}
	})
}

func (b *simBus) disconnect() {
	b.line++
	line := b.line
	b.cut, b.deaf = true, false
	b.sim.after(b.sim.upTo(20*time.Millisecond)+time.Microsecond, func() {
		if b.line != line || b.closed {
			return
		}
		b.cut = false
		b.last = b.sim.now
		b.handler.HandleGap()
	})
}

// Reconnect is called for a connection that is deaf.
func (b *simBus) Reconnect() { b.disconnect() }

func (b *simBus) call() error {
	b.sim.sleep(b.sim.upTo(b.faults.delay))
	if b.sim.now < b.faults.silent || b.sim.chance(b.faults.badCall) {
		return errSim
	}
	return nil
}

func (b *simBus) Echo(context.Context) (uint64, error) {
	if err := b.call(); err != nil {
		return 0, err
	}
	b.store.raise(b.known)
	b.echoes++
	n := b.echoes
	var counter protocol.MessageID
	if b.store.startdate != 0 {
		counter = protocol.MakeMessageID(b.store.startdate, b.store.counter)
	}
	b.send(func(h protocol.Handler) { h.HandleEcho(n, counter) })
	b.sim.sleep(b.sim.upTo(b.faults.delay))
	return n, nil
}

func (b *simBus) Remaining(_ context.Context, ids []protocol.MessageID) ([]time.Duration, error) {
	if err := b.call(); err != nil {
		return nil, err
	}
	remaining := make([]time.Duration, len(ids))
	for i, id := range ids {
		for _, k := range b.store.kept {
			if k.p.ID == id {
				remaining[i] = max(k.expires-b.sim.now, 0)
			}
		}
	}
	b.sim.sleep(b.sim.upTo(b.faults.delay))
	return remaining, nil
}

func (b *simBus) History(_ context.Context, queries []protocol.HistoryQuery, maxBytes int) ([]protocol.HistoryAnswer, error) {
	if err := b.call(); err != nil {
		return nil, err
	}
	var answers []protocol.HistoryAnswer
	left := maxBytes
	for i := range queries {
		if i > 0 && maxBytes > 0 && left <= 0 {
			break
		}
		a := b.read(&queries[i])
		for n, p := range a.Publications {
			if left -= len(p.Body); maxBytes > 0 && left < 0 && n > 0 {
				a.Publications, a.More = a.Publications[:n], true
				break
			}
		}
		answers = append(answers, a)
	}
	b.sim.sleep(b.sim.upTo(b.faults.delay))
	return answers, nil
}

func (b *simBus) read(q *protocol.HistoryQuery) (a protocol.HistoryAnswer) {
	for _, k := range b.store.kept {
		if k.expires <= b.sim.now || k.p.ID.Compare(q.Since) <= 0 || !q.Until.IsZero() && k.p.ID.Compare(q.Until) > 0 {
			continue
		}
		p := *k.p
		p.Receivers = nil
		for _, r := range k.p.Receivers {
			if slices.Contains(q.Channels, r.Channel) {
				p.Receivers = append(p.Receivers, protocol.Receiver{Channel: r.Channel})
			}
		}
		if len(p.Receivers) > 0 {
			a.Publications = append(a.Publications, &p)
		}
	}
	slices.SortFunc(a.Publications, func(x, y *protocol.Publication) int { return x.ID.Compare(y.ID) })
	return a
}
