package bustest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"push-server/engine"
	"push-server/protocol"
	"push-server/protocol/testclient"
)

const day = 86400 // seconds, the default TTL

func private(n byte) protocol.ChannelID {
	return protocol.ChannelID{Bytes: [16]byte{0: n, 1: '\n', 15: n}, Private: true}
}

func public(n byte) protocol.ChannelID {
	ch := private(n)
	ch.Private = false
	return ch
}

// publication makes one with an hour to live.
func publication(body string, chs ...protocol.ChannelID) *protocol.Publication {
	p := &protocol.Publication{Body: []byte(body), Expiry: 3600, Sender: protocol.Sender{Type: protocol.SenderBackend}}
	for _, ch := range chs {
		p.Receivers = append(p.Receivers, protocol.Receiver{Channel: ch})
	}
	return p
}

// series makes n publications with the bodies "0", "1", …
func series(n int, chs ...protocol.ChannelID) []*protocol.Publication {
	ps := make([]*protocol.Publication, n)
	for i := range ps {
		ps[i] = publication(fmt.Sprint(i), chs...)
	}
	return ps
}

// bodies joins the bodies of ps, the shortest way to compare.
func bodies(ps []*protocol.Publication) string {
	all := make([]string, len(ps))
	for i, p := range ps {
		all[i] = string(p.Body)
	}
	return strings.Join(all, " ")
}

func wantBodies(t *testing.T, what string, ps []*protocol.Publication, want string) {
	t.Helper()
	if got := bodies(ps); got != want {
		t.Fatalf("%s:\n got %s\nwant %s", what, got, want)
	}
}

func wantAscending(t *testing.T, ps []*protocol.Publication) {
	t.Helper()
	var last protocol.MessageID
	for i, p := range ps {
		if p.ID.Compare(last) <= 0 {
			t.Fatalf("publication %d has id %v after %v", i, p.ID, last)
		}
		last = p.ID
	}
}

func open(t *testing.T, f Factory) engine.Bus {
	bus := f.Open(t)
	t.Cleanup(bus.Close)
	return bus
}

func testIDsGrow(t *testing.T, f Factory) {
	bus := open(t, f)
	ps := series(50, private(1))
	for i, p := range ps {
		if i%3 == 0 {
			p.Expiry = 0
		}
	}
	before := uint64(time.Now().Unix())
	mustPublish(t, bus, ps[0])
	mustPublish(t, bus, ps[1:]...)
	wantAscending(t, ps)
	if f.Advance == nil && ps[0].ID.Startdate() < before-1 {
		t.Errorf("id %v begins with a time before the first publication, %d", ps[0].ID, before)
	}
}

func testDeliveryOrder(t *testing.T, f Factory) {
	bus := open(t, f)
	l := Subscribe(t, bus)
	ps := series(300, private(1))
	for i, p := range ps {
		if i%2 == 0 {
			p.Expiry = 0 // must not overtake
		}
	}
	for rest := ps; len(rest) > 0; {
		n := min(1+len(rest)%40, len(rest))
		mustPublish(t, bus, rest[:n]...)
		rest = rest[n:]
	}
	got := l.Publications(t, len(ps))
	wantBodies(t, "delivered", got, bodies(ps))
	wantAscending(t, got)
}

