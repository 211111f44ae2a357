package membus

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"push-server/protocol"
	"push-server/protocol/testclient"
)

// heard are the publications that a handler got, by number.
type heard struct {
	mu   sync.Mutex
	ids  []protocol.MessageID
	gaps int
}

func (h *heard) HandlePublication(p *protocol.Publication) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ids = append(h.ids, p.ID)
}
func (h *heard) HandleEcho(uint64, protocol.MessageID) {}
func (h *heard) HandleGap()                            { h.mu.Lock(); h.gaps++; h.mu.Unlock() }

func (h *heard) all() []protocol.MessageID {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.ids)
}

// line is a line of processes that take over from one another. All of them go on.
type line struct {
	t     *testing.T
	buses []*Bus
	heard []*heard
	now   atomic.Pointer[Bus]
}

func startLine(t *testing.T, o Options) *line {
	l := &line{t: t}
	l.join(New(o))
	return l
}

// join has a bus be listened to.
func (l *line) join(b *Bus) {
	h := new(heard)
	if err := b.attach(h); err != nil {
		l.t.Fatal(err)
	}
	l.buses, l.heard = append(l.buses, b), append(l.heard, h)
	l.now.CompareAndSwap(nil, b)
	l.t.Cleanup(b.Close)
}

// offer is one whose sockets somebody else has, too.
func (l *line) offer() (o *Offer, sockets [2]int) {
	l.t.Helper()
	o, err := l.now.Load().Offer()
	if err != nil {
		l.t.Fatal(err)
	}
	for i, fd := range o.Sockets {
		if sockets[i], err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0); err != nil {
			l.t.Fatal(err)
		}
	}
	o.Sent()
	return o, sockets
}

func (l *line) pass(options Options) {
	l.t.Helper()
	o, sockets := l.offer()
	b, next, err := Follow(l.t.Context(), options, sockets)
	if err != nil {
		l.t.Fatal(err)
	}
	l.join(b)
	o.Freeze()
	if err := next.CatchUp(l.t.Context()); err != nil {
		l.t.Fatal(err)
	}
	if err := next.Lead(); err != nil {
		l.t.Fatal(err)
	}
	if _, err := o.Leave(); err != nil {
		l.t.Fatal(err)
	}
	l.now.Store(b)
}

func channelOf(n int) protocol.ChannelID {
	return protocol.ChannelID{Private: true, Bytes: [16]byte{byte(n), 1}}
}

func publicationOf(n int) *protocol.Publication {
	return &protocol.Publication{Body: []byte(fmt.Sprint(n)), Expiry: 600, Receivers: []protocol.Receiver{{Channel: channelOf(n % 3)}, {Channel: channelOf(9)}}}
}

func (l *line) publish(b *Bus, ps ...*protocol.Publication) {
	l.t.Helper()
	if n, err := b.Publish(l.t.Context(), ps); err != nil || n != len(ps) {
		l.t.Fatalf("%d of %d publications are stored: %v", n, len(ps), err)
	}
}

// history are the bodies in that of a channel.
func (l *line) history(b *Bus, channel int) (bodies []string) {
	l.t.Helper()
	answers, err := b.History(l.t.Context(), []protocol.HistoryQuery{{Channels: []protocol.ChannelID{channelOf(channel)}}}, 0)
	if err != nil {
		l.t.Fatal(err)
	}
	for _, p := range answers[0].Publications {
		bodies = append(bodies, string(p.Body))
	}
	return bodies
}

