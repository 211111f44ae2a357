package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"push-server/engine/channels"
	"push-server/engine/membus"
	"push-server/engine/recorder"
	"push-server/engine/view"
	"push-server/poll"
	"push-server/protocol"
	"push-server/protocol/testclient"
)

func connectionsOf(t *testing.T, e *Engine, q view.Query) *view.List {
	t.Helper()
	if q.Limit == 0 {
		q.Limit = 100
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	list, err := e.Connections(ctx, q)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// An operator finds the connection of a user who complains, by address or channel, and sees what it was sent.
func TestOperatorFindsConnections(t *testing.T) {
	t.Parallel()
	e := startMemory(t, func(o *Options) { o.ErrorLog = func(string, string) {} }) // without it nobody needs to know what proxies say
	item, other := newItem(), newItem()
	c := testclient.Open(t, e.Addrs()[0])
	c.Upgrade(testSub+query("", item), "X-Forwarded-For: 10.1.2.3", "User-Agent: Firefox")
	subscribed(t, e, query("", other))
	ch := private(item)
	testclient.Await(t, "both listen", func() bool { return e.Stats().WebSockets == 2 })
	publish(t, e, `{"n":1}`, 60, ch)
	publish(t, e, `{"n":2}`, 60, ch)
	id := testclient.ChannelOf(testKey, item)
	var got view.Connection
	testclient.AwaitNil(t, "all is sent and acknowledged", func() error {
		list := connectionsOf(t, e, view.Query{Search: id.Private})
		if list.Total != 1 || list.Connections[0].Sent != 2 || list.Connections[0].Acked == "" {
			return fmt.Errorf("%+v", list)
		}
		got = list.Connections[0]
		return nil
	})
	public := protocol.ChannelID{Bytes: item.Public}
	if got.Transport != "websocket" || got.Dialect != "text" || got.State != "live" || got.Listener != "test" || got.Address != "10.1.2.3" ||
		got.Waiting != 0 || got.Agent != "Firefox" || got.Acked != got.LastMessage || len(got.LastMessage) != 26 || time.Since(got.Since) > time.Minute ||
		!slices.Equal(got.Channels, []string{view.Hash(&ch), view.Hash(&public)}) || got.ChannelCount != 2 {
		t.Errorf("%+v", got)
	}
	for _, search := range []string{got.ID, "10.1.2.", view.Hash(&ch), id.Public, id.Signed()} {
		if list := connectionsOf(t, e, view.Query{Search: search}); list.Total != 1 || list.Connections[0].ID != got.ID {
			t.Errorf("%q finds %+v", search, list)
		}
	}
	if list := connectionsOf(t, e, view.Query{}); list.Total != 2 || len(list.Connections) != 2 {
		t.Errorf("%+v", list)
	}
}

// A peer that reads nothing shows by what waits for it, before anything of ours is buffered.
func TestOperatorSeesWhatWaits(t *testing.T) {
	t.Parallel()
	e := startMemory(t, nil)
	item := newItem()
	subscribed(t, e, query("", item))
	body := `"` + strings.Repeat("x", 200<<10) + `"`
	testclient.Await(t, "something waits, and no id is acknowledged", func() bool {
		publish(t, e, body, 0, private(item))
		list := connectionsOf(t, e, view.Query{})
		return len(list.Connections) == 1 && list.Connections[0].Waiting > 0 && list.Connections[0].Acked == "" && list.Connections[0].LastMessage != ""
	})
}

func TestPollIsShownWithItsPosition(t *testing.T) {
	t.Parallel()
	e := startMemory(t, nil)
	c := dial(t, e)
	const mid = "17000000000000000000000001"
	c.Get(testSub + query("&mid="+mid, newItem()))
	testclient.Await(t, "the poll waits", func() bool {
		list := connectionsOf(t, e, view.Query{})
		return len(list.Connections) == 1 && list.Connections[0].State == "parked" && list.Connections[0].Transport == "poll" && list.Connections[0].LastMessage == mid
	})
}

// What an operator disconnects comes back: a WebSocket is told so, a poll gets its position.
func TestOperatorDisconnects(t *testing.T) {
	t.Parallel()
	e := startMemory(t, nil)
	socket, poll := subscribed(t, e, query("", newItem())), dial(t, e)
	const mid = "17000000000000000000000001"
	poll.Get(testSub + query("&mid="+mid, newItem()))
	testclient.Await(t, "both are there", func() bool { return e.Stats().Polls == 1 })
	for _, c := range connectionsOf(t, e, view.Query{}).Connections {
		id, _ := view.ParseID(c.ID)
		if found, err := e.Disconnect(t.Context(), id); !found || err != nil {
			t.Error(found, err)
		}
		id.Generation++
		if found, _ := e.Disconnect(t.Context(), id); found {
			t.Error("another connection is taken for one that is gone")
		}
	}
	if code := socket.End(); code != 1001 {
		t.Errorf("close code %d", code)
	}
	if reply := poll.Reply("GET"); !strings.Contains(string(reply.Body), mid) && !strings.Contains(reply.Header.Get("Last-Message-Id"), mid) {
		t.Errorf("%+v", reply)
	}
}

// What happened on a connection is known after its end, without what was said.
func TestFlightRecorder(t *testing.T) {
	t.Parallel()
	e := startMemory(t, nil)
	item := newItem()
	c := subscribed(t, e, query("", item))
	id, _ := view.ParseID(connectionsOf(t, e, view.Query{}).Connections[0].ID)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	f, err := e.Watch(ctx, id)
	if err != nil || f == nil {
		t.Fatal(f, err)
	}
	publish(t, e, `"secret"`, 60, private(item))
	c.Bodies(1)
	c.SendFrame(ws.OpPing, []byte("secret"))
	c.SendFrame(ws.OpClose, nil)
	c.End()
	var followed []string
	for ended := false; !ended; {
		var es []recorder.Event
		es, _, ended = f.Next(t.Context())
		for _, line := range Lines(es) {
			followed = append(followed, line.Kind)
		}
	}
	if want := []string{"message", "frame", "frame", "close-frame", "closed"}; !slices.Equal(followed, want) {
		t.Errorf("followed %q, want %q", followed, want)
	}
	var kinds []string
	lines, err := e.Events(t.Context(), id)
	for _, line := range lines {
		kinds = append(kinds, line.Kind)
	}
	if want := append([]string{"open", "request", "subscribed", "frame"}, followed...); err != nil || !slices.Equal(kinds, want) {
		t.Errorf("%q, %v, want %q", kinds, err, want)
	}
	if l := lines[4]; l.Bytes == 0 || l.Mid == "" || l.Direction != "out" {
		t.Errorf("%+v", l)
	}
	if l := lines[len(lines)-1]; l.Note != "handshake" {
		t.Errorf("%+v", l)
	}
	if f, err := e.Watch(t.Context(), id); f != nil || err != nil {
		t.Error("a connection that is gone is followed")
	}
}

// Operators may ask before the start, when no loop can be woken, and after the end.
func TestOperatorsAskAtAnyTime(t *testing.T) {
	t.Parallel()
	var log testclient.Log
	bus := membus.New(membus.Options{})
	t.Cleanup(bus.Close)
	e, err := New(Options{
		Listeners: []Listener{{Name: "test", Addr: "127.0.0.1:0", Routes: poll.Routes{Sub: testSub}}},
		Settings:  Settings{Key: []byte(testKey)}, Loops: 1, Logger: slog.New(slog.NewTextHandler(&log, nil)),
	}, bus)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(want error) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if _, err := e.Connections(ctx, view.Query{Limit: 1}); !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
		if _, err := e.Watch(ctx, view.ID{}); !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
	}
	ask(errStarting)
	if err := e.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	ask(nil)
	if err := e.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Events(t.Context(), view.ID{}); !errors.Is(err, errStopped) {
		t.Error(err)
	}
	if text := log.String(); strings.Contains(text, "cannot be woken") {
		t.Error(text)
	}
}

// Only so many may watch, and whoever goes makes room.
func TestWatchersAreBounded(t *testing.T) {
	t.Parallel()
	e := startMemory(t, nil)
	subscribed(t, e, query("", newItem()))
	id, _ := view.ParseID(connectionsOf(t, e, view.Query{}).Connections[0].ID)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for range maxWatchers {
		if f, err := e.Watch(ctx, id); f == nil || err != nil {
			t.Fatal(f, err)
		}
	}
	if f, err := e.Watch(t.Context(), id); f != nil || !errors.Is(err, ErrWatchers) {
		t.Fatal(f, err)
	}
	cancel()
	testclient.AwaitNil(t, "there is room again", func() error {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		_, err := e.Watch(ctx, id)
		return err
	})
	testclient.Await(t, "nobody watches", func() bool {
		left := 0
		_ = askLoops(t.Context(), e.loops, func(l *loop) {
			for _, fs := range l.watched {
				left += len(fs)
			}
		})
		return left == 0 && e.watchers.Load() == 0
	})
}

// A slow reader is closed with a line that says what happened before.
func TestLineHasLastEvents(t *testing.T) {
	t.Parallel()
	var log testclient.Log
	e := startMemory(t, func(o *Options) {
		o.MaxBuffered = 1000
		o.Logger = slog.New(slog.NewTextHandler(&log, nil))
	})
	item := newItem()
	subscribed(t, e, query("", item))
	testclient.Await(t, "the slow reader is closed", func() bool {
		publish(t, e, `"`+strings.Repeat("x", 200<<10)+`"`, 0, private(item))
		return e.Stats().Closes["slow_reader"] > 0
	})
	if text := log.String(); !regexp.MustCompile(`read too slowly.* events="[^"]*message \d+B, [^"]*buffered \d+B[^"]*closed slow_reader"`).MatchString(text) {
		t.Error(text)
	}
}

// A list in parts has everybody once, and a loop with many connections serves its sockets meanwhile.
func TestConnectionsInParts(t *testing.T) {
	t.Parallel()
	l, _, _ := bareLoop(t, 0)
	l.engine.o.Listeners = []Listener{{Name: "test"}}
	const n = 2000
	c := newSink(t)
	for range n {
		s := l.slab.take()
		s.conn, s.transport, s.state = c, transportWebSocket, stateLive
		s.forwarded, s.asks = [4]byte{10, 0, 0, 1}, hasForwarded
	}
	seen := make(map[string]bool)
	q := view.Query{Limit: 300}
	slices := 0
	for {
		v := &listing{query: q, match: view.NewMatch(""), list: view.List{}}
		for part := (survey{see: v.see}); !part.done; slices++ {
			part.look(l)
		}
		if v.list.Total != n {
			t.Fatalf("%d of %d", v.list.Total, n)
		}
		for _, c := range v.list.Connections {
			if seen[c.ID] {
				t.Fatalf("%s twice", c.ID)
			}
			seen[c.ID] = true
		}
		if v.list.Next == "" {
			break
		}
		after, _ := view.ParseID(v.list.Next)
		q.After = &after
	}
	if len(seen) != n {
		t.Errorf("%d of %d connections were listed", len(seen), n)
	}
}

// BenchmarkConnections is a question to a loop with 50,000 connections; ms/slice is how long it is held at a time.
func BenchmarkConnections(b *testing.B) {
	l, ch := nullLoop(b, 0)
	l.engine.o.Listeners = []Listener{{Name: "test"}}
	c := newSink(b)
	sub := []channels.Subscription{l.table.Join(&ch, 0, 0)}
	for range 50_000 {
		s := l.slab.take()
		s.conn, s.transport, s.state, s.subs = c, transportWebSocket, stateLive, sub
		s.forwarded, s.asks = [4]byte{10, 0, 0, 1}, hasForwarded
	}
	for _, search := range []string{"", "10.0.0.2", "abcd1234"} {
		b.Run("search="+search, func(b *testing.B) {
			n := 0
			for b.Loop() {
				v := &listing{query: view.Query{Limit: 1000}, match: view.NewMatch(search)}
				for part := (survey{see: v.see}); !part.done; n++ {
					part.look(l)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/1000/float64(n), "ms/slice")
		})
	}
}
