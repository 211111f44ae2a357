package engine

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"testing"

	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"

	"push-server/poll"
	"push-server/protocol"
)

// cut is a loop whose work is cut behind every piece, so that anything may happen in between: a write to one session is a piece.
type cut struct {
	t         *testing.T
	l         *loop
	rng       *rand.Rand
	channels  []protocol.Item
	published map[int][]int // numbers of publications, which are their ids, by the channels they went to
	last      int
	clients   []*cutClient
	buf       [8 << 10]byte
}

// cutClient is a client of it: a WebSocket, or polls one after the other.
type cutClient struct {
	name     string
	s        *Session
	conn     *sink
	channels []int
	byPoll   bool
	began    int // the publications behind this one are to come
	polling  bool
	said     []byte
	got      []int
}

func newCut(t *testing.T, seed uint64, channels int) *cut {
	l, _, _ := bareLoop(t, 0)
	l.o.Listeners = []Listener{{Name: "test", Routes: poll.Routes{Sub: testSub}}}
	l.quantum.Length, l.quantum.Look = -1, 1
	c := &cut{t: t, l: l, rng: rand.New(rand.NewPCG(seed, 0)), published: make(map[int][]int)}
	for range channels {
		c.channels = append(c.channels, newShared())
	}
	return c
}

// cutID is above what the bus begins with.
func cutID(n int) protocol.MessageID { return protocol.MakeMessageID(1_900_000_000, uint64(n)) }

// publish publishes the next number to channels.
func (c *cut) publish(channels ...int) {
	c.last++
	var chs []protocol.ChannelID
	for _, i := range channels {
		chs = append(chs, private(c.channels[i]))
		c.published[i] = append(c.published[i], c.last)
	}
	p := publication(fmt.Sprintf(`"n%d"`, c.last), 600, chs...)
	p.ID = cutID(c.last)
	c.l.engine.feed.HandlePublication(p)
}

