package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"push-server/engine/latency"
	"push-server/engine/membus"
	"push-server/poll"
	"push-server/protocol"
	"push-server/protocol/testclient"
)

// strictBus takes publications as plan says, and remembers them. It insists on what a bus is promised: after an error the rest of the batch
// comes again before anything else.
type strictBus struct {
	Bus
	t    *testing.T
	plan func(n int) (stored int, err error)
	due  []*protocol.Publication // that have to come again
	took []string
}

func (b *strictBus) Publish(_ context.Context, ps []*protocol.Publication) (int, error) {
	if len(ps) < len(b.due) || !slices.Equal(ps[:len(b.due)], b.due) {
		b.t.Fatalf("after an error come %s, not %s", bodies(ps), bodies(b.due))
	}
	stored, err := b.plan(len(ps))
	b.took = append(b.took, bodies(ps[:stored])...)
	if b.due = nil; err != nil {
		b.due = slices.Clone(ps[stored:])
		switch {
		case errors.Is(err, ErrRefused):
			b.due = b.due[1:]
		case errors.Is(err, ErrForbidden):
			b.due = nil
		}
	}
	return stored, err
}

func bodies(ps []*protocol.Publication) (all []string) {
	for _, p := range ps {
		all = append(all, string(p.Body))
	}
	return all
}

func all(n int) (int, error) { return n, nil }

// newTestQueue makes a queue without a sender, whose turns the test takes.
func newTestQueue(t *testing.T, change func(o *Options)) (*publishQueue, *strictBus) {
	bus := &strictBus{t: t, plan: all}
	o := Options{Settings: Settings{Key: []byte(testKey)}}
	if change != nil {
		change(&o)
	}
	o = o.withDefaults()
	return newPublishQueue(bus, &o, &publishStats{took: latency.New().Publish}), bus
}

func (q *publishQueue) add(t *testing.T, kind publisherKind, texts ...string) {
	t.Helper()
	var ps []*protocol.Publication
	for _, text := range texts {
		ps = append(ps, publication(text, 60, private(newItem())))
	}
	if err := q.enqueue(kind, ps, nil, nil); err != nil {
		t.Fatal(err)
	}
}

// Whatever clients have sent, a back end waits for no more of it than one small batch, which is under way when it comes.
func TestBackEndsGoFirst(t *testing.T) {
	f := func(name, body string) {
		t.Helper()
		q, bus := newTestQueue(t, nil)
		for i := range 100 {
			q.add(t, clients, fmt.Sprint("client ", i, body))
		}
		under := q.next()
		if n := len(under); n > laneShare[clients] || len(body)*(n-1) > laneBatchBytes {
			t.Errorf("%s: %d publications in one batch", name, n)
		}
		q.add(t, backEnds, "back end 1", "back end 2")
		q.send(t.Context(), under)
		before := len(bus.took)
		q.send(t.Context(), q.next())
		if got := bus.took[before:][:2]; !slices.Equal(got, []string{"back end 1", "back end 2"}) {
			t.Errorf("%s: %.20q come first", name, got)
		}
		if len(bus.took) == before+2 {
			t.Errorf("%s: clients have to wait for back ends that do not need all of a batch", name)
		}
	}
	f("many", "")
	f("large", strings.Repeat("x", 100<<10))
}

// A crowd of back ends does not stop clients.
func TestClientsHaveAShare(t *testing.T) {
	q, bus := newTestQueue(t, nil)
	for i := range 2 * laneShare[backEnds] {
		q.add(t, backEnds, fmt.Sprint("back end ", i))
	}
	q.add(t, clients, "client")
	q.send(t.Context(), q.next())
	if !slices.Contains(bus.took, "client") {
		t.Error("the client is not in the batch")
	}
}

// While back ends have more than half of their room in use, clients are refused, and back ends are not.
func TestBackEndsHavePriority(t *testing.T) {
	f := func(count, size, fill int) {
		t.Helper()
		q, _ := newTestQueue(t, func(o *Options) { o.PublishQueue = count; o.PublishQueueBytes = 4 << 20 })
		body := strings.Repeat("x", size)
		for range fill {
			q.add(t, backEnds, body)
		}
		q.add(t, clients, "before")
		q.add(t, backEnds, body)
		ps := []*protocol.Publication{publication("client", 60, private(newItem()))}
		if err := q.enqueue(clients, ps, nil, nil); !errors.Is(err, poll.ErrQueueFull) {
			t.Errorf("a client is told %v", err)
		}
		q.add(t, backEnds, body)
		for q.length() > 0 {
			q.send(t.Context(), q.next())
		}
		q.add(t, clients, "after")
	}
	f(100, 10, 50)
	f(100_000, 500<<10, 4)
}

