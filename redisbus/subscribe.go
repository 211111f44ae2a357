package redisbus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"push-server/protocol"
)

const (
	retryMin = 50 * time.Millisecond
	// confirmTime bounds the wait for Redis to confirm a subscription.
	confirmTime = 5 * time.Second
	// logEvery throttles the line about connecting that fails.
	logEvery = time.Minute
)

// Subscribe implements engine.Bus. Publications come in over a connection of its own. When that is lost, the old
// connection is ended before a new one begins, and the new one begins with HandleGap.
func (b *Bus) Subscribe(ctx context.Context, h protocol.Handler) error {
	if b.ctx.Err() != nil {
		return ErrClosed
	}
	if !b.subscribing.CompareAndSwap(false, true) {
		return errSubscribed
	}
	defer b.subscribing.Store(false)
	listening, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(b.ctx, cancel)()
	b.listenOn(listening, h)
	if b.ctx.Err() != nil {
		return ErrClosed
	}
	return ctx.Err()
}

// listenOn listens, again and again, until ctx ends.
func (b *Bus) listenOn(ctx context.Context, h protocol.Handler) {
	retry := retry{max: b.options.RetryMax}
	for ctx.Err() == nil {
		connected, err := b.listen(ctx, h)
		if ctx.Err() != nil {
			return
		}
		b.options.OnError("subscribe", err)
		if connected {
			retry.reset()
		}
		retry.log(b, err)
		retry.wait(ctx)
	}
}

// listen listens on one connection until it is lost, and says whether publications came in at all.
func (b *Bus) listen(ctx context.Context, h protocol.Handler) (connected bool, err error) {
	l, err := b.dialListener(ctx)
	if err != nil {
		return false, err
	}
	defer l.close()
	defer context.AfterFunc(ctx, l.close)()
	b.listener.Store(l)
	defer b.listener.Store(nil)
	s := subscription{bus: b, handler: h}
	defer s.end()
	// The echo channel comes second: an echo that arrives says that publications arrive as well.
	if err = l.send("PSUBSCRIBE", publishPattern); err == nil {
		err = l.send("SUBSCRIBE", b.echoChannel)
	}
	for err == nil {
		var r reply
		if r, err = l.next(); err == nil {
			err = s.take(l, &r)
		}
	}
	if errors.Is(err, net.ErrClosed) {
		err = errDropped
	}
	return s.connected, fmt.Errorf("connection lost: %w", err)
}

// Reconnect drops the connection over which publications come in: Subscribe makes a new one, which begins with HandleGap.
// For a connection that is alive and deaf: echoes were sent and do not come back.
func (b *Bus) Reconnect() {
	if l := b.listener.Load(); l != nil {
		l.close()
	}
}

// Echo implements engine.Bus.
func (b *Bus) Echo(ctx context.Context) (n uint64, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	n = b.echoes.Add(1)
	err = b.call(ctx, func(c rueidis.Client) error {
		return b.scripts.echo.Exec(ctx, c, []string{keyCounter, keyStartdate},
			[]string{b.echoChannel, strconv.FormatUint(n, 10)}).Error()
	})
	if err != nil {
		return 0, b.failed("echo", err)
	}
	return n, nil
}

// subscription hands what comes in over one connection to the handler.
type subscription struct {
	bus       *Bus
	handler   protocol.Handler
	connected bool
}

// take handles a reply. Confirmations stand among messages, so the gap comes before the first publication.
func (s *subscription) take(l *listener, r *reply) error {
	switch string(r.words[0]) {
	case "pmessage":
		s.publications(r.words[3])
	case "message":
		s.echo(r.words[2])
	case "psubscribe":
		if s.bus.subscribed.Swap(true) {
			s.handler.HandleGap()
		}
	case "subscribe":
		s.begin()
		return l.conn.SetDeadline(time.Time{})
	default:
		return fmt.Errorf("%w: %q", errReply, r.words[0])
	}
	return nil
}

// begin is called when everything is subscribed to.
func (s *subscription) begin() {
	s.connected = true
	s.bus.log.Info("listening to redis")
	s.bus.options.OnConnect(true)
}

func (s *subscription) end() {
	if s.connected {
		s.bus.options.OnConnect(false)
	}
}

// publications hands on what is in the payload, without copying it.
func (s *subscription) publications(payload []byte) {
	err := protocol.ParseNotifications(payload, func(p *protocol.Publication) {
		s.bus.known.heard(p.ID)
		s.handler.HandlePublication(p)
	})
	if err != nil {
		s.bus.options.OnError("decode", err)
	}
}

func (s *subscription) echo(payload []byte) {
	n, highest, ok := parseEcho(payload)
	if !ok {
		s.bus.options.OnError("decode", fmt.Errorf("BUG: echo.lua sent %q", payload))
		return
	}
	s.handler.HandleEcho(n, highest)
}

// parseEcho reads what echo.lua sends. Without a start date, that is before the first publication or after a flush, no id
// is the highest.
func parseEcho(payload []byte) (n uint64, highest protocol.MessageID, ok bool) {
	words := bytes.Fields(payload)
	if len(words) != 3 {
		return 0, highest, false
	}
	var numbers [3]uint64
	for i, word := range words {
		number, err := strconv.ParseUint(string(word), 10, 64)
		if err != nil {
			return 0, highest, false
		}
		numbers[i] = number
	}
	if numbers[1] == 0 {
		return numbers[0], highest, true
	}
	return numbers[0], protocol.MakeMessageID(numbers[1], numbers[2]), true
}

// retry spaces attempts to connect.
type retry struct {
	max      time.Duration
	next     time.Duration
	failures int
	logged   time.Time
}

func (r *retry) reset() { *r = retry{max: r.max} }

// log writes a line about the first failure and then one a minute.
func (r *retry) log(b *Bus, err error) {
	r.failures++
	if time.Since(r.logged) < logEvery {
		return
	}
	r.logged = time.Now()
	b.log.Warn("not listening to redis, trying again", "err", err, "failures", r.failures)
}

func (r *retry) wait(ctx context.Context) {
	r.next = min(max(2*r.next, retryMin), r.max)
	select {
	case <-time.After(r.next):
	case <-ctx.Done():
	}
}