func testDeliveredFields(t *testing.T, f Factory) {
	bus := open(t, f)
	l := Subscribe(t, bus)
	sent := publication(`{"a":"ü"}`, private(1), public(2))
	sent.Receivers[1].Signature = []byte{0, 1, 255}
	sent.Sender = protocol.Sender{Type: protocol.SenderClient, ID: []byte("0123456789abcdef")}
	mustPublish(t, bus, sent)
	got := l.Publications(t, 1)[0]

	check := func(what string, p *protocol.Publication) {
		t.Helper()
		same := p.ID == sent.ID && string(p.Body) == string(sent.Body) && p.Expiry == 3600 && p.Created == sent.Created &&
			p.Sender.Type == protocol.SenderClient && string(p.Sender.ID) == string(sent.Sender.ID)
		if !same {
			t.Errorf("%s: got %+v, want %+v", what, p, sent)
		}
	}
	check("delivered", got)
	if len(got.Receivers) != 2 || got.Receivers[0].Channel != private(1) || got.Receivers[1].Channel != public(2) {
		t.Errorf("receivers: got %v", got.Receivers)
	}
	if sent.ID.IsZero() || sent.Created == 0 {
		t.Errorf("the publisher's own copy has id %v and created %d", sent.ID, sent.Created)
	}
	for _, p := range mustHistory(t, bus, protocol.HistoryQuery{Channels: []protocol.ChannelID{public(2)}}) {
		check("history", p)
	}
}

func testBodies(t *testing.T, f Factory) {
	bus := open(t, f)
	l := Subscribe(t, bus)
	for i, body := range []string{"", "\x00", "\r\n", "#!NGINXNME!#", strings.Repeat("x", 127), strings.Repeat("x", 128),
		strings.Repeat("y", 1<<14), strings.Repeat("ü\x00", 1<<19/3), strings.Repeat("z", 1<<20)} {
		mustPublish(t, bus, publication(body, private(1)))
		if got := l.Publications(t, i+1)[i]; string(got.Body) != body {
			t.Fatalf("delivered body %d differs: %d bytes, want %d", i, len(got.Body), len(body))
		}
		ps := mustHistory(t, bus, protocol.HistoryQuery{Channels: []protocol.ChannelID{private(1)}, Limit: 1})
		if len(ps) != 1 || string(ps[0].Body) != body {
			t.Fatalf("stored body %d differs", i)
		}
	}
}

func testSeveralReceivers(t *testing.T, f Factory) {
	bus := open(t, f)
	l := Subscribe(t, bus)
	p := publication("to many", private(0))
	for n := 1; n < 200; n++ {
		p.Receivers = append(p.Receivers, protocol.Receiver{Channel: private(byte(n))})
	}
	mustPublish(t, bus, p, publication("last", private(1)))
	got := l.Publications(t, 2)
	wantBodies(t, "delivered", got, "to many last")
	if len(got[0].Receivers) != 200 {
		t.Errorf("%d receivers, want 200", len(got[0].Receivers))
	}
	for _, n := range []byte{0, 100, 199} {
		ps := mustHistory(t, bus, protocol.HistoryQuery{Channels: []protocol.ChannelID{private(n)}})
		wantBodies(t, fmt.Sprint("history of receiver ", n), ps, "to many")
	}
}

func testReceiverTwice(t *testing.T, f Factory) {
	bus := open(t, f)
	mustPublish(t, bus, publication("a", private(1), private(2), private(1), private(1)))
	ps := mustHistory(t, bus, protocol.HistoryQuery{Channels: []protocol.ChannelID{private(1), private(1)}})
	wantBodies(t, "history", ps, "a")
	if len(ps[0].Receivers) != 1 {
		t.Errorf("receivers: %v", ps[0].Receivers)
	}
}

func testConcurrency(t *testing.T, f Factory) {
	bus := open(t, f)
	l := Subscribe(t, bus)
	const rounds = 100
	var work sync.WaitGroup
	work.Go(func() {
		for i := range rounds {
			mustPublish(t, bus, series(1+i%5, private(1), private(2))...)
		}
	})
	var echoes []uint64
	work.Go(func() {
		for range rounds {
			echoes = append(echoes, mustEcho(t, bus))
		}
	})
	work.Go(func() {
		for range rounds {
			mustHistory(t, bus, protocol.HistoryQuery{Channels: []protocol.ChannelID{private(1)}, Limit: 10})
		}
	})
	work.Wait()
	if t.Failed() {
		return
	}
	before, highest := l.Echo(t, mustEcho(t, bus))
	if l.concurrent {
		t.Error("the handler was called concurrently")
	}
	ps := Delivered(before)
	wantAscending(t, ps)
	if len(ps) != 3*rounds || ps[len(ps)-1].ID != highest {
		t.Errorf("%d publications, want %d; echo says %v", len(ps), 3*rounds, highest)
	}
	for i, n := range echoes {
		if i > 0 && n <= echoes[i-1] {
			t.Fatalf("echo %d after %d", n, echoes[i-1])
		}
	}
}

