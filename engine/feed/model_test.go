package feed

import (
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"push-server/engine/budget"
	"push-server/protocol"
)

// The model: two processes with two loops each on one store, clients that come and go, and everything on the way that can go wrong.
// Whatever the schedule, every client gets every publication of its channels exactly once, in the order of ids. A third of the clients are
// of version 5: they listen to the channel of their user besides, and what is published is for several users and channels at once.

var (
	schedules = flag.Int("schedules", 0, "schedules of each scenario of the model; 0: as many as the scenario is worth")
	oneSeed   = flag.Int("seed", -1, "the only schedule to run")
)

const (
	simProcesses    = 2
	simLoops        = 2
	simChannels     = 3
	simClients      = 6
	simPublications = 40
	simTraffic      = 200 * time.Millisecond // how long publications come
	simLimit        = 30 * time.Second
	simSequence     = 1<<32 - simPublications/2 // numbers of the window pass 32 bits on the way, as after 50 days of 1,000 a second
)

// world is one schedule.
type world struct {
	sim       *sim
	faults    faults
	store     *store
	feeds     []*Feed
	loops     []*simLoop
	clients   []*simClient
	published []*protocol.Publication
	mayLose   map[string]bool // by the store itself
	tags      uint64
	options   Options
	pending   *budget.Budget
	answers   *budget.Budget
	sent      int
	open      int // publications of Node publishers under way
	ordered   bool
}

func simChannel(n int) (ch protocol.ChannelID) {
	binary.LittleEndian.PutUint64(ch.Bytes[:], uint64(n)*0x9e3779b97f4a7c15)
	ch.Bytes[8] = byte(n + 1)
	ch.Private = true
	return ch
}

func newWorld(seed uint64, f faults, change func(o *Options)) *world {
	s := newSim(seed)
	w := &world{sim: s, faults: f, store: &store{sim: s}, mayLose: make(map[string]bool), pending: budget.New(0), answers: budget.New(0),
		ordered: f.node == 0 && f.loseOne == 0}
	w.options = Options{
		WindowCount: 1 << 10, WindowBytes: 1 << 20, HeldBytes: 1 << 20, AnswerBytes: 1 << 20, PendingBytes: 1 << 20,
		HistoryPerChannel: 1000, HistoryTotal: 1000, MaxQuestions: 100, EchoInterval: 30 * time.Millisecond,
		Clock: simClock{s}, Pending: w.pending, Answers: w.answers,
	}
	if change != nil {
		change(&w.options)
	}
	for range simProcesses {
		w.startProcess(nil)
	}
	for i := range simClients {
		a, b := s.rng.IntN(simChannels), s.rng.IntN(simChannels)
		c := &simClient{world: w, name: fmt.Sprint("client ", i), channels: []protocol.ChannelID{simChannel(a)}, poll: i%3 == 0, stays: f.leave == 0}
		if a != b {
			c.channels = append(c.channels, simChannel(b))
		}
		if i%3 == 1 {
			c.user = protocol.UserChannel(uint64(i))
			c.channels = append(c.channels, c.user)
		}
		if c.stays {
			c.poll = false
		}
		w.clients = append(w.clients, c)
		s.after(s.upTo(20*time.Millisecond), c.come)
	}
	return w
}

// startProcess starts a feed with its loops, at positions if given.
func (w *world) startProcess(from []Position) *Feed {
	b := &simBus{sim: w.sim, store: w.store, faults: &w.faults}
	w.store.buses = append(w.store.buses, b)
	f := New(b, w.options)
	f.window.head.Store(simSequence)
	f.window.tail.Store(simSequence)
	b.handler = f
	for i := range simLoops {
		l := &simLoop{world: w, bus: b}
		var p *Position
		if from != nil {
			p = &from[i]
		}
		l.reader = f.NewReader(l, p)
		l.reader.cursor = simSequence
		w.loops = append(w.loops, l)
	}
	for _, task := range f.Tasks() {
		w.sim.start(task)
	}
	w.feeds = append(w.feeds, f)
	return f
}

func (w *world) publication(n int) *protocol.Publication {
	p := &protocol.Publication{Body: []byte(strconv.Itoa(n)), Expiry: 600}
	p.Receivers = []protocol.Receiver{{Channel: simChannel(w.sim.rng.IntN(simChannels))}}
	if ch := simChannel(w.sim.rng.IntN(simChannels)); n%7 == 0 && ch != p.Receivers[0].Channel {
		p.Receivers = append(p.Receivers, protocol.Receiver{Channel: ch})
	}
	w.addUsers(p)
	skew := time.Duration((w.sim.rng.Float64()*2 - 1) * float64(w.faults.skew))
	p.Created = uint32(simStart + int64((w.sim.now+skew)/time.Second))
	return p
}

