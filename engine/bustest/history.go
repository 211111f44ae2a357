package bustest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"push-server/protocol"
	"push-server/protocol/testclient"
)

func testExpiryZero(t *testing.T, f Factory) {
	bus := open(t, f)
	l := Subscribe(t, bus)
	ps := series(3, private(1))
	ps[1].Expiry = 0
	mustPublish(t, bus, ps...)
	wantBodies(t, "delivered", l.Publications(t, 3), "0 1 2")
	wantBodies(t, "history", mustHistory(t, bus, protocol.HistoryQuery{Channels: []protocol.ChannelID{private(1)}}), "0 2")
	if got := mustStored(t, bus, ps[0].ID, ps[1].ID, ps[2].ID); !got[0] || got[1] || !got[2] {
		t.Errorf("stored: %v", got)
	}
}

func testExpiryCap(t *testing.T, f Factory) {
	bus := open(t, f)
	l := Subscribe(t, bus)
	p := publication("a", private(1))
	p.Expiry = 1<<32 - 1
	mustPublish(t, bus, p)
	if got := l.Publications(t, 1)[0].Expiry; got != day {
		t.Errorf("delivered with expiry %d", got)
	}
	if got := mustHistory(t, bus, protocol.HistoryQuery{Channels: []protocol.ChannelID{private(1)}}); got[0].Expiry != day {
		t.Errorf("stored with expiry %d", got[0].Expiry)
	}
}

func testExpired(t *testing.T, f Factory) {
	bus := open(t, f)
	ps := series(3, private(1))
	ps[1].Expiry = 1
	mustPublish(t, bus, ps...)
	expire(t, f, func() bool { return !mustStored(t, bus, ps[1].ID)[0] })
	wantBodies(t, "history", mustHistory(t, bus, protocol.HistoryQuery{Channels: []protocol.ChannelID{private(1)}}), "0 2")
	if got := mustStored(t, bus, ps[0].ID, ps[1].ID, ps[2].ID); !got[0] || got[1] || !got[2] {
		t.Errorf("stored: %v", got)
	}
}

// testExpiredTakeNoPlace: a replay of the newest hundred is not empty because a hundred have expired since.
func testExpiredTakeNoPlace(t *testing.T, f Factory) {
	bus := open(t, f)
	ps := series(250, private(1))
	for _, p := range ps[5:] {
		p.Expiry = 1
	}
	mustPublish(t, bus, ps...)
	expire(t, f, func() bool { return !mustStored(t, bus, ps[249].ID)[0] })
	q := protocol.HistoryQuery{Channels: []protocol.ChannelID{private(1), private(2)}, Limit: 100, Total: 200}
	wantBodies(t, "history", mustHistory(t, bus, q), "0 1 2 3 4")
}

// expire lets what has one second to live expire.
func expire(t *testing.T, f Factory, gone func() bool) {
	t.Helper()
	if f.Advance != nil {
		f.Advance(1100 * time.Millisecond)
	}
	testclient.Await(t, "expiry", gone)
}

func testStored(t *testing.T, f Factory) {
	bus := open(t, f)
	p := publication("a", private(1))
	mustPublish(t, bus, p)
	next := protocol.MakeMessageID(p.ID.Startdate(), p.ID.Counter()+1)
	got := mustStored(t, bus, next, p.ID, protocol.MessageID{}, p.ID)
	if got[0] || !got[1] || got[2] || !got[3] {
		t.Errorf("stored: %v", got)
	}
	if got := mustStored(t, bus); len(got) != 0 {
		t.Errorf("stored of nothing: %v", got)
	}
}

func testHistoryOfNothing(t *testing.T, f Factory) {
	bus := open(t, f)
	mustPublish(t, bus, publication("a", private(1)))
	answers, err := bus.History(testContext(t), nil, 0)
	if err != nil || len(answers) != 0 {
		t.Errorf("no queries: %v, %v", answers, err)
	}
	if got := mustHistory(t, bus, protocol.HistoryQuery{}); len(got) != 0 {
		t.Errorf("no channels: %v", got)
	}
	if got := mustHistory(t, bus, protocol.HistoryQuery{Channels: []protocol.ChannelID{private(9)}}); len(got) != 0 {
		t.Errorf("unknown channel: %v", got)
	}
}