func testNoSubscription(t *testing.T, f Factory) {
	bus := open(t, f)
	mustPublish(t, bus, series(3, private(1))...)
	mustEcho(t, bus)
	wantBodies(t, "history", mustHistory(t, bus, protocol.HistoryQuery{Channels: []protocol.ChannelID{private(1)}}), "0 1 2")
}

func testEndedContext(t *testing.T, f Factory) {
	bus := open(t, f)
	l := Subscribe(t, bus)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	ps := series(2, private(1))
	if stored, err := bus.Publish(ctx, ps); stored != 0 || !errors.Is(err, context.Canceled) {
		t.Fatalf("Publish: %d, %v", stored, err)
	}
	mustPublish(t, bus, ps...)
	wantBodies(t, "delivered", l.Publications(t, 2), "0 1")
	if _, err := bus.History(ctx, []protocol.HistoryQuery{{Channels: []protocol.ChannelID{private(1)}}}, 0); err == nil {
		t.Error("History with an ended context: no error")
	}
	if _, err := bus.Echo(ctx); err == nil {
		t.Error("Echo with an ended context: no error")
	}
}

func testClosed(t *testing.T, f Factory) {
	bus := open(t, f)
	l := Subscribe(t, bus)
	mustPublish(t, bus, publication("a", private(1)))
	l.Publications(t, 1)
	bus.Close()
	bus.Close()
	err := testclient.AwaitFrom(t, "Subscribe returns after Close", l.result)
	l.result <- err
	if err == nil || errors.Is(err, context.Canceled) {
		t.Errorf("Subscribe returned %v", err)
	}
	ctx := testContext(t)
	if stored, err := bus.Publish(ctx, series(1, private(1))); err == nil || stored != 0 {
		t.Errorf("Publish: %d, %v", stored, err)
	}
	if _, err := bus.History(ctx, []protocol.HistoryQuery{{Channels: []protocol.ChannelID{private(1)}}}, 0); err == nil {
		t.Error("History: no error")
	}
	if _, err := bus.Remaining(ctx, []protocol.MessageID{{1}}); err == nil {
		t.Error("Remaining: no error")
	}
	if _, err := bus.Echo(ctx); err == nil {
		t.Error("Echo: no error")
	}
	if err := bus.Subscribe(ctx, NewListener()); err == nil {
		t.Error("Subscribe: no error")
	}
}

// testLostAnswer publishes n publications whose answer gets lost and then does what the contract asks for.
func testLostAnswer(t *testing.T, f Factory, n int) {
	bus := open(t, f)
	l := Subscribe(t, bus)
	mustPublish(t, bus, publication("before", private(1)))
	f.LoseAnswer(t)
	ps := series(n, private(1))
	stored, err := bus.Publish(testContext(t), ps)
	if err == nil {
		t.Fatal("Publish: no error though its answer was lost")
	}
	ps = append(ps[stored:], publication("after", private(1)))
	testclient.Await(t, "publishing again", func() bool {
		stored, err = bus.Publish(testContext(t), ps)
		ps = ps[stored:]
		return err == nil
	})
	before, _ := l.Echo(t, mustEcho(t, bus))
	want := "before " + bodies(series(n)) + " after"
	wantBodies(t, "delivered", Delivered(before), want)
	wantBodies(t, "history", mustHistory(t, bus, protocol.HistoryQuery{Channels: []protocol.ChannelID{private(1)}}), want)
}
