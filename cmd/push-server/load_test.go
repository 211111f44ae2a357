package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"push-server/protocol/testclient"
	"push-server/redisbus/redistest"
)

// A loadSize is how much of everything a load has.
type loadSize struct {
	channels, webSockets, pollers, publishers, publications int

	stay  int           // messages after which a listener loses its connection, at most
	pause time.Duration // of a publisher between two requests; 0: as fast as it can
	kills int           // of the connections that carry publications between processes
}

var fullLoad = loadSize{channels: 50, webSockets: 200, pollers: 50, publishers: 8, publications: 20000, stay: 400, kills: 5}

// TestLoad drops clients at random all the time. Each has to see every publication of its channels once and in the order
// of ids.
func TestLoad(t *testing.T) {
	onEachBus(t, func(t *testing.T, redis *redistest.Server) {
		l := newLoad(t, installWith(t, "default", redis, 2, func(c config) { c.option("v5", map[string]any{"enabled": true}) }), fullLoad)
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
		t.Logf("%d publications, %d deliveries, %d of them in version 5, %d returns of clients, %d subscriptions killed",
			l.published.Load(), l.delivered.Load(), l.fives.Load(), l.returns.Load(), l.killed)
		if redis != nil && l.killed == 0 {
			t.Error("there was no subscription to kill")
		}
	})
}

// A load is one run. The first error ends it.
type load struct {
	t         *testing.T
	in        *installation
	size      loadSize
	rough     bool                    // servers may be away, refuse, and lose connections
	enough    <-chan struct{}         // closed: publishers stop earlier; nil: they do not
	patience  time.Duration           // of listeners
	away      func(w *listener) error // how long one stays away that has lost its connection; nil: not for long
	asking    sync.RWMutex            // held for reading by each request of a publisher
	ctx       context.Context
	fail      context.CancelCauseFunc
	channels  []*loadChannel
	toAll     testclient.Channel // all listeners have it besides; none: they do not
	listeners []*listener
	published atomic.Int64
	delivered atomic.Int64
	fives     atomic.Int64 // of them, to clients of version 5
	returns   atomic.Int64
	told      atomic.Int64  // listeners that have got a new configuration, each as often as it has
	longest   atomic.Int64  // nanoseconds that a publisher has waited for its answer
	refused   atomic.Int64  // publications, which were sent again
	stored    atomic.Int64  // when a publication was answered 200 last, in nanoseconds
	unstored  atomic.Int64  // nanoseconds between two such answers, at most
	killed    int64         // subscriptions
	kills     chan struct{} // a token for each time that subscriptions have to be killed
}

func newLoad(t *testing.T, in *installation, size loadSize) *load {
	l := &load{t: t, in: in, size: size, patience: patience, kills: make(chan struct{}, size.kills+1)}
	l.ctx, l.fail = context.WithCancelCause(t.Context())
	t.Cleanup(func() { l.fail(nil) })
	for i := range size.channels {
		ch := &loadChannel{Channel: testclient.NewChannel(testKey), name: fmt.Sprint(i), seen: map[*listener]int{}, uncertain: map[int]bool{},
			used: map[*listener]testclient.Channel{}}
		ch.changed.L = &ch.mu
		context.AfterFunc(l.ctx, ch.changed.Broadcast)
		l.channels = append(l.channels, ch)
	}
	return l
}