func testHistoryBounds(t *testing.T, f Factory) {
	bus := open(t, f)
	ps := series(10, private(1))
	mustPublish(t, bus, ps...)
	none := protocol.MessageID{}
	future := protocol.MakeMessageID(ps[9].ID.Startdate()+10, 1)
	check := func(since, until protocol.MessageID, limit int, want string) {
		t.Helper()
		q := protocol.HistoryQuery{Channels: []protocol.ChannelID{private(1)}, Since: since, Until: until, Limit: limit}
		wantBodies(t, "history", mustHistory(t, bus, q), want)
	}
	check(none, none, 0, "0 1 2 3 4 5 6 7 8 9")
	check(ps[6].ID, none, 0, "7 8 9")
	check(ps[9].ID, none, 0, "")
	check(future, none, 0, "")
	check(none, ps[2].ID, 0, "0 1 2")
	check(ps[3].ID, ps[5].ID, 0, "4 5")
	check(ps[3].ID, ps[3].ID, 0, "")
	check(ps[5].ID, ps[3].ID, 0, "")
	check(none, future, 0, "0 1 2 3 4 5 6 7 8 9")
	check(none, ps[5].ID, 2, "4 5")
	check(ps[6].ID, none, 2, "8 9")
	check(ps[6].ID, none, 100, "7 8 9")
}

func testHistoryLimits(t *testing.T, f Factory) {
	bus := open(t, f)
	var all []*protocol.Publication
	for i := range 130 {
		for n := byte(1); n <= 3; n++ {
			all = append(all, publication(fmt.Sprintf("%d/%d", n, i), private(n)))
		}
	}
	mustPublish(t, bus, all...)
	one := []protocol.ChannelID{private(1)}
	check := func(chs []protocol.ChannelID, limit, total int, want []*protocol.Publication) {
		t.Helper()
		q := protocol.HistoryQuery{Channels: chs, Limit: limit, Total: total}
		wantBodies(t, "history", mustHistory(t, bus, q), bodies(want))
	}
	var first []*protocol.Publication
	for i := 0; i < len(all); i += 3 {
		first = append(first, all[i])
	}
	check(one, 100, 0, first[30:])
	check(one, 0, 100, first[30:])
	check(one, 0, 0, first)
	check(one, 1, 200, first[129:])
	three := []protocol.ChannelID{private(1), private(2), private(3)}
	check(three, 0, 0, all)
	check(three, 100, 0, all[90:])
	check(three, 100, 200, all[190:])
	check(three, 10, 200, all[360:])
	check(three, 1, 2, all[388:])
}

// testHistoryOfMany reads more than any bus would read in one step.
func testHistoryOfMany(t *testing.T, f Factory) {
	bus := open(t, f)
	ps := series(900, private(1))
	mustPublish(t, bus, ps...)
	wantBodies(t, "history", mustHistory(t, bus, protocol.HistoryQuery{Channels: []protocol.ChannelID{private(1)}}), bodies(ps))
}

func testHistoryReceivers(t *testing.T, f Factory) {
	bus := open(t, f)
	mustPublish(t, bus,
		publication("0", private(1), public(1), private(2)),
		publication("1", public(1)),
		publication("2", private(3), private(1)))
	q := protocol.HistoryQuery{Channels: []protocol.ChannelID{private(1), public(1)}}
	ps := mustHistory(t, bus, q)
	wantBodies(t, "history", ps, "0 1 2")
	check := func(p *protocol.Publication, want ...protocol.ChannelID) {
		t.Helper()
		ok := len(p.Receivers) == len(want)
		for i := range want {
			ok = ok && p.Receivers[i].Channel == want[i]
		}
		if !ok {
			t.Errorf("receivers of %s: %v, want %v", p.Body, p.Receivers, want)
		}
	}
	check(ps[0], private(1), public(1))
	check(ps[1], public(1))
	check(ps[2], private(1))
}

func testNameSpaces(t *testing.T, f Factory) {
	bus := open(t, f)
	mustPublish(t, bus, publication("private", private(1)), publication("public", public(1)))
	check := func(ch protocol.ChannelID, want string) {
		t.Helper()
		wantBodies(t, "history", mustHistory(t, bus, protocol.HistoryQuery{Channels: []protocol.ChannelID{ch}}), want)
	}
	check(private(1), "private")
	check(public(1), "public")
}

func testHistoryShared(t *testing.T, f Factory) {
	bus := open(t, f)
	everyone, me := public(1), private(2)
	q := protocol.HistoryQuery{Channels: []protocol.ChannelID{me, everyone}, Shared: []bool{false, true}, Limit: 100, Total: 200}
	mustPublish(t, bus, publication("0", everyone), publication("1", me), publication("2", me, everyone))
	wantBodies(t, "first read", mustHistory(t, bus, q), "0 1 2")
	wantBodies(t, "second read", mustHistory(t, bus, q), "0 1 2")
	last := publication("3", everyone)
	last.Expiry = 1
	mustPublish(t, bus, last, publication("4", me))
	wantBodies(t, "after more", mustHistory(t, bus, q), "0 1 2 3 4")
	expire(t, f, func() bool { return !mustStored(t, bus, last.ID)[0] })
	testclient.Await(t, "the cached body expires", func() bool { return bodies(mustHistory(t, bus, q)) == "0 1 2 4" })
}

