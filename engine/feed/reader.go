package feed

import (
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"push-server/protocol"
)

// Consumer is an event loop, seen from below.
type Consumer interface {
	// Wake has the consumer call Next of its Reader soon. It must not block and may be called from any goroutine.
	Wake()
	// Interested says whether one of the receivers may have a subscriber there. Yes is never wrong. It may be called from any goroutine.
	Interested(receivers []protocol.Receiver) bool
	// Channels returns every channel that has a subscriber, in a slice of the caller's. It is called inside Next.
	Channels() []protocol.ChannelID
}

// Reader is the position of one event loop in the feed: what it has read, and what of it its clients may be told. All methods belong
// to the loop's goroutine.
type Reader struct {
	feed     *Feed
	consumer Consumer

	// Orders of the feed and answers of history.
	mu     sync.Mutex
	orders []func(r *Reader)
	posted atomic.Bool   // orders has something
	passed atomic.Uint64 // the cursor as of the last time when nothing was left to read

	cursor    uint64             // next entry of the window
	highest   protocol.MessageID // greatest id or echoed counter seen
	echo      uint64             // last echo seen
	base      protocol.MessageID // the window answers ids from here on
	blind     bool               // the window answers nothing: a gap is being closed, or the first echo has not come
	repair    uint64             // at the end of this repair it is not blind any more
	floor     protocol.MessageID // while it is blind: where the repair begins; what the window gets of it may be lost like everything else
	late      bool               // and this repair is that of a late start
	accounted protocol.MessageID // nothing up to here is missing
	lag       lag
	taken     taken

	waiting  []*Replay // until an echo or an id comes by
	released []*Replay // nothing is missing any more
	newest   []*Newest // answered
	moved    bool      // since waiting was looked at
	found    []*Entry  // scratch
	frames   Frames
}

// Position is where a reader stands, in a form that can be written down and taken up again, in another process, too.
type Position struct {
	Highest   protocol.MessageID   // the greatest id seen
	Accounted protocol.MessageID   // nothing up to here is missing
	Recent    []protocol.MessageID // what was read lately: ids of other publishers come out of order
}

// NewReader adds a reader for c, before the feed's Tasks run. It begins at the present, or at a position that another reader has left:
// then it has first what came since, for the channels that c has when the bus answers.
func (f *Feed) NewReader(c Consumer, from *Position) *Reader {
	r := &Reader{feed: f, consumer: c, cursor: 1, blind: true, late: true}
	if from != nil {
		r.resume(from)
		f.resumeFrom(from.Accounted)
	}
	f.readers = append(f.readers, r)
	return r
}

// resume takes up a position: what is up to it, or in it, comes once more with what the feed reads to close the gap.
func (r *Reader) resume(from *Position) {
	r.late = false
	r.highest, r.accounted, r.floor = from.Highest, from.Accounted, from.Accounted
	r.lag.detoured = make(map[protocol.MessageID]bool, len(from.Recent))
	for _, id := range from.Recent {
		r.lag.recent.add(id)
		r.lag.detoured[id] = true
	}
	r.lag.upto = from.Accounted
	r.lag.until = never
}

// Position returns where r stands.
func (r *Reader) Position() Position {
	return Position{Highest: r.highest, Accounted: r.accounted, Recent: slices.Clone(r.lag.recent.all())}
}

// Highest is the greatest id that r has seen, or a counter below which it has seen everything.
func (r *Reader) Highest() protocol.MessageID { return r.highest }

// Behind says whether the window has something that r has not read yet.
func (r *Reader) Behind() bool { return r.feed.window.newest() >= r.cursor }

// Age is how long ago the bus brought e; ok is false if e was read from history.
func (r *Reader) Age(e *Entry) (age time.Duration, ok bool) {
	at, ok := e.Arrived()
	return r.feed.clock.Now() - at, ok
}

// Unheard is how long ago the oldest of the latest n publications for channels came that r has read, and that a client does not know which
// knows id. found is how many the window has of them; whole is false if it may have had more.
func (r *Reader) Unheard(channels []protocol.ChannelID, id protocol.MessageID, n int) (age time.Duration, found int, whole bool) {
	var es []*Entry
	whole = true
	for i := range channels {
		more := false
		es, more = r.feed.window.latest(es, &channels[i], id, r.cursor, n)
		whole = whole && more
	}
	es = merge(es)
	es = es[max(0, len(es)-n):]
	for _, e := range es {
		if a, ok := r.Age(e); ok {
			age = max(age, a)
		}
	}
	return age, len(es), whole
}

// Now is the time of the clock by which entries age.
func (r *Reader) Now() time.Duration { return r.feed.clock.Now() }

// Frame returns e as sessions of one dialect get it.
func (r *Reader) Frame(e *Entry, enc *Encoding) Frame { return r.frames.Of(e, enc) }

// post has r carry out f inside its next call of Next. It may be called from any goroutine.
func (r *Reader) post(f func(r *Reader)) {
	r.mu.Lock()
	r.orders = append(r.orders, f)
	r.posted.Store(true)
	r.mu.Unlock()
	r.consumer.Wake()
}

