package engine

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"push-server/protocol"
)

// joinChannels gives loop l a channel of each of items; the sessions are nobody.
func joinChannels(t testing.TB, e *Engine, l int, items ...protocol.Item) {
	t.Helper()
	err := askLoops(t.Context(), e.loops[l:l+1], func(l *loop) {
		for _, it := range items {
			ch := private(it)
			l.table.Join(&ch, 0, 0)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

func newItems(n int) []protocol.Item {
	items := make([]protocol.Item, n)
	for i := range items {
		items[i] = newItem()
	}
	return items
}

// BenchmarkServerStats is the statistics page of a process with many channels.
func BenchmarkServerStats(b *testing.B) {
	e := startMemory(b, nil)
	for l := range e.loops {
		joinChannels(b, e, l, newItems(6000)...)
	}
	b.ReportAllocs()
	for b.Loop() {
		e.ServerStats(context.Background())
	}
}

// A channel counts once, although its connections may be on several loops, and the page shows who has come by the time that was
// announced; until then it is not counted again, however often somebody asks.
func TestChannelCount(t *testing.T) {
	e := startMemory(t, nil)
	both, one := newItem(), newItem()
	joinChannels(t, e, 0, both, one)
	joinChannels(t, e, 1, both)
	var c channelCount
	now := time.Now()
	f := func(when time.Time, want int) {
		t.Helper()
		if n, err := c.count(t.Context(), e.loops, when); err != nil || n != want {
			t.Errorf("after %v: %d channels, %v, want %d", when.Sub(now), n, err, want)
		}
	}
	f(now, 2)
	joinChannels(t, e, 1, newItem(), one)
	kept := 2 * countKept
	for range 100 {
		f(now.Add(kept-1), 2)
	}
	f(now.Add(kept), 3)
	f(now.Add(kept+3*countKept-1), 3)
}

// What has failed is not kept.
func TestChannelCountFails(t *testing.T) {
	e := startMemory(t, nil)
	joinChannels(t, e, 0, newItem())
	ended, end := context.WithCancel(context.Background())
	end()
	release := make(chan struct{})
	e.loops[0].call(func(*loop) { <-release })
	var c channelCount
	now := time.Now()
	_, err := c.count(ended, e.loops, now)
	close(release)
	if err == nil {
		t.Error("nobody waited for the loop")
	}
	if n, err := c.count(t.Context(), e.loops, now); n != 1 || err != nil {
		t.Errorf("%d channels, %v", n, err)
	}
}

// The statistics page shows who is connected at the moment in which it is asked for.
func TestStatisticsPage(t *testing.T) {
	e := startMemory(t, nil)
	a, b := newItem(), newShared()
	for range 4 {
		subscribed(t, e, query("", a, b))
	}
	var page []struct{ Channels, WebSockets, Pollings int }
	if err := json.Unmarshal(e.ServerStats(t.Context()), &page); err != nil {
		t.Fatal(err)
	}
	if len(page) != 1 || page[0].Channels != 2 || page[0].WebSockets != 4 || page[0].Pollings != 0 {
		t.Errorf("the page shows %+v", page)
	}
}

// A record is one only if whoever reads the whole page can read it.
func TestRecordDate(t *testing.T) {
	f := func(record string, want int64, wantOK bool) {
		t.Helper()
		if ms, ok := recordDate([]byte(record)); ms != want || ok != wantOK {
			t.Errorf("%q: %d, %t", record, ms, ok)
		}
	}
	f(`{"pid":1,"date":1795461740561,"limits":{"x":[1]}}`, 1795461740561, true)
	f(`{"pid":1}`, 0, false)
	f(`{"date":1.5}`, 0, false)
	f(`garbage`, 0, false)
	f(`{"date":1}}`, 0, false)
	f(`{"date":1,"x":"\x"}`, 0, false)
	f("{\"date\":1,\"x\":\"\xff\\u12\"}", 0, false)
	f("{\"date\":1,\"x\":\"\n\"}", 0, false)
}
