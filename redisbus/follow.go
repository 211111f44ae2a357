package redisbus

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"push-server/protocol"
)

// The server behind an address may become another one: a replica takes over, an address moves. What it lacks of what its predecessor has
// handed out was known to somebody else, perhaps, and must not be handed out again; so ids go on well above those that are known here.
// And no connection must stay with the predecessor, whether that is gone, read-only, or does not know yet.

const (
	// unheard is how many ids another server may lack that this process has not heard of either.
	unheard = 1000
	// lookEvery is the shortest time between two looks.
	lookEvery = 100 * time.Millisecond
	// lookEagerly is the same while a replica is being made the master.
	lookEagerly = 10 * time.Millisecond
	// linger is how much longer publications of the old master are listened to than it is published there: other processes have not
	// heard of the new one yet, perhaps, and whatever they store in that time is nowhere else.
	linger = time.Second
	// finish is how long the old master may take to answer what it has been sent: without the answer it is published once more.
	finish = 50 * time.Millisecond
	// blindEvery is how often connections are given up on suspicion alone, where Redis does not say which server it is.
	blindEvery = 5 * time.Second
)

// follower finds out when Redis is another server than before.
type follower struct {
	doubts  chan struct{} // asks for a look
	leaving atomic.Bool   // the old master gets no further batch
	work    sync.WaitGroup

	mu   sync.Mutex
	last string // server
}

// met notes to which server a new connection leads.
func (b *Bus) met(s server) {
	if last, other := b.follower.met(s.name); other {
		b.known.raise(unheard)
		b.log.Info("redis is another server than before", "server", s.name, "before", last)
		b.doubt() // somebody who connects at this moment may still get the old one
	}
	if !s.replica {
		b.drop(s.name)
	}
}

func (f *follower) met(name string) (last string, other bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	last, f.last = f.last, name
	return last, last != "" && last != name
}

// drop gives up the connections that do not lead to the server of that name.
func (b *Bus) drop(except string) {
	b.reads.lines.drop(except)
	if b.commands.lines.leadElsewhere(except) || b.listening.lines.leadElsewhere(except) {
		go b.leave()
	}
}

// leave drops the connection to the old master between two batches of publications, or when that takes too long. One that hangs is not
// listened to any longer either: what it does when it wakes up is done by the new one, too.
func (b *Bus) leave() {
	if b.finishes() {
		time.AfterFunc(linger, func() { b.listening.lines.drop(b.follower.name()) })
	} else {
		b.listening.lines.drop(b.follower.name())
	}
}

// finishes says whether the old master has answered in time.
func (b *Bus) finishes() bool {
	b.follower.leaving.Store(true)
	defer b.follower.leaving.Store(false)
	drop := func() { b.commands.lines.drop(b.follower.name()) }
	hangs := time.AfterFunc(finish, drop)
	defer hangs.Stop()
	b.publishing.Lock()
	defer b.publishing.Unlock()
	ctx, cancel := context.WithTimeout(b.ctx, finish)
	defer cancel()
	err := b.commands.call(func(c rueidis.Client) error { return c.Do(ctx, c.B().Ping().Build()).Error() })
	drop()
	return err == nil && hangs.Stop()
}

func (f *follower) name() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last
}

// doubt has follow look whether the master is another server.
func (b *Bus) doubt() {
	select {
	case b.follower.doubts <- struct{}{}:
	default:
	}
}

// follow looks which server is the master: now and then, and when there are doubts. It ends with the bus.
func (b *Bus) follow(o rueidis.ClientOption) {
	ticker := time.NewTicker(b.options.LookInterval)
	defer ticker.Stop()
	var last, blind time.Time
	for {
		doubtful := false
		select {
		case <-ticker.C:
		case <-b.follower.doubts:
			doubtful = true
		case <-b.ctx.Done():
			return
		}
		sleep(b.ctx, b.place.pause()-time.Since(last))
		if b.ctx.Err() != nil {
			return
		}
		last = time.Now()
		s, err := b.look(o)
		if next := b.place.next(); next != "" && next != s.addr {
			b.doubt()
		}
		if err == nil && s.name == "" && doubtful && time.Since(blind) > blindEvery {
			blind = time.Now()
			b.drop("")
		}
	}
}

// pause is the shortest time between two looks.
func (p *place) pause() time.Duration {
	if p.next() != "" {
		return lookEagerly
	}
	return lookEvery
}

// look makes a connection only to see where it leads.
func (b *Bus) look(o rueidis.ClientOption) (server, error) {
	ctx, cancel := dialWithin(b.ctx, &o.Dialer)
	defer cancel()
	conn, s, err := b.place.connect(ctx, o.InitAddress[0], &o.Dialer, o.TLSConfig)
	if err != nil {
		return s, err
	}
	if s.name != "" {
		b.met(s)
	}
	return s, conn.Close()
}

// isReadOnly says whether Redis is a replica, which takes no writes.
func isReadOnly(err error) bool {
	var e *rueidis.RedisError
	return errors.As(err, &e) && (strings.Contains(e.Error(), "READONLY ") || strings.HasPrefix(e.Error(), "MASTERDOWN "))
}

// raise makes the highest known id greater by n.
func (h *highest) raise(n uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.id.IsZero() && h.id.Counter()+n < maxCounter {
		h.id = protocol.MakeMessageID(h.id.Startdate(), h.id.Counter()+n)
	}
}

// errAnotherServer is the failure of a connection that leads to another server than the one before: what was to be sent over it was put
// together for that one.
var errAnotherServer = errors.New("redisbus: redis is another server than before")

// meets says whether the next connection is to be tried again, since it leads to another server.
func (c *client) meets(s server) error {
	if s.name == "" || c.met == nil {
		return nil
	}
	c.met(s)
	last := c.last.Swap(&s.name)
	if last != nil && *last != s.name {
		return errAnotherServer
	}
	return nil
}
