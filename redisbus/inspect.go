package redisbus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/rueidis"

	"push-server/protocol"
)

// What follows is for tools that look into an installation: nothing of it writes.

// Ask runs a command, which must be one that only reads.
func (b *Bus) Ask(ctx context.Context, words ...string) (answer rueidis.RedisMessage, err error) {
	err = b.commands.call(func(c rueidis.Client) (err error) {
		answer, err = c.Do(ctx, c.B().Arbitrary(words...).Build()).ToMessage()
		return err
	})
	return answer, err
}

// Missing returns an error for each thing that this server has to do in Redis and its user may not. Processes are sent an empty
// publication, which all of them pass over.
func (b *Bus) Missing(ctx context.Context) ([]error, error) {
	attempts := append(b.attempts(), []string{"EVAL", "return 0", "0"}, []string{"PUBLISH", b.publishChannel, ""},
		[]string{"PUBLISH", b.echoChannel, ""}, []string{"HGETALL", b.keys.statistics}, []string{"HDEL", b.keys.statistics, b.options.UID + ":rights"})
	missing, err := b.try(ctx, attempts)
	if err != nil {
		return nil, err
	}
	connection, err := b.dedicate(ctx)
	if err != nil {
		return nil, err
	}
	defer connection.Close()
	connection.SetPubSubHooks(rueidis.PubSubHooks{OnMessage: func(rueidis.PubSubMessage) {}})
	if err := b.confirm(ctx, connection); isForbidden(err) {
		missing = append(missing, fmt.Errorf("subscribe to %s: %w", b.keys.publishPattern, err))
	} else if err != nil {
		return nil, err
	}
	return missing, nil
}

// UserRules are the rules of ACL SETUSER that give a user the keys and channels of this installation.
func (b *Bus) UserRules() string {
	if tag := b.options.Cluster; tag != "" {
		return "~{" + tag + "}* &{" + tag + "}push*"
	}
	return "~server:* ~message:* ~channel:* ~pubchannel:* ~stats &pushserver:* &pushecho:*"
}

// MessagePattern is what the names of all stored publications match.
func (b *Bus) MessagePattern() string { return b.keys.message + "*" }

// Record is an entry of the history of a channel.
type Record struct {
	ID          protocol.MessageID
	Publication *protocol.Publication // nil: it has expired
	Remaining   time.Duration         // until it expires; 0: never, or it has
}

// Latest returns the newest entry of the history of a channel. ok is false where there is none.
func (b *Bus) Latest(ctx context.Context, ch protocol.ChannelID) (r Record, ok bool, err error) {
	x := &index{indexKey: indexKey{channel: ch}}
	if err := b.reads.call(func(c rueidis.Client) error { return x.take(c.Do(ctx, x.command(c, b.keys.historyOf(ch), 1)), 1) }); err != nil || len(x.ids) == 0 {
		return r, false, err
	}
	r, err = b.Record(ctx, x.ids[0])
	return r, true, err
}

// Living returns the ids in the history of a channel above since that are stored still, ascending, at most limit, the newest.
func (b *Bus) Living(ctx context.Context, ch protocol.ChannelID, since protocol.MessageID, limit int) ([]protocol.MessageID, error) {
	x := &index{indexKey: indexKey{channel: ch}, since: since}
	if err := b.reads.call(func(c rueidis.Client) error {
		return x.take(c.Do(ctx, x.command(c, b.keys.historyOf(ch), limit)), limit)
	}); err != nil {
		return nil, err
	}
	stored, err := b.exist(ctx, x.ids)
	if err != nil {
		return nil, err
	}
	n := 0
	x.forget(func(protocol.MessageID) bool { n++; return !stored[n-1] })
	return x.ids, nil
}

// Record returns what is stored under an id.
func (b *Bus) Record(ctx context.Context, id protocol.MessageID) (Record, error) {
	r := Record{ID: id}
	err := b.reads.call(func(c rueidis.Client) error {
		answers := c.DoMulti(ctx, c.B().Get().Key(b.keys.messageOf(id)).Build(), c.B().Pttl().Key(b.keys.messageOf(id)).Build())
		text, err := answers[0].AsBytes()
		if rueidis.IsRedisNil(err) || isWrongType(err) {
			return nil
		}
		if err != nil {
			return err
		}
		ms, err := answers[1].AsInt64()
		if p := (&protocol.Publication{}); protocol.ParseOutgoing(text, p) == nil { // what is no publication is nobody's
			r.Publication, r.Remaining = p, time.Duration(max(ms, 0))*time.Millisecond
		}
		return err
	})
	return r, err
}

// Listed says whether the history of a channel names an id.
func (b *Bus) Listed(ctx context.Context, ch protocol.ChannelID, id protocol.MessageID) (listed bool, err error) {
	err = b.reads.call(func(c rueidis.Client) error {
		err := c.Do(ctx, c.B().Zscore().Key(b.keys.historyOf(ch)).Member(string(id[:])).Build()).Error()
		listed = err == nil
		if rueidis.IsRedisNil(err) || isWrongType(err) {
			return nil
		}
		return err
	})
	return listed, err
}

// Counter returns the start date and the number that the last id has. Both are 0 where nothing was ever published.
func (b *Bus) Counter(ctx context.Context) (startdate, counter uint64, err error) {
	answer, err := b.Ask(ctx, "MGET", b.keys.startdate, b.keys.counter)
	if err != nil {
		return 0, 0, err
	}
	values, err := answer.ToArray()
	if err == nil && len(values) != 2 {
		err = errors.New("redisbus: MGET did not answer with two values")
	}
	if err != nil {
		return 0, 0, err
	}
	for i, n := range []*uint64{&startdate, &counter} {
		if *n, err = values[i].AsUint64(); err != nil && !rueidis.IsRedisNil(err) {
			return 0, 0, err
		}
	}
	return startdate, counter, nil
}
