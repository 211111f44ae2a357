package engine

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"push-server/protocol"
)

func msgID(n uint64) protocol.MessageID { return protocol.MakeMessageID(1_700_000_000, n) }

func stored(n uint64, chs ...protocol.ChannelID) *entry {
	p := publication("x", 600, chs...)
	p.ID, p.Created = msgID(n), uint32(time.Now().Unix())
	return &entry{pub: p, highest: p.ID, expires: expiry(p, time.Now().UnixMilli())}
}

func counters(es []*entry) (ns []uint64) {
	for _, e := range es {
		ns = append(ns, e.pub.ID.Counter())
	}
	return ns
}

// The window keeps the latest entries, within its number and its bytes, and says what it has lost.
func TestWindowIsBounded(t *testing.T) {
	w := newWindow(8, 1<<20)
	ch := private(newItem())
	for n := range uint64(20) {
		w.append(stored(n+1, ch))
	}
	if e, lost := w.at(1); e != nil || !lost {
		t.Error("the first entry is still there")
	}
	if e, lost := w.at(21); e != nil || lost {
		t.Error("an entry that is not there yet")
	}
	if e, _ := w.at(20); e == nil || e.pub.ID != msgID(20) {
		t.Errorf("the last entry is %v", e)
	}
	if evicted := *w.evicted.Load(); evicted != msgID(13) && evicted != msgID(12) {
		t.Errorf("greatest id evicted %v", evicted)
	}
	small := newWindow(1024, 10*entryOverhead)
	for n := range uint64(100) {
		small.append(stored(n+1, ch))
		if small.bytes > small.maxBytes+entryOverhead+64 {
			t.Fatalf("%d bytes", small.bytes)
		}
	}
}

func TestWindowAnswersSince(t *testing.T) {
	w := newWindow(64, 1<<20)
	a, b := private(newItem()), private(newItem())
	same := a
	same.Bytes[15] ^= 1 // another channel in the bucket of a
	for n := range uint64(30) {
		ch := []protocol.ChannelID{a, b, same}[n%3]
		w.append(stored(n+1, ch))
	}
	both := stored(31, a, same, b)
	w.append(both)
	unstored := stored(32, a)
	unstored.expires = 0
	w.append(unstored)
	expired := stored(33, a)
	expired.expires = 1
	w.append(expired)
	now := time.Now().UnixMilli()
	f := func(ch protocol.ChannelID, since, upto uint64, limit int, want ...uint64) {
		t.Helper()
		es, ok := w.since(nil, &ch, msgID(since), upto, limit, now)
		if got := counters(es); !ok || !slices.Equal(got, want) {
			t.Errorf("got %v, %v, want %v", got, ok, want)
		}
	}
	f(a, 22, 99, 100, 31, 28, 25)
	f(b, 26, 99, 100, 31, 29)
	f(same, 26, 99, 100, 31, 30, 27)
	f(a, 22, 31, 100, 28, 25)
	f(a, 0, 99, 2, 31, 28)
	f(private(newItem()), 0, 99, 100)
	for n := range uint64(64) {
		w.append(stored(100+n, b))
	}
	if _, ok := w.since(nil, &a, msgID(22), 999, 100, now); ok {
		t.Error("the window claims what it has lost")
	}
}

// The table agrees with a plain map, whatever comes and goes.
func TestChannelTable(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	table := newChannelTable()
	var ids []protocol.ChannelID
	for range 300 {
		it := newItem()
		ids = append(ids, private(it), protocol.ChannelID{Bytes: it.Private}) // two name spaces
	}
	subs := make(map[uint32][]subscription) // by session
	want := make(map[protocol.ChannelID]map[uint32]bool)
	leave := func(session uint32) {
		for _, sub := range subs[session] {
			delete(want[table.channel(sub)], session)
			if moved, ok := table.leave(sub); ok {
				subs[moved.session][moved.at].pos = sub.pos
			}
		}
		delete(subs, session)
	}
	for step := range 20_000 {
		session := uint32(rng.IntN(400))
		if subs[session] != nil {
			leave(session)
			continue
		}
		for at := range uint32(1 + rng.IntN(3)) {
			id := ids[rng.IntN(len(ids))]
			if want[id][session] {
				continue
			}
			if want[id] == nil {
				want[id] = make(map[uint32]bool)
			}
			want[id][session] = true
			subs[session] = append(subs[session], table.join(&id, session, uint32(len(subs[session]))))
			_ = at
		}
		if step%500 != 0 {
			continue
		}
		for _, id := range ids {
			got := table.subscribers(&id)
			for _, m := range got {
				if !want[id][m.session] {
					t.Fatalf("step %d: session %d does not listen", step, m.session)
				}
			}
			if len(got) != len(want[id]) {
				t.Fatalf("step %d: %d subscribers, want %d", step, len(got), len(want[id]))
			}
		}
	}
	for session := range subs {
		leave(session)
	}
	if table.used != 0 || table.private != 0 || len(table.channels()) != 0 {
		t.Errorf("%d channels, %d private, are left", table.used, table.private)
	}
}

