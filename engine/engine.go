package engine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/panjf2000/gnet/v2"
	"github.com/valyala/fasthttp"
	"golang.org/x/time/rate"

	"push-server/engine/accept"
	"push-server/engine/budget"
	"push-server/engine/feed"
	"push-server/engine/latency"
	"push-server/engine/outage"
	"push-server/engine/probe"
	"push-server/engine/roster"
	"push-server/poll"
)

// Engine serves subscribers: loops with their sessions, the feed of what is published, and the queue of publications. Its
// exported methods may be called from any goroutine.
type Engine struct {
	// Counters are the daily counters of the statistics page.
	Counters *poll.Counters

	o             Options
	bus           Bus
	feed          *feed.Feed
	prober        *probe.Prober
	loops         []*loop
	publishing    *publishQueue
	limits        *channelLimits
	presence      *presence      // nil: marks are not shared
	lastSeen      *lastSeen      // nil: version 5 is not spoken
	roster        *roster.Roster // nil: version 5 is not spoken
	shared        Statistics     // nil: statistics are not shared
	admission     admission
	publishers    publishers
	requests      requests
	handOffs      connSet
	tlsPorts      []*tlsPort
	repeats       poll.Repeats
	tlsConns      atomic.Int64  // encrypted connections now
	tlsFailed     atomic.Uint64 // handshakes
	publishStats  publishStats
	channelCount  channelCount
	notices       *notices
	faults        rate.Sometimes // lines about them
	statusNotices atomic.Uint64  // that users come or go, of this process
	watchers      atomic.Int32   // operators that watch a connection

	controls       sync.RWMutex // held while somebody from outside wakes a loop
	controlsClosed bool
	ending         sync.Mutex
	latency        *latency.Set
	input          *budget.Budget // unread input of all connections
	bodies         *budget.Budget // of requests that are answered by goroutines
	relieving      atomic.Bool    // loops are being asked to let go of sessions
	pending        *budget.Budget // live publications kept for clients whose history is read
	answers        *budget.Budget // history on its way to clients
	output         *budget.Budget // output that peers have not taken

	acceptFailures *accept.Failures

	addrs     []string // bound addresses, by listener
	ports     []*net.TCPAddr
	settings  atomic.Pointer[settings] // for whoever is no loop
	changing  sync.Mutex               // held while settings change
	http      atomic.Pointer[poll.Handlers]
	handlers  []fasthttp.RequestHandler // by listener
	handedOff []*fasthttp.Server        // by listener

	before        atomic.Pointer[Stats] // counters go on from these; nil: from zero
	started       time.Time             // of the service: another process may have begun it
	created       time.Time             // of this engine
	subscriptions atomic.Uint64         // made so far
	running       atomic.Bool
	stopping      atomic.Bool
	leaving       atomic.Bool  // a drain was announced
	cutOff        atomic.Int64 // connections, by a drain
	left          atomic.Bool  // another process has taken over
	failed        chan error
	ctx           context.Context
	cancel        context.CancelFunc
	tasks         sync.WaitGroup
}

// New makes an engine on a bus, which stays the caller's to close after Stop. The error names every problem of o.
func New(o Options, bus Bus) (*Engine, error) {
	o = o.withDefaults()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	s, err := newSettings(o.Settings, o.Loops)
	if err != nil {
		return nil, err
	}
	e := &Engine{o: o, bus: bus, Counters: poll.NewCounters(time.Now), failed: make(chan error, o.Loops), started: time.Now(), created: time.Now()}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	e.acceptFailures = accept.NewFailures(o.Logger)
	e.admission.begin(&o)
	e.notices = newNotices(o.Logger)
	e.latency = latency.New()
	e.faults.Interval = time.Second
	e.publishStats.took = e.latency.Publish
	e.input, e.output, e.bodies, e.pending, e.answers = new(budget.Budget), new(budget.Budget), new(budget.Budget), new(budget.Budget), new(budget.Budget)
	clock := feed.SystemClock()
	e.prober = probe.New(o.Loops, clock.Now, e.latency.Probe.Observe)
	e.feed = feed.New(bus, o.feed(e, clock))
	e.publishing = newPublishQueue(bus, &e.o, &e.publishStats)
	e.limits = newChannelLimits(func() []*loop { return e.loops })
	e.requests = newRequests(e)
	if o.ClusterMode {
		e.shared, _ = bus.(Statistics)
		if marks, ok := bus.(Presence); ok {
			e.presence = newPresence(marks, o.Logger)
		}
	}
	if o.V5.Enabled {
		e.speakV5()
	}
	e.o.Settings = Settings{} // those that count are in settings
	e.use(s)
	for i := range e.o.Listeners {
		l := &e.o.Listeners[i]
		h := poll.Contained(e.answering(l.Routes), o.Logger)
		e.handlers = append(e.handlers, h)
		e.handedOff = append(e.handedOff, e.newHandOffServer(h, &l.Routes))
	}
	if len(o.Listeners) > 0 {
		for i := range o.Loops {
			l := newLoop(e, i)
			e.loops = append(e.loops, l)
		}
	}
	return e, nil
}

