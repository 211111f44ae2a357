package engine

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/gobwas/ws"

	"push-server/engine/membus"
	"push-server/protocol"
	"push-server/protocol/testclient"
)

// onSession runs f on the loop of the session that listens to it, which is one.
func onSession(t *testing.T, e *Engine, it protocol.Item, f func(l *loop, s *Session)) {
	t.Helper()
	ch := private(it)
	var mu sync.Mutex
	n := 0
	err := askLoops(t.Context(), e.loops, func(l *loop) {
		for _, m := range slices.Clone(l.table.Subscribers(&ch)) {
			mu.Lock()
			n++
			mu.Unlock()
			f(l, l.slab.get(m.Session))
		}
	})
	if err != nil || n != 1 {
		t.Fatalf("%d sessions, %v", n, err)
	}
}

func join(t *testing.T, e *Engine, s, it protocol.Item) {
	t.Helper()
	onSession(t, e, s, func(l *loop, s *Session) {
		l.join(s, private(it), true)
		l.touchOnline(s)
	})
}

func leave(t *testing.T, e *Engine, s, it protocol.Item) {
	t.Helper()
	onSession(t, e, s, func(l *loop, s *Session) { l.leave(s, private(it)) })
}

// A WebSocket that joins a channel gets what is published there from then on, and nothing any more after it has left.
func TestJoinAndLeave(t *testing.T) {
	e := startMemory(t, nil)
	a, b, always := newShared(), newShared(), newShared()
	c := subscribed(t, e, query("", a, always))
	f := func(want ...string) {
		t.Helper()
		publish(t, e, "a", 60, private(a))
		publish(t, e, "b", 60, private(b))
		publish(t, e, "both", 60, private(b), private(a))
		publish(t, e, "end", 60, private(always))
		if got := c.Bodies(len(want) + 1); !slices.Equal(got, append(want, "end")) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	f("a", "both")
	join(t, e, always, b)
	f("a", "b", "both")
	join(t, e, always, b)
	f("a", "b", "both")
	leave(t, e, always, a)
	f("b", "both")
	leave(t, e, always, a)
	leave(t, e, always, b)
	f()
	join(t, e, always, a)
	f("a", "both")
	onSession(t, e, always, func(l *loop, s *Session) {
		l.leave(s, private(always))
		l.leave(s, private(a))
	})
	publish(t, e, "nobody", 60, private(a), private(always))
	if st := e.Stats(); st.WebSockets != 1 || st.Channels != 0 {
		t.Errorf("%d WebSockets, %d channels", st.WebSockets, st.Channels)
	}
	_ = c.Close()
	testclient.Await(t, "the end", func() bool { return e.Stats().WebSockets == 0 })
}

// The same for a poll, which its first message answers.
func TestPollJoinsAndLeaves(t *testing.T) {
	e := startMemory(t, nil)
	a, b := newShared(), newShared()
	c := dial(t, e)
	c.Get(testSub + query("", a))
	testclient.Await(t, "the poll", func() bool { return e.Stats().Polls == 1 })
	join(t, e, a, b)
	leave(t, e, b, a)
	publish(t, e, "a", 60, private(a))
	publish(t, e, "b", 60, private(b))
	resp := c.Reply("GET")
	if ms, err := resp.Messages(); err != nil || len(ms) != 1 || ms[0].Body != "b" {
		t.Errorf("poll got %q, %v", resp.Body, err)
	}
	if st := e.Stats(); st.Polls != 0 {
		t.Errorf("%d polls", st.Polls)
	}
}

// Where a channel is full, the oldest subscriber of it makes room, and not who has been connected longest but has just joined; who leaves
// makes room, too.
func TestLimitOfAJoinedChannel(t *testing.T) {
	e := startMemory(t, func(o *Options) { o.MaxConnPerChannel = 2 })
	a, own, other := newItem(), newShared(), newShared()
	first := subscribed(t, e, query("", own))
	oldest := subscribed(t, e, query("", a))
	younger := subscribed(t, e, query("", a))
	join(t, e, own, a)
	if code := oldest.End(); code != 4029 {
		t.Errorf("close code %d", code)
	}
	leave(t, e, own, a)
	third := subscribed(t, e, query("", other))
	join(t, e, other, a)
	publish(t, e, "a", 60, private(a))
	publish(t, e, "own", 60, private(own))
	for _, c := range []*testclient.Client{younger, third} {
		if got := c.Bodies(1); got[0] != "a" {
			t.Errorf("got %q", got)
		}
	}
	if got := first.Bodies(1); got[0] != "own" {
		t.Errorf("got %q", got)
	}
	_ = oldest.Close()
	testclient.Await(t, "the end of the oldest", func() bool { return e.Stats().Closes["evicted"] == 1 })
	if st := e.Stats(); st.WebSockets != 3 {
		t.Errorf("%d WebSockets are left", st.WebSockets)
	}
}

// markedBus notes marks.
type markedBus struct {
	*membus.Bus
	mu    sync.Mutex
	marks []protocol.ChannelID
}

func (b *markedBus) Touch(_ context.Context, chs []protocol.ChannelID) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.marks = append(b.marks, chs...)
	return nil
}

