package engine

import (
	"context"
	"net"
	"sync"

	"github.com/gobwas/ws"

	"push-server/poll"
	"push-server/protocol"
)

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
		online, err := r.engine.http.Presence.Online(ctx, chs)
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
