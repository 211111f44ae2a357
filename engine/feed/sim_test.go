package feed

import (
	"container/heap"
	"context"
	"iter"
	"math/rand/v2"
	"time"
)

// sim is virtual time. Everything in it runs on one goroutine in the order of a schedule that a seed decides, so a failure repeats
// itself. What blocks is a task, a coroutine that the schedule resumes.
type sim struct {
	rng      *rand.Rand
	now      time.Duration
	events   eventQueue
	seq      uint64
	current  *task
	tasks    []*task
	awaiting []*task
}

type event struct {
	at  time.Duration
	seq uint64
	run func()
}

type eventQueue []event

func (q eventQueue) Len() int { return len(q) }
func (q eventQueue) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].seq < q[j].seq
}
func (q eventQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *eventQueue) Push(x any)   { *q = append(*q, x.(event)) }
func (q *eventQueue) Pop() any {
	last := len(*q) - 1
	e := (*q)[last]
	(*q)[last] = event{}
	*q = (*q)[:last]
	return e
}

func newSim(seed uint64) *sim { return &sim{rng: rand.New(rand.NewPCG(seed, 1))} }

// after runs f in d.
func (s *sim) after(d time.Duration, f func()) {
	s.seq++
	heap.Push(&s.events, event{s.now + d, s.seq, f})
}

// upTo is a random time below d, mostly much shorter.
func (s *sim) upTo(d time.Duration) time.Duration {
	f := s.rng.Float64()
	return time.Duration(f * f * f * float64(d))
}

func (s *sim) chance(p float64) bool { return p > 0 && s.rng.Float64() < p }

// run lets time pass until done says so or the limit is reached, and reports which.
func (s *sim) run(limit time.Duration, done func() bool) bool {
	for len(s.events) > 0 && !done() {
		e := heap.Pop(&s.events).(event)
		if e.at > limit {
			return false
		}
		s.now = e.at
		e.run()
		s.resumeAwaiting()
	}
	return done()
}

// task is a coroutine.
type task struct {
	sim    *sim
	next   func() (struct{}, bool)
	stop   func()
	yield  func(struct{}) bool
	parked uint64 // how often
	signal Signal // awaited
	got    bool
}

type stopped struct{}

// start runs f as a task.
func (s *sim) start(f func(ctx context.Context)) {
	t := &task{sim: s}
	t.next, t.stop = iter.Pull(func(yield func(struct{}) bool) {
		defer func() {
			if r := recover(); r != nil && r != any(stopped{}) {
				panic(r)
			}
		}()
		t.yield = yield
		f(context.Background())
	})
	s.tasks = append(s.tasks, t)
	s.after(0, t.resume)
}

func (t *task) resume() {
	before := t.sim.current
	t.sim.current = t
	t.next()
	t.sim.current = before
}

// park waits until somebody resumes the task.
func (t *task) park() {
	t.parked++
	if !t.yield(struct{}{}) {
		panic(stopped{})
	}
}

// end stops all tasks.
func (s *sim) end() {
	for _, t := range s.tasks {
		t.stop()
	}
}

// sleep is for tasks.
func (s *sim) sleep(d time.Duration) {
	t := s.current
	s.after(d, t.resume)
	t.park()
}

func (s *sim) resumeAwaiting() {
	for i := 0; i < len(s.awaiting); {
		t := s.awaiting[i]
		if !t.take() {
			i++
			continue
		}
		s.awaiting = append(s.awaiting[:i], s.awaiting[i+1:]...)
		t.got = true
		t.resume()
		i = 0
	}
}

func (t *task) take() bool {
	select {
	case <-t.signal:
		return true
	default:
		return false
	}
}

// simClock is the sim as a Clock.
type simClock struct{ *sim }

func (c simClock) Now() time.Duration { return c.now }

func (c simClock) Sleep(_ context.Context, d time.Duration) { c.sleep(d) }

func (c simClock) Await(_ context.Context, signal Signal, d time.Duration) bool {
	t := c.current
	t.signal, t.got = signal, false
	if t.take() {
		return true
	}
	c.awaiting = append(c.awaiting, t)
	if d > 0 {
		parked := t.parked + 1
		c.after(d, func() {
			if t.parked == parked && !t.got {
				c.forget(t)
				t.resume()
			}
		})
	}
	t.park()
	return t.got
}

func (s *sim) forget(t *task) {
	for i, x := range s.awaiting {
		if x == t {
			s.awaiting = append(s.awaiting[:i], s.awaiting[i+1:]...)
			return
		}
	}
}

func (c simClock) Bounded(ctx context.Context, _ time.Duration) (context.Context, context.CancelFunc) {
	return ctx, func() {}
}
