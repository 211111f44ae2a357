package load

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// pollClient subscribes by long poll: on one keep-alive connection it asks, takes the answer, and asks again.
type pollClient struct {
	subscriber
	asking bool // connected; a request is out
	reply  response
}

func (c *pollClient) begin() error {
	c.asking = false
	c.began = c.w.loop.now
	return c.dial(c.w.loop, c.w.source(c.user), c.w.subscribeAddress(c.group, c.user), c)
}

func (c *pollClient) ready(events uint32) {
	if err := c.serve(events); err != nil {
		c.fail(err)
	}
}

func (c *pollClient) serve(events uint32) error {
	if !c.asking {
		if err := c.connected(); err != nil {
			return err
		}
		if events&unix.EPOLLOUT == 0 {
			return nil
		}
		c.asking = true
		if err := c.ask(); err != nil {
			return err
		}
		if !c.live {
			c.opened()
		}
	}
	if events&unix.EPOLLOUT != 0 {
		if err := c.flush(); err != nil {
			return err
		}
	}
	if events&(unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) == 0 {
		return nil
	}
	return c.drain(events&(unix.EPOLLRDHUP|unix.EPOLLHUP) != 0)
}

func (c *pollClient) ask() error {
	c.w.scratch = c.appendRequest(c.w.scratch[:0], "")
	return c.write(c.w.scratch)
}

func (c *pollClient) drain(ended bool) error {
	for {
		b, more, err := c.read()
		if err != nil {
			return err
		}
		c.w.reads++
		n, err := parseResponse(b, &c.reply)
		if err != nil {
			return err
		}
		if n == 0 {
			c.keep(b)
		} else {
			c.keep(b[n:])
			if err := c.answered(); err != nil || c.reply.close {
				return err
			}
		}
		if !more && !ended {
			return nil
		}
	}
}

func (c *pollClient) answered() error {
	switch c.reply.status {
	case 200:
		c.w.polls++
		if err := c.w.dialect.visit(c.reply.body, c.format, c); err != nil {
			return err
		}
	case 304, 408:
		c.w.pollTimeouts++
	default:
		return fmt.Errorf("load: poll answered %d %s", c.reply.status, c.reply.body)
	}
	if p := c.w.dialect.position(&c.reply); len(p) > 0 {
		c.position = append(c.position[:0], p...)
	}
	if c.reply.close {
		c.close()
		return c.begin() // it stays counted as connected: it asks again at once
	}
	return c.ask()
}
