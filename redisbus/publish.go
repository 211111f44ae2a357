package redisbus

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	rnd "math/rand/v2"
	"strconv"
	"time"

	"github.com/redis/rueidis"

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

// What publish.lua returns if not the id.
const (
	replyDone       = 0
	replyOutOfOrder = 1
)

// sequence numbers the publications of this process. The first one that is not known to be stored has the number after
// acknowledged, however often it is sent.
type sequence struct {
	key          string
	acknowledged uint64
}

func newSequence() sequence { return sequence{key: prefixSequence + rand.Text()} }

// Publish implements engine.Bus. It gives ID, Created and the capped Expiry to each of ps; one whose answer was lost on an
// earlier call keeps a zero ID here, while its subscribers get the right one.
func (b *Bus) Publish(ctx context.Context, ps []*protocol.Publication) (stored int, err error) {
	b.publishing.Lock()
	defer b.publishing.Unlock()
	for stored < len(ps) {
		n, err := b.publishBatch(ctx, nextBatch(ps[stored:]))
		stored += n
		if err != nil {
			return stored, b.failed("publish", err)
		}
	}
	return stored, nil
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
	return len(p.Body) + perReceiver*len(p.Receivers)
}

func (b *Bus) publishBatch(ctx context.Context, ps []*protocol.Publication) (stored int, err error) {
	if commandBytes(ps[0]) > maxBytes { // and so alone in its batch
		b.sequence = newSequence()
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

// sendBatch sends ps in one pipeline, after the script if load says so. From the first failure on nothing is stored, because
// the script refuses a number whose predecessor it has not seen.
func (b *Bus) sendBatch(ctx context.Context, ps []*protocol.Publication, load bool) (stored int, err error) {
	var results []rueidis.RedisResult
	err = b.call(ctx, func(c rueidis.Client) error {
		commands := make([]rueidis.Completed, 0, 1+len(ps))
		if load {
			commands = append(commands, b.scripts.publish.load(c))
		}
		round := b.newRound()
		for i, p := range ps {
			commands = append(commands, b.publishCommand(c, p, &round, i))
		}
		results = c.DoMulti(ctx, commands...)
		return results[0].Error()
	})
	if results == nil {
		return 0, err
	}
	if load {
		if err != nil {
			return 0, err
		}
		results = results[1:]
	}
	for i, r := range results {
		if err := b.settle(ps[i], r); err != nil {
			return i, b.closedOr(err)
		}
		b.sequence.acknowledged++
	}
	return len(ps), nil
}

// settle reads the answer for p.
func (b *Bus) settle(p *protocol.Publication, r rueidis.RedisResult) error {
	m, err := r.ToMessage()
	if isRefusal(err) {
		// What was sent of this sequence may still be under way on a connection that is given up. Under a new name none of
		// it can be taken for what comes now.
		b.sequence = newSequence()
		return refusal(err)
	}
	if err != nil {
		return err
	}
	if m.IsInt64() {
		return settleStatus(m)
	}
	s, err := m.ToString()
	if err != nil {
		return err
	}
	id, ok := protocol.MessageIDFromBytes([]byte(s))
	if !ok {
		return fmt.Errorf("BUG: publish.lua made the id %x", s)
	}
	p.ID = id
	b.known.heard(id)
	return nil
}

func settleStatus(m rueidis.RedisMessage) error {
	switch status, err := m.AsInt64(); {
	case err != nil:
		return err
	case status == replyDone:
		return nil
	case status == replyOutOfOrder:
		return errOutOfOrder
	default:
		return fmt.Errorf("BUG: publish.lua returned %d", status)
	}
}

// round is what the calls of one pipeline have in common.
type round struct {
	created                       uint32
	acknowledged                  uint64
	acknowledgedText, createdText string
	knownStartdate, knownCounter  string
}

func (b *Bus) newRound() round {
	now := b.options.Now().Unix()
	known := b.known.get()
	return round{
		created:          uint32(now),
		acknowledged:     b.sequence.acknowledged,
		acknowledgedText: strconv.FormatUint(b.sequence.acknowledged, 10),
		createdText:      strconv.FormatInt(now, 10),
		knownStartdate:   strconv.FormatUint(known.Startdate(), 10),
		knownCounter:     strconv.FormatUint(known.Counter(), 10),
	}
}

// publishCommand is the call of publish.lua for the i-th publication of a round. Its bytes are its own: rueidis may still
// write them after ctx has ended.
func (b *Bus) publishCommand(c rueidis.Client, p *protocol.Publication, r *round, i int) rueidis.Completed {
	p.ID = protocol.MessageID{}
	p.Created = r.created
	p.Expiry = min(p.Expiry, b.maxExpiry)
	head, tail := envelope(p)
	trim := 0
	if rnd.IntN(trimEvery) == 0 {
		trim = b.options.HistorySize
	}
	receivers := p.Receivers
	if p.Expiry == 0 {
		receivers = nil
	}
	return c.B().Evalsha().Sha1(b.scripts.publish.hash).Numkeys(int64(3+len(receivers))).
		Key(keyCounter, keyStartdate, b.sequence.key).Key(historyKeys(receivers)...).
		Arg(strconv.FormatUint(r.acknowledged+1+uint64(i), 10), r.acknowledgedText, sequenceTTLText,
			r.createdText, r.knownStartdate, r.knownCounter, marginText,
			strconv.FormatUint(uint64(p.Expiry), 10), b.channelTTL, strconv.Itoa(trim),
			b.publishChannel, rueidis.BinaryString(head), rueidis.BinaryString(tail)).
		Build()
}

var (
	sequenceTTLText = strconv.FormatUint(uint64(seconds(sequenceTTL)), 10)
	marginText      = strconv.Itoa(margin)
)

// envelope is what stands before and after the id of p in its NotificationBatch. Every id has the same length, so Redis, which
// gives it out, has nothing to count. The tail is also what follows the id in the stored OutgoingMessage.
func envelope(p *protocol.Publication) (head, tail []byte) {
	all := protocol.AppendNotification(make([]byte, 0, 96+len(p.Body)+32*len(p.Receivers)), p)
	outgoing := len(protocol.AppendOutgoing(nil, p))
	const before = 2 // tag and length of the id
	at := len(all) - outgoing + before
	return all[:at:at], all[at+len(p.ID):]
}
