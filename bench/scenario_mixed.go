package bench

import (
	"context"
	"sync"
	"time"

	"push-server/bench/load"
	"push-server/bench/result"
)

// Shares of what a portal does. Rate is that of all publications but those to everybody.
const (
	pollShare    = 0.05 // of the users
	speakerShare = 0.01 // of the users, who publish by WebSocket
	churnShare   = 1.0 / 200
	chatShare    = 1.0 / 20 // chats per user
	chatSize     = 10

	ownRate  = 0.6
	chatRate = 0.2
	talkRate = 0.2
	// everybodyRate is in publications a second.
	everybodyRate = 0.5
)

const (
	speakers = "speakers"
	sockets  = "sockets"
	polls    = "polls"
)

var mixed = &Scenario{
	Name:     "mixed",
	Doc:      "a portal: WebSockets and polls, private, shared and chat messages, clients that publish, people who come and go",
	Defaults: Params{N: 10_000, Rate: 1000, Time: 20 * time.Second},
	Plan:     portal,
	Run: func(ctx context.Context, t *Trial) error {
		if err := t.openPortal(ctx); err != nil {
			return err
		}
		t.say("warming up")
		if err := t.work(ctx, t.Time/5); err != nil {
			return err
		}
		return t.measureWork(ctx)
	},
	Without: foreign,
}

// portal is N people: first those who publish by WebSocket, then the others, then those who poll.
func portal(p Params) *load.Plan {
	talk := max(int(float64(p.N)*speakerShare), 1)
	poll := int(float64(p.N) * pollShare)
	user := func(name string, first, count int) load.Group {
		g := portalUser
		g.Name, g.First, g.Count = name, first, count
		return g
	}
	polling := user(polls, p.N-poll, poll)
	polling.Poll = true
	return &load.Plan{
		Users: p.N, Shared: 1, Payload: p.Payload, Expiry: p.Expiry,
		Chats: int(float64(p.N) * chatShare), ChatSize: min(chatSize, p.N),
		Groups: []load.Group{user(speakers, 0, talk), user(sockets, talk, p.N-talk-poll), polling},
	}
}

func (t *Trial) openPortal(ctx context.Context) error {
	for _, group := range []string{speakers, sockets, polls} {
		if _, err := t.connect(ctx, group, 0); err != nil {
			return err
		}
	}
	t.say("giving everybody a position")
	_, err := t.publish(ctx, t.shared(0, 1))
	return err
}

// work publishes everything at the same time, while some connections close and come back.
func (t *Trial) work(ctx context.Context, d time.Duration) error {
	p := t.Fleet.Plan
	campaigns := []load.Campaign{
		{First: p.OwnStream(0), Streams: p.Users, Connections: t.Connections, Rate: t.Rate * ownRate},
		{First: p.ChatStream(0), Streams: p.Chats, Connections: t.Connections, Rate: t.Rate * chatRate},
		{First: p.ClientStream(0), Streams: p.Users, Connections: t.Connections, Rate: t.Rate * talkRate, Speakers: speakers},
		{First: p.SharedStream(0), Streams: 1, Connections: 1, Rate: everybodyRate},
	}
	if err := t.Fleet.Churn(ctx, load.Churn{Group: sockets, Rate: float64(t.N) * churnShare}); err != nil {
		return err
	}
	errs := make([]error, len(campaigns))
	var wait sync.WaitGroup
	for i, c := range campaigns {
		if c.Streams == 0 || c.Speakers != "" && t.Server.Target.Format != load.Protobuf {
			continue // with text framing clients cannot publish
		}
		c.Time = d
		wait.Go(func() { _, errs[i] = t.Fleet.Publish(ctx, c) })
	}
	wait.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	if err := t.Fleet.Churn(ctx, load.Churn{Group: sockets}); err != nil {
		return err
	}
	_, err := t.Fleet.Settle(ctx, t.Patience)
	return err
}

func (t *Trial) measureWork(ctx context.Context) error {
	t.say("a working day")
	s, err := t.measure(ctx, func() error { return t.work(ctx, t.Time) })
	if err != nil {
		return err
	}
	p, all := result.Describe(s.Stats.Delivery), result.Describe(s.Stats.Broadcast)
	t.Run.Latency["mixed"], t.Run.Latency["everybody"] = p, all
	t.set("mixedBroadcastP99", all.P99)
	t.set("mixedP50", p.P50)
	t.set("mixedP99", p.P99)
	t.set("mixedDeliveriesPerSecond", perSecond(s.Deliveries, s.Elapsed))
	t.set("cpuPercent", 100*s.Cost.Server.Total().Seconds()/s.Elapsed.Seconds())
	t.set("redisCpuPercent", 100*s.Cost.Redis.Total().Seconds()/s.Elapsed.Seconds())
	return nil
}