// What clients fill is their own room, in publications and in bytes. What back ends fill is theirs, and clients wait until half of it is free.
func TestLanesHaveRoomOfTheirOwn(t *testing.T) {
	f := func(kind, other publisherKind, count int, body string) {
		t.Helper()
		q, _ := newTestQueue(t, func(o *Options) { o.PublishQueue = count; o.PublishQueueBytes = 4 << 20; o.ClientQueueBytes = 2 << 20 })
		ps := []*protocol.Publication{publication(body, 60, private(newItem()))}
		for i := 0; ; i++ {
			if i == 10_000 {
				t.Fatal("there is no end to it")
			}
			if err := q.enqueue(kind, ps, nil, nil); err != nil {
				if !errors.Is(err, poll.ErrQueueFull) {
					t.Fatal(err)
				}
				break
			}
		}
		if refused := q.lanes[kind].budget.Refused(); refused != 1 {
			t.Errorf("%d counted as refused", refused)
		}
		if err := q.enqueue(other, ps, nil, nil); (err != nil) != (other == clients) {
			t.Errorf("the other lane: %v", err)
		}
		for q.length() > 0 {
			q.send(t.Context(), q.next())
		}
		for i := range q.lanes {
			if used := q.lanes[i].budget.Used(); used != 0 {
				t.Errorf("%d bytes of an empty lane", used)
			}
		}
	}
	for _, body := range []string{"", strings.Repeat("x", 1<<20)} {
		f(clients, backEnds, 100, body)
		f(backEnds, clients, 100, body)
	}
}

// The largest publication that is allowed fits, whatever is allowed.
func TestLargestPublicationFits(t *testing.T) {
	for _, largest := range []int{1 << 20, 64 << 20, 65 << 20} {
		for kind := range publisherKinds { // each in a queue of its own: what fills half of that of back ends keeps clients waiting
			q, _ := newTestQueue(t, func(o *Options) { o.Limits.MaxPayload = largest; o.WindowBytes = largest })
			p := publication("", 60, private(newItem()))
			p.Body = make([]byte, largest)
			if err := q.enqueue(kind, []*protocol.Publication{p}, nil, nil); err != nil {
				t.Errorf("%d bytes of publisher %d: %v", largest, kind, err)
			}
		}
	}
}

// The order of each lane is kept, and what the bus is promised, whatever fails and whoever comes meanwhile.
func TestOrderOverFailures(t *testing.T) {
	away, refused := errors.New("away"), fmt.Errorf("%w: too large", ErrRefused)
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		q, bus := newTestQueue(t, nil)
		refusals := 0
		bus.plan = func(n int) (int, error) {
			switch r.IntN(4) {
			case 0:
				return r.IntN(n), away
			case 1:
				refusals++
				return r.IntN(n), refused
			}
			return n, nil
		}
		var sent [publisherKinds]int
		for step := 0; step < 50 || q.length() > 0; step++ {
			if step < 50 {
				kind := publisherKind(r.IntN(int(publisherKinds)))
				for range r.IntN(200) {
					q.add(t, kind, fmt.Sprintf("%d %06d", kind, sent[kind]))
					sent[kind]++
				}
			}
			if batch := q.next(); len(batch) > 0 {
				q.send(t.Context(), batch)
			}
		}
		if got, want := len(bus.took), sent[backEnds]+sent[clients]-refusals; got != want {
			t.Fatalf("seed %d: %d of %d publications are stored", seed, got, want)
		}
		for kind := range publisherKinds {
			own := slices.DeleteFunc(slices.Clone(bus.took), func(s string) bool { return !strings.HasPrefix(s, fmt.Sprint(kind, " ")) })
			if !slices.IsSorted(own) {
				t.Fatalf("seed %d: publisher %d: not in order", seed, kind)
			}
		}
	}
}

// Clients that fill their queue are turned away, by WebSocket and by HTTP, back ends have all of theirs, and what was accepted of either
// arrives when the bus is back.
func TestClientsDoNotTakeTheRoomOfBackEnds(t *testing.T) {
	const room = 10
	bus := &awayBus{simBus: newSimBus(1, simFaults{})}
	e := startEngine(t, bus, func(o *Options) {
		o.EchoInterval = 20 * time.Millisecond
		o.AcceptTimeout = 50 * time.Millisecond
		o.PublishQueue = room
	})
	a, b := newItem(), newItem()
	live := subscribed(t, e, query("", b))
	c := subscribed(t, e, query("&binaryMode=true", a))
	request := testclient.AppendPublish(nil, testclient.Publication{
		Receivers: []testclient.Receiver{testclient.ChannelOf(testKey, b).PublicReceiver()}, Body: "client", Expiry: 60,
	})
	bus.away.Store(true)
	for range room + 1 {
		c.SendFrame(ws.OpBinary, request)
	}
	if code, _ := ws.ParseCloseFrameData(c.Frame().Payload); code != 1013 {
		t.Errorf("the WebSocket is closed with %d", code)
	}
	h := testclient.NewHTTP(false)
	defer h.Close()
	if reply, err := h.Post(t.Context(), "http://"+e.Addrs()[0]+"/bitrix/rest/"+query("", a), request); err != nil || reply.Status != 503 {
		t.Errorf("by HTTP a client gets %v, %v", reply, err)
	}
	for i := range room {
		if err := e.Publish(t.Context(), []*protocol.Publication{publication("back end", 60, private(b))}); !errors.Is(err, poll.ErrAccepted) {
			t.Errorf("publication %d of a back end: %v", i, err)
		}
	}
	bus.away.Store(false)
	got := live.Bodies(2 * room)
	slices.Sort(got)
	if want := slices.Concat(slices.Repeat([]string{"back end"}, room), slices.Repeat([]string{"client"}, room)); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	for kind, want := range map[string]uint64{"publish_queue": 0, "client_queue": 2} {
		for _, h := range e.Stats().Held {
			if h.Kind == kind && h.Refused != want {
				t.Errorf("%s: %d counted as refused, want %d", kind, h.Refused, want)
			}
		}
	}
}

