package load

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

const handshakeHeaders = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + wsKey + "\r\n"

type wsState uint8

const (
	wsConnecting wsState = iota
	wsHandshake
	wsGreeting // waits for the first message
	wsOpen
)

// wsClient subscribes by WebSocket.
type wsClient struct {
	subscriber
	state wsState
}

func (c *wsClient) begin() error {
	c.state = wsConnecting
	c.began = c.w.loop.now
	return c.dial(c.w.loop, c.w.source(c.user), c.w.subscribeAddress(c.group, c.user), c)
}

func (c *wsClient) ready(events uint32) {
	if err := c.serve(events); err != nil {
		c.fail(err)
	}
}

func (c *wsClient) serve(events uint32) error {
	if c.state == wsConnecting {
		if err := c.connected(); err != nil {
			return err
		}
		if events&unix.EPOLLOUT == 0 {
			return nil
		}
		c.state = wsHandshake
		c.w.scratch = c.appendRequest(c.w.scratch[:0], handshakeHeaders)
		if err := c.write(c.w.scratch); err != nil {
			return err
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

// drain reads until nothing is left. With edge triggering an end of the stream that came together with data shows only in a
// further read.
func (c *wsClient) drain(ended bool) error {
	for {
		b, more, err := c.read()
		if err != nil {
			return err
		}
		c.w.reads++
		rest, err := c.take(b)
		if err != nil || !c.open() {
			return err
		}
		c.keep(rest)
		if !more && !ended {
			return nil
		}
	}
}

func (c *wsClient) take(b []byte) (rest []byte, err error) {
	if c.state == wsHandshake {
		n := bytes.Index(b, crlf2)
		if n < 0 {
			return b, nil
		}
		if err := checkHandshake(b[:n]); err != nil {
			return nil, err
		}
		b = b[n+len(crlf2):]
		c.state = wsGreeting
		if c.w.dialect.greeting() == nil {
			c.state = wsOpen
			c.opened()
		}
	}
	for {
		f, n, err := parseFrame(b)
		if err != nil || n == 0 {
			return b, err
		}
		if err := c.frame(f); err != nil {
			return nil, err
		}
		b = b[n:]
	}
}

func checkHandshake(head []byte) error {
	line, _, _ := bytes.Cut(head, crlf)
	if !bytes.Contains(line, []byte(" 101 ")) {
		return fmt.Errorf("load: handshake refused: %s", line)
	}
	if !bytes.Contains(head, []byte(wsAccept)) {
		return fmt.Errorf("load: handshake with a wrong Sec-WebSocket-Accept")
	}
	return nil
}

func (c *wsClient) frame(f frame) error {
	switch f.op {
	case opText, opBinary:
		if c.format == JSONRPC {
			return c.call(f.payload)
		}
		c.w.frames++
		if c.state == wsGreeting {
			c.state = wsOpen
			c.opened()
		}
		return c.w.dialect.visit(f.payload, c.format, c)
	case opPing:
		return c.send(opPong, f.payload)
	case opClose:
		return closeError(f.payload)
	}
	return nil
}

// call takes what a server of version 5 says.
func (c *wsClient) call(payload []byte) error {
	if string(payload) == "ping" {
		return c.send(opText, []byte("pong"))
	}
	c.w.frames++
	if err := c.w.dialect.visit(payload, c.format, c); err != nil || !c.w.plan.Target.Acknowledge {
		return err
	}
	return visitCalls(payload, acknowledger{c})
}

// acknowledger says of messages that they have come.
type acknowledger struct{ c *wsClient }

func (a acknowledger) message(mid, _ []byte) {
	if err := a.c.send(opText, append([]byte("mack:"), mid...)); err != nil {
		a.c.fail(err)
	}
}

// send writes a masked frame. The mask is zero, which leaves the payload as it is.
func (c *wsClient) send(op byte, payload []byte) error {
	b := append(c.w.scratch[:0], 0x80|op)
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	b = append(b, 0, 0, 0, 0)
	c.w.scratch = append(b, payload...)
	return c.write(c.w.scratch)
}

const (
	opText   = 1
	opBinary = 2
	opClose  = 8
	opPing   = 9
	opPong   = 10
)

type frame struct {
	op      byte
	payload []byte
}

// parseFrame reads one frame of a server; n is 0 when it is not complete.
func parseFrame(b []byte) (f frame, n int, err error) {
	if len(b) < 2 {
		return f, 0, nil
	}
	if b[0]&0xf0 != 0x80 || b[1]&0x80 != 0 {
		return f, 0, fmt.Errorf("load: a server's frame with the head %x", b[:2])
	}
	head, size := 2, uint64(b[1])
	switch {
	case size == 126 && len(b) >= 4:
		head, size = 4, uint64(binary.BigEndian.Uint16(b[2:]))
	case size == 127 && len(b) >= 10:
		head, size = 10, binary.BigEndian.Uint64(b[2:])
	case size >= 126:
		return f, 0, nil
	}
	if size > readBufferSize {
		return f, 0, errTooMuch
	}
	n = head + int(size)
	if len(b) < n {
		return f, 0, nil
	}
	return frame{op: b[0] & 15, payload: b[head:n]}, n, nil
}

func closeError(payload []byte) error {
	if len(payload) < 2 {
		return fmt.Errorf("load: closed by the server without a code")
	}
	return fmt.Errorf("load: closed by the server: %d %s", binary.BigEndian.Uint16(payload), payload[2:])
}
