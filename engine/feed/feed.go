package feed

import (
	"context"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"push-server/engine/budget"
	"push-server/protocol"
)

// Options are the bounds of a feed. All fields are required but for the budgets, the logger and the clock.
type Options struct {
	WindowCount       int           // recent publications that are kept, a power of two
	WindowBytes       int           // what they take at most
	HeldBytes         int           // publications held while a gap is being closed; beyond it they are read from history instead
	AnswerBytes       int           // bodies in one answer of history, and in one part of a replay
	PendingBytes      int           // live publications kept for one client while its history is read
	HistoryPerChannel int           // replayed per channel, the newest
	HistoryTotal      int           // replayed in all, the newest
	MaxQuestions      int           // questions to the bus that wait
	EchoInterval      time.Duration // between two probes of the bus
	// Probe is a channel of this process alone: who subscribes to it gets a publication with each echo of a probe, whose body is when that
	// was sent, in nanoseconds on the clock. It has no id, and history knows nothing of it. nil: there is none.
	Probe *protocol.ChannelID

	Answers *budget.Budget // history on its way to clients
	Pending *budget.Budget // live publications kept for clients whose history is read
	Clock   Clock          // default: SystemClock
	Logger  *slog.Logger   // default: none

	Probed func(took time.Duration) // hears how long each probe was under way; nil: nobody wants to know
}

// Stats are counters of a feed, read by anybody.
type Stats struct {
	Published atomic.Uint64 // publications that came from the bus
	Gaps      atomic.Uint64 // that were closed, or are being closed
	Lags      atomic.Uint64 // readers that the window overtook
	Rewinds   atomic.Uint64 // times that ids went back: the store has lost data
	Rebuilds  atomic.Uint64 // times that the bus was told to connect again, since it was silent
	BusLag    atomic.Int64  // nanoseconds that the last probe took
	Heard     atomic.Int64  // when the last echo came, nanoseconds on the feed's clock; 0: none yet
}

// Feed knows what was published, in which order and without holes. It is the handler of the bus: it appends what the bus brings to the
// window, from which each Reader reads, probes the bus, and closes gaps. Its mutex is taken by the bus, by repairs and by statistics,
// never by a reader.
type Feed struct {
	Stats Stats

	bus     Bus
	clock   Clock
	log     *slog.Logger
	o       Options
	window  *window
	readers []*Reader
	history *history
	ready   Signal // closed when the feed knows its position
	begun   Signal // a repair has begun
	lagged  Signal // a reader has fallen behind
	hurry   Signal // the bus is to be probed now
	probed  atomic.Int64
	held    atomic.Uint64 // readers stop at this place; 0: they do not
	started time.Duration // when clients could connect first

	mu       sync.Mutex
	opened   bool               // ready is closed
	highest  protocol.MessageID // greatest id that has come, or counter that was echoed with nothing missing
	holes    holes
	repair   *repair                         // under way
	repairs  uint64                          // begun
	repaired map[protocol.MessageID]repaired // late copies of these have been served
	heard    uint64                          // the last echo

	entries             entryBlock
	unread, unreadBytes int // publications since all readers were woken
}

var _ protocol.Handler = (*Feed)(nil)

// New makes a feed of what bus brings. Readers are added, then its Tasks are run and it is given to Bus.Subscribe. It begins with a gap:
// clients may be there before the bus is, and what is published then is read from history.
func New(bus Bus, o Options) *Feed {
	if o.Clock == nil {
		o.Clock = SystemClock()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	f := &Feed{
		bus: bus, clock: o.Clock, log: o.Logger, o: o,
		window: newWindow(o.WindowCount, o.WindowBytes),
		ready:  make(Signal), begun: newSignal(), lagged: newSignal(), hurry: newSignal(),
		repaired: make(map[protocol.MessageID]repaired),
	}
	f.history = newHistory(bus, &f.o)
	f.started = f.clock.Now()
	f.beginRepair()
	f.repair.late = true
	return f
}

// historyReaders is the number of batches of questions under way at the same time.
const historyReaders = 2

// Tasks are what a feed that is read does besides handling the bus: each is to be run on a goroutine of its own until ctx ends.
func (f *Feed) Tasks() []func(ctx context.Context) {
	tasks := []func(ctx context.Context){f.probeBus, f.closeGaps, f.catchUpReaders}
	for range historyReaders {
		tasks = append(tasks, f.history.serve)
	}
	return tasks
}

// Ready is closed when the first echo has come and what clients missed before is in the window.
func (f *Feed) Ready() <-chan struct{} { return f.ready }

// Silence is how long no echo has come. It may be called from any goroutine.
func (f *Feed) Silence() time.Duration {
	return f.clock.Now() - max(time.Duration(f.Stats.Heard.Load()), f.started)
}

// Window returns how many entries the window has, and what they take.
func (f *Feed) Window() (length int, bytes int64) { return f.window.length(), f.window.bytes.Load() }

// Missing is the number of ids that were handed out and have not come by.
func (f *Feed) Missing() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.holes.open)
}

// Held is what publications take that are held while a gap is being closed.
func (f *Feed) Held() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.repair == nil {
		return 0
	}
	return f.repair.heldBytes
}

// HandlePublication appends p to the window, or holds it while a gap is being closed. Readers that it does not concern come by it with
// their next turn, unless so much has gathered that they might fall out of the window.
func (f *Feed) HandlePublication(p *protocol.Publication) {
	f.mu.Lock()
	if f.repair != nil {
		f.repair.hold(p, f.o.HeldBytes)
	} else {
		f.accept(p, f.life(p))
	}
	all := f.gathered(p)
	f.mu.Unlock()
	for _, r := range f.readers {
		if all || r.consumer.Interested(p.Receivers) {
			r.consumer.Wake()
		}
	}
}