// addUsers has p be for some users, too, mostly of the channels that it is for; now and then it is for nobody else.
func (w *world) addUsers(p *protocol.Publication) {
	others := len(p.Receivers)
	for _, c := range w.clients {
		if c.user.Private && w.sim.chance(0.4) {
			p.Receivers = append(p.Receivers, protocol.Receiver{Channel: c.user})
		}
	}
	if len(p.Receivers) > others && w.sim.chance(0.2) {
		p.Receivers = p.Receivers[others:]
	}
}

// publish publishes as this server does: the id is taken and the publication goes out in one step.
func (w *world) publish(n int) {
	p := w.publication(n)
	p.ID = w.store.next(w.store.buses[w.sim.rng.IntN(len(w.store.buses))].known)
	w.published = append(w.published, p)
	w.store.keep(p)
}

// publishAsNode publishes as the Node server does: first the id, later the rest, sometimes never.
func (w *world) publishAsNode(n int) {
	id := w.store.next(protocol.MessageID{})
	if w.sim.chance(0.1) {
		return
	}
	p := w.publication(n)
	p.ID = id
	w.open++
	w.sim.after(w.sim.upTo(30*time.Millisecond), func() {
		w.open--
		w.published = append(w.published, p)
		w.store.keep(p)
	})
}

// schedule spreads what happens over the time of the traffic.
func (w *world) schedule() {
	s := w.sim
	first := time.Duration(0)
	if !w.ordered {
		first = 40 * time.Millisecond // the promise is to those who are connected
	}
	sometime := func() time.Duration { return first + time.Duration(s.rng.Float64()*float64(simTraffic-first)) }
	times := make([]time.Duration, simPublications)
	for i := range times {
		times[i] = sometime()
	}
	slices.Sort(times)
	for n, t := range times {
		s.after(t, func() {
			w.sent++
			if w.faults.node > 0 && n%(w.faults.node+1) != 0 {
				w.publishAsNode(n)
			} else {
				w.publish(n)
			}
		})
	}
	apart := simTraffic / time.Duration(w.faults.flush+1)
	for n := range w.faults.flush {
		s.after(time.Duration(n)*apart+20*time.Millisecond+s.upTo(apart-20*time.Millisecond), w.flush)
	}
	for range w.faults.failover {
		t := max(sometime(), 20*time.Millisecond)
		s.after(t/2, w.store.copy)
		s.after(t, w.failOver)
	}
	for range w.faults.handover {
		s.after(sometime(), w.handOver)
	}
	s.after(simTraffic+time.Millisecond, func() { // time to recover
		calm := faults{delay: w.faults.delay, leave: w.faults.leave, turnDelay: w.faults.turnDelay}
		w.faults = calm
	})
}

// allKnow says whether every process has heard of an id, and has f called later if not: one that has not cannot keep the store from giving out
// its first id again.
func (w *world) allKnow(f func()) bool {
	if slices.ContainsFunc(w.store.buses, func(b *simBus) bool { return b.known.IsZero() }) {
		w.sim.after(time.Millisecond, f)
		return false
	}
	return true
}

func (w *world) flush() {
	if w.allKnow(w.flush) {
		w.store.flush()
	}
}

// failOver loses what the copy lacks: that may be lost, but it is not doubled.
func (w *world) failOver() {
	if !w.allKnow(w.failOver) {
		return
	}
	for _, p := range w.published {
		if !slices.ContainsFunc(w.store.copied.kept, func(k kept) bool { return k.p == p }) {
			w.mayLose[string(p.Body)] = true
		}
	}
	w.store.failOver()
}

// handOver has a new process take up the positions of the first one, and its sessions.
func (w *world) handOver() {
	var positions []Position
	old := w.loops[:simLoops]
	for _, l := range old {
		l.collect()
		l.release()
		positions = append(positions, l.reader.Position())
		l.dead = true
	}
	old[0].bus.closed = true
	rest := w.loops[simLoops:]
	w.loops = nil
	w.startProcess(positions)
	for i, l := range w.loops {
		for _, s := range old[i].sessions {
			if s.replay != nil {
				old[i].reader.Cancel(s.replay)
				s.client.comeLater()
				continue
			}
			s.loop = l
			l.sessions = append(l.sessions, s)
		}
	}
	w.loops = append(rest, w.loops...)
}

