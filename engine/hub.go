package engine

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"push-server/protocol"
)

// Hub is where the bus meets the loops: it appends what the bus brings to the window, wakes the loops, probes the bus, and
// repairs gaps. It is the Handler of the bus; its mutex is taken by the bus, by repairs and by statistics, never by a loop.
type Hub struct {
	bus    Bus
	log    *slog.Logger
	o      *Options
	window *window
	loops  []*loop
	engine *Engine
	stats  *hubStats
	ready  chan struct{} // closed when the first echo has come

	mu       sync.Mutex
	started  time.Time          // when clients could connect first
	known    bool               // an echo has come, so positions mean something
	highest  protocol.MessageID // greatest id that has come, or counter that was echoed with nothing missing
	holes    holes
	repair   *repair                         // under way
	repairs  uint64                          // begun
	repaired map[protocol.MessageID]repaired // late copies of these have been served
	echo     uint64                          // the last one heard

	unheard, unheardBytes int // publications since all loops were woken
}

func newHub(bus Bus, o *Options, stats *hubStats) *Hub {
	return &Hub{
		bus: bus, log: o.Logger, o: o, stats: stats, ready: make(chan struct{}),
		window:   newWindow(o.WindowCount, o.WindowBytes),
		repaired: make(map[protocol.MessageID]repaired),
	}
}

var _ protocol.Handler = (*Hub)(nil)

// HandlePublication appends p to the window, or holds it while a gap is being closed. Loops that it does not concern come by it with
// their next turn, unless so much has gathered that they might fall out of the window.
func (h *Hub) HandlePublication(p *protocol.Publication) {
	h.mu.Lock()
	if h.repair != nil {
		h.repair.hold(p, h.o.WindowCount/2)
	} else {
		h.accept(p)
	}
	all := h.gathered(p)
	h.mu.Unlock()
	for _, l := range h.loops {
		if all || l.table.interest.has(p.Receivers) {
			l.wake()
		}
	}
}

// wakeShare is the part of the window that may gather before all loops are woken.
const wakeShare = 16

// gathered counts p, and says whether it is time to wake all loops.
func (h *Hub) gathered(p *protocol.Publication) bool {
	h.unheard++
	h.unheardBytes += len(p.Body) + entryOverhead
	if h.unheard < h.o.WindowCount/wakeShare && h.unheardBytes < h.o.WindowBytes/wakeShare {
		return false
	}
	h.unheard, h.unheardBytes = 0, 0
	return true
}

func (h *Hub) wakeLoops() {
	for _, l := range h.loops {
		l.wake()
	}
}

// accept appends p. A late copy of what a repair has served goes only to receivers that the repair did not ask for.
func (h *Hub) accept(p *protocol.Publication) {
	if r, ok := h.repaired[p.ID]; ok {
		if p = r.rest(p); p == nil {
			return
		}
	}
	h.note(p.ID)
	h.stats.published.Add(1)
	h.window.append(&entry{pub: p, highest: h.highest, expires: expiry(p, time.Now().UnixMilli())})
}

// note keeps the books about ids: which one is the greatest, and which are missing.
func (h *Hub) note(id protocol.MessageID) {
	if h.known {
		h.holes.come(id)
	}
	if id.Compare(h.highest) > 0 {
		h.highest = id
	}
}

// HandleEcho appends an echo. Its counter raises the highest id unless something below it has not come by.
func (h *Hub) HandleEcho(n uint64, counter protocol.MessageID) {
	if sent := h.stats.probed.Swap(0); sent != 0 {
		h.stats.busLag.Store(time.Now().UnixNano() - sent)
	}
	h.mu.Lock()
	defer h.wakeLoops()
	defer h.mu.Unlock()
	h.echo = max(h.echo, n)
	switch {
	case h.repair != nil:
		h.repair.hear(n, counter)
	case !h.known:
		h.begin(n, counter)
	case counter.Compare(h.highest) < 0:
		h.reset(n, counter)
	default:
		h.holes.reach(counter)
		if h.holes.none() {
			h.highest = counter
		}
		h.appendEcho(n, markEcho)
	}
}

func (h *Hub) appendEcho(n uint64, m mark) {
	h.window.append(&entry{echo: n, mark: m, repair: h.repairs, highest: h.highest})
}

