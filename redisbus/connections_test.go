package redisbus_test

import (
	"context"
	"regexp"
	"sync"
	"testing"
	"time"

	"push-server/engine/bustest"
	"push-server/protocol"
	"push-server/protocol/testclient"
	"push-server/redisbus"
	"push-server/redisbus/redistest"
)

// Whatever is being read, and however long it takes, publications and echoes do not wait for it.
func TestReadsKeepNobodyWaiting(t *testing.T) {
	f := func(name, word string, read func(ctx context.Context, bus *redisbus.Bus) error) {
		t.Run(name, func(t *testing.T) {
			server := redistest.Start(t)
			proxy := server.Proxy(t)
			bus := open(t, redisbus.Options{Addr: proxy.Addr()})
			l := bustest.Subscribe(t, bus)
			publish(t, bus, numbered(0, 3, alice)...)
			proxy.HoldAnswer(word)
			ended := make(chan error, 1)
			go func() { ended <- read(timeout(t, patience), bus) }()
			proxy.AwaitHeld(t)
			everywhereButHistory(t, bus, l, "0 1 2", numbered(3, 3, alice))
			select {
			case err := <-ended:
				t.Fatalf("the read did not take long: %v", err)
			default:
			}
			proxy.Release()
			if err := <-ended; err != nil {
				t.Errorf("the read: %v", err)
			}
		})
	}
	query := []protocol.HistoryQuery{{Channels: []protocol.ChannelID{alice}}}
	f("indexes", "ZREVRANGEBYLEX", func(ctx context.Context, b *redisbus.Bus) error { _, err := b.History(ctx, query, 0); return err })
	f("bodies", "MGET", func(ctx context.Context, b *redisbus.Bus) error { _, err := b.History(ctx, query, 0); return err })
	f("a repair", "PTTL", func(ctx context.Context, b *redisbus.Bus) error {
		_, err := b.Remaining(ctx, make([]protocol.MessageID, 10))
		return err
	})
	f("who is online", "channel:online", func(ctx context.Context, b *redisbus.Bus) error {
		_, err := b.Online(ctx, []protocol.ChannelID{alice})
		return err
	})
}

// everywhereButHistory publishes ps and checks that they are delivered after before.
func everywhereButHistory(t *testing.T, bus *redisbus.Bus, l *bustest.Listener, before string, ps []*protocol.Publication) {
	t.Helper()
	publish(t, bus, ps...)
	n, err := bus.Echo(timeout(t, patience))
	if err != nil {
		t.Fatal(err)
	}
	events, _ := l.Echo(t, n)
	want(t, "delivered", bustest.Delivered(events), before+" "+bodies(ps))
}

// A connection that brings nothing any more is given up after the same time whatever it is for, and calls that wait for it fail.
func TestSilentConnectionsAreGivenUp(t *testing.T) {
	f := func(name string, call func(ctx context.Context, bus *redisbus.Bus) error) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			proxy := server.Proxy(t)
			bus := open(t, redisbus.Options{Addr: proxy.Addr(), SilenceTimeout: 300 * time.Millisecond})
			testclient.AwaitNil(t, "a first answer", func() error { return call(timeout(t, patience), bus) }) // a busy machine may be silent
			proxy.DeafenAll()
			ctx := timeout(t, 9*time.Second)                // the libraries' own 10 s are beyond
			for call(ctx, bus) != nil && ctx.Err() == nil { // a read is repeated on a new connection by itself
			}
			if ctx.Err() != nil {
				t.Error("still waiting for the old connection")
			}
		})
	}
	f("publications", func(ctx context.Context, b *redisbus.Bus) error {
		_, err := b.Publish(ctx, numbered(0, 1, alice))
		return err
	})
	f("echoes", func(ctx context.Context, b *redisbus.Bus) error { _, err := b.Echo(ctx); return err })
	f("reads", func(ctx context.Context, b *redisbus.Bus) error {
		_, err := b.History(ctx, []protocol.HistoryQuery{{Channels: []protocol.ChannelID{alice}}}, 0)
		return err
	})
}

// TestReconnectAtOnce: a request to drop a connection counts as soon as that connection has begun with its gap.
func TestReconnectAtOnce(t *testing.T) {
	server := redistest.Start(t)
	bus := open(t, redisbus.Options{Addr: server.Addr(), RetryMax: 20 * time.Millisecond})
	h := &reconnecting{Listener: bustest.NewListener(), bus: bus}
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { ended <- bus.Subscribe(ctx, h) }()
	h.AwaitEcho(t, bus)
	bus.Reconnect()
	h.Wait(t, "the gap of another connection", func(events []bustest.Event) bool { return bustest.Gaps(events) == 2 })
	cancel()
	<-ended
}

// reconnecting asks for another connection when the first gap comes.
type reconnecting struct {
	*bustest.Listener
	bus  *redisbus.Bus
	once sync.Once
}

func (h *reconnecting) HandleGap() {
	h.once.Do(h.bus.Reconnect)
	h.Listener.HandleGap()
}

// TestDeafAndHanging: where nobody takes the order to listen anew, all connections are made anew.
func TestDeafAndHanging(t *testing.T) {
	server := redistest.Start(t)
	bus := open(t, redisbus.Options{Addr: server.Addr()})
	connections := func() string {
		if _, err := bus.Echo(timeout(t, patience)); err != nil {
			t.Fatal(err)
		}
		list := server.Do("CLIENT", "LIST")
		text, err := list.ToString()
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	id := regexp.MustCompile(`id=(\d+) .* name=push-server`)
	before := id.FindStringSubmatch(connections())
	bus.Reconnect() // nobody subscribes, so nobody takes it
	bus.Reconnect()
	if after := id.FindStringSubmatch(connections()); before == nil || after == nil || before[1] == after[1] {
		t.Errorf("the connection is still the same: %v, %v", before, after)
	}
}