// newHandlers makes what answers requests while s counts.
func (e *Engine) newHandlers(s *settings) *poll.Handlers {
	h := &poll.Handlers{
		Bodies: e.bodies, Publisher: e, Clients: clientPublisher{engine: e}, Presence: e, Statistics: e, Counters: e.Counters,
		Limits: s.Limits, NewSigner: s.signer.Clone, Timeout: e.o.RequestTimeout, ErrorLog: e.o.ErrorLog, TestKey: s.TestKey,
		StatAllow: s.StatAllow, PubAllow: s.PubAllow, Proxies: e.admission.proxies, Repeats: &e.repeats,
	}
	if e.o.V5.Enabled {
		h.Users = e
	}
	return h
}

// answering answers the requests of a listener as the settings are when they come.
func (e *Engine) answering(routes poll.Routes) fasthttp.RequestHandler {
	return func(ctx *fasthttp.RequestCtx) { e.http.Load().Serve(ctx, &routes) }
}

// Start begins to serve and returns when every port is open. It does not wait for the bus: until that answers, clients connect
// and wait for what they missed. An engine is started once; ctx bounds the start only.
func (e *Engine) Start(ctx context.Context) error {
	err := e.startLoops(ctx)
	if err == nil {
		err = e.listenTLS(ctx)
	}
	if err != nil {
		e.abandon(ctx)
		return err
	}
	e.run()
	e.listenToBus()
	return nil
}

// abandon ends a start that has failed.
func (e *Engine) abandon(ctx context.Context) {
	e.stopping.Store(true)
	e.cancel()
	e.stopTLS()
	e.stopLoops(context.WithoutCancel(ctx))
	e.closeControls()
}

// run begins everything but what the bus brings.
func (e *Engine) run() {
	e.running.Store(true)
	for _, l := range e.loops {
		l.wake()
	}
	e.background(e.publishing.run)
	e.background(e.limits.run)
	e.background(e.notices.run)
	e.background(e.trim)
	e.background(e.watchDelivery)
	e.background(e.forgetAddresses)
	if e.presence != nil {
		e.background(e.presence.due.Run)
	}
	if e.lastSeen != nil {
		e.background(e.lastSeen.due.Run)
	}
	if e.shared != nil {
		e.background(e.shareStatistics)
	}
	if e.roster != nil && e.subscribes() {
		e.background(e.roster.Run)
	}
}

// listenToBus begins to bring what is published.
func (e *Engine) listenToBus() {
	if !e.subscribes() {
		e.background(e.feed.Pulse)
		return
	}
	e.background(e.subscribe)
	for _, task := range e.feed.Tasks() {
		e.background(task)
	}
}

// subscribes says whether this process delivers: one without a subscribers' port does not listen to the bus.
func (e *Engine) subscribes() bool { return len(e.loops) > 0 }

func (e *Engine) subscribe(ctx context.Context) {
	if err := e.bus.Subscribe(ctx, e.feed); err != nil && ctx.Err() == nil {
		e.failed <- fmt.Errorf("engine: bus subscription ended: %w", err)
	}
}

// background runs f until the engine stops.
func (e *Engine) background(f func(ctx context.Context)) {
	e.tasks.Go(func() { f(e.ctx) })
}

// Addrs returns the address of each listener, in order, with the port that was found for port 0.
func (e *Engine) Addrs() []string { return e.addrs }

