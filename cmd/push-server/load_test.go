package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"push-server/protocol/testclient"
	"push-server/redisbus/redistest"
)

const (
	loadChannels     = 50
	loadWebSockets   = 200
	loadPollers      = 50
	loadPublishers   = 8
	loadPublications = 20000
	loadKills        = 5 // of the connections that carry publications between processes
)

// TestLoad drops clients at random all the time. Each has to see every publication of its channels once and in the order
// of ids.
func TestLoad(t *testing.T) {
	onEachBus(t, func(t *testing.T, redis *redistest.Server) {
		l := newLoad(t, install(t, "default", redis, 2))
		l.addListeners()
		listening := l.listen()
		l.waitReady()
		publishing := l.publish()
		l.killSubscriptions(publishing)
		listening.Wait()
		if err := context.Cause(l.ctx); err != nil {
			t.Error(err)
		}
		l.checkComplete()
		t.Logf("%d publications, %d deliveries, %d returns of clients, %d subscriptions killed",
			l.published.Load(), l.delivered.Load(), l.returns.Load(), l.killed)
		if redis != nil && l.killed == 0 {
			t.Error("there was no subscription to kill")
		}
	})
}

// A load is one run. The first error ends it.
type load struct {
	t         *testing.T
	in        *installation
	ctx       context.Context
	fail      context.CancelCauseFunc
	channels  []*loadChannel
	listeners []*listener
	published atomic.Int64
	delivered atomic.Int64
	returns   atomic.Int64
	killed    int64         // subscriptions
	kills     chan struct{} // a token for each time that subscriptions have to be killed
}

func newLoad(t *testing.T, in *installation) *load {
	l := &load{t: t, in: in, kills: make(chan struct{}, loadKills+1)}
	l.ctx, l.fail = context.WithCancelCause(t.Context())
	t.Cleanup(func() { l.fail(nil) })
	for i := range loadChannels {
		ch := &loadChannel{Channel: testclient.NewChannel(testKey), name: fmt.Sprint(i), seen: map[*listener]int{}}
		ch.changed.L = &ch.mu
		context.AfterFunc(l.ctx, ch.changed.Broadcast)
		l.channels = append(l.channels, ch)
	}
	return l
}

// addListeners gives each two channels.
func (l *load) addListeners() {
	for i := range loadWebSockets + loadPollers {
		first := i % loadChannels
		second := (first + 1 + rand.IntN(loadChannels-1)) % loadChannels
		who := &listener{
			load: l, name: fmt.Sprintf("websocket %d", i), binary: rand.IntN(2) == 0,
			channels: []*loadChannel{l.channels[first], l.channels[second]}, ready: make(chan struct{}),
		}
		if who.polls = i >= loadWebSockets; who.polls {
			who.name = fmt.Sprintf("poller %d", i)
		}
		for _, ch := range who.channels {
			ch.seen[who] = 0
		}
		l.listeners = append(l.listeners, who)
	}
}

func (l *load) listen() *sync.WaitGroup {
	var all sync.WaitGroup
	for _, who := range l.listeners {
		all.Go(func() {
			if err := who.listen(); err != nil && l.ctx.Err() == nil {
				l.fail(fmt.Errorf("%s: %w", who.name, err))
			}
		})
	}
	return &all
}

// waitReady publishes greetings until everybody has got one, and with it an id to come back with.
func (l *load) waitReady() {
	backend := testclient.NewHTTP(true)
	defer backend.Close()
	testclient.AwaitNil(l.t, "all listen", func() error {
		for _, ch := range l.channels {
			if _, err := backend.PublishText(l.ctx, l.in.pubURL(), `{"greeting":1}`, 600, ch.Private); err != nil {
				return err
			}
		}
		return l.notReady()
	})
}

func (l *load) notReady() error {
	for _, who := range l.listeners {
		select {
		case <-who.ready:
		case <-l.ctx.Done():
			l.t.Fatal(context.Cause(l.ctx))
		case <-time.After(100 * time.Millisecond):
			return errors.New(who.name + " has got nothing")
		}
	}
	return nil
}

// publish ends with one farewell on each channel, and closes the channel that it returns.
func (l *load) publish() <-chan struct{} {
	var all sync.WaitGroup
	for i := range loadPublishers {
		p := &publisher{load: l, http: testclient.NewHTTP(true)}
		for at := i; at < loadChannels; at += loadPublishers {
			p.channels = append(p.channels, l.channels[at])
		}
		all.Go(func() {
			defer p.http.Close()
			if err := p.publish(loadPublications / loadPublishers); err != nil && l.ctx.Err() == nil {
				l.fail(fmt.Errorf("publisher: %w", err))
			}
		})
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		all.Wait()
	}()
	return done
}

