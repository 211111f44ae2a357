package redisbus

import (
	rnd "math/rand/v2"
	"strconv"

	"github.com/redis/rueidis"

	"push-server/protocol"
)

// calls are the commands of one round trip of publications, and the memory of their arguments, which made one by one would be a
// dozen objects a publication.
//
// The arguments are strings cut out of bytes without a copy. rueidis reads them until the last answer has come, or the connection
// has gone: only then bytes may be used again. Until then they are only appended to, which leaves what was cut out as it is.
type calls struct {
	commands []rueidis.Completed
	bytes    []byte
}

// keptBytes is the memory that is kept for the next round.
const keptBytes = batchBytes

// reset makes the calls ready for another round. answered says whether rueidis is done with the last one.
func (c *calls) reset(answered bool) {
	if !answered || cap(c.bytes) > keptBytes {
		*c = calls{}
		return
	}
	clear(c.commands)
	c.commands, c.bytes = c.commands[:0], c.bytes[:0]
}

// cut returns what was appended since there were from bytes.
func (c *calls) cut(from int) string {
	return rueidis.BinaryString(c.bytes[from:])
}

func (c *calls) number(n uint64) string {
	from := len(c.bytes)
	c.bytes = strconv.AppendUint(c.bytes, n, 10)
	return c.cut(from)
}

func (c *calls) key(prefix string, ch protocol.ChannelID) string {
	from := len(c.bytes)
	c.bytes = appendKey(c.bytes, prefix, ch)
	return c.cut(from)
}

// envelope is what stands before and after the id of p in its NotificationBatch. Every id has the same length, so Redis, which
// gives it out, has nothing to count. The tail is also what follows the id in the stored OutgoingMessage.
func (c *calls) envelope(p *protocol.Publication) (head, tail string) {
	from := len(c.bytes)
	c.bytes = protocol.AppendNotification(c.bytes, p)
	all := c.cut(from)
	const before = 2 // tag and length of the id
	at := len(all) - protocol.SizeStored(p) + before
	return all[:at], all[at+len(p.ID):]
}

// round is what the calls of one round have in common.
type round struct {
	created uint32
	first   uint64             // number of the first publication
	known   protocol.MessageID // the highest one

	acknowledged, createdText    string
	knownStartdate, knownCounter string
}

func (b *Bus) newRound(c *calls) round {
	now := b.options.Now().Unix()
	known := b.known.get()
	return round{
		created:        uint32(now),
		first:          b.sequence.acknowledged + 1,
		known:          known,
		acknowledged:   c.number(b.sequence.acknowledged),
		createdText:    c.number(uint64(now)),
		knownStartdate: c.number(known.Startdate()),
		knownCounter:   c.number(known.Counter()),
	}
}

// publishCommand is the call of publish.lua for the i-th publication of a round.
// With load the script itself is sent, which Redis remembers from then on.
func (b *Bus) publishCommand(client rueidis.Client, c *calls, p *protocol.Publication, r *round, i int, load bool) rueidis.Completed {
	p.ID, p.Unkept = protocol.MessageID{}, false
	p.Created = r.created
	p.Expiry = min(p.Expiry, b.maxExpiry)
	receivers := p.Receivers
	if p.Expiry == 0 {
		receivers = nil
	}
	eval, script := "EVALSHA", b.scripts.publish.hash
	if load {
		eval, script = "EVAL", b.scripts.publish.source
	}
	command := client.B().Arbitrary(eval, script, c.number(uint64(4+len(receivers))),
		b.keys.counter, b.keys.startdate, b.sequence.key, b.keys.message)
	for i := range receivers {
		ch := receivers[i].Channel
		command = command.Args(c.key(b.keys.historyPrefix(ch), ch))
	}
	head, tail := c.envelope(p)
	return command.Args(c.number(r.first+uint64(i)), r.acknowledged, sequenceTTLText,
		r.createdText, r.knownStartdate, r.knownCounter, marginText,
		c.number(uint64(p.Expiry)), b.channelTTL, b.trimText(), b.publishChannel, head, tail).Build()
}

// trimText is the length to trim histories to, mostly none.
func (b *Bus) trimText() string {
	if rnd.IntN(trimEvery) > 0 {
		return "0"
	}
	return b.historySize
}

var (
	sequenceTTLText = strconv.FormatUint(uint64(seconds(sequenceTTL)), 10)
	marginText      = strconv.Itoa(margin)
)
