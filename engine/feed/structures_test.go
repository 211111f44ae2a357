package feed

import (
	"crypto/rand"
	"slices"
	"testing"
	"time"

	"push-server/protocol"
)

func msgID(n uint64) protocol.MessageID { return protocol.MakeMessageID(1_700_000_000, n) }

func newChannel() (ch protocol.ChannelID) {
	_, _ = rand.Read(ch.Bytes[:])
	ch.Private = true
	return ch
}

func keptEntry(n uint64, chs ...protocol.ChannelID) *Entry {
	p := &protocol.Publication{ID: msgID(n), Body: []byte("x"), Expiry: 600}
	for _, ch := range chs {
		p.Receivers = append(p.Receivers, protocol.Receiver{Channel: ch})
	}
	return &Entry{Publication: p, highest: p.ID, expires: time.Hour}
}

func counters(es []*Entry) (ns []uint64) {
	for _, e := range es {
		ns = append(ns, e.Publication.ID.Counter())
	}
	return ns
}

// The window keeps the latest entries, within its number and its bytes, and says what it has lost.
func TestWindowIsBounded(t *testing.T) {
	w := newWindow(8, 1<<20)
	ch := newChannel()
	for n := range uint64(20) {
		w.append(keptEntry(n+1, ch))
	}
	if e, lost := w.at(1); e != nil || !lost {
		t.Error("the first entry is still there")
	}
	if e, lost := w.at(21); e != nil || lost {
		t.Error("an entry that is not there yet")
	}
	if e, _ := w.at(20); e == nil || e.Publication.ID != msgID(20) {
		t.Errorf("the last entry is %v", e)
	}
	if evicted := w.evicted.load(); evicted != msgID(13) && evicted != msgID(12) {
		t.Errorf("greatest id evicted %v", evicted)
	}
	small := newWindow(1024, 10*entryOverhead)
	for n := range uint64(100) {
		small.append(keptEntry(n+1, ch))
		if small.bytes.Load() > small.maxBytes+entryOverhead+64 {
			t.Fatalf("%d bytes", small.bytes.Load())
		}
	}
}

func TestWindowAnswersSince(t *testing.T) {
	w := newWindow(64, 1<<20)
	a, b := newChannel(), newChannel()
	same := a
	same.Bytes[15] ^= 1 // another channel in the bucket of a
	for n := range uint64(30) {
		ch := []protocol.ChannelID{a, b, same}[n%3]
		w.append(keptEntry(n+1, ch))
	}
	both := keptEntry(31, a, same, b)
	w.append(both)
	unstored := keptEntry(32, a)
	unstored.expires = 0
	w.append(unstored)
	expired := keptEntry(33, a)
	expired.expires = -1
	w.append(expired)
	now := time.Duration(0)
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
	f(newChannel(), 0, 99, 100)
	for n := range uint64(64) {
		w.append(keptEntry(100+n, b))
	}
	if _, ok := w.since(nil, &a, msgID(22), 999, 100, now); ok {
		t.Error("the window claims what it has lost")
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
	h.come(msgID(11), 0)
	f("the next one", 11, 11)
	h.come(msgID(14), 0)
	f("two are skipped", 14, 11, 12, 13)
	h.come(msgID(12), 0)
	f("one is late", 14, 12, 13)
	h.reach(msgID(16), 0)
	f("an echo", 16, 12, 13, 15, 16)
	if h.served(msgID(13)) || !h.served(msgID(12)) || !h.served(msgID(14)) || h.served(msgID(17)) {
		t.Error("what was served is not known")
	}
	h.come(msgID(16+maxJump+1), 0)
	f("a large step is another counter", 16+maxJump+1, 16+maxJump+1)
	h.come(protocol.MakeMessageID(1_800_000_000, 5), 0)
	f("so is another start date", 16, 16)
	if len(h.overdue(time.Hour, 10)) != 0 {
		t.Error("holes where there are none")
	}
}

// How long a client has not said that it has a message is known as far as the window reaches, whatever other channels get.
func TestUnheard(t *testing.T) {
	s := newSim(1)
	f := &Feed{window: newWindow(16, 1<<20), clock: simClock{s}}
	a, b := newChannel(), newChannel()
	for n := range uint64(20) {
		chs := []protocol.ChannelID{a, b}
		if n%4 != 0 {
			chs = []protocol.ChannelID{newChannel()}
		}
		e := keptEntry(n, chs...)
		e.arrived = time.Duration(n+1) * time.Second
		f.window.append(e)
	}
	s.now = 21 * time.Second
	check := func(id uint64, n int, age time.Duration, found int, whole bool) {
		t.Helper()
		r := &Reader{feed: f, cursor: f.window.head.Load()}
		if gotAge, gotFound, gotWhole := r.Unheard([]protocol.ChannelID{a, b}, msgID(id), n); gotAge != age || gotFound != found || gotWhole != whole {
			t.Errorf("behind %d the oldest of %d is %v old, of %d, %v", id, n, gotAge, gotFound, gotWhole)
		}
	}
	check(8, 2, 8*time.Second, 2, true) // 12 and 16
	check(8, 1, 4*time.Second, 1, true)
	check(8, 5, 8*time.Second, 2, true)
	check(16, 1, 0, 0, true)
	check(0, 5, 16*time.Second, 4, false) // what came before is lost
	r := &Reader{feed: f, cursor: f.window.head.Load() - 4}
	if age, found, _ := r.Unheard([]protocol.ChannelID{a}, msgID(8), 2); age != 8*time.Second || found != 1 {
		t.Errorf("of what the loop has read it is %v, of %d", age, found)
	}
}
