package latency

import (
	"testing"
	"time"
)

func TestRecent(t *testing.T) {
	t.Parallel()
	h, now := New().Turn, time.Now()
	f := func(after time.Duration, count uint64, p50, p99 time.Duration) {
		t.Helper()
		q := h.Recent(now.Add(after))
		near := func(got float64, want time.Duration) bool {
			return got >= want.Seconds()*0.4 && got <= want.Seconds()*2.5
		}
		if q.Count != count || count > 0 && (!near(q.P50, p50) || !near(q.P99, p99)) {
			t.Errorf("after %v: %+v", after, q)
		}
	}
	observe := func(n int, d time.Duration) {
		for range n {
			h.Observe(d)
		}
	}
	f(0, 0, 0, 0)
	observe(90, time.Millisecond)
	observe(10, 200*time.Millisecond)
	f(time.Second, 100, time.Millisecond, 200*time.Millisecond)
	f(span, 100, time.Millisecond, 200*time.Millisecond)
	observe(10, 20*time.Second)
	f(2*span-1, 110, time.Millisecond, 20*time.Second)
	f(2*span, 10, 20*time.Second, 20*time.Second) // what came before is no more recent
	f(3*span, 0, 0, 0)
	observe(1, time.Hour) // above all bounds
	f(3*span+1, 1, 30*time.Second, 30*time.Second)
}

func TestObserveAllocatesNothing(t *testing.T) {
	h := New().Delivery
	if n := testing.AllocsPerRun(100, func() { h.Observe(time.Millisecond) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkObserve(b *testing.B) {
	h := New().Turn
	for b.Loop() {
		h.Observe(30 * time.Microsecond)
	}
}
