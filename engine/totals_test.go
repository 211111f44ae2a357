package engine

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"push-server/engine/ratelimit"
	"push-server/protocol"
	"push-server/protocol/testclient"
)

// What the process has counted today, and since the service began, goes on in the next one, and the one after that.
func TestCountsPassOver(t *testing.T) {
	t.Parallel()
	r := startRelay(t, nil)
	it := newItem()
	c := subscribed(t, r.now, query("", it))
	counted := func() (Stats, string) { return r.now.Stats(), string(r.now.Counters.AppendJSON(nil)) }
	more := func() {
		t.Helper()
		wrong := webSocket(t, r.now, "?CHANNEL_ID=wrong")
		wrong.End()
		_ = wrong.Close()
		reply := testclient.Open(t, r.addr)
		reply.Get("/server-stat/")
		reply.Reply("GET")
		publish(t, r.now, "x", 60, private(it))
		c.Bodies(1)
		r.now.Counters.CountRequest(protocol.CommandPublish)
		r.now.Counters.CountMessage("im_message")
	}
	const refused = "protocol"
	for n := range uint64(3) {
		opened := r.now.Stats().Opened
		more()
		testclient.Await(t, "all is counted", func() bool {
			st := r.now.Stats()
			return st.Opened == opened+2 && st.Delivered == n+1 && st.Closes[refused] == n+1
		})
		before, daily := counted()
		if want := fmt.Sprintf(`{"requests":{"incomingMessages":%[1]d,"serverStats":%[1]d},"messages":{"im_message":%[1]d}}`, n+1); daily != want {
			t.Errorf("%s is counted, want %s", daily, want)
		}
		r.pass()
		after, goesOn := counted()
		if goesOn != daily {
			t.Errorf("%s goes on as %s", daily, goesOn)
		}
		type pair struct{ before, after uint64 }
		for name, n := range map[string]pair{
			"opened": {before.Opened, after.Opened}, "frames": {before.Frames, after.Frames}, "published": {before.Published, after.Published},
			"delivered": {before.Delivered, after.Delivered}, "closed": {before.Closes[refused], after.Closes[refused]},
		} {
			if n.before == 0 || n.before != n.after {
				t.Errorf("%s: %d goes on as %d", name, n.before, n.after)
			}
		}
		if before.Turns > after.Turns || before.TurnTime > after.TurnTime || after.WebSockets != before.WebSockets {
			t.Errorf("%+v goes on as %+v", before, after)
		}
		for reason, n := range after.Closes {
			if n > 1<<32 {
				t.Errorf("%s: %d", reason, n)
			}
		}
	}
}

// Counters go on, whatever the next process has counted before it took over; what shows how things are now does not.
func TestCountersGoOn(t *testing.T) {
	t.Parallel()
	before := Stats{
		Opened: 10, Published: 5, Connections: 7, TurnTime: time.Second, Closes: map[string]uint64{"a": 3},
		Held: []Held{{Kind: "input", Bytes: 5, Refused: 2}}, BusErrors: map[string]uint64{"publish": 1},
	}
	own := Stats{
		Opened: 4, Published: 8, Connections: 1, TurnTime: time.Minute, Closes: map[string]uint64{"b": 1},
		Held: []Held{{Kind: "output", Refused: 1}, {Kind: "input", Bytes: 6, Refused: 1}},
	}
	before.combine(&own, func(before, own uint64) uint64 { return before - own })
	own.Opened, own.Published, own.Closes["b"], own.Held[1].Refused = own.Opened+1, own.Published+1, 3, 4
	own.combine(&before, func(own, before uint64) uint64 { return own + before })
	want := map[string]uint64{"a": 3, "b": 2}
	if own.Opened != 11 || own.Published != 6 || own.Connections != 1 || own.TurnTime != time.Second || !maps.Equal(own.Closes, want) ||
		own.Held[1].Refused != 5 || own.Held[1].Bytes != 6 || own.BusErrors["publish"] != 1 {
		t.Errorf("%+v", own)
	}
}

// Who has used up what a client may, or an address, has used it up in the next process, too.
func TestLimitsPassOver(t *testing.T) {
	t.Parallel()
	r := startRelay(t, func(o *Options) {
		o.Address, o.IdleTimeout = ratelimit.Limits{Connections: 3}, time.Hour
		o.ClientRate, o.Limits.MaxMessages = 1, 1000 // so many at once
	})
	it := newItem()
	c := subscribed(t, r.now, query("&binaryMode=true", it))
	message := testclient.Publication{Receivers: []testclient.Receiver{testclient.ChannelOf(testKey, newItem()).PublicReceiver()}, Body: "1", Expiry: 60}
	say := func(n int) {
		c.SendFrame(ws.OpBinary, testclient.AppendPublish(nil, slices.Repeat([]testclient.Publication{message}, n)...))
		c.SendFrame(ws.OpPing, nil)
	}
	say(900)
	if f := c.Frame(); f.Header.OpCode != ws.OpPong {
		t.Fatalf("got %+v", f.Header)
	}
	kept := dial(t, r.now)
	kept.Get("/nothing")
	kept.Reply("GET")
	for range 2 {
		r.pass()
	}
	third := dial(t, r.now)
	third.Get("/nothing")
	third.Reply("GET")
	refused(t, dial(t, r.now))
	_ = kept.Close()
	testclient.Await(t, "a place", func() bool { return r.now.Stats().Connections == 2 })
	fourth := dial(t, r.now)
	fourth.Get("/nothing")
	fourth.Reply("GET")
	say(900)
	if code := c.End(); code != 1013 {
		t.Errorf("closed with %d for its rate", code)
	}
	_ = c.Close()
	testclient.Await(t, "its place", func() bool { return r.now.Stats().Connections == 2 })
	fifth := dial(t, r.now)
	fifth.Get("/nothing")
	fifth.Reply("GET")
}

// So have those who come, all together and each address.
func TestRatesPassOver(t *testing.T) {
	t.Parallel()
	r := startRelay(t, func(o *Options) { o.Address, o.ConnectRate = ratelimit.Limits{PerSecond: 1}, 10 })
	owes := func() (left time.Duration, saved float64, at time.Time) {
		now := time.Now()
		r.now.admission.addresses.Debts(now, func(addr netip.Addr, d time.Duration) {
			if addr == netip.AddrFrom4([4]byte{127, 0, 0, 1}) {
				left = d
			}
		})
		saved, _, _ = r.now.admission.rate.Saved(now)
		return left, saved, now
	}
	for range 9 {
		_ = dial(t, r.now).Close()
	}
	testclient.Await(t, "all have come", func() bool { return r.now.Stats().Opened >= 9 })
	left, saved, begin := owes()
	r.pass()
	leftAfter, savedAfter, now := owes()
	took := now.Sub(begin)
	if want := left - took; leftAfter < want-10*time.Millisecond {
		t.Errorf("an address that owed %v owes %v after %v", left, leftAfter, took)
	}
	if most := saved + 1 + 10*took.Seconds(); savedAfter > most {
		t.Errorf("%v may come at once after %v, %v before", savedAfter, took, saved)
	}
}