func TestDeadlines(t *testing.T) {
	var slab sessionSlab
	o := Options{}.withDefaults()
	d := newDeadlines(&slab, &o)
	a, b, c := slab.take(), slab.take(), slab.take()
	d.start(a, timerIdle)
	d.now++
	d.start(b, timerIdle)
	d.start(c, timerHead)
	d.start(c, timerIdle) // instead
	d.stop(b)
	d.now = d.length[timerIdle] - 1
	if s := d.pop(timerIdle); s != nil {
		t.Errorf("session %d is too early", s.index)
	}
	d.now = d.length[timerIdle]
	if s := d.pop(timerIdle); s != a {
		t.Error("the first one is not due")
	}
	if s := d.pop(timerIdle); s != nil {
		t.Errorf("session %d is too early", s.index)
	}
	d.now++
	if s := d.pop(timerIdle); s != c {
		t.Error("the other one is not due")
	}
	if s := d.pop(timerHead); s != nil {
		t.Error("a deadline that was replaced is due")
	}
}

func TestHoles(t *testing.T) {
	var h holes
	h.restart(msgID(10))
	f := func(what string, highest, lastGood uint64, open ...uint64) {
		t.Helper()
		var got []uint64
		for _, x := range h.open {
			got = append(got, x.counter)
		}
		if !slices.Equal(got, open) {
			t.Errorf("%s: holes %v, want %v", what, got, open)
		}
		if good := h.lastGood(msgID(highest)); good != msgID(lastGood) {
			t.Errorf("%s: nothing is missing up to %v", what, good)
		}
	}
	h.come(msgID(11))
	f("the next one", 11, 11)
	h.come(msgID(14))
	f("two are skipped", 14, 11, 12, 13)
	h.come(msgID(12))
	f("one is late", 14, 12, 13)
	h.reach(msgID(16))
	f("an echo", 16, 12, 13, 15, 16)
	if h.served(msgID(13)) || !h.served(msgID(12)) || !h.served(msgID(14)) || h.served(msgID(17)) {
		t.Error("what was served is not known")
	}
	h.come(msgID(16 + maxJump + 1))
	f("a large step is another counter", 16+maxJump+1, 16+maxJump+1)
	h.come(protocol.MakeMessageID(1_800_000_000, 5))
	f("so is another start date", 16, 16)
	if len(h.overdue(time.Now().Add(time.Hour), 10)) != 0 {
		t.Error("holes where there are none")
	}
}

func TestEveryCloseReasonHasARow(t *testing.T) {
	seen := make(map[string]bool)
	for r := range closeReasons {
		label := r.String()
		if label == "" || seen[label] {
			t.Errorf("reason %d has the label %q", r, label)
		}
		seen[label] = true
	}
}

func TestOptionsSayWhatIsWrong(t *testing.T) {
	f := func(change func(o *Options), want string) {
		t.Helper()
		o := Options{Key: []byte("k")}
		change(&o)
		o = o.withDefaults()
		if err := o.Validate(); err == nil || err.Error() != want {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	f(func(o *Options) { o.Key = nil }, "engine: Key is empty")
	f(func(o *Options) { o.WindowCount = 1000 }, "engine: WindowCount is 1000, not a power of two")
	f(func(o *Options) { o.WindowBytes = 10 }, "engine: WindowBytes (10) is below MaxPayload (1048576)")
}
