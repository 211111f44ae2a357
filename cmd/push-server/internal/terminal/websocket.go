package terminal

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/gobwas/ws"
)

const (
	handshakeTime = 10 * time.Second
	pingInterval  = 30 * time.Second
	silence       = 75 * time.Second // two pings without a sign of life, and a little: the connection is dead
	goodbyeTime   = time.Second
)

// socket listens on one WebSocket until that ends.
func (s *Subscription) socket(ctx context.Context) error {
	target, err := s.target()
	if err != nil {
		return err
	}
	conn, in, err := s.dial(ctx, target)
	if err != nil {
		return err
	}
	c := &socket{conn: conn, in: in}
	defer conn.Close()
	stop := context.AfterFunc(ctx, c.end)
	defer stop()
	quit := make(chan struct{})
	var pings sync.WaitGroup
	pings.Go(func() { c.ping(quit) })
	defer pings.Wait()
	defer close(quit)
	for {
		op, message, err := c.next()
		switch {
		case err != nil:
			return err
		case op == ws.OpPong:
			s.contact.make() // the server has done all that came before the ping
		default:
			if err := s.take(message); err != nil {
				c.end()
				return err
			}
		}
	}
}

// dial does the handshake. in is where to read on.
func (s *Subscription) dial(ctx context.Context, target string) (conn net.Conn, in io.Reader, err error) {
	scheme, _, _ := strings.Cut(target, "://")
	if scheme != "ws" && scheme != "wss" {
		return nil, nil, &finalError{fmt.Errorf("%q is not the scheme of a WebSocket: give ws or wss, or --poll", scheme)}
	}
	d := ws.Dialer{Timeout: handshakeTime, TLSConfig: s.tlsConfig()}
	conn, buffered, _, err := d.Dial(ctx, target)
	if status, ok := errors.AsType[ws.StatusError](err); ok {
		return nil, nil, refusedHTTP(&StatusError{Status: int(status)})
	}
	if err != nil {
		return nil, nil, err
	}
	if buffered == nil {
		buffered = bufio.NewReader(conn)
	}
	return conn, buffered, nil
}

// tlsConfig has a copy, because a Dialer writes the name of the server into it.
func (s *Subscription) tlsConfig() *tls.Config { return s.TLS.Clone() }

// socket is a WebSocket after the handshake.
type socket struct {
	conn net.Conn
	in   io.Reader
	mu   sync.Mutex // for writing
}

// next waits for the next message or pong.
func (c *socket) next() (op ws.OpCode, message []byte, err error) {
	for {
		c.conn.SetReadDeadline(time.Now().Add(silence))
		h, err := ws.ReadHeader(c.in)
		if err != nil {
			return 0, nil, ended(err)
		}
		if h.Masked || h.Length > maxReply || int64(len(message))+h.Length > maxReply {
			return 0, nil, errFraming
		}
		payload := make([]byte, h.Length)
		if _, err := io.ReadFull(c.in, payload); err != nil {
			return 0, nil, ended(err)
		}
		switch h.OpCode {
		case ws.OpClose:
			c.write(ws.OpClose, payload)
			return 0, nil, closed(payload)
		case ws.OpPing:
			c.write(ws.OpPong, payload)
		case ws.OpPong:
			return ws.OpPong, nil, nil // not between the fragments of a message: no push server makes any
		default:
			message = append(message, payload...)
			if h.Fin {
				return h.OpCode, message, nil
			}
		}
	}
}

func ended(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the connection ended")
	}
	return err
}

func closed(payload []byte) error {
	if len(payload) < 2 {
		return errors.New("closed by the server")
	}
	code, reason := int(binary.BigEndian.Uint16(payload)), string(payload[2:])
	text := reason
	if !strings.HasPrefix(reason, fmt.Sprint(code)) {
		text = strings.TrimSpace(fmt.Sprintf("%d %s", code, reason))
	}
	return refused(fmt.Errorf("closed by the server: %s", oneLine([]byte(text))), code)
}

// ping asks the server for signs of life until quit is closed.
func (c *socket) ping(quit <-chan struct{}) {
	ticker := time.NewTicker(pingInterval)
	defer ticker.Stop()
	for {
		if c.write(ws.OpPing, []byte("there?")) != nil {
			return // which reading finds out as well
		}
		select {
		case <-quit:
			return
		case <-ticker.C:
		}
	}
}

// end says goodbye. Reading ends with it.
func (c *socket) end() {
	c.write(ws.OpClose, ws.NewCloseFrameBody(ws.StatusNormalClosure, ""))
	c.conn.Close()
}

func (c *socket) write(op ws.OpCode, payload []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conn.SetWriteDeadline(time.Now().Add(goodbyeTime))
	return ws.WriteFrame(c.conn, ws.MaskFrame(ws.NewFrame(op, true, payload)))
}
