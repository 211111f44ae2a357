package redisbus

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"
)

// Channels of Redis know no databases: whoever subscribes hears the publications of every portal on the server. Those of another one
// concern nobody here, since channel ids are digests; but their ids are of another counter, and must not be taken for ours.
//
// What we publish in another database than 0 says so in the name of the channel, in a way that the pattern of Node processes takes in.
// What Node processes publish does not say where: there the start date tells, of which each database has its own.

const databaseMark = "@"

func (k *keys) publishChannel(uid string, database int) string {
	if database == 0 {
		return k.publish + uid
	}
	return k.publish + uid + databaseMark + strconv.Itoa(database)
}

// origins tells publications of other databases from ours.
type origins struct {
	database  int
	startdate atomic.Uint64 // of our database; 0: not known

	mu    sync.Mutex
	asked map[uint64]time.Time // start dates that are not ours, and when that was found out
	told  bool
}

// foreign says whether what comes by channel is of another database. Those of database 0 do not say so, as Node has it.
func (o *origins) foreign(channel string) bool {
	_, database, marked := strings.Cut(channel, databaseMark)
	return marked && database != strconv.Itoa(o.database)
}

// askEvery is how often it is looked whether a start date has become ours.
const askEvery = 10 * time.Second

// stray says whether an id with this start date is of another counter than ours. It may ask Redis, once in a while.
func (b *Bus) stray(ctx context.Context, startdate uint64) bool {
	o := &b.origins
	if startdate == o.startdate.Load() {
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if time.Since(o.asked[startdate]) < askEvery {
		return true
	}
	own, ok := b.readStartdate(ctx)
	o.startdate.Store(own)
	switch {
	case own == 0 && o.database != 0 && ok:
		return true // nobody has published in our database yet
	case own == 0, own == startdate: // not known: it may be ours
		return false
	}
	if o.asked == nil || len(o.asked) > maxOrigins {
		o.asked = make(map[uint64]time.Time)
	}
	o.asked[startdate] = time.Now()
	if !o.told {
		o.told = true
		b.log.Warn("somebody else publishes on this redis, in another database or under another start date, which is not taken for ours",
			"startdate", startdate, "ours", own)
	}
	return true
}

const maxOrigins = 100

func (b *Bus) readStartdate(ctx context.Context) (startdate uint64, ok bool) {
	ctx, cancel := context.WithTimeout(ctx, b.options.DialTimeout)
	defer cancel()
	err := b.commands.call(func(c rueidis.Client) (err error) {
		startdate, err = c.Do(ctx, c.B().Get().Key(b.keys.startdate).Build()).AsUint64()
		if rueidis.IsRedisNil(err) {
			err = nil
		}
		return err
	})
	return startdate, err == nil
}
