package load

import "time"

// attempts is how often a connection is tried before it counts as failed.
const attempts = 3

// dialer opens connections: at most limit at a time, and at most rate a second (0: as fast as they are accepted).
type dialer struct {
	w       *worker
	queue   []client
	tries   map[*subscriber]int // of those that failed before
	limit   int
	every   int64 // ns between two
	due     int64
	active  int
	began   int64
	result  Dialed
	latency *Latency
	done    func(Dialed) // called once, when all are open or given up; nil for a dialer that goes on
}

// Dialed is the outcome of opening connections.
type Dialed struct {
	Opened  int           `json:"opened"`
	Failed  int           `json:"failed"`
	Retried int           `json:"retried"`
	Elapsed time.Duration `json:"elapsed"`
	Latency *Latency      `json:"latency,omitempty"` // from the connect(2) to the answer of the handshake
}

func newDialer(w *worker, limit int, rate float64, done func(Dialed)) *dialer {
	d := &dialer{w: w, limit: max(limit, 1), tries: make(map[*subscriber]int), latency: NewLatency(), done: done}
	d.began, d.due = w.loop.now, w.loop.now
	if rate > 0 {
		d.every = int64(float64(time.Second) / rate)
	}
	return d
}

// step opens what is due and says when it wants to be called again.
func (d *dialer) step(now int64) int64 {
	for len(d.queue) > 0 && d.active < d.limit {
		if d.due > now {
			return d.due
		}
		d.due = max(d.due, now-int64(time.Second)) + d.every
		c := d.queue[0]
		d.queue = d.queue[1:]
		d.open(c)
	}
	d.finish(now)
	return never
}

func (d *dialer) open(c client) {
	s := c.base()
	if s.open() {
		return
	}
	d.active++
	s.dialer = d
	if err := c.begin(); err != nil {
		s.dialed(err)
	}
}

// finished hears of the outcome of one.
func (d *dialer) finished(s *subscriber, err error) {
	d.active--
	if err == nil {
		d.result.Opened++
		d.latency.record(d.w.loop.now - s.began)
		return
	}
	d.tries[s]++
	if d.tries[s] < attempts {
		d.result.Retried++
		d.w.retries++
		d.queue = append(d.queue, d.w.clients[s.user-d.w.from])
		return
	}
	d.result.Failed++
	d.w.trouble("connection failed: " + err.Error())
}

func (d *dialer) finish(now int64) {
	if d.done == nil || len(d.queue) > 0 || d.active > 0 {
		return
	}
	d.result.Elapsed = time.Duration(now - d.began)
	d.result.Latency = d.latency
	done := d.done
	d.done = nil
	done(d.result)
}

// churner keeps closing connections and opening them again, as people move between pages and networks.
type churner struct {
	w      *worker
	users  []client
	next   int
	every  int64
	due    int64
	dialer *dialer
}

func newChurner(w *worker, users []client, rate float64) *churner {
	return &churner{
		w: w, users: users, due: w.loop.now,
		every:  int64(float64(time.Second) / rate),
		dialer: newDialer(w, 1024, 0, nil),
	}
}

func (c *churner) step(now int64) int64 {
	for c.due <= now {
		c.due += c.every
		cl := c.users[c.next%len(c.users)]
		c.next++
		if s := cl.base(); s.live {
			s.hangUp(false)
			c.dialer.queue = append(c.dialer.queue, cl)
			c.w.returns++
		}
	}
	return min(c.due, c.dialer.step(now))
}
