package replay

import (
	"errors"
	"fmt"
	"time"
)

// A player performs one conversation.
type player struct {
	conv    *Conversation
	servers *Servers
	vars    vars
	conns   map[string]*conn
}

func newPlayer(conv *Conversation, servers *Servers) *player {
	p := &player{conv: conv, servers: servers, vars: vars{}, conns: map[string]*conn{}}
	for name, path := range servers.Paths {
		p.vars[name] = path
	}
	for _, name := range conv.Channels {
		p.vars.addChannel(name, servers)
	}
	return p
}

// run performs the steps and ends with the first that fails. Afterwards
// nothing may be left unread.
func (p *player) run() error {
	defer p.closeAll()
	for _, step := range p.conv.Steps {
		if err := p.step(step); err != nil {
			return fmt.Errorf("line %d: %s%w", step.Line, prefix(step.Conn), err)
		}
	}
	for _, c := range p.conns {
		if err := c.leftover(); err != nil {
			return fmt.Errorf("at the end: %s: %w", c.name, err)
		}
	}
	return nil
}

func prefix(conn string) string {
	if conn == "" {
		return ""
	}
	return conn + ": "
}

func (p *player) closeAll() {
	for _, c := range p.conns {
		c.nc.Close()
	}
}

// step performs one step.
func (p *player) step(step Step) error {
	switch step.Verb {
	case "send":
		return p.send(step)
	case "expect":
		return p.expect(step)
	case "either":
		return p.either(step)
	}
	return p.act(step)
}

// either tries the branches in order, each from the same point.
func (p *player) either(step Step) error {
	var all []error
	for i, branch := range step.Alternatives {
		before, cursors := p.vars.clone(), p.cursors()
		err := p.branch(branch)
		if err == nil {
			return nil
		}
		all = append(all, fmt.Errorf("alternative %d, %w", i+1, err))
		p.vars = before
		for name, cur := range cursors {
			p.conns[name].cursor = cur
		}
	}
	return errors.Join(all...)
}

func (p *player) cursors() map[string]cursor {
	out := map[string]cursor{}
	for name, c := range p.conns {
		out[name] = c.cursor
	}
	return out
}

func (p *player) branch(steps []Step) error {
	for _, step := range steps {
		if err := p.expect(step); err != nil {
			return fmt.Errorf("line %d: %s%w", step.Line, prefix(step.Conn), err)
		}
	}
	return nil
}

// deadline is the time by which something expected now has to arrive.
func (p *player) deadline() time.Time { return time.Now().Add(p.conv.Timeout) }
