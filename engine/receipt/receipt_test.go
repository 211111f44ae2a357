package receipt

import (
	"testing"
	"time"

	"push-server/protocol"
)

func id(n uint64) protocol.MessageID { return protocol.MakeMessageID(1795461412, n) }

func TestBook(t *testing.T) {
	var b Book
	b.Set(9, Receipt{})
	if len(b.places) > 0 {
		t.Error("nothing takes room")
	}
	for _, n := range []uint64{5, 7, 6} {
		if !b.Add(3, id(n), 3) {
			t.Errorf("%d does not count", n)
		}
	}
	if b.Add(3, id(8), 3) {
		t.Error("more are acknowledged than were sent")
	}
	if got := b.Of(3); got.Last != id(8) || got.Count != 3 {
		t.Errorf("got %+v", got)
	}
	if b.Of(2) != (Receipt{}) || b.Of(4) != (Receipt{}) {
		t.Error("others have said something")
	}
	b.Set(3, Receipt{})
	if b.Of(3) != (Receipt{}) {
		t.Error("what the one before has said is left")
	}
}

func TestFlights(t *testing.T) {
	var none Flights
	first, second := id(1), id(2)
	none.Begin(&first, 0)
	if _, ok := none.Took(&first, 0); ok {
		t.Error("the zero value remembers")
	}
	f := NewFlights()
	f.Begin(&first, time.Second)
	f.Begin(&first, time.Minute)
	if took, ok := f.Took(&first, 3*time.Second); !ok || took != 2*time.Second {
		t.Errorf("got %v, %v", took, ok)
	}
	if _, ok := f.Took(&second, 0); ok {
		t.Error("what has not come is remembered")
	}
}

func TestReceiptsAllocateNothing(t *testing.T) {
	f, n := NewFlights(), uint64(0)
	var b Book
	b.Set(100, Receipt{Count: 1})
	if allocs := testing.AllocsPerRun(1000, func() {
		n++
		mid := id(n)
		f.Begin(&mid, time.Duration(n))
		f.Took(&mid, time.Duration(n))
		b.Add(100, mid, 1<<30)
	}); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}
