package engine

import (
	"bytes"
	"context"
	"crypto/rand"
	"log/slog"
	"strings"
	"testing"

	"push-server/engine/membus"
	"push-server/poll"
	"push-server/protocol"
	"push-server/protocol/testclient"
)

const (
	testKey  = "example-key"
	testSub  = "/bitrix/subws/"
	patience = testclient.Patience
)

// startEngine starts an engine on one random port that has every route, and waits until it is ready.
func startEngine(t testing.TB, bus Bus, change func(o *Options)) *Engine {
	t.Helper()
	e := startWithout(t, bus, change)
	testclient.Await(t, "the first echo", e.Ready)
	return e
}

// startWithout starts an engine whose bus need not be there.
func startWithout(t testing.TB, bus Bus, change func(o *Options)) *Engine {
	t.Helper()
	o := Options{
		Listeners: []Listener{{Name: "test", Addr: "127.0.0.1:0", Routes: poll.Routes{
			Sub: testSub, Pub: "/bitrix/pub/", Rest: "/bitrix/rest/", Stat: "/server-stat/",
		}}},
		Settings: Settings{Key: []byte(testKey)}, Loops: 2, AcceptTimeout: patience, // a busy machine is no reason for poll.ErrAccepted
		Logger: slog.New(slog.NewTextHandler(testLog{t}, &slog.HandlerOptions{Level: slog.LevelInfo})),
	}
	if change != nil {
		change(&o)
	}
	e, err := New(o, bus)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := e.Start(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := e.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return e
}

func startMemory(t testing.TB, change func(o *Options)) *Engine {
	t.Helper()
	bus := membus.New(membus.Options{})
	t.Cleanup(bus.Close)
	return startEngine(t, bus, change)
}

// changeSettings has e go on with other settings.
func changeSettings(t testing.TB, e *Engine, change func(s *Settings)) {
	t.Helper()
	s := e.settings.Load().Settings
	change(&s)
	if err := e.Change(t.Context(), s); err != nil {
		t.Fatal(err)
	}
}

// testLog writes the log of an engine to the test, until the test is over.
type testLog struct{ t testing.TB }

func (l testLog) Write(b []byte) (int, error) {
	l.t.Logf("%s", bytes.TrimRight(b, "\n"))
	return len(b), nil
}

// newItem invents a channel with a public id.
func newItem() protocol.Item {
	it := protocol.Item{HasPublic: true}
	_, _ = rand.Read(it.Private[:])
	_, _ = rand.Read(it.Public[:])
	return it
}

// newShared invents a channel without one.
func newShared() (it protocol.Item) {
	_, _ = rand.Read(it.Private[:])
	return it
}

func private(it protocol.Item) protocol.ChannelID {
	return protocol.ChannelID{Bytes: it.Private, Private: true}
}

// query is the query of a subscriber of items; more is appended as it is.
func query(more string, items ...protocol.Item) string {
	var list []string
	for _, it := range items {
		list = append(list, testclient.ChannelOf(testKey, it).Signed())
	}
	return "?CHANNEL_ID=" + strings.Join(list, "/") + more
}

// publish publishes body to chs and waits until it is stored.
func publish(t testing.TB, e *Engine, body string, expiry uint32, chs ...protocol.ChannelID) {
	t.Helper()
	if err := e.Publish(context.Background(), []*protocol.Publication{publication(body, expiry, chs...)}); err != nil {
		t.Fatal(err)
	}
}

func publication(body string, expiry uint32, chs ...protocol.ChannelID) *protocol.Publication {
	p := &protocol.Publication{Body: []byte(body), Expiry: expiry, Sender: protocol.Sender{Type: protocol.SenderBackend}}
	for _, ch := range chs {
		p.Receivers = append(p.Receivers, protocol.Receiver{Channel: ch})
	}
	return p
}

// dial connects to the first listener.
func dial(t testing.TB, e *Engine) *testclient.Client {
	t.Helper()
	return testclient.Open(t, e.Addrs()[0])
}

// webSocket opens a WebSocket with the given query.
func webSocket(t testing.TB, e *Engine, query string) *testclient.Client {
	t.Helper()
	c := dial(t, e)
	c.Upgrade(testSub + query)
	return c
}

// subscribed opens a WebSocket and waits until it listens.
func subscribed(t testing.TB, e *Engine, query string) *testclient.Client {
	t.Helper()
	return testclient.Subscribe(t, e.Addrs()[0], testSub+query)
}
