package redisbus

import (
	"context"
	"slices"
	"time"

	"github.com/redis/rueidis"

	"push-server/protocol"
)

const (
	// pipelineSize bounds the commands of one pipeline, so that others get between.
	pipelineSize = 500
	// deepSize bounds how many ids of one channel are looked at when many of them have expired.
	deepSize = 20_000
)

// History implements engine.Bus. All queries together take few round trips: one pipeline for the indexes of their channels, one
// for the bodies, one more where bodies are long, and as many again where so much has expired that the newest ids say little.
//
// The index of a channel is never cached. An invalidation comes over another connection than the publications, so a cached
// index could lack one that has come by already.
func (b *Bus) History(ctx context.Context, queries []protocol.HistoryQuery, maxBytes int) ([]protocol.HistoryAnswer, error) {
	r := newHistoryRead(b, queries, maxBytes)
	if err := b.failed("history", r.run(ctx)); err != nil {
		return nil, err
	}
	return r.answers(), nil
}

// Remaining implements engine.Bus.
func (b *Bus) Remaining(ctx context.Context, ids []protocol.MessageID) ([]time.Duration, error) {
	remaining := make([]time.Duration, 0, len(ids))
	err := b.pipeline(ctx, len(ids), pipelineSize, func(c rueidis.Client, i int) rueidis.Completed {
		return c.B().Pttl().Key(b.keys.messageOf(ids[i])).Build()
	}, func(_ int, r rueidis.RedisResult) error {
		ms, err := r.AsInt64()
		switch ms {
		case persistent:
			ms = max(b.options.MessageTTL, time.Second).Milliseconds()
		case 0:
			ms = 1 // its last millisecond: it can be read
		}
		remaining = append(remaining, time.Duration(max(ms, 0))*time.Millisecond)
		return err
	})
	if err := b.failed("remaining", err); err != nil {
		return nil, err
	}
	return remaining, nil
}

// persistent is what PTTL says of a key that does not expire.
const persistent = -1

func (b *Bus) exist(ctx context.Context, ids []protocol.MessageID) ([]bool, error) {
	stored := make([]bool, 0, len(ids))
	err := b.pipeline(ctx, len(ids), pipelineSize, func(c rueidis.Client, i int) rueidis.Completed {
		return c.B().Exists().Key(b.keys.messageOf(ids[i])).Build()
	}, func(_ int, r rueidis.RedisResult) error {
		n, err := r.AsInt64()
		stored = append(stored, n > 0)
		return err
	})
	if err != nil {
		return nil, err
	}
	return stored, nil
}