func (w *world) done() bool {
	if w.sent < simPublications || w.open > 0 {
		return false
	}
	for _, c := range w.clients {
		if !c.complete() {
			return false
		}
	}
	return true
}

// run runs a schedule and returns what went wrong.
func (w *world) run() (err error) {
	defer w.sim.end()
	w.schedule()
	w.sim.run(simLimit, w.done)
	end := w.sim.now + 300*time.Millisecond
	w.sim.after(end-w.sim.now, func() {})
	w.sim.run(end, func() bool { return false }) // what is doubled comes late
	var problems []error
	for _, c := range w.clients {
		problems = append(problems, c.verdict(w.ordered))
	}
	return errors.Join(problems...)
}

// scenario is a kind of schedules.
type scenario struct {
	name   string
	faults faults
	change func(o *Options)
}

func scenarios() []scenario {
	usual := faults{delay: 2 * time.Millisecond, turnDelay: time.Millisecond, leave: 0.1}
	with := func(change func(f *faults)) faults {
		f := usual
		change(&f)
		return f
	}
	small := func(n int) func(o *Options) { return func(o *Options) { o.WindowCount = n } }
	everything := with(func(f *faults) {
		f.badCall, f.disconnect, f.goDeaf, f.stall = 0.05, 0.01, 0.002, 0.02
	})
	return []scenario{
		{name: "quiet", faults: faults{leave: 0.1}},
		{name: "delays", faults: usual},
		{name: "questions fail", faults: with(func(f *faults) { f.badCall = 0.3 })},
		{name: "connection lost", faults: with(func(f *faults) { f.disconnect = 0.02 })},
		{name: "deaf", faults: with(func(f *faults) { f.goDeaf = 0.01 })},
		{name: "events lost", faults: with(func(f *faults) { f.leave, f.loseOne = 0, 0.03 })},
		{name: "slow loops", faults: with(func(f *faults) { f.turnDelay, f.stall = 10*time.Millisecond, 0.1 })},
		{name: "small window", faults: with(func(f *faults) { f.stall = 0.1 }), change: small(16)},
		{name: "small window, connection lost", faults: with(func(f *faults) { f.stall, f.disconnect = 0.1, 0.02 }), change: small(16)},
		{name: "tiny window, connection lost", faults: with(func(f *faults) { f.stall, f.disconnect = 0.3, 0.02 }), change: small(8)},
		{name: "clocks differ", faults: with(func(f *faults) { f.skew, f.disconnect = 10*time.Minute, 0.01 })},
		{name: "the bus comes late", faults: with(func(f *faults) { f.silent = 60 * time.Millisecond })},
		{name: "small answers", faults: with(func(f *faults) { f.disconnect = 0.01 }), change: func(o *Options) { o.AnswerBytes = 6; o.HeldBytes = 2000 }},
		{name: "flushed", faults: with(func(f *faults) { f.flush = 2 })},
		{name: "failover", faults: with(func(f *faults) { f.failover = 1 })},
		{name: "everything", faults: everything, change: small(32)},
		{name: "handed over", faults: with(func(f *faults) { f.handover = 1 })},
		{name: "Node publishers", faults: with(func(f *faults) { f.leave, f.node = 0, 2 })},
		{name: "Node publishers, connection lost", faults: with(func(f *faults) { f.leave, f.node, f.disconnect = 0, 2, 0.02 })},
		{name: "Node publishers, events lost", faults: with(func(f *faults) { f.leave, f.node, f.loseOne = 0, 2, 0.02 })},
		{name: "Node publishers, small window", faults: with(func(f *faults) { f.leave, f.node, f.stall = 0, 2, 0.1 }), change: small(16)},
	}
}

// usualSchedules is how many schedules of each scenario make test runs.
const usualSchedules = 500

func TestModel(t *testing.T) {
	for _, c := range scenarios() {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			if *oneSeed >= 0 {
				if err := newWorld(uint64(*oneSeed), c.faults, c.change).run(); err != nil {
					t.Error(err)
				}
				return
			}
			n := *schedules
			if n == 0 {
				n = usualSchedules
			}
			runSchedules(t, &c, n)
		})
	}
}

// runSchedules runs n schedules on all processors.
func runSchedules(t *testing.T, c *scenario, n int) {
	t.Helper()
	var next, failed atomic.Int64
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for seed := next.Add(1) - 1; seed < int64(n) && failed.Load() < 3; seed = next.Add(1) - 1 {
				if err := newWorld(uint64(seed), c.faults, c.change).run(); err != nil {
					failed.Add(1)
					t.Errorf("-seed %d: %v", seed, err)
				}
			}
		})
	}
	workers.Wait()
}
