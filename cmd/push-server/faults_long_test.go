package main

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"push-server/protocol/testclient"
	"push-server/redisbus/redistest"
)

// inLongForm skips a test that needs a machine for itself.
func inLongForm(t *testing.T) {
	if os.Getenv("PUSH_TEST_FAULTS") != "long" {
		t.Skip("make test-faults FAULTS=long runs it")
	}
}

// TestFaultsCrowd: Redis stands still for eight seconds while back ends publish 2,500 times a second, with a connection each. Nobody waits for
// long, and each client gets what was accepted once and in order.
func TestFaultsCrowd(t *testing.T) {
	inLongForm(t)
	const (
		backends, each = 250, 120
		pace           = 100 * time.Millisecond
	)
	redis := startRedis(t)
	in := installOn(t, redis, nil)
	in.waitDelivering(t)
	l := newLoad(t, in, loadSize{channels: backends})
	var statuses [600]atomic.Int64
	var accepted atomic.Int64 // when the last 202 came, in Unix nanoseconds
	var listening, publishing sync.WaitGroup
	for _, ch := range l.channels {
		socket := dialSubscriber(t, in.subs[0], testclient.Query(true, "", ch.Signed()))
		listening.Go(func() {
			if err := followSocket(socket).until(numbered(each)); err != nil {
				t.Errorf("channel %s: %v", ch.name, err)
			}
		})
	}
	slowness := l.watchMachine()
	begin := time.Now()
	for i, ch := range l.channels {
		publishing.Go(func() {
			_ = l.sleep(pace * time.Duration(i) / backends) // so that they do not come all at once
			tick := time.NewTicker(pace)
			defer tick.Stop()
			for n := 1; n <= each; {
				<-tick.C
				sent := time.Now()
				reply, err := testclient.NewHTTP(false).PublishText(t.Context(), in.pubURL(), numbered(n), 600, ch.Private)
				noteLongest(&l.longest, time.Since(sent))
				if err != nil {
					t.Errorf("publication %d to channel %s: %v", n, ch.name, err)
					return
				}
				if statuses[reply.Status].Add(1); reply.Status != 503 {
					n++
				}
				if reply.Status == 202 {
					noteLongest(&accepted, time.Duration(time.Now().UnixNano()))
				}
			}
		})
	}
	f := &faultRun{load: l}
	f.last(2 * time.Second)
	redis.Pause()
	f.last(8 * time.Second)
	redis.Resume()
	resumed := time.Now()
	publishing.Wait()
	rate := backends * each / time.Since(begin).Seconds()
	listening.Wait()
	f.checkWaits(slowness())
	t.Logf("%.0f publications a second; %d answers 200, %d 202, %d 503; the last 202 was %v after the return of Redis", rate,
		statuses[200].Load(), statuses[202].Load(), statuses[503].Load(), time.Unix(0, accepted.Load()).Sub(resumed).Round(time.Millisecond))
}

// TestFaultsEmptied: Redis loses its data ten times, while publishers, 200 times a second, do not pause. What a server has given to anybody it
// still has, so that whoever returns to it gets it, too.
func TestFaultsEmptied(t *testing.T) {
	inLongForm(t)
	redis := redistest.Start(t)
	in := &installation{redis: redis}
	for i, name := range []string{"default-pub", "default-sub", "default-sub"} {
		c := recordedConfig(t, name, redis.Addr())
		c.hasty()
		c["processUniqueId"] = fmt.Sprint(name, i)
		in.add(t, c)
	}
	in.waitDelivering(t)
	e := &emptied{load: newLoad(t, in, loadSize{channels: 20}), stop: make(chan struct{})}
	for _, ch := range e.channels {
		for _, addr := range in.subs {
			e.pairs = append(e.pairs, &pair{witness: &taker{addr: addr, ch: ch}, returning: &taker{addr: addr, ch: ch}})
		}
	}
	e.listen()
	var publishing sync.WaitGroup
	publishing.Go(e.publish)
	f := &faultRun{load: e.load}
	for range 10 {
		f.last(time.Second)
		redis.Restart()
	}
	f.last(time.Second)
	close(e.stop)
	publishing.Wait()
	e.work.Wait()
	e.check()
}