// Handler answers publications, questions and statistics for a port that is not a subscribers' port.
func (e *Engine) Handler(routes poll.Routes) fasthttp.RequestHandler {
	h := e.answering(routes)
	if e.o.Trace != nil {
		h = following(e.o.Trace, h)
	}
	return poll.Contained(h, e.o.Logger)
}

// AcceptFailures counts connections that could not be accepted, on whatever port.
func (e *Engine) AcceptFailures() *accept.Failures { return e.acceptFailures }

// Latency is how long things take.
func (e *Engine) Latency() *latency.Set { return e.latency }

// Failed gets a value when a loop ended although nobody stopped it: the process should end.
func (e *Engine) Failed() <-chan error { return e.failed }

// Ready says whether the engine serves.
func (e *Engine) Ready() bool { return e.Problem() == nil }

// Problem is why the engine does not serve; nil: it does. It may be called from any goroutine.
func (e *Engine) Problem() error {
	switch {
	case !e.running.Load():
		return errStarting
	case e.stopping.Load(), e.leaving.Load(), e.admission.closed.Load():
		return errDraining
	}
	if bus, ok := e.bus.(interface{ Health() error }); ok {
		if err := bus.Health(); err != nil {
			return err
		}
	}
	if d := e.publishing.outage.Lasts(); d > e.o.silence() {
		return fmt.Errorf("publications have not been stored for %v", d.Round(time.Second))
	}
	select {
	case <-e.feed.Ready():
	default:
		return errNoBus
	}
	if d := e.feed.Silence(); d > e.o.silence() {
		return fmt.Errorf("the bus has been silent for %v", d.Round(time.Second))
	}
	return e.undelivered()
}

// stuckTime is how long a loop may not turn, though it was woken, before the engine says that it does not serve.
const stuckTime = 3 * time.Second

// undelivered is why publications that come from the bus do not reach the clients of all loops; nil: they do.
func (e *Engine) undelivered() error {
	var mute []int
	var silence time.Duration
	for i := range e.loops {
		if d := e.prober.Stuck(i); d > stuckTime {
			return fmt.Errorf("event loop %d does not turn: %v", i, d.Round(time.Second))
		}
		if d := e.prober.Silence(i); d > e.o.silence() {
			mute, silence = append(mute, i), max(silence, d)
		}
	}
	switch silence = silence.Round(time.Second); len(mute) {
	case 0:
		return nil
	case len(e.loops):
		return fmt.Errorf("the bus answers, but nothing is delivered: the last probe came %v ago", silence)
	}
	return fmt.Errorf("the bus answers, but event loop %d delivers nothing: its last probe came %v ago", mute[0], silence)
}

// watchDelivery counts probes that do not come, and tells the log while the bus is not to blame.
func (e *Engine) watchDelivery(ctx context.Context) {
	select {
	case <-e.feed.Ready():
	case <-ctx.Done():
		return
	}
	e.prober.Begin()
	trouble := outage.New(e.o.Logger, "clients get nothing", "waiting for it to pass")
	every(ctx, e.o.EchoInterval, func(time.Time) {
		for i, l := range e.loops {
			e.prober.Look(i, l.stats.turns.Load(), l.awake.Load())
		}
		e.prober.Count(2 * e.o.EchoInterval)
		if err := e.undelivered(); err == nil {
			trouble.Over()
		} else if e.feed.Silence() < e.o.silence() {
			trouble.Failed(err)
		}
	})
}

var (
	errStarting = errors.New("starting")
	errDraining = errors.New("draining")
	errNoBus    = errors.New("the bus has not answered yet")
)

// Alive returns nil when every loop has answered, and neither the feed nor the queue of publications is held up; an error when ctx ends
// before. What the bus does makes no difference. It may be called from any goroutine.
func (e *Engine) Alive(ctx context.Context) error {
	answered := make(chan error, 1)
	go func() {
		e.feed.Held()
		e.publishing.length()
		answered <- askLoops(ctx, e.loops, func(*loop) {})
	}()
	select {
	case err := <-answered:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// silence is how long the bus may be silent before the engine says that it does not serve.
func (o *Options) silence() time.Duration { return max(5*o.EchoInterval, 3*time.Second) }

var _ gnet.EventHandler = (*loop)(nil)