// begin takes the first echo: from here on the window knows everything. Clients that came before the bus may have been waiting for
// what is published already: it is read from history like what a gap has swallowed.
func (h *Hub) begin(n uint64, counter protocol.MessageID) {
	h.known = true
	if counter.Compare(h.highest) > 0 {
		h.highest = counter
	}
	h.holes.restart(h.highest)
	if h.engine.admission.active.Load() > 0 {
		h.beginRepair("clients came before the bus") // which is no gap in what it brings
		h.repair.createdSince = uint32(h.started.Unix())
		h.repair.from = protocol.MessageID{}
		return
	}
	h.appendEcho(n, markRepair)
	close(h.ready)
}

// reset starts anew after the counter went back: the store was emptied, or an older copy of it took over.
func (h *Hub) reset(n uint64, counter protocol.MessageID) {
	h.log.Warn("counter of messages went back, positions start anew", "was", h.highest, "is", counter)
	h.stats.resets.Add(1)
	h.highest = counter
	h.holes.restart(counter)
	clear(h.repaired)
	h.window.forget(counter)
	h.appendEcho(n, markReset)
}

// HandleGap starts a repair: something may have been missed. Before the first echo, begin sees to that.
func (h *Hub) HandleGap() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.known {
		h.startRepair("bus connection was lost")
	}
}

// run probes the bus until ctx ends: one echo a second moves positions in quiet times, shows a lost tail, and unmasks a
// connection that is alive but deaf.
func (h *Hub) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	deaf := deafness{limit: 3 * h.o.EchoInterval}
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		h.probe(ctx, &deaf)
		h.checkHoles(ctx)
		h.forgetRepaired(time.Now())
		pause := h.o.EchoInterval
		if !h.isKnown() {
			pause = min(pause, firstEchoPause)
		}
		timer.Reset(pause)
	}
}

// firstEchoPause is the pause between probes until the first echo has come.
const firstEchoPause = 20 * time.Millisecond

func (h *Hub) windowBytes() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.window.bytes
}

func (h *Hub) isKnown() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.known
}

// deafness notices that echoes are sent but not heard.
type deafness struct {
	limit time.Duration
	since time.Time // of the first echo that is not heard; zero: none
	sent  uint64
}

// probe sends an echo, and has the bus connect anew if it has been deaf for too long.
func (h *Hub) probe(ctx context.Context, d *deafness) {
	h.mu.Lock()
	heard := h.echo >= d.sent
	h.mu.Unlock()
	if heard {
		d.since = time.Time{}
	}
	if r, ok := h.bus.(reconnecter); ok && !d.since.IsZero() && time.Since(d.since) > d.limit {
		h.log.Warn("bus connection is deaf, connecting again", "silent", time.Since(d.since))
		d.since = time.Time{}
		r.Reconnect()
	}
	ctx, cancel := context.WithTimeout(ctx, busTimeout)
	defer cancel()
	h.stats.probed.Store(time.Now().UnixNano())
	n, err := h.bus.Echo(ctx)
	if err != nil {
		d.since = time.Time{} // the bus is away, which it says itself
		return
	}
	if d.sent = n; d.since.IsZero() {
		d.since = time.Now()
	}
}

// reconnecter is the optional ability of a bus to give up a connection that does not bring anything.
type reconnecter interface{ Reconnect() }

// checkHoles looks whether publications that are overdue exist. Those that do not (given up by their publisher, or never
// stored) are forgotten; if one does, it was lost on the way.
func (h *Hub) checkHoles(ctx context.Context) {
	h.mu.Lock()
	overdue := h.holes.overdue(time.Now().Add(-holeTime), holeBatch)
	h.mu.Unlock()
	if len(overdue) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, busTimeout)
	defer cancel()
	stored, err := h.bus.Stored(ctx, overdue)
	if err != nil {
		return // asked again next time
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.repair != nil {
		return
	}
	for i, id := range overdue {
		if stored[i] && h.holes.has(id) {
			h.startRepair("publication is missing")
			return
		}
	}
	for _, id := range overdue {
		h.holes.fill(id)
	}
}

const (
	holeTime  = time.Second // how late a publication may come before it counts as missing
	holeBatch = 1000        // holes looked at in one call
)
