package bustest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"push-server/protocol"
)

func testEcho(t *testing.T, f Factory) {
	bus := open(t, f)
	l := Subscribe(t, bus)
	var last uint64
	for i := range 20 {
		ps := series(1+i, private(1))
		mustPublish(t, bus, ps...)
		n := mustEcho(t, bus)
		if n <= last {
			t.Fatalf("echo %d after %d", n, last)
		}
		last = n
		before, highest := l.Echo(t, n)
		wantBodies(t, fmt.Sprint("before echo ", n), Delivered(before), bodies(ps))
		if want := ps[len(ps)-1].ID; highest != want {
			t.Fatalf("highest is %v, want %v", highest, want)
		}
		l.Forget()
	}
}

// testEchoEmpty: whatever the echo of an empty bus says, it is below the first id.
func testEchoEmpty(t *testing.T, f Factory) {
	bus := open(t, f)
	l := Subscribe(t, bus)
	_, highest := l.Echo(t, mustEcho(t, bus))
	p := publication("a", private(1))
	mustPublish(t, bus, p)
	if highest.Compare(p.ID) >= 0 {
		t.Errorf("echo of the empty bus says %v, the first id is %v", highest, p.ID)
	}
}

func testSubscribeEnds(t *testing.T, f Factory) {
	bus := open(t, f)
	l := Subscribe(t, bus)
	mustPublish(t, bus, publication("a", private(1)))
	l.Publications(t, 1)
	if err := l.End(); !errors.Is(err, context.Canceled) {
		t.Fatalf("Subscribe returned %v", err)
	}
	mustPublish(t, bus, publication("b", private(1)))
	mustEcho(t, bus)
	events := l.Events()
	wantBodies(t, "delivered", Delivered(events), "a")
}

func testGap(t *testing.T, f Factory) {
	bus := open(t, f)
	first := Subscribe(t, bus)
	mustPublish(t, bus, publication("a", private(1)))
	first.Publications(t, 1)
	if events := first.Events(); Gaps(events) != 0 {
		t.Fatal("the first subscription has a gap")
	}
	if err := first.End(); !errors.Is(err, context.Canceled) {
		t.Fatalf("Subscribe returned %v", err)
	}
	mustPublish(t, bus, publication("missed", private(1)))
	second := Subscribe(t, bus)
	mustPublish(t, bus, publication("b", private(1)))
	wantBodies(t, "delivered", second.Publications(t, 1), "b")
	if events := second.Events(); Gaps(events) != 1 || !events[0].Gap {
		t.Errorf("want one gap, before everything else: %v", events)
	}
}

func testOneSubscription(t *testing.T, f Factory) {
	bus := open(t, f)
	l := Subscribe(t, bus)
	if err := bus.Subscribe(testContext(t), NewListener()); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("second Subscribe returned %v", err)
	}
	mustPublish(t, bus, publication("a", private(1)))
	wantBodies(t, "delivered", l.Publications(t, 1), "a")
}

func testProcesses(t *testing.T, f Factory) {
	a, b := open(t, f), open(t, f)
	atA, atB := Subscribe(t, a), Subscribe(t, b)
	mustPublish(t, a, publication("from a", private(1)))
	atA.Publications(t, 1)
	atB.Publications(t, 1)
	mustPublish(t, b, publication("from b", private(1)))
	wantBodies(t, "at a", atA.Publications(t, 2), "from a from b")
	wantBodies(t, "at b", atB.Publications(t, 2), "from a from b")
	q := protocol.HistoryQuery{Channels: []protocol.ChannelID{private(1)}}
	wantBodies(t, "history at a", mustHistory(t, a, q), "from a from b")
	wantBodies(t, "history at b", mustHistory(t, b, q), "from a from b")
}

// testOneOrder lets two processes publish at the same time. Both hear the same, in the order of ids.
func testOneOrder(t *testing.T, f Factory) {
	a, b := open(t, f), open(t, f)
	atA, atB := Subscribe(t, a), Subscribe(t, b)
	const rounds = 100
	var work sync.WaitGroup
	for _, bus := range []interface {
		Publish(context.Context, []*protocol.Publication) (int, error)
	}{a, b} {
		work.Go(func() {
			for range rounds {
				ps := series(3, private(1))
				if stored, err := bus.Publish(testContext(t), ps); err != nil || stored != 3 {
					t.Errorf("Publish: %d, %v", stored, err)
				}
			}
		})
	}
	work.Wait()
	heardA, heardB := atA.Publications(t, 6*rounds), atB.Publications(t, 6*rounds)
	wantAscending(t, heardA)
	wantAscending(t, heardB)
	if len(heardA) != len(heardB) {
		t.Errorf("a heard %d, b %d", len(heardA), len(heardB))
	}
}

func testOwnEcho(t *testing.T, f Factory) {
	a, b := open(t, f), open(t, f)
	atA, atB := Subscribe(t, a), Subscribe(t, b)
	n := mustEcho(t, a)
	atA.Echo(t, n)
	mustPublish(t, a, publication("end", private(1)))
	atB.Publications(t, 1)
	events := atB.Events()
	for _, e := range events {
		if e.Echo != 0 {
			t.Errorf("b got echo %d", e.Echo)
		}
	}
}
