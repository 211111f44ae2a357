package redisbus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"push-server/engine/outage"
)

// sentinels say which server is the master. The client of rueidis that does the same is not used: it is not made while no sentinel
// answers, and when the master moves it leaves the connection of subscriptions where it is.
type sentinels struct {
	name    string // of the master
	addrs   []string
	clients []*client
	log     *slog.Logger

	chosen atomic.Pointer[choice]
}

// choice is a replica that is being made the master.
type choice struct {
	addr  string
	until time.Time // it is in doubt again
}

// choiceLasts is more than sentinels take to call a replica the master once it is one.
const choiceLasts = 5 * time.Second

// choose notes what the sentinel that leads a failover says when it has told a replica to be the master. It looks a second later whether
// that has happened, and what is written to the old master until then is lost.
func (s *sentinels) choose(m rueidis.PubSubMessage) {
	words := strings.Fields(m.Message) // "slave" name address port "@" master address port
	if m.Channel == promotionEvent && len(words) > 5 && words[5] == s.name {
		s.chosen.Store(&choice{net.JoinHostPort(words[2], words[3]), time.Now().Add(choiceLasts)})
	}
}

// next is the address of the replica that is being made the master; "": there is none.
func (s *sentinels) next() string {
	if c := s.chosen.Load(); c != nil && time.Now().Before(c.until) {
		return c.addr
	}
	return ""
}

const promotionEvent = "+failover-state-wait-promotion"

// secondOpinion is how long the answers of few sentinels are waited for after those of most of them. Whoever is not there is no reason to
// wait; but right after a failover not all of them know.
const secondOpinion = 100 * time.Millisecond

func newSentinels(ctx context.Context, name string, addrs []string, o rueidis.ClientOption, log *slog.Logger) (*sentinels, error) {
	s := &sentinels{name: name, addrs: addrs, log: log}
	for _, addr := range addrs {
		o.InitAddress = []string{addr}
		c := &client{}
		s.clients = append(s.clients, c)
		if err := c.init(ctx, o, &place{network: "tcp"}, log, nil); err != nil {
			s.close()
			return nil, err
		}
	}
	return s, nil
}

func (s *sentinels) close() {
	for _, c := range s.clients {
		c.close()
	}
}

// opinion is what one sentinel says.
type opinion struct {
	addr  string
	epoch int64 // of the configuration: it grows with each failover
	err   error
}

// master returns the address of the master, by the latest configuration that a sentinel knows.
func (s *sentinels) master(ctx context.Context) (string, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	opinions := make(chan opinion, len(s.clients))
	for i := range s.clients {
		go func() { opinions <- s.ask(ctx, i) }()
	}
	var best opinion
	var failures []error
	var late <-chan time.Time
	for heard := 0; heard+len(failures) < len(s.clients); {
		select {
		case o := <-opinions:
			if o.err != nil {
				failures = append(failures, o.err)
				continue
			}
			if heard++; heard == len(s.clients)/2+1 {
				late = time.After(secondOpinion)
			}
			if best.addr == "" || o.epoch > best.epoch {
				best = o
			}
			continue
		case <-late:
		case <-ctx.Done():
			failures = append(failures, ctx.Err())
		}
		break
	}
	if best.addr == "" {
		return "", fmt.Errorf("redisbus: no sentinel says where the master %q is: %w", s.name, errors.Join(failures...))
	}
	return best.addr, nil
}

func (s *sentinels) ask(ctx context.Context, i int) (o opinion) {
	o.err = s.clients[i].call(func(c rueidis.Client) error {
		results := c.DoMulti(ctx, c.B().SentinelGetMasterAddrByName().Master(s.name).Build(), c.B().Arbitrary("SENTINEL", "MASTER", s.name).Build())
		parts, err := results[0].AsStrSlice()
		switch {
		case rueidis.IsRedisNil(err):
			return errors.New("it does not know that name")
		case err != nil:
			return err
		case len(parts) != 2:
			return fmt.Errorf("it answers with %q", parts)
		}
		o.addr = net.JoinHostPort(parts[0], parts[1])
		if state, err := results[1].AsStrMap(); err == nil { // a user may be allowed the first one alone
			o.epoch, _ = strconv.ParseInt(state["config-epoch"], 10, 64)
		}
		return nil
	})
	if o.err != nil {
		o.err = fmt.Errorf("sentinel %s: %w", s.addrs[i], o.err)
	}
	return o
}

// listen calls moved when the master may be another one, until ctx ends.
func (s *sentinels) listen(ctx context.Context, moved func()) {
	var listening sync.WaitGroup
	for i := range s.clients {
		listening.Go(func() { s.listenTo(ctx, i, moved) })
	}
	listening.Wait()
}

// listenTo listens to one sentinel. What it said while nobody listened is made up for by moved with each beginning.
func (s *sentinels) listenTo(ctx context.Context, i int, moved func()) {
	retry := newRetry(2 * time.Second)
	trouble := outage.New(s.log, "not listening to sentinel "+s.addrs[i], "trying again")
	var heard atomic.Bool
	hooked := rueidis.WithOnSubscriptionHook(ctx, func(rueidis.PubSubSubscription) {
		heard.Store(true)
		trouble.Over()
		moved()
	})
	for ctx.Err() == nil {
		err := s.clients[i].call(func(c rueidis.Client) error {
			events := c.B().Subscribe().Channel(promotionEvent, "+promoted-slave", "+switch-master").Build()
			return c.Receive(hooked, events, func(m rueidis.PubSubMessage) {
				s.choose(m)
				moved()
			})
		})
		if ctx.Err() != nil {
			return
		}
		if heard.Swap(false) {
			retry.Reset()
		}
		trouble.Failed(err)
		sleep(ctx, retry.NextBackOff())
	}
}