// emptied are publications to channels, each of which has two clients at each server: one that stays, and one that comes and goes.
type emptied struct {
	*load
	pairs []*pair
	sent  atomic.Int64
	stop  chan struct{}
	work  sync.WaitGroup
}

type pair struct{ witness, returning *taker }

// A taker writes down what it gets.
type taker struct {
	addr string
	ch   *loadChannel
	mid  string
	got  map[string]bool
}

// take takes n messages over one connection, or all up to the last one.
func (k *taker) take(t *testing.T, n int) (over bool) {
	socket, err := testclient.Dial(t.Context(), k.addr, subPath+testclient.Query(true, k.mid, k.ch.Signed()))
	if err != nil {
		t.Error(err)
		return true
	}
	defer socket.Close()
	for len(k.got) < n || n == 0 {
		socket.SetReadDeadline(time.Now().Add(patience))
		batch, err := socket.Receive()
		if err != nil {
			t.Errorf("channel %s at %s, behind %s: %v", k.ch.name, k.addr, k.mid, err)
			return true
		}
		for _, m := range batch {
			if m.ID <= k.mid || k.got[m.Body] {
				t.Errorf("channel %s at %s: %s %s behind %s", k.ch.name, k.addr, m.ID, m.Body, k.mid)
			}
			k.mid, k.got[m.Body] = m.ID, true
			if m.Body == lastOne {
				return true
			}
		}
	}
	return false
}

// listen connects all clients, and has each get a first message.
func (e *emptied) listen() {
	var first sync.WaitGroup
	for _, p := range e.pairs {
		for _, k := range []*taker{p.witness, p.returning} {
			k.got = make(map[string]bool)
			k.mid = beginning
			first.Go(func() { k.take(e.t, 1) })
		}
	}
	for _, ch := range e.channels {
		publishText(e.t, e.in, `{"first":1}`, 600, ch.Private)
	}
	first.Wait()
	for _, p := range e.pairs {
		e.work.Go(func() { p.witness.take(e.t, 0) })
		e.work.Go(func() {
			for n := 1; !p.returning.take(e.t, len(p.returning.got)+n); n = n%7 + 1 {
				_ = e.sleep(time.Duration(n) * 100 * time.Millisecond)
			}
		})
	}
}

func (e *emptied) publish() {
	backend := testclient.NewHTTP(true)
	defer backend.Close()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	send := func(ch *loadChannel, body string) {
		testclient.AwaitNil(e.t, "a publication is accepted", func() error {
			reply, err := backend.PublishText(e.ctx, e.in.pubURL(), body, 600, ch.Private)
			if err == nil && reply.Status != 200 && reply.Status != 202 {
				err = fmt.Errorf("answered %d", reply.Status)
			}
			return err
		})
	}
	for n := 0; ; n++ {
		select {
		case <-e.stop:
			for _, ch := range e.channels {
				send(ch, lastOne)
			}
			return
		case <-tick.C:
			send(e.channels[n%len(e.channels)], numbered(n))
			e.sent.Add(1)
		}
	}
}

func (e *emptied) check() {
	known := make(map[string]bool)
	for _, p := range e.pairs {
		maps.Copy(known, p.witness.got)
		lacks := maps.Clone(p.witness.got)
		maps.DeleteFunc(lacks, func(body string, _ bool) bool { return p.returning.got[body] })
		if len(lacks) > 0 {
			e.t.Errorf("channel %s at %s: who returned lacks %v", p.witness.ch.name, p.witness.addr, slices.Collect(maps.Keys(lacks)))
		}
	}
	numbers := int64(len(known)) - 2 // the first one, and the last
	e.t.Logf("%d publications, of which %d were lost with the data of Redis before a server knew of them", e.sent.Load(), e.sent.Load()-numbers)
}