// wakeShare is the part of the window that may gather before all readers are woken.
const wakeShare = 16

// gathered counts p, and says whether it is time to wake all readers.
func (f *Feed) gathered(p *protocol.Publication) bool {
	f.unread++
	f.unreadBytes += sizeOf(p)
	if f.unread < f.o.WindowCount/wakeShare && f.unreadBytes < f.o.WindowBytes/wakeShare {
		return false
	}
	f.unread, f.unreadBytes = 0, 0
	return true
}

func (f *Feed) wakeReaders() {
	for _, r := range f.readers {
		r.consumer.Wake()
	}
}

// life is when a publication that comes now leaves history. Its Created does not matter: it is of the clock of another host.
func (f *Feed) life(p *protocol.Publication) time.Duration {
	if p.Expiry == 0 {
		return 0
	}
	return f.clock.Now() + time.Duration(p.Expiry)*time.Second
}

// accept appends p. A late copy of what a repair has served goes only to receivers that the repair did not ask for.
func (f *Feed) accept(p *protocol.Publication, expires time.Duration) {
	if r, ok := f.repaired[p.ID]; ok {
		if p = r.rest(p); p == nil {
			return
		}
	}
	if p.Stray {
		expires = 0 // nobody returns with such an id
	} else {
		f.note(p.ID)
	}
	f.Stats.Published.Add(1)
	e := f.entries.next(p)
	e.Publication, e.highest, e.expires, e.arrived = p, f.highest, expires, f.clock.Now()
	f.window.append(e)
}

// note keeps the books about ids: which one is the greatest, and which are missing.
func (f *Feed) note(id protocol.MessageID) {
	f.holes.come(id, f.clock.Now())
	if id.Compare(f.highest) > 0 {
		f.highest = id
	} else if f.wentBack(id) {
		f.Stats.Rewinds.Add(1)
		f.hurry.give() // an echo has the bus raise the counter
	}
}

// wentBack says whether id is so far below the greatest one that the store must have lost data: no publisher is that late.
func (f *Feed) wentBack(id protocol.MessageID) bool {
	return id.Startdate() < f.highest.Startdate() || id.Counter()+maxJump < f.highest.Counter()
}

// HandleEcho appends an echo. Its counter raises the highest id unless something below it has not come by. The zero counter, and one
// below what has come, say nothing: a store that has lost its data does not know better.
func (f *Feed) HandleEcho(n uint64, counter protocol.MessageID) {
	now, sent := f.noteEcho()
	f.mu.Lock()
	defer f.wakeReaders()
	defer f.mu.Unlock()
	f.heard = max(f.heard, n)
	if f.repair != nil {
		f.repair.hear(n, counter)
		return
	}
	f.reach(counter, now)
	f.appendEcho(n, f.proof(sent))
}

// noteEcho notes that an echo has come, now. It is the first one since a probe was sent, then; 0: it is not.
func (f *Feed) noteEcho() (now time.Duration, sent int64) {
	now = f.clock.Now()
	if sent = f.probed.Swap(0); sent != 0 {
		f.Stats.BusLag.Store(int64(now) - sent)
		if f.o.Probed != nil {
			f.o.Probed(now - time.Duration(sent))
		}
	}
	f.Stats.Heard.Store(max(int64(now), 1))
	return now, sent
}

// proof is the publication for those who want to know whether probes reach subscribers; nil: there is none.
func (f *Feed) proof(sent int64) *Entry {
	if sent == 0 || f.o.Probe == nil {
		return nil
	}
	return &Entry{Publication: &protocol.Publication{
		Receivers: []protocol.Receiver{{Channel: *f.o.Probe}}, Body: strconv.AppendInt(nil, sent, 10), Stray: true,
	}}
}

// sendEcho sends one and notes when.
func (f *Feed) sendEcho(ctx context.Context) (n uint64, err error) {
	ctx, cancel := f.clock.Bounded(ctx, busTimeout)
	defer cancel()
	f.probed.Store(max(int64(f.clock.Now()), 1))
	return f.bus.Echo(ctx)
}

// reach notes that all ids up to counter have been handed out.
func (f *Feed) reach(counter protocol.MessageID, now time.Duration) {
	if counter.Compare(f.highest) < 0 {
		if f.wentBack(counter) && !counter.IsZero() {
			f.Stats.Rewinds.Add(1)
			f.log.Warn("the store has lost messages and its counter is behind, positions stay as they are", "known", f.highest, "stored", counter)
		}
		return
	}
	f.holes.reach(counter, now)
	if f.holes.none() {
		f.highest = counter
	}
}

// appendEcho is for times when no repair is under way.
func (f *Feed) appendEcho(n uint64, proof *Entry) {
	f.window.append(&Entry{
		highest: f.highest,
		echo:    &echo{number: n, repair: f.repairs, accounted: f.holes.lastGood(f.highest), proof: proof},
	})
}

// resumeFrom has the feed begin at an id: a reader takes up a position.
func (f *Feed) resumeFrom(id protocol.MessageID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if r := f.repair; r.late || id.Compare(r.from) < 0 {
		r.late, r.began, r.from = false, id, id
	}
}

// open lets clients in. f.mu is held.
func (f *Feed) open() {
	if !f.opened {
		f.opened = true
		close(f.ready)
	}
}

// HandleGap starts a repair: something may have been missed.
func (f *Feed) HandleGap() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.startRepair("bus connection was lost")
}
