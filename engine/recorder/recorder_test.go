package recorder

import (
	"context"
	"testing"
	"time"
	"unsafe"

	"push-server/protocol"
)

func reason(detail uint16) string { return map[uint16]string{7: "slow_reader"}[detail] }

func TestRecorderKeepsTheLast(t *testing.T) {
	t.Parallel()
	var r Recorder
	if got := r.Of(1, 1); got != nil {
		t.Error(got)
	}
	at := int64(0)
	add := func(place, generation uint32, k Kind) {
		at++
		r.Add(Event{Time: at / 16, Place: place, Generation: generation, Kind: k}) // the time is not looked at for each
	}
	add(1, 1, Opened)
	add(1, 2, Opened) // another connection in its place
	for range 3 * size {
		add(2, 1, Message) // a broadcast displaces nothing else
	}
	add(1, 1, Message)
	add(1, 1, Closed)
	got := r.Of(1, 1)
	if len(got) != 3 || got[0].Kind != Opened || got[1].Kind != Message || got[2].Kind != Closed {
		t.Errorf("%+v", got)
	}
	for range size {
		add(3, 1, Frame)
	}
	if got := r.Of(1, 1); len(got) != 1 || got[0].Kind != Message {
		t.Errorf("%+v", got)
	}
	if got := r.Of(2, 1); len(got) != size-1 {
		t.Error(len(got))
	}
}

func TestLine(t *testing.T) {
	t.Parallel()
	id := protocol.MakeMessageID(1795461412, 31)
	second := int64(time.Second)
	events := []Event{
		{Time: second, Kind: Message, Bytes: 220, Detail: 1, Mid: Tail(&id)},
		{Time: 2 * second, Kind: CloseFrame, Detail: 1001},
		{Time: 3 * second, Kind: Closed, Detail: 7},
	}
	l := events[0].Line(reason)
	if l.Mid != "…0000000000000031" || l.Bytes != 220 || l.Kind != "message" || l.Direction != "out" || l.Note != "" || !l.Time.Equal(time.Unix(1, 0)) {
		t.Errorf("%+v", l)
	}
	if got, want := Text(events, reason), "-2s message 220B, -1s close-frame code 1001, -0s closed slow_reader"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	for k := range kinds {
		if table[k].name == "" {
			t.Errorf("kind %d has no row", k)
		}
	}
}

func TestSlowViewerIsToldWhatHeLost(t *testing.T) {
	t.Parallel()
	f := NewFollower()
	for range maxFollowed + 17 {
		f.Add(Event{Kind: Message})
	}
	f.Add(Event{Kind: Closed})
	if events, lost, ended := f.Next(t.Context()); len(events) != maxFollowed || lost != 18 || !ended {
		t.Error(len(events), lost, ended)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if events, lost, ended := f.Next(ctx); events != nil || lost != 0 || ended {
		t.Error("something came twice")
	}
}

func TestEventIsSmall(t *testing.T) {
	if n := unsafe.Sizeof(Event{}); n != 32 {
		t.Errorf("an event has %d bytes", n)
	}
	var r Recorder
	r.Add(Event{Kind: Message})
	if n := testing.AllocsPerRun(100, func() { r.Add(Event{Kind: Message}) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkAdd(b *testing.B) {
	var r Recorder
	id := protocol.MakeMessageID(1795461412, 31)
	for i := 0; b.Loop(); i++ {
		r.Add(Event{Time: int64(i), Place: uint32(i), Generation: 1, Kind: Message, Bytes: 220, Detail: 1, Mid: Tail(&id)})
	}
}
