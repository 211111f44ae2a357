package engine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/panjf2000/gnet/v2"
	"github.com/valyala/fasthttp"
	"golang.org/x/sys/unix"

	"push-server/poll"
	"push-server/protocol"
)

// Engine serves subscribers: loops with their sessions, the hub between them and the bus, and the queue of publications. Its
// exported methods may be called from any goroutine.
type Engine struct {
	// Counters are the daily counters of the statistics page.
	Counters *poll.Counters

	o          Options
	bus        Bus
	hub        *Hub
	loops      []*loop
	worker     *worker
	publishing *publishQueue
	limits     *channelLimits
	presence   *presence  // nil: marks are not shared
	marks      Presence   // same
	shared     Statistics // nil: statistics are not shared
	admission  admission
	requests   requests
	handOffs   connSet
	tlsPorts   []*tlsPort
	tlsConns   atomic.Int64  // encrypted connections now
	tlsFailed  atomic.Uint64 // handshakes
	hubStats   hubStats

	addrs     []string // bound addresses, by listener
	ports     []*net.TCPAddr
	http      *poll.Handlers
	handlers  []fasthttp.RequestHandler // by listener
	handedOff []*fasthttp.Server        // by listener

	born     atomic.Uint64
	running  atomic.Bool
	stopping atomic.Bool
	failed   chan error
	ctx      context.Context
	cancel   context.CancelFunc
	tasks    sync.WaitGroup
}

// workers is the number of batches of history reads under way at the same time.
const workers = 2

// New makes an engine on a bus, which stays the caller's to close after Stop. The error names every problem of o.
func New(o Options, bus Bus) (*Engine, error) {
	o = o.withDefaults()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	signer, err := protocol.NewSigner(o.Algo, o.Key)
	if err != nil {
		return nil, fmt.Errorf("engine: %w", err)
	}
	e := &Engine{o: o, bus: bus, Counters: poll.NewCounters(time.Now), failed: make(chan error, o.Loops)}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	e.admission.max = int64(o.MaxConnections)
	e.hub = newHub(bus, &e.o, &e.hubStats)
	e.hub.engine = e
	e.worker = newWorker(bus, &e.o)
	e.publishing = newPublishQueue(bus, &e.o, &e.hubStats)
	e.limits = newChannelLimits(&e.o, func() []*loop { return e.loops })
	e.requests = newRequests(e)
	if o.ClusterMode {
		e.marks, _ = bus.(Presence)
		e.shared, _ = bus.(Statistics)
	}
	if e.marks != nil {
		e.presence = newPresence(e.marks, o.Logger)
	}
	e.http = &poll.Handlers{
		Publisher: e, Presence: e, Statistics: e, Counters: e.Counters, Limits: o.Limits,
		NewSigner: signer.Clone, Timeout: o.RequestTimeout, ErrorLog: o.ErrorLog,
	}
	for _, l := range o.Listeners {
		h := e.http.Handler(l.Routes)
		e.handlers = append(e.handlers, h)
		e.handedOff = append(e.handedOff, newHandOffServer(h, &e.o))
	}
	if len(o.Listeners) > 0 {
		for i := range o.Loops {
			l := newLoop(e, i, signer.Clone())
			e.loops = append(e.loops, l)
		}
	}
	e.hub.loops = e.loops
	return e, nil
}

// Start begins to serve and returns when every port is open. It does not wait for the bus: until that answers, clients connect
// and wait for what they missed. An engine is started once; ctx bounds the start only.
func (e *Engine) Start(ctx context.Context) error {
	if err := e.listen(ctx); err != nil {
		e.stopping.Store(true)
		e.cancel()
		e.stopTLS()
		e.stopLoops(ctx)
		return err
	}
	e.running.Store(true)
	e.background(e.publishing.run)
	for range workers {
		e.background(e.worker.run)
	}
	e.background(e.limits.run)
	if e.presence != nil {
		e.background(e.presence.run)
	}
	if e.shared != nil {
		e.background(e.shareStatistics)
	}
	if e.subscribes() {
		e.background(e.subscribe)
		e.background(e.hub.run)
	}
	return nil
}

// subscribes says whether this process delivers.
func (e *Engine) subscribes() bool { return !e.o.PublishOnly && len(e.loops) > 0 }

