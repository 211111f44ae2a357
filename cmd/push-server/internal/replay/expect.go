package replay

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// expect compares what arrives with the step.
func (p *player) expect(step Step) error {
	c, err := p.conn(step.Conn)
	if err != nil {
		return err
	}
	part := step.Parts[0]
	switch part.Kind {
	case "":
		return p.expectResponse(c, step)
	case "once":
		return c.expectOnce(p.deadline())
	case "eof", "reset", "closed":
		return c.expectEnd(part.Kind, p.deadline())
	case "nothing":
		d, err := time.ParseDuration(part.Text)
		if err != nil {
			return err
		}
		return c.expectNothing(d)
	case "message", "response":
		return p.expectItem(c, part)
	case "messages":
		return p.expectMessages(c, part.Text)
	case "batch":
		return expectBatch(c, part.Text, p.vars, p.deadline())
	case "close", "ping", "pong", "text":
		return expectFrame(c, part, p.vars, p.deadline())
	case "reply", "hexreply", "stored":
		return expectReply(c, part, p.vars, p.deadline())
	case "notification":
		return expectNotification(c, part.Text, p.vars, p.deadline())
	}
	return fmt.Errorf("do not know how to expect %q", part.Kind)
}

func (p *player) expectResponse(c *conn, step Step) error {
	resp, err := readResponse(c, p.deadline())
	if err != nil {
		return fmt.Errorf("want %s\ngot  %w", step.Parts[0].Text, err)
	}
	if c.once > 0 && c.pos > c.once {
		return fmt.Errorf("want the response at once\ngot  only %d bytes of it", c.once)
	}
	c.once = 0
	if err := compareResponse(step.Parts, resp, p.vars); err != nil {
		return err
	}
	c.ws = resp.code() == "101"
	return nil
}

// expectMessages wants N messages that all match, with growing ids. The
// text is "N PATTERN".
func (p *player) expectMessages(c *conn, text string) error {
	number, pattern, _ := strings.Cut(text, " ")
	n, err := strconv.Atoi(number)
	if err != nil {
		return err
	}
	last := ""
	for i := range n {
		it, err := nextItem(c, p.deadline())
		if err == nil {
			err = it.matchMessage(pattern, p.vars)
		}
		if err == nil && it.message.mid <= last {
			err = fmt.Errorf("want a mid above %s\ngot  %s", last, it.message.mid)
		}
		if err != nil {
			return fmt.Errorf("message %d of %d: %w", i+1, n, err)
		}
		last = it.message.mid
	}
	return nil
}

// expectItem compares the next item on a WebSocket.
func (p *player) expectItem(c *conn, part Part) error {
	it, err := nextItem(c, p.deadline())
	if err != nil {
		return fmt.Errorf("want %s %s\n%w", part.Kind, part.Text, err)
	}
	if part.Kind == "message" {
		return it.matchMessage(part.Text, p.vars)
	}
	if it.response == nil {
		return fmt.Errorf("want response %s\ngot  %s", part.Text, it)
	}
	want, err := parseProto("Response", part.Text)
	if err != nil {
		return err
	}
	return compareProto("Response", want, it.response, p.vars)
}
