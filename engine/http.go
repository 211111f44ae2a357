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
	"golang.org/x/sys/unix"

	"push-server/engine/recorder"
	"push-server/poll"
	"push-server/protocol"
)

// maxInlineBody is the longest body of a request that is answered in memory; longer ones are handed off.
const maxInlineBody = 64 << 10

// readHead reads the head of a request, if it is there, and goes where it leads.
func (l *loop) readHead(s *Session, buf []byte) (n int, more bool) {
	skip, size, err := poll.CheckHead(buf)
	if err != nil {
		if errors.Is(err, protocol.ErrShort) {
			if len(buf) > skip && s.timer != timerHead {
				l.deadlines.start(s, timerHead)
			}
			return skip, false
		}
		l.scratch = appendRefusal(l.scratch[:0], err)
		return l.refuse(s, len(buf))
	}
	head := buf[skip : skip+size]
	if l.heads.Read(head, &l.head) != nil {
		l.scratch = poll.AppendBadRequest(l.scratch[:0])
		return l.refuse(s, len(buf))
	}
	n, more = l.route(s, buf[skip:], size)
	return skip + n, more
}

// appendRefusal is apart because the variable costs an allocation.
func appendRefusal(dst []byte, err error) []byte {
	var refusal *poll.Refusal
	if !errors.As(err, &refusal) {
		return poll.AppendBadRequest(dst)
	}
	return refusal.AppendTo(dst)
}

// refuse writes the reply in scratch, behind which the connection ends.
func (l *loop) refuse(s *Session, n int) (int, bool) {
	s.reason = CloseRefused
	l.write(s, l.scratch)
	l.finish(s)
	return n, false
}

// route decides what becomes of the request in l.head, whose head is the first size bytes of buf.
func (l *loop) route(s *Session, buf []byte, size int) (n int, more bool) {
	h := &l.head
	l.agents.Drop(s.agent)
	s.request = request{agent: l.agents.Take(h.Header.UserAgent())}
	l.note(s, recorder.Request, size, 0)
	if h.HTTP10 {
		s.mark(asksHTTP10)
	}
	if h.Close {
		s.mark(asksClose)
	}
	l.findClient(s)
	if l.o.Trace != nil {
		l.traceRequest(s)
	}
	routes := &l.o.Listeners[s.listener].Routes
	if h.Upgrade && routes.Sub != "" {
		return l.upgrade(s, size)
	}
	if h.NoHost {
		l.scratch = poll.AppendNoHost(l.scratch[:0])
		return l.refuse(s, len(buf))
	}
	action := routes.Match(h.Header.Method(), h.Target)
	if action == poll.ActionRefuse {
		l.scratch = poll.AppendBadRequest(l.scratch[:0])
		return l.refuse(s, len(buf))
	}
	if h.Expect || h.ContentLength < 0 {
		return l.handOff(s, buf) // rare: 100 Continue, chunks
	}
	switch action {
	case poll.ActionPoll:
		l.ignoreBody(s)
		return size, l.startPoll(s)
	case poll.ActionPublish, poll.ActionRest, poll.ActionOnline, poll.ActionStat:
		return l.serve(s, buf, size)
	}
	l.ignoreBody(s)
	if action == poll.ActionOptions {
		l.scratch = poll.AppendOptions(l.scratch[:0], s.replyOptions())
	} else {
		l.scratch = poll.AppendNotFound(l.scratch[:0], s.replyOptions(), h.Header.IsHead())
	}
	l.reply(s, l.scratch)
	return size, true
}

// ignoreBody lets the body of the request in l.head pass unread; a long one is not worth it.
func (l *loop) ignoreBody(s *Session) {
	if l.head.ContentLength > l.settings.Limits.MaxPayload {
		s.mark(asksClose)
		return
	}
	s.skip = uint32(l.head.ContentLength)
}

func (s *Session) replyOptions() poll.ReplyOptions {
	return poll.ReplyOptions{HTTP10: s.has(asksHTTP10), Close: s.has(asksClose)}
}

// serve gives a complete request to a worker. A larger one is handed off, a shorter one waits for the rest of its body.
func (l *loop) serve(s *Session, buf []byte, size int) (n int, more bool) {
	body := l.head.ContentLength
	if body > maxInlineBody {
		return l.handOff(s, buf)
	}
	s.skip = uint32(size + body)
	s.state = stateBody
	l.deadlines.start(s, timerBody)
	return 0, true
}

// readBody waits until the request is complete, and has it answered.
func (l *loop) readBody(s *Session, buf []byte) (n int, more bool) {
	size := int(s.skip)
	if len(buf) < size {
		return 0, false
	}
	s.skip = 0
	s.state = stateWaiting
	s.gen++
	l.deadlines.start(s, timerRequest)
	if !l.engine.requests.ask(l, s, buf[:size]) {
		l.unavailable(s, CloseOverload)
	}
	return size, true
}

// headExpired refuses a request that is not complete in time.
func (l *loop) headExpired(s *Session, reason CloseReason) {
	s.reason = reason
	l.scratch = poll.AppendRequestTimeout(l.scratch[:0])
	l.write(s, l.scratch)
	l.finish(s)
}

// reply writes the answer to the request under way and makes the session ready for the next one.
func (l *loop) reply(s *Session, b []byte) {
	l.note(s, recorder.Reply, len(b), statusOf(b))
	if s.has(isTraced) {
		l.traceReply(s, b)
	}
	l.write(s, b)
	if s.state == stateClosed {
		return
	}
	s.gen++
	s.forgetChain()
	if s.has(asksClose | asksHTTP10) {
		l.finish(s)
		return
	}
	s.state = stateHead
	if s.is(flagBacklog) { // the time until the next request begins when the reply has gone
		l.deadlines.stop(s)
	} else {
		l.deadlines.start(s, timerIdle)
	}
	if len(s.input) > 0 {
		l.resumed = append(l.resumed, s.ref())
	}
}

// finish ends an HTTP connection, or a WebSocket whose goodbyes are said, behind the output that is under way: our side is shut
// down, and the peer gets time to read before it is cut off. Closing at once would reset a connection with unread input.
func (l *loop) finish(s *Session) {
	if s == l.corked {
		l.uncork()
	}
	if s.state == stateClosed {
		return
	}
	if s.reason == CloseNone {
		s.reason = CloseDone
	}
	s.state = stateFlushing
	s.gen++
	l.dropInput(s)
	if s.is(flagBacklog) {
		l.deadlines.stop(s)
		return // shut when it has gone
	}
	l.shut(s)
}

// shut sends FIN.
func (l *loop) shut(s *Session) {
	if err := unix.Shutdown(s.conn.Fd(), unix.SHUT_WR); err != nil {
		l.close(s, CloseDone) // the peer has gone
		return
	}
	s.set(flagShut)
	l.deadlines.start(s, timerLinger)
}

// skipBody drops the body of a GET, which nobody reads.
func (l *loop) skipBody(s *Session, buf []byte) (n int, more bool) {
	n = min(len(buf), int(s.skip))
	s.skip -= uint32(n)
	return n, false
}

// handOff gives the connection, with everything read so far, to a fasthttp.Server on a goroutine: for the few requests that a
// loop must not parse (chunks, Expect, large bodies). It does not come back: the answer ends it.
func (l *loop) handOff(s *Session, buf []byte) (n int, more bool) {
	if l.uncork(); s.state == stateClosed {
		return len(buf), false
	}
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
