package redisbus

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/redis/rueidis"

	"push-server/protocol"
)

const (
	// bodiesSize is how many bodies are asked for in one command, and bodiesPipeline how many such commands at a time.
	bodiesSize, bodiesPipeline = 100, 10
	// headSize is how much of a body is read before its length is known. Nearly all are shorter, so that there is nothing left to read.
	headSize = 4 << 10
	// cacheTTL bounds how long a body is cached, if Redis does not say before that it has expired.
	cacheTTL = time.Hour
)

// body is what is known of a publication.
type body struct {
	shared      bool
	length      int    // in bytes; it and head only where these are limited
	head        []byte // its beginning
	read        bool
	gone        bool                  // expired
	publication *protocol.Publication // nil: not to be had
}

// readBodies reads the bodies that the queries need and that are not read yet, in the order of queries, as many as there is room for.
func (r *historyRead) readBodies(ctx context.Context) error {
	var wanted []protocol.MessageID
	for i := range r.queries {
		if i > 0 && same(&r.queries[i], &r.queries[i-1]) {
			continue
		}
		for _, id := range r.selection(&r.queries[i]) {
			if r.bodies[id] == nil {
				r.bodies[id] = &body{}
				wanted = append(wanted, id)
			}
		}
	}
	for _, x := range r.indexes {
		for _, id := range x.ids {
			if e := r.bodies[id]; e != nil && x.shared {
				e.shared = true
			}
		}
	}
	if r.bound {
		var err error
		if wanted, err = r.readShort(ctx, wanted); err != nil {
			return err
		}
	}
	shared, plain := r.split(wanted)
	if err := r.readPlain(ctx, plain); err != nil {
		return err
	}
	return r.readShared(ctx, shared)
}

// split says which bodies are read through the cache.
func (r *historyRead) split(ids []protocol.MessageID) (shared, plain []protocol.MessageID) {
	for _, id := range ids {
		if r.bodies[id].shared {
			shared = append(shared, id)
		} else {
			plain = append(plain, id)
		}
	}
	return shared, plain
}

// readShort reads leading bodies as far as there is room, at least one, and returns those that have only been measured. What a client
// may publish is a megabyte, two hundred of which are no matter of course.
func (r *historyRead) readShort(ctx context.Context, ids []protocol.MessageID) (rest []protocol.MessageID, err error) {
	first := len(ids) == len(r.bodies) // nothing was read before
	for some := range slices.Chunk(ids, pipelineSize) {
		if r.full {
			break
		}
		if err := r.measure(ctx, some); err != nil {
			return nil, err
		}
		for _, id := range some {
			e := r.bodies[id]
			if e.length > r.left && !first {
				r.full = true
				break
			}
			first = false
			r.left -= e.length
			if len(e.head) == e.length {
				e.take(id, e.head)
			} else {
				rest = append(rest, id)
			}
		}
	}
	return rest, nil
}

// measure learns the lengths of bodies: of shared ones from the cache, of others by reading their heads, and only of long ones by asking.
func (r *historyRead) measure(ctx context.Context, ids []protocol.MessageID) error {
	shared, plain := r.split(ids)
	takeLength := func(id protocol.MessageID, m *rueidis.RedisMessage) {
		n, _ := m.AsInt64()
		r.bodies[id].length = int(n)
	}
	err := r.cached(ctx, shared, func(c rueidis.Client, key string) rueidis.Cacheable { return c.B().Strlen().Key(key).Cache() }, takeLength)
	if errors.Is(err, rueidis.ErrDoCacheAborted) {
		plain, err = ids, nil
	}
	if err != nil {
		return err
	}
	var long []protocol.MessageID
	err = r.uncached(ctx, plain, func(c rueidis.Client, key string) rueidis.Completed {
		return c.B().Getrange().Key(key).Start(0).End(headSize - 1).Build()
	}, func(id protocol.MessageID, m *rueidis.RedisMessage) {
		e := r.bodies[id]
		e.head, _ = m.AsBytes()
		if e.length = len(e.head); e.length == headSize {
			long = append(long, id)
		}
	})
	if err != nil {
		return err
	}
	return r.uncached(ctx, long, func(c rueidis.Client, key string) rueidis.Completed { return c.B().Strlen().Key(key).Build() }, takeLength)
}

