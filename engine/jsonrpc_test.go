package engine

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"push-server/engine/view"
	"push-server/protocol"
	"push-server/protocol/testclient"
)

// dialV5 opens a WebSocket of version 5 for a user, whose token expires after d.
func dialV5(t *testing.T, e *Engine, d time.Duration) *testclient.Client {
	t.Helper()
	token := testclient.Token(testKey, time.Now().Add(d).Unix(), 17)
	return webSocket(t, e, "?jsonRpc=true&token="+token)
}

// A client of version 5 that says something now and then stays, however late it is each time; one that says nothing is gone after a while.
func TestPulses(t *testing.T) {
	t.Parallel()
	e := startMemory(t, func(o *Options) {
		o.V5 = V5{Enabled: true, PingInterval: 100 * time.Millisecond, DeadAfter: 3 * time.Second}
	})
	c := dialV5(t, e, time.Hour)
	for range 12 { // as many pings as it may leave without an answer, and more
		for range 3 {
			if f := c.Frame(); f.Header.OpCode != ws.OpText || string(f.Payload) != "ping" {
				t.Fatalf("got %v %q", f.Header.OpCode, f.Payload)
			}
		}
		c.SendFrame(ws.OpText, []byte("pong"))
	}
	for f := c.Frame(); string(f.Payload) == "ping"; f = c.Frame() {
		continue
	}
	c.Close()
	testclient.Await(t, "the end of a connection that says nothing", func() bool { return e.Stats().Closes[CloseNoPong.String()] == 1 })
}

// A connection does not outlive its token by much, and its client is told to ask for another one.
func TestExpiredConnection(t *testing.T) {
	e := startMemory(t, func(o *Options) {
		o.V5 = V5{Enabled: true, PingInterval: 100 * time.Millisecond, ExpiryGrace: -70 * time.Second} // over before it begins
	})
	c := dialV5(t, e, time.Second)
	f := c.Frame()
	for string(f.Payload) == "ping" {
		f = c.Frame()
	}
	if code, _ := ws.ParseCloseFrameData(f.Payload); f.Header.OpCode != ws.OpClose || uint16(code) != protocol.ErrWrongChannel.Code {
		t.Errorf("got %v %d", f.Header.OpCode, code)
	}
	c.Close()
	testclient.Await(t, "its reason to be counted", func() bool { return e.Stats().Closes[CloseExpired.String()] == 1 })
}

// When a token expires is known however long the process has been running, and however long the token is good for.
func TestExpiryInAnOldProcess(t *testing.T) {
	t.Parallel()
	for _, age := range []time.Duration{0, time.Minute, 7 * 24 * time.Hour, 46 * 24 * time.Hour, 3 * 365 * 24 * time.Hour} {
		e := &Engine{created: time.Now().Add(-age)}
		for given, want := range map[time.Duration]time.Duration{
			-50 * time.Second: -50 * time.Second, time.Minute: time.Minute, 24 * time.Hour: 24 * time.Hour, 365 * 24 * time.Hour: longestToken,
		} {
			s := &Session{expires: e.expiryOf(time.Now().Add(given))}
			if got := e.untilExpiry(s); s.expires == 0 || got < want-2*expiryTick || got > want+2*expiryTick {
				t.Errorf("after %v a token that is good for %v counts as good for %v", age, given, got)
			}
		}
	}
}

// What a client says it has is counted, for each connection and in all, whatever else it says; what it has not said so of is, until it goes.
func TestAcknowledgements(t *testing.T) {
	t.Parallel()
	e := startMemory(t, func(o *Options) { o.V5.Enabled = true })
	c, other := dialV5(t, e, time.Hour), dialV5(t, e, time.Hour)
	var ids []string
	for range 3 {
		if err := e.Publish(t.Context(), []*protocol.Publication{publication(`{}`, 60, protocol.UserChannel(17))}); err != nil {
			t.Fatal(err)
		}
		other.Frame()
		ms, err := testclient.ParseCalls(c.Frame().Payload)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, ms[0].ID)
	}
	for _, word := range []string{"mack:" + ids[1], "mack:" + ids[0], "mack:", "mack:x", "mack:" + ids[0] + "0"} {
		c.SendFrame(ws.OpText, []byte(word))
	}
	testclient.AwaitNil(t, "the receipts of both connections", func() error {
		list, err := e.Connections(t.Context(), view.Query{Search: "user 17", Limit: 10})
		if err != nil || list.Total != 2 {
			return fmt.Errorf("%+v, %v", list, err)
		}
		of := func(acknowledged string, outstanding uint32) func(c view.Connection) bool {
			return func(c view.Connection) bool {
				return c.User == 17 && c.Acknowledged == acknowledged && c.Unacknowledged == outstanding
			}
		}
		if !slices.ContainsFunc(list.Connections, of(ids[1], 1)) || !slices.ContainsFunc(list.Connections, of("", 3)) {
			return fmt.Errorf("%+v", list.Connections)
		}
		return nil
	})
	if st := e.Stats(); st.Acknowledged != 2 || st.Unacknowledged != 4 {
		t.Errorf("%d are acknowledged, %d are not", st.Acknowledged, st.Unacknowledged)
	}
	if list, err := e.Connections(t.Context(), view.Query{Search: "user 18", Limit: 10}); err != nil || list.Total != 0 {
		t.Errorf("another user: %+v, %v", list, err)
	}
	other.Close()
	testclient.Await(t, "nobody waits for who has gone", func() bool { return e.Stats().Unacknowledged == 1 })
	for range 3 { // one too many
		c.SendFrame(ws.OpText, []byte("mack:"+ids[2]))
	}
	testclient.Await(t, "nothing is outstanding", func() bool { return e.Stats().Unacknowledged == 0 && e.Stats().Acknowledged == 3 })
}

