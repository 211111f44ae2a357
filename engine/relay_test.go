package engine

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"push-server/engine/membus"
	"push-server/poll"
	"push-server/protocol"
	"push-server/protocol/testclient"
)

// party is a memory bus that several engines share, as processes share a Redis.
type party struct {
	*membus.Bus
	mu       sync.Mutex
	handlers map[protocol.Handler]bool // whether they hear echoes
	stalled  atomic.Bool
}

func newParty(t testing.TB) *party {
	p := &party{Bus: membus.New(membus.Options{}), handlers: make(map[protocol.Handler]bool)}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = p.Bus.Subscribe(ctx, p) // ends with ctx
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		p.Bus.Close()
	})
	return p
}

func (p *party) Close() {}

func (p *party) Subscribe(ctx context.Context, h protocol.Handler) error {
	p.mu.Lock()
	p.handlers[h] = true
	p.mu.Unlock()
	<-ctx.Done()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.handlers, h)
	return ctx.Err()
}

func (p *party) all(f func(h protocol.Handler)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for h := range p.handlers {
		f(h)
	}
}

// mute has those who listen now hear no more echoes.
func (p *party) mute() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for h := range p.handlers {
		p.handlers[h] = false
	}
}

// stall has history not answer who asks while it is stalled.
func (p *party) stall(on bool) { p.stalled.Store(on) }

func (p *party) History(ctx context.Context, queries []protocol.HistoryQuery, maxBytes int) ([]protocol.HistoryAnswer, error) {
	if p.stalled.Load() {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return p.Bus.History(ctx, queries, maxBytes)
}

func (p *party) HandlePublication(pub *protocol.Publication) {
	p.all(func(h protocol.Handler) { q := *pub; h.HandlePublication(&q) })
}
func (p *party) HandleEcho(n uint64, c protocol.MessageID) {
	p.all(func(h protocol.Handler) {
		if p.handlers[h] {
			h.HandleEcho(n, c)
		}
	})
}
func (p *party) HandleGap() { p.all(func(h protocol.Handler) { h.HandleGap() }) }

// relay is a line of engines, of which each takes over from the one before.
type relay struct {
	t      testing.TB
	bus    Bus
	change func(o *Options)
	now    *Engine
	addr   string
	pause  time.Duration // the longest one
}

func startRelay(t testing.TB, change func(o *Options)) *relay {
	r := &relay{t: t, bus: newParty(t), change: change}
	r.now = r.engine(nil)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := r.now.Start(ctx); err != nil {
		t.Fatal(err)
	}
	testclient.Await(t, "the first echo", r.now.Ready)
	r.addr = r.now.Addrs()[0]
	t.Cleanup(func() { stopNow(t, r.now) })
	return r
}

func stopNow(t testing.TB, e *Engine) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := e.Stop(ctx); err != nil {
		t.Error(err)
	}
}

func (r *relay) engine(sockets []int) *Engine {
	r.t.Helper()
	o := Options{
		Listeners: []Listener{{Name: "test", Addr: "127.0.0.1:0", Sockets: sockets, Routes: poll.Routes{
			Sub: testSub, Pub: "/bitrix/pub/", Rest: "/bitrix/rest/", Stat: "/server-stat/",
		}}},
		Settings: Settings{Key: []byte(testKey)}, Loops: 2, AcceptTimeout: patience, Logger: slog.New(slog.NewTextHandler(testLog{r.t}, nil)),
	}
	if r.change != nil {
		r.change(&o)
	}
	e, err := New(o, r.bus)
	if err != nil {
		r.t.Fatal(err)
	}
	return e
}

func (r *relay) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func dup(t testing.TB, fd int) int {
	t.Helper()
	fd, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

// pass has another engine take over. What the one before has left is stopped.
func (r *relay) pass() {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	old := r.now
	since := old.Place()
	sockets, err := old.Sockets(ctx)
	r.must(err)
	var inherited []int
	for _, s := range sockets[0] {
		inherited = append(inherited, dup(r.t, s))
	}
	next := r.engine(inherited)
	r.must(next.Prepare(ctx, 0))
	begin := time.Now()
	d, err := old.Depart(ctx, since)
	r.must(err)
	r.must(next.CatchUp(ctx))
	took, err := next.Receive(&d.State, []int{0})
	r.must(err)
	for _, s := range d.Sessions {
		took.Add(s.Body, dup(r.t, s.Socket))
	}
	r.must(took.Complete())
	r.must(next.TakeOver(ctx, took, old.started))
	r.pause = max(r.pause, time.Since(begin))
	d.Leave()
	testclient.Await(r.t, "what is left has ended", func() bool { return old.Left() == 0 })
	stopNow(r.t, old)
	r.now = next
}