// Twenty-eight processes one after the other, while all of them publish: each publication is stored once, has the next id, and comes to every
// process once and in order.
func TestBusPassesOn(t *testing.T) {
	t.Parallel()
	l := startLine(t, Options{PerChannel: 1 << 20})
	stop, stopped := make(chan struct{}), make(chan struct{})
	var sent []*protocol.Publication
	go func() {
		defer close(stopped)
		buses := []*Bus{l.now.Load()}
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond / 2):
			}
			if b := l.now.Load(); b != buses[len(buses)-1] {
				buses = append(buses, b)
			}
			p := publicationOf(n)
			if stored, err := buses[max(0, len(buses)-1-n%3)].Publish(context.Background(), []*protocol.Publication{p}); stored != 1 || err != nil {
				t.Errorf("publication %d: %v", n, err)
				return
			}
			sent = append(sent, p)
		}
	}()
	for range 28 {
		l.pass(Options{PerChannel: 1 << 20})
	}
	close(stop)
	<-stopped
	var ids []protocol.MessageID
	want := make([]string, len(sent))
	for i, p := range sent {
		ids, want[i] = append(ids, p.ID), string(p.Body)
	}
	if !slices.IsSortedFunc(ids, protocol.MessageID.Compare) || ids[len(ids)-1].Counter() != uint64(len(ids)) {
		t.Errorf("%d publications have the ids up to %v", len(ids), ids[len(ids)-1])
	}
	if got := l.history(l.now.Load(), 9); !slices.Equal(got, want) {
		t.Errorf("history has %d of %d publications", len(got), len(want))
	}
	if got := l.history(l.buses[0], 9); !slices.Equal(got, want) {
		t.Errorf("the first process is told of %d of %d publications", len(got), len(want))
	}
	for i, h := range l.heard {
		testclient.Await(t, "the last publication", func() bool { got := h.all(); return len(got) > 0 && got[len(got)-1] == ids[len(ids)-1] })
		got := h.all()
		if h.gaps > 0 || !slices.Equal(got, ids[len(ids)-len(got):]) || i == 0 && len(got) != len(ids) {
			t.Errorf("process %d heard %d of %d publications, %d gaps", i, len(got), len(ids), h.gaps)
		}
	}
	t.Logf("%d publications", len(sent))
}

// History passes on as it is: what has gone from that of one channel is in that of the other.
func TestHistoryPassesOnAsItIs(t *testing.T) {
	t.Parallel()
	now := time.Now()
	clock := func() time.Time { return now }
	l := startLine(t, Options{PerChannel: 3, Now: clock})
	for n := range 9 {
		p := publicationOf(n)
		if n%2 == 0 {
			p.Expiry = 1
		}
		l.publish(l.buses[0], p)
	}
	now = now.Add(2 * time.Second)
	l.publish(l.buses[0], publicationOf(9))
	want, left := Use(l.buses[0]), func(b *Bus) time.Duration {
		d, err := b.Remaining(t.Context(), []protocol.MessageID{protocol.MakeMessageID(b.startdate, 8)})
		if err != nil {
			t.Fatal(err)
		}
		return d[0]
	}
	wantLeft := left(l.buses[0])
	histories := func(b *Bus) string {
		return fmt.Sprint(l.history(b, 0), l.history(b, 1), l.history(b, 2), l.history(b, 9))
	}
	wantHistories := histories(l.buses[0])
	l.pass(Options{PerChannel: 3, Now: clock})
	if got := Use(l.buses[1]); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := histories(l.buses[1]); got != wantHistories {
		t.Errorf("got %v, want %v", got, wantHistories)
	}
	if got := left(l.buses[1]); got != wantLeft || got == 0 {
		t.Errorf("a publication is there for %v, want %v", got, wantLeft)
	}
	if got := Use(l.buses[0]); got != (Figures{}) {
		t.Errorf("the process before keeps %+v", got)
	}
	l.pass(Options{PerChannel: 2, MaxBytes: 1 << 10, Now: clock})
	if got := Use(l.buses[2]); got.Bytes > 1<<10 || got.Entries == 0 {
		t.Errorf("under smaller bounds: %+v", got)
	}
}

