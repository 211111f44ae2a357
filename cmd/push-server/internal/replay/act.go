package replay

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// act performs a step that begins with an action word.
func (p *player) act(step Step) error {
	args, err := p.vars.expand(step.Args)
	if err != nil {
		return err
	}
	switch step.Verb {
	case "open":
		return p.open(step.Conn, args)
	case "redis":
		return p.open(step.Conn, "redis")
	case "poll":
		return p.poll(step.Conn, args)
	case "upgrade":
		return p.upgrade(step.Conn, args)
	case "post":
		return p.post(step.Conn, args)
	case "publish":
		return p.publish(args)
	case "let":
		name, value, _ := strings.Cut(args, " ")
		p.vars[name] = value
		return nil
	case "sleep":
		d, err := time.ParseDuration(args)
		time.Sleep(d)
		return err
	}
	c, err := p.conn(step.Conn)
	if err != nil {
		return err
	}
	switch step.Verb {
	case "close":
		return c.nc.Close()
	case "abort":
		c.abort()
	case "shutdown":
		return c.shutdown()
	}
	return nil
}

func (p *player) conn(name string) (*conn, error) {
	if c := p.conns[name]; c != nil {
		return c, nil
	}
	return nil, fmt.Errorf("no connection %q", name)
}

// open connects to sub, pub or redis.
func (p *player) open(name, where string) error {
	addr, ok := p.servers.Addrs[where]
	if !ok {
		return fmt.Errorf("no address for %q", where)
	}
	c, err := dial(name, addr)
	if err != nil {
		return err
	}
	c.redis = where == "redis"
	p.conns[name] = c
	return nil
}

// poll opens a connection and sends a plain long poll.
func (p *player) poll(name, query string) error {
	if err := p.open(name, "sub"); err != nil {
		return err
	}
	c := p.conns[name]
	c.write([]byte("GET " + p.vars["sub"] + query + " HTTP/1.1\r\nHost: push.example\r\n\r\n"))
	return nil
}

// post opens a connection, unless it is there already, and makes the next
// write the body of a POST. The arguments are "WHERE TARGET".
func (p *player) post(name, args string) error {
	where, target, _ := strings.Cut(args, " ")
	if p.conns[name] == nil {
		if err := p.open(name, where); err != nil {
			return err
		}
	}
	p.conns[name].target = target
	return nil
}

// upgrade opens a connection and performs a WebSocket handshake.
func (p *player) upgrade(name, query string) error {
	if err := p.open(name, "sub"); err != nil {
		return err
	}
	c := p.conns[name]
	key, accept := websocketKey()
	c.write([]byte("GET " + p.vars["sub"] + query + " HTTP/1.1\r\nHost: push.example\r\n" +
		"Upgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key + "\r\n\r\n"))
	resp, err := readResponse(c, p.deadline())
	if err != nil {
		return err
	}
	if resp.code() != "101" || resp.get("Sec-WebSocket-Accept") != accept {
		return fmt.Errorf("want a 101 with the right accept\ngot  %s %v", resp.status, resp.headers)
	}
	c.ws, c.binary = true, strings.Contains(query, "binaryMode=true")
	return nil
}

// publish sends "IDS [expiry=N] BODY" as a text publication on a connection
// of its own, and waits for the 200.
func (p *player) publish(args string) error {
	ids, body, _ := strings.Cut(args, " ")
	expiry := ""
	if word, rest, _ := strings.Cut(body, " "); strings.HasPrefix(word, "expiry=") {
		expiry, body = "Message-Expiry: "+word[len("expiry="):]+"\r\n", rest
	}
	body, err := unescape(body)
	if err != nil {
		return err
	}
	c, err := dial("publication", p.servers.Addrs["pub"])
	if err != nil {
		return err
	}
	defer c.nc.Close()
	c.write([]byte("POST " + p.vars["pub"] + "?CHANNEL_ID=" + ids + " HTTP/1.1\r\nHost: push.example\r\n" +
		expiry + "Content-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body))
	resp, err := readResponse(c, p.deadline())
	if err == nil && (resp.code() != "200" || len(resp.body) > 0) {
		err = fmt.Errorf("want 200 with an empty body\ngot  %s %s", resp.status, preview(resp.body))
	}
	return err
}
