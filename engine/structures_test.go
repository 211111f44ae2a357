package engine

import (
	"math/rand/v2"
	"testing"

	"push-server/protocol"
)

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
