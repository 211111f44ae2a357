package engine

import (
	"context"
	"testing"
	"time"
)

func TestDeadlines(t *testing.T) {
	var slab sessionSlab
	o := Options{}.withDefaults()
	d := newDeadlines(&slab, &o, func() {})
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
		o := Options{Settings: Settings{Key: []byte("k")}}
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

// Goroutines that end slowly on a busy machine have what is left of the time of a drain; after a second signal they have little.
func TestTimeOfTheEnd(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	left := func() time.Duration {
		t.Helper()
		ctx, cancel := rest(ctx, stopTime)
		defer cancel()
		deadline, ok := ctx.Deadline()
		if !ok || ctx.Err() != nil {
			t.Fatal(ok, ctx.Err())
		}
		return time.Until(deadline)
	}
	if d := left(); d < time.Minute {
		t.Errorf("%v are left of an hour", d)
	}
	cancel()
	if d := left(); d > stopTime {
		t.Errorf("%v after a second signal", d)
	}
}