// userOf5 opens a WebSocket of version 5 for a user, who listens to shared channels besides.
func userOf5(t *testing.T, e *Engine, user uint64, shared ...protocol.Item) *testclient.Client {
	t.Helper()
	return subscribed(t, e, tokenQuery(user, shared...))
}

// What the connections of a user were sent and have acknowledged is added up over all loops, and said of no other user; so is for how long the
// oldest message has not been acknowledged.
func TestUsers(t *testing.T) {
	t.Parallel()
	e := startMemory(t, func(o *Options) { o.V5.Enabled = true })
	ask := func(q view.UserQuery) *view.Users { return usersOf(t, e, q) }
	shared := newShared()
	subscribed(t, e, query("", shared)) // of version 4: nobody's
	var tabs []*testclient.Client
	for range 4 { // on both loops
		tabs = append(tabs, userOf5(t, e, 17, shared))
	}
	userOf5(t, e, 18, shared)
	userOf5(t, e, 9007199254740991)
	if err := e.Publish(t.Context(), []*protocol.Publication{
		publication(`1`, 60, protocol.UserChannel(17), private(shared)), publication(`2`, 0, protocol.UserChannel(17)),
	}); err != nil {
		t.Fatal(err)
	}
	var first, last string
	for _, c := range tabs[1:] { // the first one says nothing
		ms := c.Messages(2)
		first, last = ms[0].ID, ms[1].ID
	}
	tabs[0].Frame()
	tabs[0].SendFrame(ws.OpText, []byte("mack:"+first))
	testclient.AwaitNil(t, "what the users have acknowledged", func() error {
		all := ask(view.UserQuery{Limit: 10})
		if len(all.Users) != 3 || all.Next != 0 {
			return fmt.Errorf("%+v", all)
		}
		u := all.Users[0]
		if u.Waiting <= 0 || u.Waiting > 60 {
			return fmt.Errorf("%+v", u)
		}
		if u.Waiting = 0; u != (view.User{ID: 17, Connections: 4, Delivered: 8, Acknowledged: 7, Unacknowledged: 1, Last: last}) {
			return fmt.Errorf("%+v", u)
		}
		return nil
	})
	if u := ask(view.UserQuery{User: 18, Limit: 10}).Users; len(u) != 1 || u[0].Delivered != 1 || u[0].Unacknowledged != 1 || u[0].Last != "" {
		t.Errorf("%+v", u)
	}
	if u := ask(view.UserQuery{Waiting: time.Hour, Limit: 10}); len(u.Users) != 0 {
		t.Errorf("%+v", u)
	}
	if u := ask(view.UserQuery{Waiting: time.Nanosecond, Limit: 10}); len(u.Users) != 2 {
		t.Errorf("%+v", u)
	}
	tabs[0].SendFrame(ws.OpText, []byte("mack:"+last))
	testclient.Await(t, "one user has acknowledged everything", func() bool {
		return len(ask(view.UserQuery{User: 17, Waiting: time.Nanosecond, Limit: 10}).Users) == 0
	})
}

func usersOf(t *testing.T, e *Engine, q view.UserQuery) *view.Users {
	t.Helper()
	users, err := e.Users(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	return users
}

// Users are shown in pages, each of them once.
func TestUsersInParts(t *testing.T) {
	t.Parallel()
	e := startMemory(t, func(o *Options) { o.V5.Enabled = true })
	want := []uint64{1, 2, 17, 18, 9007199254740991}
	for _, i := range []int{3, 0, 4, 2, 1, 3, 0} {
		userOf5(t, e, want[i])
	}
	var got []uint64
	for after := uint64(0); ; {
		page := usersOf(t, e, view.UserQuery{After: after, Limit: 2})
		for _, u := range page.Users {
			got = append(got, u.ID)
		}
		if after = page.Next; after == 0 {
			break
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("pages of %d, want %d", got, want)
	}
}

// Frames are shared by all who get the same, and what is for one user alone reaches nobody else.
func TestOwnParams(t *testing.T) {
	e := startMemory(t, func(o *Options) { o.V5.Enabled = true })
	a := newItem()
	mine, other := dialV5(t, e, time.Hour), subscribed(t, e, query("", a))
	p := publication(`{"params":{}}`, 60, protocol.UserChannel(17), private(a))
	p.Extra = []byte(`{"user_params":{"17":{"x":1},"18":{"secret":1}}}`)
	if err := e.Publish(t.Context(), []*protocol.Publication{p}); err != nil {
		t.Fatal(err)
	}
	const want = `,"body":{"params":{}},"sender":{"type":2,"id":""},"user_params":{"x":1}}}`
	if got := string(mine.Frame().Payload); len(got) < len(want) || got[len(got)-len(want):] != want {
		t.Errorf("the user gets %s", got)
	}
	if got := other.Bodies(1); got[0] != `{"params":{}}` {
		t.Errorf("somebody else gets %s", got)
	}
}
