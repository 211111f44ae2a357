package redisbus

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/redis/rueidis"
)

// seenFor is how long a user is remembered.
const seenFor = 30 * 24 * time.Hour

// See implements engine.LastSeen, in a sorted set of users by time. It looks first instead of ZADD GT, which is younger than the oldest Redis
// that serves; two processes at the same moment write the same time.
func (b *Bus) See(ctx context.Context, seen map[uint64]int64) error {
	users := slices.Collect(maps.Keys(seen))
	known, err := b.LastSeen(ctx, users)
	if err != nil {
		return err
	}
	past := strconv.FormatInt(b.options.Now().Add(-seenFor).Unix(), 10)
	return b.failed("touch", b.commands.call(func(c rueidis.Client) error {
		commands := rueidis.Commands{c.B().Zremrangebyscore().Key(b.keys.lastSeen).Min("-inf").Max(past).Build()}
		for i, user := range users {
			if seen[user] > known[i] {
				commands = append(commands, c.B().Zadd().Key(b.keys.lastSeen).ScoreMember().ScoreMember(float64(seen[user]), strconv.FormatUint(user, 10)).Build())
			}
		}
		return firstError(c.DoMulti(ctx, commands...))
	}))
}

// LastSeen implements engine.LastSeen.
func (b *Bus) LastSeen(ctx context.Context, users []uint64) ([]int64, error) {
	seen := make([]int64, 0, len(users))
	for some := range slices.Chunk(users, onlineChunk) {
		err := b.commands.call(func(c rueidis.Client) error {
			commands := make(rueidis.Commands, len(some))
			for i, user := range some {
				commands[i] = c.B().Zscore().Key(b.keys.lastSeen).Member(strconv.FormatUint(user, 10)).Build()
			}
			for _, r := range c.DoMulti(ctx, commands...) {
				score, err := r.AsFloat64()
				if err != nil && !rueidis.IsRedisNil(err) {
					return err
				}
				seen = append(seen, int64(score))
			}
			return nil
		})
		if err := b.failed("online", err); err != nil {
			return nil, err
		}
	}
	return seen, nil
}