func testManyQueries(t *testing.T, f Factory) {
	bus := open(t, f)
	everyone := public(0)
	var queries []protocol.HistoryQuery
	var want []string
	mustPublish(t, bus, publication("a", everyone))
	for n := byte(1); n <= 100; n++ {
		p := publication(fmt.Sprint(n), private(n))
		mustPublish(t, bus, p)
		queries = append(queries, protocol.HistoryQuery{Channels: []protocol.ChannelID{private(n), everyone}})
		want = append(want, fmt.Sprintf("a %d b", n))
		queries = append(queries, protocol.HistoryQuery{Channels: []protocol.ChannelID{private(n), everyone}, Since: p.ID, Limit: 5})
		want = append(want, "b")
		queries = append(queries, protocol.HistoryQuery{Channels: []protocol.ChannelID{everyone}, Until: p.ID, Limit: 1})
		want = append(want, "a")
	}
	mustPublish(t, bus, publication("b", everyone))
	answers, err := bus.History(testContext(t), queries, 0)
	if err != nil || len(answers) != len(queries) {
		t.Fatalf("%d answers, %v", len(answers), err)
	}
	for i := range queries {
		wantBodies(t, fmt.Sprint("answer ", i), answers[i].Publications, want[i])
	}
}

// testHistoryBounded: however much there is, answers hold no more than they may, and what is left comes with the next question.
func testHistoryBounded(t *testing.T, f Factory) {
	bus := open(t, f)
	body := strings.Repeat("x", 1000)
	for n := range byte(4) {
		for range 10 {
			mustPublish(t, bus, publication(body, private(n)))
		}
	}
	queries := make([]protocol.HistoryQuery, 4)
	for n := range queries {
		queries[n] = protocol.HistoryQuery{Channels: []protocol.ChannelID{private(byte(n))}}
	}
	got := make([]int, len(queries))
	for first, rounds := 0, 0; first < len(queries); rounds++ {
		answers, err := bus.History(testContext(t), queries[first:], 7000)
		if err != nil || len(answers) == 0 || rounds > 40 {
			t.Fatalf("round %d: %d answers, %v", rounds, len(answers), err)
		}
		bytes := 0
		for i, a := range answers {
			for _, p := range a.Publications {
				bytes += len(p.Body)
			}
			got[first+i] += len(a.Publications)
			if a.More != (i == len(answers)-1 && got[first+i] < 10) {
				t.Fatalf("answer %d of %d has %d publications, more: %t", i, len(answers), len(a.Publications), a.More)
			}
		}
		if bytes > 8000 {
			t.Fatalf("answers hold %d bytes", bytes)
		}
		last := answers[len(answers)-1]
		first += len(answers)
		if last.More {
			first--
			queries[first].Since = last.Publications[len(last.Publications)-1].ID
		}
	}
	for i, n := range got {
		if n != 10 {
			t.Errorf("query %d got %d publications", i, n)
		}
	}
	one, err := bus.History(testContext(t), []protocol.HistoryQuery{{Channels: []protocol.ChannelID{private(1)}}}, 1)
	if err != nil || len(one) != 1 || len(one[0].Publications) != 1 || !one[0].More {
		t.Errorf("one publication larger than the bound: %d answers, %v", len(one), err)
	}
}

// testRemaining: how much longer something is there is told by the store, whose clock is the only one that matters.
func testRemaining(t *testing.T, f Factory) {
	bus := open(t, f)
	p := publication("a", private(1))
	p.Expiry = 100
	mustPublish(t, bus, p)
	remaining, err := bus.Remaining(testContext(t), []protocol.MessageID{p.ID})
	if err != nil || remaining[0] <= 0 || remaining[0] > 100*time.Second {
		t.Fatalf("%v, %v", remaining, err)
	}
	if f.Advance == nil {
		return
	}
	f.Advance(40 * time.Second)
	if remaining, err = bus.Remaining(testContext(t), []protocol.MessageID{p.ID}); err != nil || remaining[0] != 60*time.Second {
		t.Fatalf("40 s later: %v, %v", remaining, err)
	}
}
