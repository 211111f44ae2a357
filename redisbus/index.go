package redisbus

import (
	"slices"

	"github.com/redis/rueidis"

	"push-server/protocol"
)

// index is what is read of the index of one channel. Queries that differ only in Since share it: the newest publications since
// a later id are among the newest since an earlier one.
type index struct {
	indexKey
	since  protocol.MessageID // the earliest of its queries
	shared bool
	ids    []protocol.MessageID // ascending
	full   bool                 // there may be more before the first of ids
}

type indexKey struct {
	channel protocol.ChannelID
	until   protocol.MessageID
	limit   int
}

// command reads the newest limit ids under key, or all if it is 0.
func (x *index) command(c rueidis.Client, key string, limit int) rueidis.Completed {
	from, to := "-", "+"
	if !x.since.IsZero() {
		from = "(" + string(x.since[:])
	}
	if !x.until.IsZero() {
		to = "[" + string(x.until[:])
	}
	read := c.B().Zrevrangebylex().Key(key).Max(to).Min(from)
	if limit <= 0 {
		return read.Build()
	}
	return read.Limit(0, int64(limit)).Build()
}

// take reads the answer to command. A key of another type is not ours, and members that are no ids are left out.
func (x *index) take(r rueidis.RedisResult, limit int) error {
	members, err := r.ToArray()
	if isWrongType(err) {
		return nil
	}
	if err != nil {
		return err
	}
	x.full = limit > 0 && len(members) >= limit
	x.ids = make([]protocol.MessageID, 0, len(members))
	for i := range members {
		member, err := members[i].ToString()
		if err != nil {
			return err
		}
		if id, ok := protocol.MessageIDFromBytes([]byte(member)); ok {
			x.ids = append(x.ids, id)
		}
	}
	slices.Reverse(x.ids)
	return nil
}

// after returns the ids above since.
func (x *index) after(since protocol.MessageID) []protocol.MessageID {
	i, found := slices.BinarySearchFunc(x.ids, since, protocol.MessageID.Compare)
	if found {
		i++
	}
	return x.ids[i:]
}

// forget removes ids and returns them as members of the index.
func (x *index) forget(gone func(id protocol.MessageID) bool) (members []string) {
	x.ids = slices.DeleteFunc(x.ids, func(id protocol.MessageID) bool {
		if !gone(id) {
			return false
		}
		members = append(members, string(id[:]))
		return true
	})
	return members
}
