package redisbus

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"
	"unsafe"

	"github.com/cenkalti/backoff/v5"
	"github.com/redis/rueidis"

	"push-server/engine/outage"
	"push-server/protocol"
)

const (
	retryMin = 50 * time.Millisecond
	// confirmTime bounds the wait for Redis to confirm a subscription.
	confirmTime = 5 * time.Second
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
	retry := newRetry(b.options.RetryMax)
	trouble := outage.New(b.log, "not listening to redis", "trying again")
	for ctx.Err() == nil {
		connected, err := b.listen(ctx, h, trouble)
		if ctx.Err() != nil {
			return
		}
		_ = b.failed("subscribe", err)
		if connected {
			retry.Reset()
		}
		trouble.Failed(err)
		sleep(ctx, retry.NextBackOff())
	}
}

// newRetry returns the pauses between attempts to listen, doubled each time up to a limit.
func newRetry(limit time.Duration) *backoff.ExponentialBackOff {
	return &backoff.ExponentialBackOff{InitialInterval: retryMin, Multiplier: 2, MaxInterval: limit}
}

// sleep returns after d, or when ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// listen listens on one connection until it is lost, and says whether publications came in at all. With that, trouble is over.
func (b *Bus) listen(ctx context.Context, h protocol.Handler, trouble *outage.Outage) (connected bool, err error) {
	connection, err := b.dedicate(ctx)
	if err != nil {
		return false, err
	}
	defer connection.Close()
	s := &subscription{bus: b, handler: h}
	defer s.end()
	lost := connection.SetPubSubHooks(rueidis.PubSubHooks{OnMessage: s.message, OnSubscription: s.confirmed})
	if err := b.confirm(ctx, connection); err != nil {
		return false, err
	}
	_ = b.failed("subscribe", nil)
	b.rights.checked.Store(false)
	b.log.Info("listening to redis")
	trouble.Over()
	select {
	case err := <-lost:
		return true, fmt.Errorf("connection lost: %w", err)
	case <-b.lost:
		return true, errDropped
	case <-ctx.Done():
		return true, ctx.Err()
	}
}

// dedicate takes a connection for publications alone. The wait for Redis to answer ends with ctx, though rueidis goes on until
// DialTimeout.
func (b *Bus) dedicate(ctx context.Context) (rueidis.DedicatedClient, error) {
	// A command first: it finds out whether Redis is there, and whether the client must be replaced.
	err := b.commands.call(func(c rueidis.Client) error { return c.Do(ctx, c.B().Ping().Build()).Error() })
	if err != nil {
		return nil, err
	}
	// That it leads to another server than its predecessor is no failure: nothing is sent over it that was meant for that one.
	b.listening.last.Store(nil)
	made := make(chan rueidis.DedicatedClient, 1)
	go func() {
		connection, _ := (*b.listening.current.Load()).Dedicate()
		made <- connection
	}()
	select {
	case connection := <-made:
		return connection, nil
	case <-ctx.Done():
		go func() { (<-made).Close() }()
		return nil, ctx.Err()
	}
}

// confirm subscribes. The echo channel comes second: an echo that arrives says that publications arrive as well.
func (b *Bus) confirm(ctx context.Context, connection rueidis.DedicatedClient) error {
	ctx, cancel := context.WithTimeout(ctx, confirmTime)
	defer cancel()
	for _, r := range connection.DoMulti(ctx,
		connection.B().Psubscribe().Pattern(b.keys.publishPattern).Build(),
		connection.B().Subscribe().Channel(b.echoChannel).Build()) {
		if err := r.Error(); err != nil {
			return err
		}
	}
	return nil
}

// Reconnect drops the connection over which publications come in: Subscribe makes a new one, which begins with HandleGap.
// For a connection that is alive and deaf: echoes were sent and do not come back. Should nobody have taken the last order, whoever listens
// hangs somewhere else: then all connections are given up.
func (b *Bus) Reconnect() {
	select {
	case b.lost <- struct{}{}:
	default:
		b.log.Warn("the connection to redis is silent and cannot be ended, giving up all of them")
		for _, c := range []*client{&b.listening, &b.commands, &b.reads} {
			c.lines.drop("")
		}
	}
}

// Echo implements engine.Bus.
func (b *Bus) Echo(ctx context.Context) (n uint64, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	n = b.echoes.Add(1)
	err = b.commands.call(func(c rueidis.Client) error {
		known := b.known.get() // of now: another server has raised it
		arguments := []string{
			b.echoChannel, strconv.FormatUint(n, 10), strconv.FormatUint(known.Startdate(), 10), strconv.FormatUint(known.Counter(), 10), marginText,
		}
		return b.scripts.echo.Exec(ctx, c, []string{b.keys.counter, b.keys.startdate}, arguments).Error()
	})
	if err == nil || isForbidden(err) {
		b.checkRights(ctx)
	} else {
		b.rights.checked.Store(false) // whoever only publishes has no other sign of a new connection
	}
	return n, b.failed("echo", err)
}

// subscription hands what comes in over one connection to the handler. rueidis calls it from the reader of the connection.
type subscription struct {
	bus     *Bus
	handler protocol.Handler

	mu    sync.Mutex // held while the handler runs
	ended bool
}

// end returns when the handler runs no more and will not again.
func (s *subscription) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
}

// confirmed sees confirmations in the order of messages, so the gap comes before the first publication.
func (s *subscription) confirmed(c rueidis.PubSubSubscription) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || c.Kind != "psubscribe" {
		return
	}
	select {
	case <-s.bus.lost: // meant for the last connection
	default:
	}
	if s.bus.subscribed.Swap(true) {
		s.handler.HandleGap()
	}
}

func (s *subscription) message(m rueidis.PubSubMessage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.ended:
	case m.Channel == s.bus.echoChannel:
		s.echo(m.Message)
	case s.bus.origins.foreign(m.Channel):
	default:
		s.publications(m.Message)
	}
}

// publications hands on what is in the payload, without copying it: rueidis makes a string for each message and never
// changes it, and neither does anybody else. It lives as long as a publication that points into it.
func (s *subscription) publications(payload string) {
	err := protocol.ParseNotifications(unsafe.Slice(unsafe.StringData(payload), len(payload)), func(p *protocol.Publication) {
		if p.Stray = s.bus.stray(s.bus.ctx, p.ID.Startdate()); !p.Stray {
			s.bus.known.heard(p.ID)
		}
		s.handler.HandlePublication(p)
	})
	if err != nil {
		s.bus.errors.count("decode")
	}
}

func (s *subscription) echo(payload string) {
	n, highest, ok := parseEcho([]byte(payload))
	if !ok {
		s.bus.errors.count("decode")
		s.bus.log.Error("BUG: redisbus: echo.lua sent nonsense", "payload", payload)
		return
	}
	if !highest.IsZero() {
		s.bus.origins.startdate.Store(highest.Startdate())
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
