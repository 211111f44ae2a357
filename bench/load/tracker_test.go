package load

import "testing"

func TestTrackerNoticesWhatWentWrong(t *testing.T) {
	f := func(published uint32, numbers []uint32, want Integrity) {
		t.Helper()
		var tr tracker
		var got Integrity
		tr.follow(5, 1)
		for _, n := range numbers {
			tr.saw(5, n, &got)
		}
		got.Lost = tr.pending(func(uint32) uint32 { return published })
		if got != want {
			t.Errorf("%v of %d: %+v, want %+v", numbers, published, got, want)
		}
	}
	f(3, []uint32{1, 2, 3}, Integrity{Deliveries: 3})
	f(4, []uint32{1, 2, 3}, Integrity{Deliveries: 3, Lost: 1})
	f(4, []uint32{1, 3, 4}, Integrity{Deliveries: 3, Lost: 1})
	f(3, []uint32{1, 2, 2, 3}, Integrity{Deliveries: 4, Doubled: 1})
	f(3, []uint32{1, 3, 2}, Integrity{Deliveries: 3, Reordered: 1})
	f(3, []uint32{3, 1, 1}, Integrity{Deliveries: 3, Reordered: 1, Doubled: 1, Lost: 1})
	f(2, nil, Integrity{Lost: 2})
}

func TestTrackerKnowsOnlyItsStreams(t *testing.T) {
	var tr tracker
	var got Integrity
	tr.follow(1, 1)
	tr.saw(2, 1, &got)
	if want := (Integrity{Misrouted: 1}); got != want {
		t.Errorf("%+v", got)
	}
}

func TestTrackerWithoutPositionTakesWhatComesFirst(t *testing.T) {
	var tr tracker
	var got Integrity
	tr.follow(1, 1)
	tr.forget()
	if n := tr.pending(func(uint32) uint32 { return 9 }); n != 0 {
		t.Errorf("%d pending before the first message", n)
	}
	tr.saw(1, 7, &got)
	tr.saw(1, 9, &got)
	if n := tr.pending(func(uint32) uint32 { return 9 }); n != 1 || got.Deliveries != 2 || !got.OK() {
		t.Errorf("%d pending, %+v", n, got)
	}
}