// uncached asks something about each of the messages; a key of another type answers nothing.
func (r *historyRead) uncached(ctx context.Context, ids []protocol.MessageID, command func(c rueidis.Client, key string) rueidis.Completed,
	take func(id protocol.MessageID, m *rueidis.RedisMessage)) error {
	return r.bus.pipeline(ctx, len(ids), pipelineSize, func(c rueidis.Client, i int) rueidis.Completed {
		return command(c, r.bus.keys.messageOf(ids[i]))
	}, func(i int, res rueidis.RedisResult) error {
		m, err := res.ToMessage()
		if err != nil && !isWrongType(err) {
			return err
		}
		take(ids[i], &m)
		return nil
	})
}

func (r *historyRead) readPlain(ctx context.Context, ids []protocol.MessageID) error {
	chunks := slices.Collect(slices.Chunk(ids, bodiesSize))
	return r.bus.pipeline(ctx, len(chunks), bodiesPipeline, func(c rueidis.Client, i int) rueidis.Completed {
		keys := make([]string, len(chunks[i]))
		for n, id := range chunks[i] {
			keys[n] = r.bus.keys.messageOf(id)
		}
		return c.B().Mget().Key(keys...).Build()
	}, func(i int, res rueidis.RedisResult) error {
		values, err := res.ToArray()
		for n := range values {
			r.take(chunks[i][n], &values[n])
		}
		return err
	})
}

func (r *historyRead) readShared(ctx context.Context, ids []protocol.MessageID) error {
	err := r.cached(ctx, ids, func(c rueidis.Client, key string) rueidis.Cacheable { return c.B().Get().Key(key).Cache() }, r.take)
	if errors.Is(err, rueidis.ErrDoCacheAborted) {
		return r.readPlain(ctx, ids)
	}
	return err
}

// cached reads through the cache, which costs three times as much for the first reader and next to nothing for all others. Where
// transactions are not allowed, or the connection was lost behind somebody else's read, it is aborted.
func (r *historyRead) cached(ctx context.Context, ids []protocol.MessageID, command func(c rueidis.Client, key string) rueidis.Cacheable,
	take func(id protocol.MessageID, m *rueidis.RedisMessage)) error {
	for some := range slices.Chunk(ids, pipelineSize) {
		err := r.bus.reads.call(func(c rueidis.Client) error {
			commands := make([]rueidis.CacheableTTL, len(some))
			for i, id := range some {
				commands[i] = rueidis.CT(command(c, r.bus.keys.messageOf(id)), cacheTTL)
			}
			for i, res := range c.DoMultiCache(ctx, commands...) {
				m, err := res.ToMessage()
				if err != nil && !rueidis.IsRedisNil(err) && !isWrongType(err) {
					return err
				}
				take(some[i], &m)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// take reads the answer of Redis for a stored publication; a key of another type is none.
func (r *historyRead) take(id protocol.MessageID, m *rueidis.RedisMessage) {
	b, _ := m.AsBytes()
	r.bodies[id].take(id, b)
}

// take reads a stored publication, which has an id at least. It points into b, which nobody changes.
func (e *body) take(id protocol.MessageID, b []byte) {
	e.read, e.gone, e.head = true, len(b) == 0, nil
	p := &protocol.Publication{}
	if e.gone || protocol.ParseOutgoing(b, p) != nil || p.ID != id {
		return
	}
	e.publication = p
}

// withReceivers is the publication with these receivers. Queries that found it in the same one channel share it: to a thousand
// clients of a shared channel it is one.
func (e *body) withReceivers(receivers []protocol.Receiver) *protocol.Publication {
	p := e.publication
	if p.Receivers == nil {
		p.Receivers = receivers
		return p
	}
	if slices.EqualFunc(p.Receivers, receivers, func(a, b protocol.Receiver) bool { return a.Channel == b.Channel }) {
		return p
	}
	other := *p
	other.Receivers = receivers
	return &other
}