func (e *Engine) subscribe(ctx context.Context) {
	if err := e.bus.Subscribe(ctx, e.hub); err != nil && ctx.Err() == nil {
		e.failed <- fmt.Errorf("engine: bus subscription ended: %w", err)
	}
}

// background runs f until the engine stops.
func (e *Engine) background(f func(ctx context.Context)) {
	e.tasks.Go(func() { f(e.ctx) })
}

// listen opens every port on every loop.
func (e *Engine) listen(ctx context.Context) error {
	var addrs []string
	for _, l := range e.o.Listeners {
		addr, release, err := resolveAddr(l.Addr)
		if err != nil {
			return fmt.Errorf("engine: listener %s: %w", l.Name, err)
		}
		defer release()
		if l.TLS == nil {
			addrs = append(addrs, "tcp://"+addr.String())
		}
		e.addrs = append(e.addrs, addr.String())
		e.ports = append(e.ports, addr)
	}
	if len(addrs) == 0 {
		addrs = []string{"tcp://127.0.0.1:0"} // gnet runs no loop without a listener; who comes in there belongs to no listener
	}
	for _, l := range e.loops {
		if err := e.startLoop(ctx, l, addrs); err != nil {
			return err
		}
	}
	return e.listenTLS(ctx)
}

func (e *Engine) startLoop(ctx context.Context, l *loop, addrs []string) error {
	ended := make(chan error, 1)
	e.tasks.Go(func() {
		err := l.run(addrs)
		ended <- err
		if !e.stopping.Load() {
			e.failed <- fmt.Errorf("engine: loop %d ended unasked: %w", l.id, errors.Join(err, errLoopEnded))
		}
	})
	select {
	case <-l.started:
		return l.connect(ctx)
	case err := <-ended:
		return fmt.Errorf("engine: cannot listen on %s: %w", strings.Join(addrs, ", "), errors.Join(err, errLoopEnded))
	case <-ctx.Done():
		return ctx.Err()
	}
}

// errLoopEnded is what a gnet engine that ends by itself means, whatever it says: it returns nil after it ran out of descriptors.
var errLoopEnded = errors.New("engine: event loop ended")

// resolveAddr finds the address to bind. A port 0 becomes a free one, reserved until release: bound but not listening, so that
// no connection can get lost there.
func resolveAddr(s string) (addr *net.TCPAddr, release func(), err error) {
	addr, err = net.ResolveTCPAddr("tcp", s)
	if err != nil {
		return nil, nil, err
	}
	if addr.IP == nil {
		addr.IP = net.IPv6unspecified
		if !hasIPv6() {
			addr.IP = net.IPv4zero
		}
	}
	if addr.Port != 0 {
		return addr, func() {}, nil
	}
	return reservePort(addr)
}

func hasIPv6() bool {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	return unix.Close(fd) == nil
}

func reservePort(addr *net.TCPAddr) (*net.TCPAddr, func(), error) {
	family, sa := unix.AF_INET6, unix.Sockaddr(&unix.SockaddrInet6{Addr: [16]byte(addr.IP.To16())})
	if ip := addr.IP.To4(); ip != nil {
		family, sa = unix.AF_INET, &unix.SockaddrInet4{Addr: [4]byte(ip)}
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("reserve a port: %w", err)
	}
	release := func() { _ = unix.Close(fd) }
	err = errors.Join(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1), unix.Bind(fd, sa))
	if err == nil {
		sa, err = unix.Getsockname(fd)
	}
	if err != nil {
		release()
		return nil, nil, fmt.Errorf("reserve a port: %w", err)
	}
	bound := *addr
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		bound.Port = sa.Port
	case *unix.SockaddrInet6:
		bound.Port = sa.Port
	}
	return &bound, release, nil
}

// listenerOf finds the listener of a connection by its local address.
func (e *Engine) listenerOf(local net.Addr) (i uint16, ok bool) {
	addr, ok := local.(*net.TCPAddr)
	if !ok {
		return 0, false
	}
	for i, a := range e.ports {
		if a.Port == addr.Port && (a.IP.IsUnspecified() || a.IP.Equal(addr.IP)) {
			return uint16(i), true
		}
	}
	return 0, false
}

// Addrs returns the address of each listener, in order, with the port that was found for port 0.
func (e *Engine) Addrs() []string { return e.addrs }

// Handler answers publications, questions and statistics for a port that is not a subscribers' port.
func (e *Engine) Handler(routes poll.Routes) fasthttp.RequestHandler { return e.http.Handler(routes) }

