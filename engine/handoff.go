package engine

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"time"

	"github.com/gobwas/ws"
	"github.com/valyala/fasthttp"

	"push-server/poll"
	"push-server/protocol"
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
		server = e.newHandOffServer(f.finishing(e.handlers[s.listener]), &e.o.Listeners[s.listener].Routes)
	}
	place := l.takePlace(s)
	l.close(s, CloseHandedOff) // closes this descriptor only, the connection lives on in the other one
	e.tasks.Go(func() {
		defer e.admission.leave()
		defer func() { e.admission.addresses.Leave(place, time.Now()) }()
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
func (e *Engine) newHandOffServer(h fasthttp.RequestHandler, routes *poll.Routes) *fasthttp.Server {
	o := &e.o
	return poll.NewServer(h, poll.ServerOptions{
		MaxPayload: e.settings.Load().Limits.MaxPayload, IdleTimeout: o.IdleTimeout, HeadTimeout: o.HeadTimeout, BodyTimeout: o.BodyTimeout,
		Close: true, Routes: routes, Log: o.Logger,
	})
}

// requests answers what a loop must not wait for: each request gets a goroutine, of which there are only so many.
type requests struct {
	engine *Engine
	places chan struct{}
}

// maxRequests is the number of requests that are answered at the same time.
const maxRequests = 1024

func newRequests(e *Engine) requests {
	return requests{engine: e, places: make(chan struct{}, maxRequests)}
}

// start runs f, if there is a place.
func (r *requests) start(f func()) bool {
	select {
	case r.places <- struct{}{}:
	default:
		return false
	}
	r.engine.tasks.Go(func() {
		defer func() { <-r.places }()
		f()
	})
	return true
}

// ask has a complete HTTP request of s answered; the reply comes by mail. request is copied.
func (r *requests) ask(l *loop, s *Session, request []byte) bool {
	ref, remote, handler := s.ref(), l.addr(s), r.engine.handlers[s.listener]
	if f := l.followedOf(s); f != nil {
		handler = f.answering(handler)
	}
	request = append([]byte(nil), request...)
	return r.start(func() {
		reply, closes := poll.ServeBytes(handler, nil, request, remote)
		l.post(mail{kind: mailReply, ref: ref, reply: reply, close: closes})
	})
}

// askOnline has a client's question answered; the frame comes by mail.
func (r *requests) askOnline(l *loop, s *Session, stats []protocol.ChannelStat) bool {
	ref, f := s.ref(), l.followedOf(s)
	return r.start(func() {
		ctx, cancel := context.WithTimeout(f.context(), r.engine.o.RequestTimeout)
		defer cancel()
		chs := make([]protocol.ChannelID, len(stats))
		for i := range stats {
			chs[i], _ = stats[i].Channel()
		}
		online, err := r.engine.Online(ctx, chs)
		if err != nil {
			stats = nil // as over HTTP: nobody is told to be online
		}
		for i := range stats {
			if _, isID := stats[i].Channel(); isID { // the length of a client's ids is not checked: one that is no id is nobody's
				stats[i].Online = online[i]
			}
		}
		answer := protocol.AppendChannelStats(nil, stats)
		if f != nil {
			f.sayAnswer("WEBSOCKET", len(answer), commandChannelStats)
		}
		l.post(mail{kind: mailReply, ref: ref, reply: protocol.AppendFrame(nil, ws.OpBinary, answer)})
	})
}

// connSet closes what is left of handed-off connections at the end.
type connSet struct {
	mu    sync.Mutex
	conns map[net.Conn]struct{}
}

func (c *connSet) add(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conns == nil {
		c.conns = make(map[net.Conn]struct{})
	}
	c.conns[conn] = struct{}{}
}

func (c *connSet) remove(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.conns, conn)
}

func (c *connSet) closeAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.conns {
		_ = conn.Close() // they are cut off on purpose
	}
}
