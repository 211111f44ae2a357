package engine

import (
	"math"
	"time"
)

// timer is a kind of deadline. All deadlines of one kind have the same length, so each kind is a list in order of time: to add,
// to remove and to find the next one is O(1). A session has at most one.
type timer uint8

const (
	timerNone    timer = iota
	timerHead          // complete head
	timerBody          // complete body
	timerIdle          // next request
	timerRequest       // a worker's answer
	timerPoll          // end of a long poll
	timerGrace         // a poll whose newest id has been asked for
	timerPing          // next ping, or the pong to the last one
	timerPulse         // next ping of version 5
	timerClose         // the peer's close frame
	timerLinger        // the peer's end of an HTTP connection
	timers
)

// tick is the unit of deadlines. Finer would only cost wake-ups: nothing here is shorter than a second.
const tick = 100 * time.Millisecond

// deadlines are the lists of one loop, which sleeps until the first of them is due: a process with nothing to do does nothing, where ten
// ticks a second took 2.2 % of a core.
type deadlines struct {
	slab   *sessionSlab
	begun  time.Time
	now    uint32 // ticks since then, at the beginning of the callback
	next   uint32 // when the alarm goes off; no deadline is due before
	alarm  *time.Timer
	length [timers]uint32
	lists  [timers]struct{ first, last uint32 }
}

// noAlarm is a next for which nothing is armed.
const noAlarm = math.MaxUint32

// newDeadlines makes lists of sessions in slab. ring is called on a goroutine of its own when runDeadlines has something to do.
func newDeadlines(slab *sessionSlab, o *Options, ring func()) deadlines {
	d := deadlines{slab: slab, begun: time.Now(), next: noAlarm, alarm: time.AfterFunc(math.MaxInt64, ring)}
	for k, length := range map[timer]time.Duration{
		timerHead: o.HeadTimeout, timerBody: o.BodyTimeout, timerIdle: o.IdleTimeout, timerRequest: o.RequestTimeout,
		timerPoll: o.PollTimeout, timerGrace: o.PollGrace, timerPing: o.PingInterval, timerPulse: o.V5.PingInterval, timerClose: o.CloseTimeout,
		timerLinger: lingerTime,
	} {
		d.length[k] = uint32((length + tick - 1) / tick)
	}
	for k := range d.lists {
		d.lists[k].first, d.lists[k].last = noSession, noSession
	}
	return d
}

// lingerTime bounds how long a connection stays after its last reply, so that the peer can read it before a reset.
const lingerTime = 5 * time.Second

// start gives s a deadline of kind k, counted from now, instead of the one it has.
func (d *deadlines) start(s *Session, k timer) {
	d.stop(s)
	list := &d.lists[k]
	s.timer, s.due = k, d.now+d.length[k]
	s.prev, s.next = list.last, noSession
	if list.last == noSession {
		list.first = s.index
	} else {
		d.slab.get(list.last).next = s.index
	}
	list.last = s.index
	d.wakeBy(s.due)
}

// catchUp reads the clock.
func (d *deadlines) catchUp() { d.now = uint32(time.Since(d.begun) / tick) }

// wakeBy has runDeadlines called at tick due, at the latest.
func (d *deadlines) wakeBy(due uint32) {
	if due < d.next {
		d.next = due
		d.alarm.Reset(time.Duration(due)*tick - time.Since(d.begun))
	}
}

// stop takes its deadline from s.
func (d *deadlines) stop(s *Session) {
	if s.timer == timerNone {
		return
	}
	list := &d.lists[s.timer]
	if s.prev == noSession {
		list.first = s.next
	} else {
		d.slab.get(s.prev).next = s.next
	}
	if s.next == noSession {
		list.last = s.prev
	} else {
		d.slab.get(s.next).prev = s.prev
	}
	s.timer, s.prev, s.next = timerNone, noSession, noSession
}

// pop takes the first session of kind k whose time has come, or returns nil.
func (d *deadlines) pop(k timer) *Session {
	first := d.lists[k].first
	if first == noSession {
		return nil
	}
	s := d.slab.get(first)
	if s.due > d.now {
		return nil
	}
	d.stop(s)
	return s
}

// runDeadlines serves what is due. It closes sessions.
func (l *loop) runDeadlines() (done bool) {
	d := &l.deadlines
	if d.now < d.next {
		return true
	}
	d.next = 0 // what begins meanwhile arms nothing
	l.quantum.Begin()
	l.lookAtBacklog()
	for k := timerNone + 1; k < timers; k++ {
		for s := d.pop(k); s != nil; s = d.pop(k) {
			l.quantum.Spend(0)
			l.expired(s, k)
			if l.over() {
				return false
			}
		}
	}
	d.next = noAlarm
	if len(l.backlog.waiting) > 0 {
		d.wakeBy(d.now + 1)
	}
	d.wakeBy(d.first())
	return true
}

// first is when the first deadline is due.
func (d *deadlines) first() (due uint32) {
	due = noAlarm
	for k := range d.lists {
		if first := d.lists[k].first; first != noSession {
			due = min(due, d.slab.get(first).due)
		}
	}
	return due
}

func (l *loop) expired(s *Session, k timer) {
	switch k {
	case timerHead:
		l.headExpired(s, CloseHeadTimeout)
	case timerBody:
		l.headExpired(s, CloseBodyTimeout)
	case timerIdle:
		l.close(s, CloseIdle)
	case timerRequest:
		l.close(s, CloseRequestTimeout)
	case timerPoll:
		l.pollExpired(s)
	case timerGrace:
		l.graceExpired(s)
	case timerPing:
		l.pingExpired(s)
	case timerPulse:
		l.pulseExpired(s)
	case timerClose, timerLinger:
		l.close(s, CloseLinger)
	}
}