// addListeners gives each two channels. A third of them speak version 5: what is published to the first channel they get by their user id, half
// of them by their tokens as well, and to the second by their tokens.
func (l *load) addListeners() {
	for i, ch := range l.channels {
		ch.own, ch.public = i%3 == 0, i%3 == 2
	}
	for i := range l.size.webSockets + l.size.pollers {
		first := i % l.size.channels
		second := (first + 1 + rand.IntN(l.size.channels-1)) % l.size.channels
		who := &listener{
			load: l, name: fmt.Sprintf("websocket %d", i), binary: rand.IntN(2) == 0, user: i + 1, five: first%3 == 0, ready: make(chan struct{}),
		}
		if who.five {
			second = (first + 1) % (l.size.channels - l.size.channels%3) // the neighbour; of the last one, the second
		}
		who.channels = []*loadChannel{l.channels[first], l.channels[second]}
		if who.five {
			who.channels[0].users = append(who.channels[0].users, who.user)
		}
		if who.polls = i >= l.size.webSockets; who.polls {
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
			if _, err := backend.PublishText(l.ctx, l.in.pubURL(), `{"greeting":1}`, 600, ch.privateIDs()...); err != nil {
				return err
			}
			if _, err := l.call(backend, "["+ch.call(`{"greeting":1}`)+"]"); err != nil {
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
	for i := range l.size.publishers {
		p := &publisher{load: l, http: testclient.NewHTTP(true)}
		for at := i; at < l.size.channels; at += l.size.publishers {
			p.channels = append(p.channels, l.channels[at])
			if !l.channels[at].own {
				p.shared = append(p.shared, l.channels[at])
			}
		}
		all.Go(func() {
			defer p.http.Close()
			if err := p.publish(l.size.publications / l.size.publishers); err != nil && l.ctx.Err() == nil {
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
	if l.fives.Load() == 0 {
		l.t.Error("nothing was delivered to clients of version 5")
	}
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
	between := int64(l.size.publications / (l.size.kills + 1))
	if l.in.redis != nil && l.size.kills > 0 && after/between != (after-int64(n))/between {
		l.kills <- struct{}{}
	}
}

// A publisher is the only one that publishes to its channels, so that their numbers come in order.
type publisher struct {
	load     *load
	http     *testclient.HTTP
	channels []*loadChannel
	shared   []*loadChannel // those of them that are nobody's own
	numbers  []func()       // of the request under way: notes that nobody knows whether they were published
}

func (p *publisher) publish(total int) error {
	for sent := 0; sent < total && !p.load.hasEnough(); {
		n := min(1+rand.IntN(6), total-sent)
		p.load.asking.RLock()
		err := p.request(n)
		p.load.asking.RUnlock()
		if err != nil {
			return err
		}
		sent += n
		p.load.count(n)
		if err := p.load.sleep(p.load.size.pause); err != nil {
			return err
		}
	}
	for _, ch := range p.channels {
		p.numbers = nil
		if err := p.call("[" + ch.call(`{"farewell":1}`) + "]"); err != nil {
			return err
		}
	}
	return nil
}

func (l *load) hasEnough() bool {
	select {
	case <-l.enough:
		return true
	default:
		return false
	}
}

// sleep lets d pass, unless the load ends.
func (l *load) sleep(d time.Duration) error {
	if d == 0 {
		return nil
	}
	select {
	case <-time.After(d):
		return nil
	case <-l.ctx.Done():
		return l.ctx.Err()
	}
}

// request publishes n messages, as PHP does in version 5, or as it does before: a single one mostly as text, several in one batch.
func (p *publisher) request(n int) error {
	p.numbers = p.numbers[:0]
	switch {
	case len(p.shared) == 0 || rand.IntN(2) == 0:
		return p.calls(n)
	case n == 1:
		ch := p.shared[rand.IntN(len(p.shared))]
		number, err := p.number(ch)
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
	body := testclient.AppendPublish(nil, batch...)
	return p.send(func() (testclient.Reply, error) { return p.http.Request(p.load.ctx, p.load.in.pubURL(), body) })
}

func (p *publisher) number(ch *loadChannel) (int, error) {
	n, err := ch.number(p.load.ctx)
	p.numbers = append(p.numbers, func() { ch.doubt(n) })
	return n, err
}

// publication is one for a channel, now and then for two, to private ids mostly, to public ones sometimes.
func (p *publisher) publication() (testclient.Publication, error) {
	out := testclient.Publication{Expiry: 3600, Body: "{"}
	first := rand.IntN(len(p.shared))
	for i := range min(1+rand.IntN(8)/7, len(p.shared)) {
		ch := p.shared[(first+i)%len(p.shared)]
		number, err := p.number(ch)
		if err != nil {
			return out, err
		}
		public := ch.public && p.load.toAll.Private == "" && rand.IntN(2) == 0
		for _, current := range ch.current() {
			receiver := current.PrivateReceiver()
			if public {
				receiver = testclient.Receiver{ID: current.PublicReceiver().ID}
			}
			out.Receivers = append(out.Receivers, receiver)
		}
		out.Body += fmt.Sprintf(`%q:%d,`, ch.name, number)
	}
	out.Body = out.Body[:len(out.Body)-1] + "}"
	return out, nil
}

// calls publishes n messages to channels and their users.
func (p *publisher) calls(n int) error {
	var calls []string
	for range n {
		ch := p.channels[rand.IntN(len(p.channels))]
		number, err := p.number(ch)
		if err != nil {
			return err
		}
		calls = append(calls, ch.call(fmt.Sprintf(`{%q:%d}`, ch.name, number)))
	}
	return p.call("[" + strings.Join(calls, ",") + "]")
}

// call wants the answer of version 5, which is the same for what is stored and for what is accepted only.
func (p *publisher) call(body string) error {
	return p.send(func() (testclient.Reply, error) {
		reply, err := p.load.call(p.http, body)
		if err == nil && reply.Status == 200 {
			reply.Status = 202
		}
		return reply, err
	})
}

// call sends what a back end of version 5 does.
func (l *load) call(backend *testclient.HTTP, body string) (testclient.Reply, error) {
	signature := hex.EncodeToString(testclient.NewChannel(testKey).Sign(body))
	reply, err := backend.Post(l.ctx, l.in.pubURL()+"?hostId=0123&signature="+signature, []byte(body))
	if err == nil && reply.Status == 200 && string(reply.Body) != "[]" {
		err = fmt.Errorf("%s is answered %s", body, reply.Body)
	}
	return reply, err
}

// call is the call that publishes to the channel, and to the users whose own it is.
func (ch *loadChannel) call(body string) string {
	channels, err := json.Marshal(ch.privateIDs())
	if err != nil {
		panic(err)
	}
	users, err := json.Marshal(ch.users)
	if err != nil {
		panic(err)
	}
	return fmt.Sprintf(`{"jsonrpc":"2.0","method":"publish","params":{"channelList":%s,"userList":%s,"expiry":3600,"body":%s}}`, channels, users, body)
}

func (p *publisher) text(ch *loadChannel, body string) error {
	return p.send(func() (testclient.Reply, error) {
		return p.http.PublishText(p.load.ctx, p.load.in.pubURL(), body, 3600, ch.privateIDs()...)
	})
}

// send wants 200, or 202 when the store is slow. Under rough conditions it sends again what was refused, or never arrived; what got no
// answer may have been published or not.
func (p *publisher) send(request func() (testclient.Reply, error)) error {
	for begin := time.Now(); ; {
		sent := time.Now()
		reply, err := request()
		noteLongest(&p.load.longest, time.Since(sent))
		var dialing *net.OpError
		switch {
		case err == nil && reply.Status == 200:
			p.load.noteStored()
			return nil
		case err == nil && reply.Status == 202:
			return nil
		case err == nil && p.load.rough && reply.Status == 503:
			p.load.refused.Add(1)
		case err != nil && p.load.rough && errors.As(err, &dialing) && dialing.Op == "dial":
		case err != nil && p.load.rough && len(p.numbers) > 0:
			for _, doubt := range p.numbers {
				doubt()
			}
			return nil
		case err == nil:
			return fmt.Errorf("publication answered %d %s", reply.Status, reply.Body)
		default:
			return err
		}
		if time.Since(begin) > patience {
			return fmt.Errorf("publication refused for %v: %d, %w", patience, reply.Status, err)
		}
		if err := p.load.sleep(20 * time.Millisecond); err != nil {
			return err
		}
	}
}

func (l *load) noteStored() {
	now := time.Now().UnixNano()
	if last := l.stored.Swap(now); last > 0 {
		noteLongest(&l.unstored, time.Duration(now-last))
	}
}

func noteLongest(longest *atomic.Int64, d time.Duration) {
	for {
		known := longest.Load()
		if int64(d) <= known || longest.CompareAndSwap(known, int64(d)) {
			return
		}
	}
}
