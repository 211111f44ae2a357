package redisbus_test

import (
	"context"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"push-server/protocol"
	"push-server/protocol/testclient"
	"push-server/redisbus"
	"push-server/redisbus/redistest"
)

const patience = testclient.Patience

var (
	alice = channel("0123456789abcdef0123456789abcdef", true)
	bob   = channel("00112233445566778899aabbccddeeff", true)
	bobby = channel("ffeeddccbbaa99887766554433221100", false)
)

func channel(digits string, private bool) protocol.ChannelID {
	return protocol.ChannelID{Bytes: [16]byte(unhex(digits)), Private: private}
}

func unhex(digits string) []byte {
	b, err := hex.DecodeString(strings.Join(strings.Fields(digits), ""))
	if err != nil {
		panic(err)
	}
	return b
}

func historyKey(ch protocol.ChannelID) string {
	if ch.Private {
		return "channel:messages:" + string(ch.Bytes[:])
	}
	return "pubchannel:messages:" + string(ch.Bytes[:])
}

func publication(body string, expiry uint32, chs ...protocol.ChannelID) *protocol.Publication {
	p := &protocol.Publication{Body: []byte(body), Expiry: expiry, Sender: protocol.Sender{Type: protocol.SenderBackend}}
	for _, ch := range chs {
		p.Receivers = append(p.Receivers, protocol.Receiver{Channel: ch})
	}
	return p
}

// numbered makes publications with the bodies from, from+1, …
func numbered(from, n int, chs ...protocol.ChannelID) (ps []*protocol.Publication) {
	for i := range n {
		ps = append(ps, publication(fmt.Sprint(from+i), 3600, chs...))
	}
	return ps
}

func timeout(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

func publish(t testing.TB, bus *redisbus.Bus, ps ...*protocol.Publication) {
	t.Helper()
	if stored, err := bus.Publish(timeout(t, patience), ps); err != nil || stored != len(ps) {
		t.Fatalf("Publish of %d: %d, %v", len(ps), stored, err)
	}
}

// publishAll does what the contract asks for after an error until all are stored.
func publishAll(t testing.TB, bus *redisbus.Bus, ps []*protocol.Publication) {
	t.Helper()
	ctx := timeout(t, patience)
	for len(ps) > 0 {
		attempt, cancel := context.WithTimeout(ctx, time.Second)
		stored, err := bus.Publish(attempt, ps)
		cancel()
		ps = ps[stored:]
		if err != nil && ctx.Err() != nil {
			t.Fatal(err)
		}
	}
}

func history(t testing.TB, bus *redisbus.Bus, chs ...protocol.ChannelID) []*protocol.Publication {
	t.Helper()
	answers, err := bus.History(timeout(t, patience), []protocol.HistoryQuery{{Channels: chs}}, 0)
	if err != nil {
		t.Fatal(err)
	}
	return answers[0].Publications
}

func bodies(ps []*protocol.Publication) string {
	all := make([]string, len(ps))
	for i, p := range ps {
		all[i] = string(p.Body)
	}
	return strings.Join(all, " ")
}

func want(t testing.TB, what string, ps []*protocol.Publication, bodiesWanted string) {
	t.Helper()
	if got := bodies(ps); got != bodiesWanted {
		t.Fatalf("%s:\n got %s\nwant %s", what, got, bodiesWanted)
	}
}

// eavesdrop returns the payloads that are published to the Node server's pattern.
func eavesdrop(t *testing.T, server *redistest.Server) <-chan rueidis.PubSubMessage {
	t.Helper()
	c, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{server.Addr()}, DialCtxFn: redistest.Dial, ForceSingleClient: true, DisableCache: true})
	if err != nil {
		t.Fatal(err)
	}
	messages := make(chan rueidis.PubSubMessage, 1000)
	ctx, cancel := context.WithCancel(context.Background())
	subscribed, ended := make(chan struct{}), make(chan struct{})
	ctx = rueidis.WithOnSubscriptionHook(ctx, func(rueidis.PubSubSubscription) { close(subscribed) })
	go func() {
		defer close(ended)
		_ = c.Receive(ctx, c.B().Psubscribe().Pattern("pushserver:*").Build(), func(m rueidis.PubSubMessage) { messages <- m })
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
		c.Close()
	})
	<-subscribed
	return messages
}

func receive(t *testing.T, messages <-chan rueidis.PubSubMessage) rueidis.PubSubMessage {
	t.Helper()
	return testclient.AwaitFrom(t, "something is published", messages)
}

// at makes a clock that shows the time of the recorded examples.
func at(unix int64) func() time.Time { return func() time.Time { return time.Unix(unix, 0) } }
