package redisbus

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"
)

// userProcess is under which name this process enters users. No other has ever had it. One that was taken for dead goes on under another
// name, since others may still be at having the users of the old one leave.
type userProcess struct {
	mu   sync.Mutex
	name string
}

func (p *userProcess) get() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.name
}

func (p *userProcess) change() (name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.name = rand.Text()
	return p.name
}

// usersKept is how long users are remembered as connected when no process serves any more.
const usersKept = 24 * time.Hour

// Enter implements roster.Bus.
func (b *Bus) Enter(ctx context.Context, users []uint64) (came []uint64, err error) {
	return b.moveUsers(ctx, "enter", b.userProcess.get(), users)
}

// Leave implements roster.Bus.
func (b *Bus) Leave(ctx context.Context, users []uint64) (gone []uint64, err error) {
	return b.moveUsers(ctx, "leave", b.userProcess.get(), users)
}

func (b *Bus) moveUsers(ctx context.Context, how, process string, users []uint64) (changed []uint64, err error) {
	for some := range slices.Chunk(users, onlineChunk) {
		arguments := append(make([]string, 0, 2+len(some)), how, process)
		for _, user := range some {
			arguments = append(arguments, strconv.FormatUint(user, 10))
		}
		err := b.commands.call(func(c rueidis.Client) error {
			ids, err := b.scripts.users.Exec(ctx, c, []string{b.keys.users}, arguments).AsStrSlice()
			changed = appendUsers(changed, ids)
			return err
		})
		if err := b.failed("touch", err); err != nil {
			return changed, err
		}
	}
	return changed, nil
}

func appendUsers(users []uint64, ids []string) []uint64 {
	for _, id := range ids {
		if user, err := strconv.ParseUint(id, 10, 64); err == nil {
			users = append(users, user)
		}
	}
	return users
}

// Renew implements roster.Bus. Processes stand in a sorted set by the time until which they are alive.
func (b *Bus) Renew(ctx context.Context, ttl time.Duration) (known bool, gone []uint64, err error) {
	now := b.options.Now()
	var dead []string
	err = b.commands.call(func(c rueidis.Client) error {
		name := b.userProcess.get()
		until, err := c.Do(ctx, c.B().Zscore().Key(b.keys.processes).Member(name).Build()).AsFloat64()
		if err != nil && !rueidis.IsRedisNil(err) {
			return err
		}
		if known = err == nil && until > unixSeconds(now); !known {
			name = b.userProcess.change()
		}
		results := c.DoMulti(ctx,
			c.B().Zadd().Key(b.keys.processes).ScoreMember().ScoreMember(unixSeconds(now.Add(ttl)), name).Build(),
			c.B().Expire().Key(b.keys.processes).Seconds(int64(usersKept/time.Second)).Build(),
			c.B().Expire().Key(b.keys.users).Seconds(int64(usersKept/time.Second)).Build(),
			c.B().Zrangebyscore().Key(b.keys.processes).Min("-inf").Max(fmt.Sprint(unixSeconds(now))).Build())
		dead, err = results[3].AsStrSlice()
		if e := firstError(results[:3]); e != nil {
			return e
		}
		return err
	})
	for _, process := range dead {
		if err == nil {
			gone, err = b.bury(ctx, process, gone)
		}
	}
	return known, gone, b.failed("touch", err)
}

func unixSeconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

// bury has the users of a process that is dead leave. Several processes may do so at the same time: each user leaves once.
func (b *Bus) bury(ctx context.Context, process string, gone []uint64) ([]uint64, error) {
	for cursor, begun := uint64(0), false; cursor != 0 || !begun; begun = true {
		var entry rueidis.ScanEntry
		err := b.commands.call(func(c rueidis.Client) (err error) {
			entry, err = c.Do(ctx, c.B().Hscan().Key(b.keys.users).Cursor(cursor).Count(onlineChunk).Build()).AsScanEntry()
			return err
		})
		if err != nil {
			return gone, err
		}
		cursor = entry.Cursor
		var ids []string
		for i := 0; i+1 < len(entry.Elements); i += 2 {
			if strings.Contains(entry.Elements[i+1], " "+process+" ") {
				ids = append(ids, entry.Elements[i])
			}
		}
		some, err := b.moveUsers(ctx, "leave", process, appendUsers(nil, ids))
		gone = append(gone, some...)
		if err != nil {
			return gone, err
		}
	}
	return gone, b.commands.call(func(c rueidis.Client) error {
		return c.Do(ctx, c.B().Zrem().Key(b.keys.processes).Member(process).Build()).Error()
	})
}

// Retire implements roster.Bus.
func (b *Bus) Retire(ctx context.Context, after time.Duration) error {
	return b.failed("touch", b.commands.call(func(c rueidis.Client) error {
		until := unixSeconds(b.options.Now().Add(after))
		return c.Do(ctx, c.B().Zadd().Key(b.keys.processes).ScoreMember().ScoreMember(until, b.userProcess.get()).Build()).Error()
	}))
}

// Connected implements roster.Bus.
func (b *Bus) Connected(ctx context.Context, users []uint64) ([]bool, error) {
	online := make([]bool, 0, len(users))
	for some := range slices.Chunk(users, onlineChunk) {
		fields := make([]string, len(some))
		for i, user := range some {
			fields[i] = strconv.FormatUint(user, 10)
		}
		err := b.commands.call(func(c rueidis.Client) error {
			values, err := c.Do(ctx, c.B().Hmget().Key(b.keys.users).Field(fields...).Build()).ToArray()
			for _, v := range values {
				online = append(online, !v.IsNil())
			}
			return err
		})
		if err := b.failed("online", err); err != nil {
			return nil, err
		}
	}
	return online, nil
}
