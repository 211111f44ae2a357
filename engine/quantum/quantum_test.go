package quantum

import (
	"testing"
	"time"
)

// pieces counts how many pieces of so many bytes are done until the quantum is over, on a clock that moves by step at each look.
func pieces(q *Quantum, bytes int, step time.Duration) (n int) {
	now := time.Unix(1, 0)
	q.Start(now)
	for {
		n++
		q.Spend(bytes)
		if !q.Due() {
			continue
		}
		if now = now.Add(step); q.Over(now) {
			return n
		}
	}
}

func TestQuantum(t *testing.T) {
	f := func(what string, q Quantum, bytes int, step time.Duration, want int) {
		t.Helper()
		if n := pieces(&q, bytes, step); n != want {
			t.Errorf("%s: %d pieces, want %d", what, n, want)
		}
		if n := pieces(&q, bytes, step); n != want {
			t.Errorf("%s, begun anew: %d pieces, want %d", what, n, want)
		}
	}
	f("small pieces", New(time.Millisecond), 100, time.Millisecond, 32)
	f("large pieces", New(time.Millisecond), 1<<20, time.Millisecond, 2)
	f("a clock that is late already", New(time.Millisecond), 100, time.Hour, 16)
	f("cut at every piece", Quantum{Length: -1, Look: 1}, 0, 0, 1)
}

// The time of one kind of work is not taken from the next.
func TestEachKindOfWorkHasItsTime(t *testing.T) {
	q := New(time.Millisecond)
	now := time.Unix(1, 0)
	q.Start(now)
	q.Spend(1 << 20)
	now = now.Add(time.Hour)
	if !q.Over(now) {
		t.Fatal("an hour is no millisecond")
	}
	q.Begin()
	if q.Due() || q.Spent() != 0 {
		t.Error("other work is over before it has begun")
	}
	q.Spend(1 << 20)
	if q.Over(now.Add(time.Millisecond)) {
		t.Error("other work has no time")
	}
}