// What comes when nobody sends any more is refused, not accepted and lost.
func TestNothingIsAcceptedAfterTheEnd(t *testing.T) {
	e, err := New(Options{Settings: Settings{Key: []byte(testKey)}}, membus.New(membus.Options{}))
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	publish(t, e, "1", 60, private(newItem()))
	if err := e.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, publisher := range []poll.Publisher{e, clientPublisher{engine: e}} {
		err := publisher.Publish(t.Context(), []*protocol.Publication{publication("2", 60, private(newItem()))})
		if !errors.Is(err, poll.ErrQueueFull) || e.Unstored() != 0 {
			t.Errorf("%v, %d are waiting", err, e.Unstored())
		}
	}
}

// A client that publishes or asks more than it may is closed and told why; others, and other connections of its channel, are not.
func TestRateOfAClient(t *testing.T) {
	var log lines
	e := startMemory(t, func(o *Options) {
		o.ClientRate, o.Limits.MaxMessages = 1, 20
		o.Logger = slog.New(slog.NewTextHandler(&log, nil))
	})
	a, b := newItem(), newItem()
	receiver := testclient.ChannelOf(testKey, b).PublicReceiver()
	message := testclient.Publication{Receivers: []testclient.Receiver{receiver}, Body: "1", Expiry: 60}
	closed := uint64(0)
	f := func(name string, allowed int, request []byte) {
		t.Helper()
		listening := subscribed(t, e, query("", b))
		c := subscribed(t, e, query("&binaryMode=true", a))
		for range allowed {
			c.SendFrame(ws.OpBinary, request)
		}
		c.SendFrame(ws.OpPing, []byte("still there?"))
		for c.Frame().Header.OpCode != ws.OpPong { // answers
		}
		for range 30 { // while it does so, it may save up one or two
			c.SendFrame(ws.OpBinary, request)
		}
		closed++
		for {
			fr := c.Frame()
			if fr.Header.OpCode != ws.OpClose {
				continue
			}
			if code, text := ws.ParseCloseFrameData(fr.Payload); code != 1013 || text == "" {
				t.Errorf("%s: closed with %d %q", name, code, text)
			}
			break
		}
		_ = c.Close()
		testclient.Await(t, name+": the close to be counted", func() bool { return e.Stats().Closes["rate"] == closed })
		again := subscribed(t, e, query("&binaryMode=true", a))
		again.SendFrame(ws.OpBinary, testclient.AppendPublish(nil, testclient.Publication{Receivers: message.Receivers, Body: "last", Expiry: 60}))
		for !bytes.Contains(listening.Frame().Payload, []byte("last")) {
		}
	}
	f("publications", 20, testclient.AppendPublish(nil, message))
	f("publications of one request", 1, testclient.AppendPublish(nil, slices.Repeat([]testclient.Publication{message}, 20)...))
	f("questions", 20, testclient.AppendChannelStats(nil, receiver))
	if got := log.with("push.clientRate"); len(got) != 1 || !strings.Contains(got[0], "127.0.0.1") {
		t.Errorf("the log has %q", got)
	}
	for _, l := range e.loops {
		testclient.Await(t, "what is known of those who have gone to go", func() bool {
			n := make(chan int, 1)
			l.call(func(l *loop) { n <- len(l.rates) })
			return <-n <= 3
		})
	}
}

// Without a limit nobody is closed.
func TestNoRate(t *testing.T) {
	e := startMemory(t, func(o *Options) { o.ClientRate = -1; o.Limits.MaxMessages = 10 })
	a, b := newItem(), newItem()
	listening := subscribed(t, e, query("", b))
	c := subscribed(t, e, query("&binaryMode=true", a))
	message := testclient.Publication{Receivers: []testclient.Receiver{testclient.ChannelOf(testKey, b).PublicReceiver()}, Body: "1", Expiry: 60}
	for range 2000 {
		c.SendFrame(ws.OpBinary, testclient.AppendPublish(nil, message))
	}
	listening.Bodies(2000)
}
