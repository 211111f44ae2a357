package feed

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"push-server/protocol"
)

// simLoop is an event loop of the model: who is connected to it, and a reader.
type simLoop struct {
	world    *world
	bus      *simBus
	reader   *Reader
	sessions []*simSession
	awake    bool
	dead     bool
}

// simSession is a client's connection to a loop.
type simSession struct {
	client *simClient
	loop   *simLoop
	replay *Replay // nil: live
	tag    uint64
}

func (l *simLoop) Wake() {
	if l.awake || l.dead {
		return
	}
	l.awake = true
	s := l.world.sim
	d := s.upTo(l.world.faults.turnDelay)
	if s.chance(l.world.faults.stall) {
		d += s.upTo(200 * time.Millisecond)
	}
	s.after(d, l.turn)
}

func (l *simLoop) Interested(receivers []protocol.Receiver) bool {
	for _, s := range l.sessions {
		if s.client.wants(receivers) {
			return true
		}
	}
	return false
}

func (l *simLoop) Channels() (chs []protocol.ChannelID) {
	for _, s := range l.sessions {
		for _, ch := range s.client.channels {
			if !slices.Contains(chs, ch) {
				chs = append(chs, ch)
			}
		}
	}
	return chs
}

// turn is what an engine's loop does.
func (l *simLoop) turn() {
	l.awake = false
	if l.dead {
		return
	}
	l.release()
	l.collect()
	l.release()
}

func (l *simLoop) collect() {
	for e := l.reader.Next(); e != nil; e = l.reader.Next() {
		for _, s := range slices.Clone(l.sessions) {
			switch {
			case !s.client.wants(e.Publication.Receivers):
			case s.replay != nil:
				l.reader.Keep(s.replay, e)
			default:
				s.client.get(e)
				s.client.mayLeave(s)
			}
		}
	}
}

func (l *simLoop) release() {
	for q := l.reader.Released(); q != nil; q = l.reader.Released() {
		for _, s := range l.sessions {
			if s.tag == q.Tag {
				l.take(s)
				break
			}
		}
	}
}

func (l *simLoop) take(s *simSession) {
	if s.replay.Overflown() {
		s.leave()
		return
	}
	es, more := l.reader.Take(s.replay, s.client.channels)
	for _, e := range es {
		s.client.get(e)
	}
	l.reader.Forget()
	if s.client.poll && len(es) > 0 {
		s.leave()
		return
	}
	if !more {
		s.replay = nil
		s.client.mayLeave(s)
		return
	}
	l.world.sim.after(l.world.sim.upTo(5*time.Millisecond), func() {
		if slices.Contains(l.sessions, s) {
			l.begin(s)
		}
	})
}

func (l *simLoop) begin(s *simSession) {
	if l.reader.Begin(s.replay, s.client.channels, nil) == Complete {
		l.take(s)
	}
}

func (s *simSession) leave() {
	if s.replay != nil {
		s.loop.reader.Cancel(s.replay)
	}
	s.loop.sessions = slices.DeleteFunc(s.loop.sessions, func(x *simSession) bool { return x == s })
	s.client.comeLater()
}

// simClient comes and goes, to any loop of any process, and says what it has got last.
type simClient struct {
	world    *world
	name     string
	channels []protocol.ChannelID
	user     protocol.ChannelID // of version 5: one of its channels; none: an older version
	poll     bool
	stays    bool
	mid      protocol.MessageID
	got      []*protocol.Publication
}

func (c *simClient) wants(receivers []protocol.Receiver) bool {
	return slices.ContainsFunc(receivers, func(r protocol.Receiver) bool { return slices.Contains(c.channels, r.Channel) })
}

func (c *simClient) get(e *Entry) {
	c.got = append(c.got, e.Publication)
	c.mid = e.Publication.ID
}

func (c *simClient) mayLeave(s *simSession) {
	if !c.stays && (c.poll && len(c.got) > 0 || c.world.sim.chance(c.world.faults.leave)) {
		s.leave()
	}
}

func (c *simClient) comeLater() {
	c.world.sim.after(c.world.sim.upTo(30*time.Millisecond), c.come)
}

func (c *simClient) come() {
	w := c.world
	l := w.loops[w.sim.rng.IntN(len(w.loops))]
	l.collect() // who comes begins at the present
	w.tags++
	s := &simSession{client: c, loop: l, tag: w.tags, replay: NewReplay(w.tags, c.mid)}
	l.sessions = append(l.sessions, s)
	if l.reader.Behind() || l.reader.HasReleased() {
		l.Wake()
	}
	l.begin(s)
}

// verdict compares what c has got with what was published: each once, and by id where the promise is that.
func (c *simClient) verdict(ordered bool) error {
	want := make(map[string]int)
	for _, p := range c.world.published {
		if c.wants(p.Receivers) {
			want[string(p.Body)]++
		}
	}
	var problems []string
	last := protocol.MessageID{}
	for _, p := range c.got {
		want[string(p.Body)]--
		if ordered && p.ID.Compare(last) <= 0 {
			problems = append(problems, fmt.Sprintf("%s after %s", p.ID, last))
		}
		last = p.ID
	}
	for text, n := range want {
		switch {
		case n > 0 && c.world.mayLose[text]:
		case n > 0:
			problems = append(problems, text+" lost")
		case n < 0:
			problems = append(problems, fmt.Sprintf("%s %d times", text, 1-n))
		}
	}
	if len(problems) == 0 {
		return nil
	}
	slices.Sort(problems)
	return fmt.Errorf("%s: %s", c.name, strings.Join(problems[:min(len(problems), 8)], ", "))
}

// complete says whether c has as many publications as there are for it.
func (c *simClient) complete() bool {
	n := 0
	for _, p := range c.world.published {
		if c.wants(p.Receivers) && !c.world.mayLose[string(p.Body)] {
			n++
		}
	}
	return len(c.got) >= n
}