func (b *markedBus) Online(context.Context, []protocol.ChannelID) ([]bool, error) { return nil, nil }

// await waits until all of chs are marked, and returns what else has been marked since the last call. Marks are written in any order.
func (b *markedBus) await(t *testing.T, chs ...protocol.ChannelID) (others []protocol.ChannelID) {
	t.Helper()
	testclient.Await(t, "marks", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, ch := range chs {
			if !slices.Contains(b.marks, ch) {
				return false
			}
		}
		others = slices.DeleteFunc(b.marks, func(ch protocol.ChannelID) bool { return slices.Contains(chs, ch) })
		b.marks = nil
		return true
	})
	return others
}

// Online are the channels that a session listens to now.
func TestMarksOfJoinedChannels(t *testing.T) {
	bus := &markedBus{Bus: membus.New(membus.Options{})}
	t.Cleanup(bus.Close)
	e := startEngine(t, bus, func(o *Options) { o.ClusterMode = true })
	a, b := newItem(), newShared()
	c := subscribed(t, e, query("", a))
	public := protocol.ChannelID{Bytes: a.Public}
	bus.await(t, private(a), public)
	join(t, e, a, b)
	onSession(t, e, b, func(l *loop, s *Session) {
		l.leave(s, private(a))
		l.leave(s, public)
	})
	bus.await(t, private(a), public) // those of join, when a was still the first
	c.SendFrame(ws.OpPong, nil)
	if others := bus.await(t, private(b)); len(others) > 0 {
		t.Errorf("%v are online as well", others)
	}
}

// What a session publishes comes from the first public id that it listens to.
func TestPublicIDOfJoinedChannels(t *testing.T) {
	l, _, _ := bareLoop(t, 0)
	s := l.slab.take()
	s.transport = transportWebSocket
	a, b, c := newItem(), newItem(), newShared()
	l.subscribe(s, []protocol.Item{c, a})
	f := func(has bool, want protocol.Item) {
		t.Helper()
		if s.has(hasPublicID) != has {
			t.Fatalf("has a public id: %t", !has)
		}
		if public := (protocol.ChannelID{Bytes: want.Public}); has && l.table.Channel(s.subs[s.publicAt]) != public {
			t.Error("another public id")
		}
	}
	public := func(it protocol.Item) protocol.ChannelID { return protocol.ChannelID{Bytes: it.Public} }
	f(true, a)
	l.join(s, public(b), false)
	f(true, a)
	l.leave(s, private(c))
	f(true, a)
	l.leave(s, public(a))
	f(true, b)
	l.leave(s, public(b))
	f(false, b)
	l.join(s, public(a), false)
	f(true, a)
	l.unsubscribe(s)
	if s.has(hasPublicID) || l.table.Len() != 0 {
		t.Errorf("%d channels are left", l.table.Len())
	}
}

// Clients whose channels are signed with an older key are served, and counted until there are none.
func TestConnectionsByKey(t *testing.T) {
	const older = "the key of yesterday"
	e := startMemory(t, func(o *Options) { o.OlderKeys = [][]byte{[]byte("a key of last year"), []byte(older)} })
	f := func(want ...int) {
		t.Helper()
		testclient.Await(t, fmt.Sprint("connections by key ", want), func() bool { return slices.Equal(e.Stats().ByKey, want) })
	}
	f(0, 0, 0)
	a, b := newItem(), newItem()
	with := func(key string, it protocol.Item) string {
		return "?CHANNEL_ID=" + testclient.ChannelOf(key, it).Signed()
	}
	old := subscribed(t, e, with(older, a))
	subscribed(t, e, with(testKey, b))
	f(1, 0, 1)
	publish(t, e, "x", 60, private(a))
	if got := old.Bodies(1)[0]; got != "x" {
		t.Error(got)
	}
	c := dial(t, e)
	c.Get(testSub + with(older, b))
	f(1, 0, 2)
	publish(t, e, "y", 60, private(b))
	c.Reply("GET")
	f(1, 0, 1)
	c.Get(testSub + with(testKey, b)) // the same connection, another portal's page
	f(2, 0, 1)
	_ = old.Close()
	f(2, 0, 0)
	if code := webSocket(t, e, with("no key at all", a)).End(); code != 4010 {
		t.Errorf("a channel signed with another key: close code %d", code)
	}
	f(2, 0, 0)
}
