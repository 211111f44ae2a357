package engine

import "time"

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
	timerClose         // the peer's close frame
	timerLinger        // the peer's end of an HTTP connection
	timers
)

// tick is the unit of deadlines. Finer would only cost wake-ups: nothing here is shorter than a second.
const tick = 100 * time.Millisecond

// deadlines are the lists of one loop.
type deadlines struct {
	slab   *sessionSlab
	now    uint32 // ticks since the loop began
	length [timers]uint32
	lists  [timers]struct{ first, last uint32 }
}

func newDeadlines(slab *sessionSlab, o *Options) deadlines {
	d := deadlines{slab: slab}
	for k, length := range map[timer]time.Duration{
		timerHead: o.HeadTimeout, timerBody: o.BodyTimeout, timerIdle: o.IdleTimeout, timerRequest: o.RequestTimeout,
		timerPoll: o.PollTimeout, timerGrace: o.PollGrace, timerPing: o.PingInterval, timerClose: o.CloseTimeout,
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
