package load

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// idleLimit is how long a connection may have been silent before it is made anew instead of used: servers close theirs after five
// seconds.
const idleLimit = int64(3 * time.Second)

type posterState uint8

const (
	posterIdle posterState = iota
	posterAsked
	posterAwaiting // answered, not yet delivered to all
)

// poster publishes by HTTP POST on a keep-alive connection.
type poster struct {
	socket
	c      *campaign
	state  posterState
	job    job
	want   uint32 // deliveries of the stream when all have it
	since  int64  // of the last reply, or of the answer that is followed by waiting
	bodies [][]byte
	reply  response
}

func newPoster(c *campaign) (*poster, error) {
	p := &poster{c: c}
	p.fd = -1
	return p, p.reconnect()
}

// reconnect opens the connection and waits until it stands, so that the clock of the campaign starts with connections.
func (p *poster) reconnect() error {
	p.close()
	w := p.c.w
	if err := p.dial(w.loop, nil, w.publishAddress(), p); err != nil {
		return err
	}
	fds := []unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLOUT}}
	for {
		n, err := unix.Poll(fds, 5000)
		if err == unix.EINTR {
			continue
		}
		if n == 0 {
			return fmt.Errorf("load: no connection for publications")
		}
		p.since = now()
		return p.connected()
	}
}

func (p *poster) idle() bool { return p.state == posterIdle }

func (p *poster) send(j job) error {
	if !p.open() || p.c.w.loop.now-p.since > idleLimit {
		if err := p.reconnect(); err != nil {
			return err
		}
	}
	w := p.c.w
	stream := &w.board.streams[j.stream]
	p.want = stream.delivered.Load() + uint32(p.c.Batch)*stream.receivers.Load()
	p.job = j
	p.bodies = p.c.bodies(j, p.bodies)
	b, err := w.dialect.appendPublish(w.scratch[:0], j.stream, p.bodies)
	w.scratch = b
	if err != nil {
		return err
	}
	p.state = posterAsked
	if err := p.write(b); err != nil {
		p.state = posterIdle
		p.close()
		return err
	}
	return nil
}

func (p *poster) ready(events uint32) {
	if err := p.serve(events); err != nil {
		p.close()
		if p.state == posterAsked {
			p.state = posterIdle
			p.c.refused(0, err)
		}
	}
}

func (p *poster) serve(events uint32) error {
	if events&unix.EPOLLOUT != 0 {
		if err := p.flush(); err != nil {
			return err
		}
	}
	ended := events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0
	for more := events&unix.EPOLLIN != 0 || ended; more; {
		b, again, err := p.read()
		if err != nil {
			return err
		}
		n, err := parseResponse(b, &p.reply)
		if err != nil {
			return err
		}
		if n > 0 {
			p.answered()
		}
		p.keep(b[n:])
		more = p.open() && (again || ended)
	}
	return nil
}

func (p *poster) answered() {
	p.since = p.c.w.loop.now
	p.state = posterIdle
	switch status := p.reply.status; {
	case status == 202:
		p.c.accepted(p.job)
	case status >= 200 && status < 300:
		p.c.stored(p.job)
	default:
		p.c.refused(status, nil)
		return
	}
	if p.c.Await {
		p.state = posterAwaiting
	}
	if p.reply.close {
		p.close()
	}
}

func (p *poster) step(now int64) int64 {
	if p.state != posterAwaiting {
		return never
	}
	w := p.c.w
	if int32(w.board.streams[p.job.stream].delivered.Load()-p.want) >= 0 {
		p.state = posterIdle
		return never
	}
	if now-p.since > stallAfter {
		p.c.result.Stalled++
		w.trouble("publication not delivered to all in time")
		p.state = posterIdle
	}
	if w.alone {
		return never
	}
	return now + glance
}

func (p *poster) hangUp() { p.reset() }