func (r *Reader) carryOut() {
	r.mu.Lock()
	orders := r.orders
	r.orders = nil
	r.posted.Store(false)
	r.mu.Unlock()
	for _, f := range orders {
		f(r)
	}
}

// Next returns the next publication and moves on; nil: there is none now. Replays that are complete with it are in Released
// when it returns nil.
func (r *Reader) Next() *Entry {
	if r.posted.Load() {
		r.carryOut()
	}
	for {
		e := r.next()
		if e == nil {
			r.checkWaiting()
			r.passed.Store(r.cursor)
			return nil
		}
		r.moved = true
		if e.Publication == nil {
			r.hearEcho(e)
			if e.echo.proof != nil {
				return e.echo.proof
			}
			continue
		}
		if e.highest.Compare(r.highest) > 0 {
			r.highest = e.highest
		}
		if e.Publication.Stray {
			return e
		}
		r.lag.recent.add(e.Publication.ID)
		if r.base.IsZero() && !r.blind { // the store had no counter when it was asked: what lies before its first id is not known here
			r.base = before(e.Publication.ID)
		}
		return e
	}
}

// next returns the entry at the position of r and moves on.
func (r *Reader) next() *Entry {
	if e := r.lag.next(); e != nil {
		return e
	}
	for !r.lag.behind && !r.stops() {
		e, lost := r.feed.window.at(r.cursor)
		if lost {
			r.fallBehind()
			break
		}
		if e == nil {
			break
		}
		r.cursor++
		if !r.lag.served(e, r.feed.clock) && !r.taken.skips(e, r.feed.clock) {
			return e
		}
	}
	return nil
}

// hearEcho notes an echo that comes by.
func (r *Reader) hearEcho(e *Entry) {
	r.echo = max(r.echo, e.echo.number)
	if e.highest.Compare(r.highest) > 0 {
		r.highest = e.highest
	}
	if e.echo.accounted.Compare(r.accounted) > 0 {
		r.accounted = e.echo.accounted
	}
	if r.blind && e.echo.repair >= r.repair { // unless another repair has begun since
		r.blind, r.base = false, e.highest
		r.lag.until = min(r.lag.until, r.feed.clock.Now()+stale)
	}
}

// goBlind is for a repair that asks r for its channels.
func (r *Reader) goBlind(repair *repair) {
	if !r.blind {
		r.floor, r.late = repair.began, false
	}
	r.blind, r.repair, r.late = true, repair.number, r.late || repair.late
}

// covers says whether the window may know everything after mid.
func (r *Reader) covers(mid protocol.MessageID) bool {
	return !r.blind && !r.lag.behind && !r.base.IsZero() && mid.Compare(r.base) >= 0
}

// stale is how long what a lag has served is remembered; never is later than anything.
const (
	stale = repairedTime
	never = time.Duration(math.MaxInt64)
)

// lag is what a reader needs when the window overtakes it: what it has missed is read from history and served on a detour, before what
// remains in the window. The other readers do not notice.
type lag struct {
	behind   bool                        // the cursor fell out of the window, and the repair of that is under way
	since    protocol.MessageID          // where the repair begins
	late     bool                        // it begins where clients could connect first
	begun    atomic.Bool                 // somebody has to begin it
	recent   recentIDs                   // what was read lately
	detour   []*Entry                    // to be served before the cursor
	detoured map[protocol.MessageID]bool // what a detour has served, until it is too late for copies
	upto     protocol.MessageID          // another process has served everything up to here
	until    time.Duration               // and this is when
}

// next returns the next entry of the detour.
func (g *lag) next() *Entry {
	if len(g.detour) == 0 {
		return nil
	}
	e := g.detour[0]
	g.detour[0] = nil
	if g.detour = g.detour[1:]; len(g.detour) == 0 {
		g.detour = nil
	}
	return e
}

// served says whether e, from the window, was served before: its publisher was late, and history had it earlier than the bus.
func (g *lag) served(e *Entry, clock Clock) bool {
	if g.detoured == nil {
		return false
	}
	if clock.Now() >= g.until {
		g.detoured, g.upto = nil, protocol.MessageID{}
		return false
	}
	return e.Publication != nil && (g.detoured[e.Publication.ID] || e.Publication.ID.Compare(g.upto) <= 0)
}

// recentIDs remembers what a reader has read lately: ids of other publishers come out of order, so the greatest one is not enough to
// tell what was read when the window has overtaken it.
type recentIDs struct {
	ids [1024]protocol.MessageID
	n   uint64
}

func (x *recentIDs) add(id protocol.MessageID) {
	x.ids[x.n%uint64(len(x.ids))] = id
	x.n++
}

// all returns the ids in no particular order, valid until the next add.
func (x *recentIDs) all() []protocol.MessageID { return x.ids[:min(x.n, uint64(len(x.ids)))] }

func (x *recentIDs) has(id protocol.MessageID) bool { return slices.Contains(x.all(), id) }

// oldest is an id below which nothing that was read lately is found; the zero id: nothing was.
func (x *recentIDs) oldest() (id protocol.MessageID) {
	if x.n > 0 {
		id = slices.MinFunc(x.all(), protocol.MessageID.Compare)
	}
	return id
}
