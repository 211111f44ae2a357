package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"google.golang.org/protobuf/encoding/protowire"

	"push-server/protocol/testclient"
	"push-server/redisbus/redistest"
)

// A nodeProcess does to Redis what a process of the Node server does, command by command, on a connection of its own. It shares no
// code with ours, so that a mistake in our encoders is not repeated here. Its methods may be called from any goroutine.
type nodeProcess struct {
	t         *testing.T
	redis     rueidis.Client
	channel   string        // that it publishes to
	rough     bool          // Redis may be away, and then it does without, as Node does
	startdate func() string // read once, and never again
}

// channelTTL is how long Node keeps the history of a channel, from its first message on.
const channelTTL = "86400"

func startNode(t *testing.T, server *redistest.Server, uid string) *nodeProcess {
	t.Helper()
	redis, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{server.Addr()}, DialCtxFn: redistest.Dial, ForceSingleClient: true, DisableCache: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(redis.Close)
	n := &nodeProcess{t: t, redis: redis, channel: "pushserver:" + uid}
	n.startdate = sync.OnceValue(n.readStartdate)
	return n
}

// transaction runs commands between MULTI and EXEC and returns the answers of EXEC.
func (n *nodeProcess) transaction(commands ...[]string) (answers []rueidis.RedisMessage) {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err := n.redis.Dedicated(func(c rueidis.DedicatedClient) error {
		all := rueidis.Commands{c.B().Multi().Build()}
		for _, command := range commands {
			all = append(all, c.B().Arbitrary(command...).Build())
		}
		results := c.DoMulti(ctx, append(all, c.B().Exec().Build())...)
		var err error
		answers, err = results[len(results)-1].ToArray()
		return err
	})
	if err != nil && !n.rough {
		n.t.Errorf("%q: %v", commands, err)
	}
	return answers
}

func (n *nodeProcess) do(command ...string) rueidis.RedisResult {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	result := n.redis.Do(ctx, n.redis.B().Arbitrary(command...).Build())
	if err := result.Error(); err != nil && !rueidis.IsRedisNil(err) && !n.rough {
		n.t.Errorf("%q: %v", command, err)
	}
	return result
}

// A nodeMessage is what one publication is to Node.
type nodeMessage struct {
	id        string // 26 digits
	receivers []testclient.Receiver
	body      string
	expiry    uint64 // seconds
	created   uint32
	from      string // public id of the sender in hex; none: a back end
}

// takeID is what Node does first with a publication. Whether it will do anything else, nobody knows.
func (n *nodeProcess) takeID() (id string) {
	n.t.Helper()
	counter, err := n.do("INCR", "server:messagecounter").AsInt64()
	if err != nil && !n.rough {
		n.t.Error(err)
	}
	return fmt.Sprintf("%s%016d", n.startdate(), counter)
}

func (n *nodeProcess) readStartdate() string {
	now := strconv.FormatInt(time.Now().Unix(), 10)
	answers := n.transaction([]string{"SETNX", "server:startdate", now}, []string{"GET", "server:startdate"})
	if len(answers) != 2 {
		return now
	}
	startdate, err := answers[1].ToString()
	if err != nil {
		n.t.Error(err)
	}
	return startdate
}

// store writes m into the histories of its receivers.
func (n *nodeProcess) store(m nodeMessage) {
	n.t.Helper()
	if m.expiry == 0 {
		return
	}
	id := fromHex(m.id)
	write := [][]string{{"SETEX", "message:" + id, strconv.FormatUint(m.expiry, 10), string(m.outgoing())}}
	var look [][]string
	for _, r := range m.receivers {
		write = append(write, []string{"ZADD", nodeHistory(r), "0", id})
		look = append(look, []string{"TTL", nodeHistory(r)})
	}
	n.transaction(write...)
	for i, answer := range n.transaction(look...) {
		if ttl, err := answer.AsInt64(); err == nil && ttl == -1 { // never again afterwards
			n.do("EXPIRE", nodeHistory(m.receivers[i]), channelTTL)
		}
	}
}

// send tells all other processes.
func (n *nodeProcess) send(m nodeMessage) {
	n.t.Helper()
	n.do("PUBLISH", n.channel, string(m.envelope()))
}

func nodeHistory(r testclient.Receiver) string {
	if r.Private {
		return "channel:messages:" + string(r.ID)
	}
	return "pubchannel:messages:" + string(r.ID)
}

// outgoing is the OutgoingMessage as Node stores it, hands it to other processes and sends it: all fields, zero or not.
func (m *nodeMessage) outgoing() []byte {
	b := appendBytes(nil, 1, fromHex(m.id))
	b = appendBytes(b, 2, m.body)
	b = appendNumber(b, 3, m.expiry)
	b = protowire.AppendFixed32(protowire.AppendTag(b, 4, protowire.Fixed32Type), m.created)
	if m.from == "" {
		return appendBytes(b, 5, string(appendNumber(nil, 1, testclient.SenderBackend)))
	}
	return appendBytes(b, 5, string(appendBytes(appendNumber(nil, 1, testclient.SenderClient), 2, fromHex(m.from))))
}

// envelope is the NotificationBatch with m. Clients, whose receivers are signed, leave isPrivate out, and so it stays.
func (m *nodeMessage) envelope() []byte {
	var message []byte
	for _, r := range m.receivers {
		receiver := appendBytes(nil, 1, string(r.ID))
		if r.Private || r.Signature == nil {
			receiver = appendNumber(receiver, 2, number(r.Private))
		}
		if r.Signature != nil {
			receiver = appendBytes(receiver, 3, string(r.Signature))
		}
		message = appendBytes(message, 1, string(receiver))
	}
	return nested(appendBytes(message, 3, string(m.outgoing())), 1, 1, 1)
}

// response is what a client in binary mode gets: one Response for each message. (Node puts the messages of a replay into one;
// to clients, who read all of all, that is the same.)
func response(ms ...nodeMessage) (b []byte) {
	for i := range ms {
		b = append(b, nested(ms[i].outgoing(), 1, 1, 1)...)
	}
	return b
}

// nested puts b into fields of these numbers, the innermost first.
func nested(b []byte, numbers ...protowire.Number) []byte {
	for _, number := range numbers {
		b = appendBytes(nil, number, string(b))
	}
	return b
}

func appendBytes(b []byte, number protowire.Number, value string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, number, protowire.BytesType), value)
}

func appendNumber(b []byte, number protowire.Number, value uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, number, protowire.VarintType), value)
}

// fromHex are the bytes of hex digits, among which may be blanks.
func fromHex(digits string) string {
	b, err := hex.DecodeString(strings.Join(strings.Fields(digits), ""))
	if err != nil {
		panic(err)
	}
	return string(b)
}

func number(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}
