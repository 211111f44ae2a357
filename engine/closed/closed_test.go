package closed

import (
	"strings"
	"testing"
	"time"
	"unsafe"

	"push-server/protocol"
)

func end(second int64, channels ...byte) End {
	e := End{Time: time.Unix(second, 0), Reason: "peer"}
	for _, ch := range channels {
		e.Listen(protocol.ChannelID{Bytes: [16]byte{ch}})
	}
	return e
}

func TestFind(t *testing.T) {
	r := NewRing(time.Unix(1, 0))
	f := func(channel byte, want ...int64) {
		t.Helper()
		found, _ := r.Find([16]byte{channel}, 3)
		var got []int64
		for _, e := range found {
			got = append(got, e.Time.Unix())
		}
		if len(got) != len(want) {
			t.Fatalf("channel %d: %v, want %v", channel, got, want)
		}
		for i := range got {
			if got[i] != want[i] {
				t.Errorf("channel %d: %v, want %v", channel, got, want)
			}
		}
	}
	f(1)
	for second := int64(2); second < 7; second++ {
		r.Add(end(second, 1, byte(second)))
	}
	f(1, 6, 5, 4)
	f(3, 3)
	f(9)
	if _, since := r.Find([16]byte{1}, 1); since.Unix() != 1 {
		t.Errorf("complete since %v", since)
	}
}

// However many end, and whatever they listened to and said, a bounded number is kept in a bounded space, and the oldest are known to be gone.
func TestBounds(t *testing.T) {
	r := NewRing(time.Unix(0, 0))
	for second := range int64(size + 10) {
		e := end(second, 1, 2, 3, 4, 5, 6)
		e.Address = strings.Repeat("x", 1000)
		r.Add(e)
	}
	found, since := r.Find([16]byte{4}, 2*size)
	if len(found) != size || found[0].Time.Unix() != size+9 || found[size-1].Time.Unix() != 10 || since.Unix() != 9 {
		t.Errorf("%d found, complete since %v", len(found), since.Unix())
	}
	if len(found[0].Address) > maxAddress {
		t.Errorf("an address has %d bytes", len(found[0].Address))
	}
	if none, _ := r.Find([16]byte{5}, 1); len(none) > 0 {
		t.Error("more channels than are kept")
	}
	if bytes := size * (int(unsafe.Sizeof(End{})) + maxAddress); bytes > 1_500_000 {
		t.Errorf("%d bytes", bytes)
	}
}
