package feed

import (
	"context"
	"slices"
	"sync"

	"push-server/protocol"
)

// channels asks readers for the channels that have subscribers now, each once. also is called by each reader in the same step.
func (f *Feed) channels(ctx context.Context, readers []*Reader, also func(r *Reader)) ([]protocol.ChannelID, error) {
	var mu sync.Mutex
	var all []protocol.ChannelID
	seen := make(map[protocol.ChannelID]struct{})
	err := f.order(ctx, readers, func(r *Reader) {
		if also != nil {
			also(r)
		}
		mu.Lock()
		defer mu.Unlock()
		for _, ch := range r.consumer.Channels() {
			if _, ok := seen[ch]; !ok {
				seen[ch] = struct{}{}
				all = append(all, ch)
			}
		}
	})
	return all, err
}

// order has every reader carry out f with its next turn, and waits until all have.
func (f *Feed) order(ctx context.Context, readers []*Reader, do func(r *Reader)) error {
	done := newSignal()
	var mu sync.Mutex
	left := len(readers)
	for _, r := range readers {
		r.post(func(r *Reader) {
			do(r)
			mu.Lock()
			defer mu.Unlock()
			if left--; left == 0 {
				done.give()
			}
		})
	}
	if len(readers) > 0 && !f.clock.Await(ctx, done, 0) {
		return ctx.Err()
	}
	return nil
}

// readPart reads what is in (from, upto] of chs, by id, of each channel the newest limit (0: all). upto is to, or less where that is
// more than may be held.
func (f *Feed) readPart(ctx context.Context, chs []protocol.ChannelID, from, to protocol.MessageID, limit int) (part []stored, upto protocol.MessageID, err error) {
	maxBytes := f.o.HeldBytes
	for upto = to; ; {
		half := middle(from, upto)
		if half == upto {
			maxBytes = 0 // there is no smaller part
		}
		part, whole, err := f.readRange(ctx, chs, protocol.HistoryQuery{Since: from, Until: upto, Limit: limit}, maxBytes)
		if err != nil || whole {
			return part, upto, err
		}
		upto = half
	}
}

// middle is an id between from and to; to: there is none.
func middle(from, to protocol.MessageID) protocol.MessageID {
	low := uint64(0)
	if from.Startdate() == to.Startdate() {
		low = from.Counter()
	}
	if to.Counter() <= low+1 {
		return to
	}
	return protocol.MakeMessageID(to.Startdate(), low+(to.Counter()-low)/2)
}

// readRange reads what query asks for, of chs. whole is false if it is more than maxBytes (0: no bound).
func (f *Feed) readRange(ctx context.Context, chs []protocol.ChannelID, query protocol.HistoryQuery, maxBytes int) (part []stored, whole bool, err error) {
	byID := make(map[protocol.MessageID]*protocol.Publication)
	left := maxBytes
	for some := range slices.Chunk(chs, repairChannels) {
		query.Channels = some
		answers, err := f.bus.History(ctx, []protocol.HistoryQuery{query}, left)
		if err != nil {
			return nil, false, err
		}
		for _, p := range answers[0].Publications {
			if q, ok := byID[p.ID]; ok {
				q.Receivers = append(q.Receivers, p.Receivers...) // of another part of the channels
				continue
			}
			q := *p
			byID[p.ID] = &q
			part = append(part, stored{Publication: &q})
			left -= p.Size()
		}
		if maxBytes > 0 && (answers[0].More || left <= 0) {
			return nil, false, nil
		}
	}
	slices.SortFunc(part, func(a, b stored) int { return a.ID.Compare(b.ID) })
	return part, true, f.tellRemaining(ctx, part)
}

// tellRemaining notes when publications leave history.
func (f *Feed) tellRemaining(ctx context.Context, ps []stored) error {
	if len(ps) == 0 {
		return nil
	}
	ids := make([]protocol.MessageID, len(ps))
	for i := range ps {
		ids[i] = ps[i].ID
	}
	remaining, err := f.bus.Remaining(ctx, ids)
	if err != nil {
		return err
	}
	now := f.clock.Now()
	for i := range ps {
		ps[i].expires = now + remaining[i]
	}
	return nil
}
