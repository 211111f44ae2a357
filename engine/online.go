package engine

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"push-server/engine/batch"
	"push-server/engine/outage"
	"push-server/poll"
	"push-server/protocol"
)

// presence marks the channels of connections as online for other processes. A mark that is dropped is renewed with the next pong.
type presence struct {
	marks Presence
	due   *batch.Queue[protocol.ChannelID, struct{}]
}

func newPresence(marks Presence, log *slog.Logger) *presence {
	failing := outage.New(log, "online marks cannot be written", "trying again")
	return &presence{marks, batch.New(func(ctx context.Context, some map[protocol.ChannelID]struct{}) {
		chs := slices.Collect(maps.Keys(some))
		untilDone(ctx, failing, func(ctx context.Context) error { return marks.Touch(ctx, chs) })
	})}
}

// touch has ch marked soon. It does not block.
func (p *presence) touch(ch protocol.ChannelID) { p.due.Put(ch, struct{}{}) }

// lastSeen brings the bus what event loops see of the users of version 5. What is dropped comes again with the next word of the client.
type lastSeen struct {
	memory LastSeen
	due    *batch.Queue[uint64, int64]
}

func newLastSeen(memory LastSeen, log *slog.Logger) *lastSeen {
	failing := outage.New(log, "the time that users were seen cannot be written", "trying again")
	return &lastSeen{memory, batch.New(func(ctx context.Context, some map[uint64]int64) {
		untilDone(ctx, failing, func(ctx context.Context) error { return memory.See(ctx, some) })
	})}
}

// untilDone calls the bus until it has done what f asks of it, or ctx ends.
func untilDone(ctx context.Context, o *outage.Outage, f func(ctx context.Context) error) {
	retry := newRetry(100*time.Millisecond, 2*time.Second)
	for ctx.Err() == nil {
		attempt, cancel := context.WithTimeout(ctx, busTimeout)
		err := f(attempt)
		cancel()
		if err == nil {
			o.Over()
			return
		}
		o.Failed(err)
		sleep(ctx, retry.NextBackOff())
	}
}

// Online says of each channel whether somebody is connected to it: to any process of the installation in cluster mode, otherwise
// to this one. It may be called from any goroutine.
func (e *Engine) Online(ctx context.Context, chs []protocol.ChannelID) ([]bool, error) {
	begin := time.Now()
	online, err := e.online(ctx, chs)
	if err != nil {
		online = nil // the answer is an empty list
	}
	exchangeOf(ctx).sayOnline(len(online), begin)
	return online, err
}

func (e *Engine) online(ctx context.Context, chs []protocol.ChannelID) ([]bool, error) {
	if e.presence != nil {
		return e.presence.marks.Online(ctx, chs)
	}
	var mu sync.Mutex
	online := make([]bool, len(chs))
	err := askLoops(ctx, e.loops, func(l *loop) {
		mu.Lock()
		defer mu.Unlock()
		for i := range chs {
			if len(l.table.Subscribers(&chs[i])) > 0 {
				online[i] = true
			}
		}
	})
	return online, err
}

// seeUser notes that the user of s is there, if it has one.
func (l *loop) seeUser(s *Session) {
	if s.user != 0 && l.engine.lastSeen != nil {
		l.engine.lastSeen.due.Put(s.user, time.Now().Unix())
	}
}

// userComes notes a connection of a user.
func (l *loop) userComes(s *Session) {
	if r := l.engine.roster; r != nil && s.user != 0 {
		r.Come(s.user)
	}
}

// userGoes notes the end of one. A poll is followed by the next one, but it may take its time.
func (l *loop) userGoes(s *Session) {
	r := l.engine.roster
	if r == nil || s.user == 0 {
		return
	}
	stay := time.Duration(0)
	if s.transport == transportPoll {
		stay = l.o.OnlineTTL
	}
	r.Go(s.user, stay)
	l.stats.statuses.Add(int64(s.named) - int64(len(s.subs)))
}

// tellStatus tells those who watch users that they have come or gone. It goes the way of publications of clients, which do not delay those
// of back ends.
func (e *Engine) tellStatus(ctx context.Context, users []uint64, online bool) {
	now := float64(time.Now().UnixMicro()) / 1e6
	ps := make([]*protocol.Publication, len(users))
	for i, user := range users {
		ps[i] = protocol.StatusNotice(user, online, now)
	}
	switch err := e.publish(ctx, clients, ps); {
	case err == nil, errors.Is(err, poll.ErrAccepted):
		e.statusNotices.Add(uint64(len(ps)))
	default:
		e.o.Logger.Warn("nobody is told who is online, the queue of publications of clients is full", "users", len(ps), "err", err)
	}
}

// See notes when users were seen elsewhere. It may be called from any goroutine.
func (e *Engine) See(ctx context.Context, seen map[uint64]int64) error {
	if e.lastSeen == nil {
		return nil
	}
	now := time.Now().Unix()
	for user, at := range seen {
		seen[user] = min(at, now)
	}
	return e.lastSeen.memory.See(ctx, seen)
}

// SecondsSinceSeen returns of each user how long ago it was seen: 0 if it is connected, -1 if nobody knows. It may be called from any goroutine.
func (e *Engine) SecondsSinceSeen(ctx context.Context, users []uint64) ([]int64, error) {
	online, err := e.usersOnline(ctx, users)
	if err != nil {
		return nil, err
	}
	seconds := make([]int64, len(users))
	seen := make([]int64, len(users))
	if e.lastSeen != nil {
		if seen, err = e.lastSeen.memory.LastSeen(ctx, users); err != nil {
			return nil, err
		}
	}
	now := time.Now().Unix()
	for i := range users {
		switch {
		case online[i]:
		case seen[i] == 0:
			seconds[i] = -1
		default:
			seconds[i] = max(0, now-seen[i])
		}
	}
	return seconds, nil
}

func (e *Engine) usersOnline(ctx context.Context, users []uint64) ([]bool, error) {
	if e.roster != nil {
		return e.roster.Connected(ctx, users)
	}
	chs := make([]protocol.ChannelID, len(users))
	for i, user := range users {
		chs[i] = protocol.UserChannel(user)
	}
	return e.online(ctx, chs)
}

// lastSeenAnswer answers the question of a client.
func (e *Engine) lastSeenAnswer(id []byte, users []uint64) []byte {
	ctx, cancel := context.WithTimeout(e.ctx, e.o.RequestTimeout)
	defer cancel()
	seconds, err := e.SecondsSinceSeen(ctx, users)
	if err != nil {
		return protocol.AppendRPCError(nil, id, protocol.ErrRPCInternal)
	}
	return protocol.AppendResult(nil, id, protocol.AppendSeconds(nil, users, seconds))
}