// Failed gets a value when a loop ended although nobody stopped it: the process should end.
func (e *Engine) Failed() <-chan error { return e.failed }

// Ready says whether the engine serves: the bus has answered, and no drain has begun.
func (e *Engine) Ready() bool {
	if !e.running.Load() || e.stopping.Load() || e.admission.closed.Load() {
		return false
	}
	if !e.subscribes() {
		return true
	}
	select {
	case <-e.hub.ready:
		return true
	default:
		return false
	}
}

// Publish hands publications to the bus. nil: they are stored. poll.ErrAccepted: they were taken, but are not stored yet;
// poll.ErrQueueFull: they were not taken. It returns after AcceptTimeout at the latest, or when ctx ends.
func (e *Engine) Publish(ctx context.Context, ps []*protocol.Publication) error {
	if len(ps) == 0 {
		return nil
	}
	w := waiters.Get().(*waiter)
	if err := e.publishing.enqueue(ps, w.done); err != nil {
		waiters.Put(w)
		return err
	}
	w.timer.Reset(e.o.AcceptTimeout)
	select {
	case err := <-w.done:
		w.timer.Stop()
		waiters.Put(w)
		return err
	case <-w.timer.C:
	case <-ctx.Done():
	}
	return poll.ErrAccepted // the queue will still write to w.done, so w is not used again
}

// waiter is what a publisher waits with; made anew it would be four allocations for each publication.
type waiter struct {
	done  chan error
	timer *time.Timer
}

var waiters = sync.Pool{New: func() any {
	w := &waiter{done: make(chan error, 1), timer: time.NewTimer(time.Hour)}
	w.timer.Stop()
	return w
}}

func (e *Engine) logRefusal(err *protocol.Error, from net.Addr) {
	if e.o.ErrorLog != nil && from != nil {
		e.o.ErrorLog(err.Error(), from.String())
	}
}

// Drain ends service in an orderly way: nobody is let in, what was accepted is stored, then sessions are closed in shares
// spread over the time that ctx leaves, WebSockets with 1001, polls with their regular empty answer. It ends with Stop.
func (e *Engine) Drain(ctx context.Context) error {
	e.admission.closed.Store(true)
	err := e.publishing.flush(ctx)
	e.closeSessions(ctx)
	return errors.Join(err, e.Stop(context.WithoutCancel(ctx)))
}

// drainShare is the number of sessions that a loop closes at once, drainPause the time between two shares.
const (
	drainShare = 500
	drainPause = 10 * time.Millisecond
)

// closeSessions closes all sessions and waits until their peers have read it, or ctx ends.
func (e *Engine) closeSessions(ctx context.Context) {
	ticker := time.NewTicker(drainPause)
	defer ticker.Stop()
	for {
		if askLoops(ctx, e.loops, func(l *loop) { l.drainSome(drainShare) }) != nil {
			return
		}
		e.dropGreetings()
		if e.admission.active.Load() == 0 {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// drainSome closes up to n sessions that are not on their way out yet.
func (l *loop) drainSome(n int) {
	var refs []sessionRef
	l.slab.each(func(s *Session) {
		if len(refs) < n && s.state != stateFlushing && s.state != stateClosing && s.state != stateWaiting {
			refs = append(refs, s.ref())
		}
	})
	for _, ref := range refs {
		if s := l.slab.at(ref); s != nil {
			l.end(s, CloseDrain)
		}
	}
}

// Stop ends service at once.
func (e *Engine) Stop(ctx context.Context) error {
	e.admission.closed.Store(true)
	e.stopping.Store(true)
	e.cancel()
	e.handOffs.closeAll()
	e.stopTLS()
	e.stopLoops(ctx)
	done := make(chan struct{})
	go func() {
		e.tasks.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		return fmt.Errorf("engine: stop: %w", ctx.Err())
	}
	for _, l := range e.loops {
		l.closeControl()
	}
	return nil
}

func (e *Engine) stopLoops(ctx context.Context) {
	var stops sync.WaitGroup
	for _, l := range e.loops {
		select {
		case <-l.started:
		default:
			continue // never ran
		}
		stops.Go(func() {
			if err := l.gnet.Stop(ctx); err != nil {
				e.o.Logger.Debug("loop stopped", "loop", l.id, "err", err)
			}
			<-l.ended
		})
	}
	stops.Wait()
}

var _ gnet.EventHandler = (*loop)(nil)
