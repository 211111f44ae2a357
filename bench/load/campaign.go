package load

import (
	"errors"
	"fmt"
	"time"
)

const (
	// maxBacklog is how many publications of an open loop may wait for their turn before the campaign is given up.
	maxBacklog = 200_000
	// stallAfter is how long a closed loop waits for a delivery.
	stallAfter = int64(20 * time.Second)
	// glance is how often a closed loop looks whether another process has delivered.
	glance = int64(100 * time.Microsecond)
)

// campaign carries out a Campaign. It lives on the loop.
type campaign struct {
	Campaign
	w       *worker
	senders []sender
	free    []int // per sender: how many of its streams it has gone through, closed loop
	queues  [][]job
	waiting int // jobs in queues
	issued  int
	total   int // 0: by time
	began   int64
	every   float64 // ns between two, open loop
	result  Published
	answer  *Latency
	over    bool // issues nothing more
	done    func(Published, error)
}

// job is one request to be sent.
type job struct {
	stream int
	at     int64
}

// sender sends one request at a time.
type sender interface {
	idle() bool
	send(j job) error
	// step does what is due and says when it wants to be called again.
	step(now int64) int64
	hangUp()
}

func startCampaign(w *worker, spec Campaign, done func(Published, error)) (*campaign, error) {
	c := &campaign{Campaign: spec, w: w, done: done, answer: NewLatency(), total: spec.Count}
	c.Batch = max(c.Batch, 1)
	c.Connections = min(max(c.Connections, 1), c.Streams)
	if c.Streams < 1 || c.First+c.Streams > len(w.board.streams) {
		return nil, fmt.Errorf("load: streams %d+%d of %d", c.First, c.Streams, len(w.board.streams))
	}
	if c.Rate > 0 {
		c.every = float64(time.Second) / c.Rate
		if c.total == 0 {
			c.total = int(c.Rate * c.Time.Seconds())
		}
	}
	if err := c.recruit(); err != nil {
		c.hangUp()
		return nil, err
	}
	c.free = make([]int, len(c.senders))
	c.queues = make([][]job, len(c.senders))
	c.began = now()
	return c, nil
}

func (c *campaign) recruit() error {
	if c.Speakers != "" {
		return c.recruitSpeakers()
	}
	for range c.Connections {
		s, err := newPoster(c)
		if err != nil {
			return err
		}
		c.senders = append(c.senders, s)
	}
	return nil
}

// step sends what is due and says when it wants to be called again.
func (c *campaign) step(now int64) int64 {
	next := never
	if c.Rate > 0 {
		next = c.schedule(now)
	}
	for i, s := range c.senders {
		next = min(next, s.step(now))
		c.feed(i, now)
	}
	c.finish(now)
	return next
}

// schedule queues what is due by now.
func (c *campaign) schedule(now int64) int64 {
	for !c.over {
		due := c.began + int64(float64(c.issued)*c.every)
		if due > now {
			return due
		}
		i := c.issued % c.Streams
		q := i % len(c.senders)
		c.queues[q] = append(c.queues[q], job{stream: c.First + i, at: due})
		c.waiting++
		c.issued++
		c.over = c.issued >= c.total
		if c.waiting > maxBacklog {
			c.w.trouble("publications given up: the server does not keep up with the rate")
			c.over = true
		}
	}
	return never
}

// feed gives sender i its next job if it is idle.
func (c *campaign) feed(i int, now int64) {
	for c.senders[i].idle() {
		j, ok := c.next(i, now)
		if !ok {
			return
		}
		if err := c.senders[i].send(j); err != nil {
			c.refused(0, err)
		}
	}
}

func (c *campaign) next(i int, now int64) (job, bool) {
	if c.Rate > 0 {
		q := c.queues[i]
		if len(q) == 0 {
			return job{}, false
		}
		c.queues[i] = q[1:]
		c.waiting--
		return q[0], true
	}
	c.over = c.over || c.total > 0 && c.issued >= c.total || c.Time > 0 && now-c.began >= int64(c.Time)
	if c.over {
		return job{}, false
	}
	c.issued++
	stream := i + c.free[i]*len(c.senders)
	if stream >= c.Streams {
		c.free[i], stream = 0, i
	}
	c.free[i]++
	return job{stream: c.First + stream, at: now}, true
}

// bodies makes the messages of a job and counts them as published.
func (c *campaign) bodies(j job, dst [][]byte) [][]byte {
	last := c.w.board.streams[j.stream].published.Add(uint32(c.Batch))
	for i := range c.Batch {
		if i == len(dst) {
			dst = append(dst, nil)
		}
		p := payload{stream: uint32(j.stream), number: last - uint32(c.Batch-1-i), at: j.at}
		dst[i] = appendBody(dst[i][:0], p, c.w.plan.Payload)
	}
	c.result.Sent += int64(c.Batch)
	return dst[:c.Batch]
}

func (c *campaign) stored(j job) {
	c.result.Stored++
	c.took(j)
}

func (c *campaign) accepted(j job) {
	c.result.Accepted++
	c.took(j)
}

func (c *campaign) took(j job) {
	c.answer.record(c.w.loop.now - j.at)
	c.w.tally.Answered.Add(1)
}

func (c *campaign) refused(status int, err error) {
	if c.result.Refused == nil {
		c.result.Refused = make(map[int]int64)
	}
	c.result.Refused[status]++
	if err == nil {
		err = fmt.Errorf("status %d", status)
	}
	c.w.trouble("publication refused: " + err.Error())
	if errors.Is(err, errUnsupported) {
		c.over = true
	}
}

func (c *campaign) finish(now int64) {
	if c.done == nil || !c.over || c.waiting > 0 {
		return
	}
	for _, s := range c.senders {
		if !s.idle() {
			return
		}
	}
	c.result.Elapsed = time.Duration(now - c.began)
	c.result.Answer = c.answer
	c.hangUp()
	done := c.done
	c.done = nil
	done(c.result, nil)
}

func (c *campaign) hangUp() {
	for _, s := range c.senders {
		s.hangUp()
	}
}
