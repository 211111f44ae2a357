package engine

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"push-server/poll"
	"push-server/protocol"
)

// script is a bus whose Publish gives out one answer after the other.
type script struct {
	Bus
	stored  []int
	errs    []error
	counter uint64
}

func (b *script) Publish(_ context.Context, ps []*protocol.Publication) (stored int, err error) {
	stored, err = b.stored[0], b.errs[0]
	b.stored, b.errs = b.stored[1:], b.errs[1:]
	for _, p := range ps[:stored] {
		b.counter++
		p.ID = protocol.MakeMessageID(1_795_461_812, b.counter)
	}
	return stored, err
}

func TestWatchedBus(t *testing.T) {
	trace := &follower{}
	f := follow(trace, "127.0.0.1", nil)
	ps := make([]*protocol.Publication, 6)
	for i := range ps {
		ps[i] = publication("{}", 60, private(newItem()))
	}
	refused := fmt.Errorf("%w: too large", ErrRefused)
	b := &watchedBus{
		Bus: &script{stored: []int{2, 0, 2}, errs: []error{errors.New("away"), refused, nil}}, waiting: make(map[*protocol.Publication]handed),
	}
	publish := func(ps []*protocol.Publication) {
		t.Helper()
		if _, err := b.Publish(t.Context(), ps); err != nil {
			t.Log(err)
		}
	}
	if err := b.during(f, ps[1:4], func() error { return nil }); err != nil {
		t.Error(err)
	}
	if err := b.during(f, ps[4:], func() error { return poll.ErrQueueFull }); !errors.Is(err, poll.ErrQueueFull) {
		t.Error(err)
	}
	publish(ps[:4])
	trace.take(t, "T1 [MESSAGE-SET] BUFFER Nms 127.0.0.1") // ps[0] belongs to nobody
	publish(ps[2:4])
	publish(ps[3:5])
	trace.take(t, "T1 [MESSAGE-SET] BUFFER Nms 127.0.0.1") // ps[2] was refused, ps[4] not taken
	if len(b.waiting) != 0 {
		t.Errorf("%d publications are remembered", len(b.waiting))
	}
}

func TestBufferText(t *testing.T) {
	const want = `{"type":"Buffer","data":[23,149,70,24,18,0,0,0,0,0,0,18,113]}`
	if got := bufferText(protocol.MakeMessageID(1795461812, 1271)); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := bufferText(protocol.MessageID{}); got != "none" {
		t.Errorf("got %s for no id", got)
	}
}