// killSubscriptions kills the connections between Redis and the servers now and then, until all is published.
func (l *load) killSubscriptions(published <-chan struct{}) {
	for {
		select {
		case <-l.kills:
			l.killed += l.in.redis.KillPubSub()
		case <-published:
			return
		}
	}
}

func (l *load) checkComplete() {
	for _, who := range l.listeners {
		for _, ch := range who.channels {
			if n := ch.behind(who); n != 0 {
				l.t.Errorf("%s lacks the last %d publications of channel %s", who.name, n, ch.name)
			}
		}
	}
}

// count adds to what was published and asks now and then for a kill.
func (l *load) count(n int) {
	after := l.published.Add(int64(n))
	const between = loadPublications / (loadKills + 1)
	if l.in.redis != nil && after/between != (after-int64(n))/between {
		l.kills <- struct{}{}
	}
}

// A loadChannel numbers its publications. Nobody may fall back further than history reaches, so publishers wait for the slowest listener.
type loadChannel struct {
	testclient.Channel
	name string

	mu        sync.Mutex
	changed   sync.Cond
	published int
	seen      map[*listener]int // the last number
}

// maxBehind is how many publications of a channel a listener may miss: of two channels together fewer than the 200 that a
// client gets when it returns.
const maxBehind = 80

// number gives the next publication its number, when all listeners are near enough.
func (ch *loadChannel) number(ctx context.Context) (int, error) {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	for ctx.Err() == nil && ch.published-ch.slowest() >= maxBehind {
		ch.changed.Wait()
	}
	ch.published++
	ch.changed.Broadcast()
	return ch.published, ctx.Err()
}

func (ch *loadChannel) slowest() int {
	least := ch.published
	for _, n := range ch.seen {
		least = min(least, n)
	}
	return least
}

// see notes that the listener has got number n, which has to be the next one.
func (ch *loadChannel) see(who *listener, n int) error {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	if n != ch.seen[who]+1 {
		return fmt.Errorf("channel %s: got publication %d after %d, %d were published", ch.name, n, ch.seen[who], ch.published)
	}
	ch.seen[who] = n
	ch.changed.Broadcast()
	return nil
}

// behind is how many publications the listener has not seen.
func (ch *loadChannel) behind(who *listener) int {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	return ch.published - ch.seen[who]
}

// A publisher is the only one that publishes to its channels, so that their numbers come in order.
type publisher struct {
	load     *load
	http     *testclient.HTTP
	channels []*loadChannel
}

func (p *publisher) publish(total int) error {
	for sent := 0; sent < total; {
		n := min(1+rand.IntN(6), total-sent)
		if err := p.request(n); err != nil {
			return err
		}
		sent += n
		p.load.count(n)
	}
	for _, ch := range p.channels {
		if err := p.text(ch, `{"farewell":1}`); err != nil {
			return err
		}
	}
	return nil
}

// request publishes n messages: a single one mostly as text, several in one batch.
func (p *publisher) request(n int) error {
	if n == 1 {
		ch := p.channels[rand.IntN(len(p.channels))]
		number, err := ch.number(p.load.ctx)
		if err != nil {
			return err
		}
		return p.text(ch, fmt.Sprintf(`{%q:%d}`, ch.name, number))
	}
	var batch []testclient.Publication
	for range n {
		publication, err := p.publication()
		if err != nil {
			return err
		}
		batch = append(batch, publication)
	}
	return p.accepted(p.http.Request(p.load.ctx, p.load.in.pubURL(), testclient.AppendPublish(nil, batch...)))
}

// publication is one for a channel, now and then for two, to private ids mostly, to public ones sometimes.
func (p *publisher) publication() (testclient.Publication, error) {
	out := testclient.Publication{Expiry: 3600, Body: "{"}
	first := rand.IntN(len(p.channels))
	for i := range 1 + rand.IntN(8)/7 {
		ch := p.channels[(first+i)%len(p.channels)]
		number, err := ch.number(p.load.ctx)
		if err != nil {
			return out, err
		}
		receiver := ch.PrivateReceiver()
		if rand.IntN(4) == 0 {
			receiver = testclient.Receiver{ID: ch.PublicReceiver().ID}
		}
		out.Receivers = append(out.Receivers, receiver)
		out.Body += fmt.Sprintf(`%q:%d,`, ch.name, number)
	}
	out.Body = out.Body[:len(out.Body)-1] + "}"
	return out, nil
}

func (p *publisher) text(ch *loadChannel, body string) error {
	return p.accepted(p.http.PublishText(p.load.ctx, p.load.in.pubURL(), body, 3600, ch.Private))
}

// accepted is 200, or 202 when the store is slow.
func (p *publisher) accepted(reply testclient.Reply, err error) error {
	if err == nil && reply.Status != 200 && reply.Status != 202 {
		err = fmt.Errorf("publication answered %d %s", reply.Status, reply.Body)
	}
	return err
}