// Whoever is connected, and was seen, is so in the next process. Only when the last of both says that somebody has left is that so.
func TestUsersPassOn(t *testing.T) {
	t.Parallel()
	l := startLine(t, Options{})
	ctx := t.Context()
	must := func(got any, err error, want any) {
		t.Helper()
		if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("got %v, %v, want %v", got, err, want)
		}
	}
	first := l.buses[0]
	came, err := first.Enter(ctx, []uint64{1, 2})
	must(came, err, []uint64{1, 2})
	must(nil, first.See(ctx, map[uint64]int64{1: 17}), nil)
	l.pass(Options{})
	second := l.buses[1]
	came, err = second.Enter(ctx, []uint64{1, 3})
	must(came, err, []uint64{3})
	seen, err := second.LastSeen(ctx, []uint64{1, 2})
	must(seen, err, []int64{17, 0})
	gone, err := first.Leave(ctx, []uint64{1, 2})
	must(gone, err, []uint64{2})
	online, err := first.Connected(ctx, []uint64{1, 2, 3})
	must(online, err, []bool{true, false, true})
	gone, err = second.Leave(ctx, []uint64{1})
	must(gone, err, []uint64{1})
}

// The users of a process that ends without a word leave after a while.
func TestUsersOfAProcessThatIsGone(t *testing.T) {
	t.Parallel()
	var now atomic.Int64
	clock := func() time.Time { return time.Unix(now.Load(), 0) }
	l := startLine(t, Options{Now: clock})
	if _, err := l.buses[0].Enter(t.Context(), []uint64{1}); err != nil {
		t.Fatal(err)
	}
	l.pass(Options{Now: clock})
	l.buses[0].Close()
	now.Add(60)
	if _, gone, err := l.buses[1].Renew(t.Context(), time.Minute); err != nil || !slices.Equal(gone, []uint64{1}) {
		t.Errorf("got %v, %v", gone, err)
	}
}

// A copy that comes to nothing changes nothing: what waited is stored, and all is there.
func TestCopyComesToNothing(t *testing.T) {
	t.Parallel()
	l := startLine(t, Options{})
	b := l.buses[0]
	l.publish(b, publicationOf(0), publicationOf(1))
	for range 3 {
		o, sockets := l.offer()
		copied, _, err := Follow(t.Context(), Options{}, sockets)
		if err != nil {
			t.Fatal(err)
		}
		o.Freeze()
		done := make(chan struct{})
		go func() {
			defer close(done)
			l.publish(b, publicationOf(2))
		}()
		copied.Close()
		o.Cancel()
		<-done
	}
	if got := l.history(b, 9); !slices.Equal(got, []string{"0", "1", "2", "2", "2"}) {
		t.Errorf("got %v", got)
	}
	if b.Followers() != 0 {
		t.Error("it is still being followed")
	}
}

// What gathers for a copy is bounded. Beyond that there is no copy, and nobody else notices.
func TestCopyIsBounded(t *testing.T) {
	t.Parallel()
	l := startLine(t, Options{})
	b := l.buses[0]
	o, sockets := l.offer()
	defer unix.Close(sockets[1])
	c, err := connOf(sockets[0])
	if err != nil {
		t.Fatal(err)
	}
	there := dial(c)
	defer there.close()
	if _, err := ask[State](t.Context(), there, "Begin", nothing); err != nil {
		t.Fatal(err)
	}
	body := make([]byte, 1<<20)
	for range copyBytes>>20 + 1 {
		l.publish(b, &protocol.Publication{Body: body, Receivers: []protocol.Receiver{{Channel: channelOf(1)}}})
	}
	if _, err := ask[[]Event](t.Context(), there, "Next", nothing); err == nil {
		t.Error("the copy goes on")
	}
	o.Cancel()
	l.publish(b, publicationOf(1))
}

// A process that has been succeeded, and does not listen for a while, is told that there is a gap.
func TestLaggardHasAGap(t *testing.T) {
	t.Parallel()
	f := newFollower(trailBytes, true)
	body := make([]byte, 1<<20)
	for range trailBytes>>20 + 3 {
		f.put(Event{Publication: &protocol.Publication{Body: body}})
	}
	if events := f.some(); len(events) == 0 || !events[0].Gap {
		t.Errorf("got %d events", len(events))
	}
}
