package feed

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"push-server/protocol"
)

// A process that hands its clients over has all its readers stop at one place (Hold), so that what they have had is the same for all: the
// ids in its window (Served). Its successor, whose window has whatever came since it began to listen, and everything up to then once it has
// caught up (CatchUp), reads all of that once more but for those ids (Reader.TakeUp). What the one had and the other has not is what comes.

// Place is where the window is now.
func (f *Feed) Place() uint64 { return f.window.head.Load() }

// Hold has readers read up to what has come by now, and no further.
func (f *Feed) Hold() { f.held.Store(f.window.head.Load()) }

// LetGo ends what Hold began.
func (f *Feed) LetGo() {
	f.held.Store(0)
	f.wakeReaders()
}

// Served calls add with the id of everything that readers have had while they are held. The error says why that may not be everything that
// a successor finds which began to listen at the given place.
func (f *Feed) Served(since uint64, add func(id protocol.MessageID)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.repair != nil:
		return errors.New("publications may have been missed, and history is being read")
	case f.window.tail.Load() > max(since, 1):
		return errors.New("more was published since the successor began than the window keeps (push.windowCount, push.windowBytes)")
	}
	for e := range f.window.publications(f.window.tail.Load()) {
		if e.seq >= f.held.Load() {
			break
		}
		add(e.Publication.ID)
	}
	return nil
}

// catchUpPause is the time between two looks whether an echo has come.
const catchUpPause = time.Millisecond / 2

// CatchUp returns when everything that was handed to the bus before the call has come by.
func (f *Feed) CatchUp(ctx context.Context) error {
	bounded, cancel := f.clock.Bounded(ctx, busTimeout)
	defer cancel()
	n, err := f.bus.Echo(bounded)
	if err != nil {
		return fmt.Errorf("feed: the bus does not answer: %w", err)
	}
	for {
		f.mu.Lock()
		done := f.heard >= n && f.repair == nil
		f.mu.Unlock()
		if done {
			return nil
		}
		if bounded.Err() != nil {
			return errors.New("feed: what was published does not come by")
		}
		f.clock.Sleep(bounded, catchUpPause)
	}
}

// taken is what clients have had of another process.
type taken struct {
	ids   []protocol.MessageID // sorted
	upto  uint64               // what has come by before this place is read once more
	until time.Duration        // when no late copies have to be expected any more
}

// TakeUp has r read everything that the window has once more, but for what clients have had of another process: ids, which nobody changes
// any more, and which are sorted. It is for a reader that has had no client yet.
func (r *Reader) TakeUp(ids []protocol.MessageID) {
	r.taken = taken{ids: ids, upto: r.cursor, until: r.feed.clock.Now() + stale}
	r.cursor = min(r.cursor, r.feed.window.tail.Load())
}

// skips says whether e is nothing new for clients.
func (t *taken) skips(e *Entry, clock Clock) bool {
	switch {
	case t.ids == nil:
		return false
	case e.seq >= t.upto && clock.Now() >= t.until:
		t.ids = nil
		return false
	case e.Publication == nil:
		return e.seq < t.upto
	}
	_, had := slices.BinarySearchFunc(t.ids, e.Publication.ID, protocol.MessageID.Compare)
	return had
}

// Settled says whether r has nothing to read, and nothing of what it has read is missing.
func (r *Reader) Settled() bool {
	return !r.blind && !r.lag.behind && len(r.lag.detour) == 0 && !r.posted.Load() && !r.HasReleased() && r.stops()
}

// stops says whether r has read up to where readers are held.
func (r *Reader) stops() bool {
	held := r.feed.held.Load()
	return held != 0 && r.cursor >= held
}

// ReplayState is a Replay in a form that can be written down.
type ReplayState struct {
	First, Mid protocol.MessageID
	Parts      int
	Pending    []*protocol.Publication
}

// State is where q is.
func (q *Replay) State() ReplayState {
	s := ReplayState{First: q.first, Mid: q.mid, Parts: q.parts}
	for _, e := range q.pending {
		s.Pending = append(s.Pending, e.Publication)
	}
	return s
}

// Resume makes a replay that goes on from s, once it is begun. It is overflown if there is no room for what was kept.
func (r *Reader) Resume(tag uint64, s ReplayState) *Replay {
	q := &Replay{Tag: tag, first: s.First, mid: s.Mid, parts: s.Parts}
	for _, p := range s.Pending {
		if !r.Keep(q, &Entry{Publication: p}) {
			break
		}
	}
	return q
}