// pipeline runs n commands, size at a time, and takes their results in order.
func (b *Bus) pipeline(ctx context.Context, n, size int, command func(c rueidis.Client, i int) rueidis.Completed,
	take func(i int, r rueidis.RedisResult) error) error {
	for from := 0; from < n; from += size {
		commands := make([]rueidis.Completed, min(size, n-from))
		err := b.reads.call(func(c rueidis.Client) error {
			for i := range commands {
				commands[i] = command(c, from+i)
			}
			for i, r := range c.DoMulti(ctx, commands...) {
				if err := take(from+i, r); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}

// historyRead is one call of History. What several queries ask for is read once.
type historyRead struct {
	bus     *Bus
	queries []protocol.HistoryQuery
	indexes []*index
	lookup  map[indexKey]*index
	bodies  map[protocol.MessageID]*body
	left    int  // bytes of bodies that may be read
	bound   bool // there is such a limit
	full    bool // it was reached
}

func newHistoryRead(b *Bus, queries []protocol.HistoryQuery, maxBytes int) *historyRead {
	r := &historyRead{
		bus: b, queries: queries, lookup: make(map[indexKey]*index), bodies: make(map[protocol.MessageID]*body),
		left: maxBytes, bound: maxBytes > 0,
	}
	for i := range queries {
		q := &queries[i]
		for n, ch := range q.Channels {
			r.want(q, ch, n < len(q.Shared) && q.Shared[n])
		}
	}
	return r
}

func (r *historyRead) want(q *protocol.HistoryQuery, ch protocol.ChannelID, shared bool) {
	key := indexKey{ch, q.Until, q.Limit}
	x := r.lookup[key]
	if x == nil {
		x = &index{indexKey: key, since: q.Since}
		r.lookup[key] = x
		r.indexes = append(r.indexes, x)
	}
	x.shared = x.shared || shared
	if q.Since.Compare(x.since) < 0 {
		x.since = q.Since
	}
}

func (r *historyRead) run(ctx context.Context) error {
	if err := r.readIndexes(ctx, r.indexes); err != nil {
		return err
	}
	if err := r.readBodies(ctx); err != nil {
		return err
	}
	poor := r.forgetGone(ctx)
	if len(poor) == 0 {
		return nil
	}
	if err := r.readDeep(ctx, poor); err != nil {
		return err
	}
	return r.readBodies(ctx)
}

// readIndexes reads the newest ids of each channel.
func (r *historyRead) readIndexes(ctx context.Context, indexes []*index) error {
	return r.bus.pipeline(ctx, len(indexes), pipelineSize, func(c rueidis.Client, i int) rueidis.Completed {
		return indexes[i].command(c, r.bus.keys.historyOf(indexes[i].channel), indexes[i].limit)
	}, func(i int, res rueidis.RedisResult) error {
		return indexes[i].take(res, indexes[i].limit)
	})
}

// selection returns the ids that answer q, ascending, each once, as far as the indexes tell.
func (r *historyRead) selection(q *protocol.HistoryQuery) []protocol.MessageID {
	var ids []protocol.MessageID
	for _, ch := range q.Channels {
		some := r.lookup[indexKey{ch, q.Until, q.Limit}].after(q.Since)
		if q.Limit > 0 {
			some = some[max(0, len(some)-q.Limit):]
		}
		ids = append(ids, some...)
	}
	if len(q.Channels) > 1 {
		slices.SortFunc(ids, protocol.MessageID.Compare)
		ids = slices.Compact(ids)
	}
	if q.Total > 0 {
		ids = ids[max(0, len(ids)-q.Total):]
	}
	return ids
}

// forgetGone takes expired ids out of the indexes, here and in Redis, where Node processes leave them, and returns the indexes
// that are poor without them: there may be more to read.
func (r *historyRead) forgetGone(ctx context.Context) (poor []*index) {
	var removals []*index
	var removed [][]string
	for _, x := range r.indexes {
		members := x.forget(func(id protocol.MessageID) bool { e := r.bodies[id]; return e != nil && e.gone })
		if len(members) == 0 {
			continue
		}
		removals, removed = append(removals, x), append(removed, members)
		if x.full {
			poor = append(poor, x)
		}
	}
	r.remove(ctx, removals, removed)
	return poor
}

// remove removes members from indexes in Redis. It only tidies up, so an error is only counted.
func (r *historyRead) remove(ctx context.Context, indexes []*index, members [][]string) {
	err := r.bus.pipeline(ctx, len(indexes), pipelineSize, func(c rueidis.Client, i int) rueidis.Completed {
		return c.B().Zrem().Key(r.bus.keys.historyOf(indexes[i].channel)).Member(members[i]...).Build()
	}, func(_ int, res rueidis.RedisResult) error { return res.Error() })
	if err != nil {
		r.bus.errors.count("history")
	}
}

// readDeep reads whole indexes and forgets everything in them that has expired.
func (r *historyRead) readDeep(ctx context.Context, poor []*index) error {
	err := r.bus.pipeline(ctx, len(poor), pipelineSize, func(c rueidis.Client, i int) rueidis.Completed {
		return poor[i].command(c, r.bus.keys.historyOf(poor[i].channel), deepSize)
	}, func(i int, res rueidis.RedisResult) error { return poor[i].take(res, deepSize) })
	if err != nil {
		return err
	}
	removed := make([][]string, len(poor))
	for i, x := range poor {
		stored, err := r.bus.exist(ctx, x.ids)
		if err != nil {
			return err
		}
		n := 0
		removed[i] = x.forget(func(protocol.MessageID) bool { n++; return !stored[n-1] })
	}
	r.remove(ctx, poor, removed)
	return nil
}

// answers puts the answers together: of the queries whose bodies there was room for.
func (r *historyRead) answers() []protocol.HistoryAnswer {
	answers := make([]protocol.HistoryAnswer, 0, len(r.queries))
	var a protocol.HistoryAnswer
	for i := range r.queries {
		if i == 0 || !same(&r.queries[i], &r.queries[i-1]) {
			a = r.answer(&r.queries[i])
		}
		if a.More && len(a.Publications) == 0 {
			break
		}
		if answers = append(answers, a); a.More {
			break
		}
	}
	return answers
}

// same says whether the answers to a and b are the same: clients who have lost their connections at once ask alike.
func same(a, b *protocol.HistoryQuery) bool {
	return a.Since == b.Since && a.Until == b.Until && a.Limit == b.Limit && a.Total == b.Total && slices.Equal(a.Channels, b.Channels)
}

func (r *historyRead) answer(q *protocol.HistoryQuery) protocol.HistoryAnswer {
	ids := r.selection(q)
	ps := make([]*protocol.Publication, 0, len(ids))
	for _, id := range ids {
		e := r.bodies[id]
		if e == nil || !e.read {
			return protocol.HistoryAnswer{Publications: ps, More: true}
		}
		if e.publication != nil {
			ps = append(ps, e.withReceivers(r.receivers(q, id)))
		}
	}
	return protocol.HistoryAnswer{Publications: ps}
}

// receivers are the channels of q in whose index id stands.
func (r *historyRead) receivers(q *protocol.HistoryQuery, id protocol.MessageID) []protocol.Receiver {
	var receivers []protocol.Receiver
	for i, ch := range q.Channels {
		ids := r.lookup[indexKey{ch, q.Until, q.Limit}].ids
		if _, found := slices.BinarySearchFunc(ids, id, protocol.MessageID.Compare); !found {
			continue
		}
		if !slices.Contains(q.Channels[:i], ch) {
			receivers = append(receivers, protocol.Receiver{Channel: ch})
		}
	}
	return receivers
}
