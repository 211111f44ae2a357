package redisbus

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"
	"golang.org/x/time/rate"

	"push-server/protocol"
)

const (
	// margin is how far ids go on above the highest known one when Redis has lost data: above whatever other processes have
	// seen that this one has not.
	margin = 1_000_000
	// sequenceTTL is how long Redis remembers the sequence of a process that does not publish.
	sequenceTTL = 24 * time.Hour
	// trimEvery is how often, on average, a publication trims the histories that it enters: they grow a little beyond their
	// size, for a fraction of the work.
	trimEvery = 16
	// A batch is bounded, so that little is sent again after an error and other commands get between.
	batchCount = 256
	batchBytes = 1 << 20
	// maxBytes is where Redis begins to refuse commands, with a wide margin. It closes the connection then, and what it says
	// is lost as often as not: such a publication would be sent again for ever.
	maxBytes = 128 << 20
	// batchTries bounds how often the rest of a batch is sent again within one Publish, after Redis has lost its scripts or its
	// memory of the sequence.
	batchTries = 3
)

// What publish.lua returns if not an id or a counter.
const (
	replyDone       = 0
	replyOutOfOrder = -1
)

// sequence numbers the publications of this process. The first one that is not known to be stored has the number after
// acknowledged, however often it is sent.
type sequence struct {
	key          string
	acknowledged uint64
}

func (k *keys) newSequence() sequence { return sequence{key: k.sequence + rand.Text()} }

// Publish implements engine.Bus. It gives ID, Created and the capped Expiry to each of ps; one whose answer was lost on an
// earlier call keeps a zero ID here, while its subscribers get the right one.
func (b *Bus) Publish(ctx context.Context, ps []*protocol.Publication) (stored int, err error) {
	b.publishing.Lock()
	defer b.publishing.Unlock()
	for stored < len(ps) {
		if b.follower.leaving.Load() {
			b.commands.lines.drop(b.follower.name())
		}
		n, err := b.publishBatch(ctx, nextBatch(ps[stored:]))
		stored += n
		if err != nil {
			return stored, b.failed("publish", err)
		}
	}
	return stored, b.failed("publish", nil)
}

// nextBatch returns the leading publications that are sent together: at least one.
func nextBatch(ps []*protocol.Publication) []*protocol.Publication {
	bytes := 0
	for i, p := range ps {
		bytes += commandBytes(p)
		if i > 0 && (i == batchCount || bytes > batchBytes) {
			return ps[:i]
		}
	}
	return ps
}

// commandBytes is about the size of the call for p: a receiver takes a key and a place in the envelope.
func commandBytes(p *protocol.Publication) int {
	const perReceiver = 128
	return p.Size() + perReceiver*len(p.Receivers)
}

func (b *Bus) publishBatch(ctx context.Context, ps []*protocol.Publication) (stored int, err error) {
	if commandBytes(ps[0]) > maxBytes { // and so alone in its batch
		b.sequence = b.keys.newSequence()
		return 0, refusal(errTooLarge)
	}
	load := false
	for range batchTries {
		var n int
		n, err = b.sendBatch(ctx, ps[stored:], load)
		stored += n
		load = isNoScript(err)
		if !load && !errors.Is(err, errOutOfOrder) {
			return stored, err
		}
	}
	return stored, err
}

// sendBatch sends ps in one pipeline, the first one with the script itself if load says so. From the first failure on nothing is stored, because
// the script refuses a number whose predecessor it has not seen.
func (b *Bus) sendBatch(ctx context.Context, ps []*protocol.Publication, load bool) (stored int, err error) {
	results, startdate, err := b.exchange(ctx, ps, load)
	if results == nil {
		return 0, err
	}
	for i, r := range results {
		if err := b.settle(ps[i], r, startdate); err != nil {
			return i, b.commands.closedOr(err)
		}
		b.sequence.acknowledged++
	}
	return len(ps), nil
}

// exchange brings the calls for ps to Redis and returns the answers, and the start date of ids that are only a counter there.
// err is that of the first answer.
func (b *Bus) exchange(ctx context.Context, ps []*protocol.Publication, load bool) (results []rueidis.RedisResult, startdate uint64, err error) {
	c := &b.calls
	err = b.commands.call(func(client rueidis.Client) error {
		c.reset(answered(results))
		r := b.newRound(c)
		startdate = r.known.Startdate()
		for i, p := range ps {
			c.commands = append(c.commands, b.publishCommand(client, c, p, &r, i, load && i == 0))
		}
		results = client.DoMulti(ctx, c.commands...)
		return results[0].Error()
	})
	c.reset(answered(results))
	return results, startdate, err
}

// answered says whether all the answers are there, and so nobody needs the commands any more.
func answered(results []rueidis.RedisResult) bool {
	for i := range results {
		if results[i].NonRedisError() != nil {
			return false
		}
	}
	return true
}

// settle reads the answer for p.
func (b *Bus) settle(p *protocol.Publication, r rueidis.RedisResult, startdate uint64) error {
	m, err := r.ToMessage()
	if isRefusal(err) {
		// What was sent of this sequence may still be under way on a connection that is given up. Under a new name none of
		// it can be taken for what comes now.
		b.sequence = b.keys.newSequence()
		return refusal(err)
	}
	if err != nil && isNoScripts(err) {
		b.sequence = b.keys.newSequence() // for the same reason
		return fmt.Errorf("%w: %w", protocol.ErrForbidden, err)
	}
	if err != nil {
		return err
	}
	if m, err = b.readUnkept(p, m); err != nil {
		return err
	}
	id, err := readID(m, startdate)
	if err != nil || id.IsZero() {
		return err
	}
	p.ID = id
	b.known.heard(id)
	return nil
}

// readUnkept marks p if not all of its receivers have it in their history, and returns the rest of what publish.lua has returned.
func (b *Bus) readUnkept(p *protocol.Publication, m rueidis.RedisMessage) (rueidis.RedisMessage, error) {
	if !m.IsArray() {
		return m, nil
	}
	parts, err := m.ToArray()
	if err != nil {
		return m, err
	}
	for _, part := range parts[1:] {
		i, err := part.AsInt64()
		if err != nil {
			return m, err
		}
		p.Unkept = true
		b.unkept.note(b.keys.historyOf(p.Receivers[i-1].Channel))
	}
	b.errors.count("keep")
	return parts[0], nil
}

// unkept tells of publications that could not be kept, once a minute at most.
type unkept struct {
	log   *slog.Logger
	count int // since it was told last
	lines rate.Sometimes
}

func (u *unkept) note(key string) {
	u.count++
	u.lines.Do(func() { u.tell(key) })
}

func (u *unkept) tell(key string) {
	u.log.Error("a key in redis is not the history that it should be: publications are lost to clients that are away until it is deleted or renamed",
		"key", strings.Trim(strconv.QuoteToASCII(key), `"`), "publications", u.count)
	u.count = 0
}

// readID reads what publish.lua returns. The id is zero if the publication was stored before.
func readID(m rueidis.RedisMessage, startdate uint64) (id protocol.MessageID, err error) {
	if !m.IsInt64() {
		s, err := m.ToString()
		if err != nil {
			return id, err
		}
		id, ok := protocol.MessageIDFromBytes([]byte(s))
		if !ok {
			return id, fmt.Errorf("BUG: publish.lua made the id %x", s)
		}
		return id, nil
	}
	switch n, err := m.AsInt64(); {
	case err != nil || n == replyDone:
		return id, err
	case n == replyOutOfOrder:
		return id, errOutOfOrder
	default:
		return protocol.MakeMessageID(startdate, uint64(n)), nil
	}
}