// open has a client come that listens to channels. mid is what it has: nothing below 0.
func (c *cut) open(byPoll bool, mid int, channels ...int) *cutClient {
	s := c.l.slab.take()
	a := &cutClient{name: fmt.Sprintf("client %d", len(c.clients)), s: s, conn: newSink(c.t), channels: channels, byPoll: byPoll, began: mid}
	s.conn = a.conn
	c.clients = append(c.clients, a)
	if byPoll {
		c.poll(a)
		return a
	}
	query := c.query(a)
	if mid >= 0 {
		query += "&mid=" + cutID(mid).String()
	} else {
		a.began = c.last
	}
	c.say(a, "GET "+testSub+query+" HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	return a
}

func (c *cut) query(a *cutClient) string {
	var items []protocol.Item
	for _, i := range a.channels {
		items = append(items, c.channels[i])
	}
	return query("", items...)
}

// poll has a ask for what comes behind what it has.
func (c *cut) poll(a *cutClient) {
	mid := a.began
	if n := len(a.got); n > 0 {
		mid = a.got[n-1]
	}
	a.polling = true
	c.say(a, "GET "+testSub+c.query(a)+"&mid="+cutID(mid).String()+" HTTP/1.1\r\nHost: x\r\n\r\n")
}

// say has a client's bytes arrive, as OnTraffic does.
func (c *cut) say(a *cutClient, text string) {
	c.l.beginCallback()
	c.l.look()
	c.l.contained(a.s, []byte(text))
	c.l.endCallback()
}

// turn is one turn of the loop.
func (c *cut) turn() {
	c.l.beginCallback()
	c.l.turn()
	c.l.endCallback()
}

var cutBody = regexp.MustCompile(`"n(\d+)"`)

// hear reads what has come to a client so far.
func (c *cut) hear(a *cutClient) {
	for {
		n, err := unix.Read(a.conn.peer, c.buf[:])
		if n <= 0 || err != nil {
			break
		}
		a.polling = false
		a.said = append(a.said, c.buf[:n]...)
	}
	for _, m := range cutBody.FindAllSubmatch(a.said, -1) {
		number, _ := strconv.Atoi(string(m[1]))
		a.got = append(a.got, number)
	}
	a.said = a.said[:0]
}

// close has a client go, and looks at what it has got.
func (c *cut) close(a *cutClient) {
	a.s.set(flagGone)
	c.l.close(a.s, ClosePeer)
	if c.rng.IntN(2) == 0 {
		c.l.sweep()
	}
	c.hear(a)
	c.check(a, false)
	c.clients = slices.DeleteFunc(c.clients, func(other *cutClient) bool { return other == a })
}

// check wants what was published for a, once and in order: all of it, or the beginning.
func (c *cut) check(a *cutClient, all bool) {
	c.t.Helper()
	numbers := make(map[int]bool)
	for _, i := range a.channels {
		for _, n := range c.published[i] {
			if n > a.began {
				numbers[n] = true
			}
		}
	}
	want := slices.Sorted(maps.Keys(numbers))
	if !all {
		want = want[:min(len(want), len(a.got))]
	}
	if !slices.Equal(a.got, want) {
		c.t.Fatalf("%s (%s, poll: %t, channels %v, from %d):\ngot  %v\nwant %v",
			a.name, stateNames[a.s.state], a.byPoll, a.channels, a.began, a.got, want)
	}
}

// settle has the loop do all that is left.
func (c *cut) settle() {
	l := c.l
	for i := 0; ; i++ {
		c.turn()
		if i == 100_000 {
			c.t.Fatal("there is no end")
		}
		if !l.outbox.empty() || l.reader.Behind() || l.reader.HasReleased() || len(l.unfinished) > 0 || len(l.swept) > 0 {
			continue
		}
		polled := false
		for _, a := range c.clients {
			if c.hear(a); a.byPoll && !a.polling {
				c.poll(a)
				polled = true
			}
		}
		if !polled {
			return
		}
	}
}

// A fan-out may be cut behind every session, and clients come, go, and ask for what they have missed in between: each gets what was
// published to its channels, once and in order.
func TestFanOutIsCutAnywhere(t *testing.T) {
	t.Parallel()
	seeds := 30
	if testing.Short() {
		seeds = 10
	}
	for seed := range uint64(seeds) {
		c := newCut(t, seed, 4) // everybody, half, one in ten, and those of no crowd
		c.publish(0)            // from here on the window knows where it begins
		for range 150 {
			c.open(false, -1, 0)
		}
		for range 200 {
			c.step()
		}
		c.settle()
		for _, a := range c.clients {
			c.check(a, true)
		}
	}
}

// step is something that happens between two turns, or a turn.
func (c *cut) step() {
	rng := c.rng
	any := func() *cutClient { return c.clients[rng.IntN(len(c.clients))] }
	channels := func() []int { return rng.Perm(len(c.channels))[:1+rng.IntN(3)] }
	switch n := rng.IntN(20); {
	case n < 4:
		c.publish(channels()...)
	case n < 6:
		c.open(false, -1, channels()...)
	case n < 8:
		if rng.IntN(2) == 0 {
			c.l.replayed = replayShare + 1 // others have come before it
		}
		c.open(false, max(1, c.last-rng.IntN(20)), channels()...)
	case n < 9:
		c.open(true, max(1, c.last-rng.IntN(20)), channels()...)
	case n < 11:
		c.close(any())
	case n < 13:
		if a := any(); a.byPoll {
			if c.hear(a); !a.polling {
				c.poll(a)
			}
		}
	case n < 14:
		for range rng.IntN(100) {
			c.turn()
		}
	default:
		c.turn()
	}
}

// Who pings while a broadcast is under way is answered between two of its writes, and so is one who gets a message of its own, with what
// it was to get in the crowd.
func TestOthersAreServedBetweenTwoWritesOfABroadcast(t *testing.T) {
	t.Parallel()
	c := newCut(t, 1, 2)
	const all = 300
	for range all {
		c.open(false, -1, 0)
	}
	late := c.open(false, -1, 0, 1)
	c.settle()
	c.publish(0)
	c.turn()
	ping := ws.MustCompileFrame(ws.MaskFrame(ws.NewPingFrame([]byte("there?"))))
	c.say(late, string(ping))
	if got := received(t, late.conn); !bytes.Contains(got, []byte("there?")) || cutBody.Match(got) {
		t.Errorf("the ping is answered with %q", got)
	}
	c.publish(1)
	c.turn()
	if c.hear(late); !slices.Equal(late.got, []int{1, 2}) {
		t.Errorf("the last of the crowd has got %v", late.got)
	}
	served := 0
	for _, a := range c.clients[:all] {
		if c.hear(a); len(a.got) > 0 {
			served++
		}
	}
	if served == 0 || served > 4 {
		t.Errorf("%d sessions were served in two turns", served)
	}
	c.settle()
	for _, a := range c.clients {
		c.check(a, true)
	}
}

// received is what has come through a sink.
func received(t *testing.T, s *sink) []byte {
	t.Helper()
	buf := make([]byte, 64<<10)
	n, err := unix.Read(s.peer, buf)
	if err != nil {
		t.Fatal(err)
	}
	return buf[:n]
}

// What is due, what comes by mail and what is closed at once is served in turns, too, and a broadcast goes on meanwhile.
func TestEachKindOfWorkIsCut(t *testing.T) {
	t.Parallel()
	c := newCut(t, 1, 1)
	l := c.l
	const all = 200
	for range all {
		c.open(false, -1, 0)
	}
	c.settle()
	c.publish(0)
	called := 0
	for range all {
		l.mailbox.put(mail{kind: mailCall, call: func(*loop) { called++ }})
	}
	l.deadlines.begun = l.deadlines.begun.Add(-l.o.PingInterval)
	for range 3 {
		c.turn()
	}
	pinged, served := 0, 0
	for _, a := range c.clients {
		if a.s.has(isPinged) {
			pinged++
		}
		if c.hear(a); len(a.got) > 0 {
			served++
		}
	}
	if called != 3 || pinged != 3 || served != 3 {
		t.Errorf("three turns have read %d letters, and sent %d pings and %d messages", called, pinged, served)
	}
	for _, a := range c.clients[:50] {
		a.s.set(flagGone)
		l.close(a.s, ClosePeer)
	}
	if l.sweep(); len(l.swept) != 49 {
		t.Errorf("%d of 50 sessions are left to sweep", len(l.swept))
	}
	before := l.outbox.queues[queueCrowd].at
	if c.turn(); l.outbox.queues[queueCrowd].at != before {
		t.Error("more is written while closed sessions hold what is counted no longer")
	}
	for range 1000 {
		c.turn()
	}
	if called != all || len(l.swept) != 0 || !l.outbox.empty() {
		t.Errorf("%d letters are read, %d sessions not swept", called, len(l.swept))
	}
}

// What is collected while a broadcast is under way is bounded.
func TestCollectedIsBounded(t *testing.T) {
	t.Parallel()
	c := newCut(t, 1, 1)
	const all = 20
	for range all {
		c.open(false, -1, 0)
	}
	c.settle()
	c.l.o.WindowBytes = 8 * 100
	for range 300 {
		c.publish(0)
		c.turn()
		if n := c.l.outbox.bytes; n > 200 {
			t.Fatalf("%d bytes are collected", n)
		}
	}
	c.settle()
	for _, a := range c.clients {
		c.check(a, true)
	}
}
