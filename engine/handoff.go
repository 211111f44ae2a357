package engine

import (
	"errors"
	"net"
	"os"

	"github.com/valyala/fasthttp"

	"push-server/poll"
)

// handOff gives the connection, with everything read so far, to a fasthttp.Server on a goroutine: for the few requests that a
// loop must not parse (chunks, Expect, large bodies). It does not come back: the answer ends it.
func (l *loop) handOff(s *Session, buf []byte) (n int, more bool) {
	if s.is(flagBacklog) { // closing our descriptor would cut off the reply before: it goes on when that has gone
		l.deadlines.stop(s)
		return 0, false
	}
	c, err := dupConn(s)
	if err != nil {
		l.engine.acceptFailures.Note(l.o.Listeners[s.listener].Name, err)
		l.unavailable(s, CloseAdmission)
		return len(buf), false
	}
	e := l.engine
	if !e.admission.enter() {
		_ = c.Close()
		l.unavailable(s, CloseAdmission)
		return len(buf), false
	}
	data, addr := append([]byte(nil), buf...), l.addr(s)
	server := e.handedOff[s.listener]
	if f := l.followedOf(s); f != nil {
		server = newHandOffServer(f.finishing(e.handlers[s.listener]), l.o)
	}
	l.close(s, CloseHandedOff) // closes this descriptor only, the connection lives on in the other one
	e.tasks.Go(func() {
		defer e.admission.leave()
		e.handOffs.add(c)
		defer e.handOffs.remove(c)
		if err := server.ServeConn(poll.GateConn(&replayConn{Conn: c, data: data, addr: addr})); err != nil {
			l.log.Debug("handed-off connection ended", "err", err)
		}
	})
	return len(buf), false
}

func dupConn(s *Session) (net.Conn, error) {
	fd, err := s.conn.Dup()
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(fd), "connection")
	defer file.Close()
	return net.FileConn(file)
}

// replayConn reads data first, then the connection.
type replayConn struct {
	net.Conn
	data []byte
	addr net.Addr // of the client
}

func (c *replayConn) RemoteAddr() net.Addr { return c.addr }

func (c *replayConn) Read(b []byte) (int, error) {
	if len(c.data) == 0 {
		return c.Conn.Read(b)
	}
	n := copy(b, c.data)
	c.data = c.data[n:]
	return n, nil
}

// CloseWrite shuts down our side.
func (c *replayConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// newHandOffServer serves handed-off connections of one listener.
func newHandOffServer(h fasthttp.RequestHandler, o *Options) *fasthttp.Server {
	return poll.NewServer(h, poll.ServerOptions{
		MaxPayload: o.Limits.MaxPayload, IdleTimeout: o.IdleTimeout, HeadTimeout: o.HeadTimeout, BodyTimeout: o.BodyTimeout,
		Close: true, Log: o.Logger, ErrorLog: o.ErrorLog, TestKey: o.TestKey,
	})
}
