package engine

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/time/rate"

	"push-server/engine/accept"
	"push-server/engine/ratelimit"
	"push-server/poll"
	"push-server/protocol/proxyproto"
)

// tlsPort is a listener whose connections are encrypted. Goroutines do the cryptography; what they decrypt goes over a socket
// pair to a loop, to which it is a connection like any other, so that every rule about connections exists once.
type tlsPort struct {
	engine   *Engine
	index    uint16 // of the listener
	config   *tls.Config
	listener net.Listener
	socket   net.Listener // what listener accepts from
	tasks    sync.WaitGroup
	ended    chan struct{} // closed when nobody is accepted any more
	conns    connSet       // all
	greeting connSet       // those of them that have not reached a loop yet
	next     atomic.Uint32

	refusals *rate.Limiter
	refusing chan struct{} // holds a token for each that is under way
}

// tlsPlaces is the number of descriptors that a connection needs on top of its session's: the socket, and our end of the pair.
const tlsPlaces = 2

// tlsBuffer is the size of the buffer between a loop and a client, in bytes: that of a TLS record.
const tlsBuffer = 16 << 10

// tlsInput is the size of the buffer between a client and a loop, in bytes. Each connection has one all the time; clients send little.
const tlsInput = 1 << 10

// listenTLS opens the ports that are encrypted.
func (e *Engine) listenTLS(ctx context.Context) error {
	for i, l := range e.o.Listeners {
		if l.TLS == nil {
			continue
		}
		ln, err := openTLS(ctx, e.addrs[i], l.Sockets)
		if err != nil {
			return fmt.Errorf("engine: cannot listen on %s: %w", e.addrs[i], err)
		}
		config := l.TLS.Clone()
		config.NextProtos = nil // no ALPN, as in Node: whoever asks for HTTP/2 gets HTTP/1.1
		p := &tlsPort{engine: e, index: uint16(i), config: config, socket: ln, listener: accept.NewListener(ln, l.Name, e.acceptFailures, nil),
			ended: make(chan struct{}), refusals: rate.NewLimiter(refusalsPerSecond, refusalsPerSecond), refusing: make(chan struct{}, refusalsAtOnce)}
		e.tlsPorts = append(e.tlsPorts, p)
		p.tasks.Go(p.accept)
	}
	return nil
}

// openTLS listens at addr, or with the socket of the process before. A keep-alive probe every 15 s, Go's default, would wake the radio of
// every phone; pings look after dead peers.
func openTLS(ctx context.Context, addr string, sockets []int) (net.Listener, error) {
	if len(sockets) > 0 {
		return accept.Inherit(sockets[0])
	}
	lc := net.ListenConfig{KeepAlive: -1, Control: reusePort}
	return lc.Listen(ctx, "tcp", addr)
}

// reusePort lets the port be bound beside the socket that reserves it, and by other processes as other ports are.
func reusePort(_, _ string, c syscall.RawConn) (err error) {
	controlErr := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) })
	return errors.Join(controlErr, err)
}

// stopTLS ends all encrypted ports with their connections. The loops still have to run: one may be taking over a connection.
func (e *Engine) stopTLS() {
	for _, p := range e.tlsPorts {
		_ = p.listener.Close() // nobody comes in any more
	}
	for _, p := range e.tlsPorts {
		p.conns.closeAll()
		p.tasks.Wait()
	}
}

// dropGreetings ends connections that are not sessions yet.
func (e *Engine) dropGreetings() {
	for _, p := range e.tlsPorts {
		p.greeting.closeAll()
	}
}

func (p *tlsPort) accept() {
	defer close(p.ended)
	for {
		c, err := p.listener.Accept()
		if err != nil { // it was closed
			if !p.engine.left.Load() { // to another process, and who is here stays
				p.conns.closeAll()
			}
			return
		}
		p.admit(c)
	}
}

func (p *tlsPort) admit(c net.Conn) {
	e := p.engine
	place, reason, after := e.admission.admitConn(c.RemoteAddr())
	if reason == CloseNone && !e.admission.take(tlsPlaces) {
		e.admission.addresses.Undo(place, time.Now())
		reason, after = CloseAdmission, whenRoomy()
	}
	if reason != CloseNone {
		e.loops[0].stats.closes[reason].Add(1)
		e.noteTurnedAway(reason, c.RemoteAddr())
		p.turnAway(c.(*net.TCPConn), after)
		return
	}
	e.tlsConns.Add(1)
	p.conns.add(c)
	p.greeting.add(c)
	p.tasks.Go(func() { p.greet(&tlsConn{c.(*net.TCPConn), place}) })
}

// tlsConn is a connection and the place that it has of its address.
type tlsConn struct {
	*net.TCPConn
	place ratelimit.Place
}

// greet makes a session of c and leaves it to two goroutines of their own: the stack that a handshake needs is large.
func (p *tlsPort) greet(c *tlsConn) {
	carrier, err := p.openSession(c)
	p.greeting.remove(c.TCPConn)
	if err != nil {
		p.engine.o.Logger.Debug("encrypted connection has no session", "addr", c.RemoteAddr(), "err", err)
		p.leave(c)
		return
	}
	end := func() {
		if carrier.ended.Add(1) == 2 {
			_ = carrier.plain.Close()
			p.leave(c)
		}
	}
	p.tasks.Go(func() { defer end(); carrier.toLoop() })
	p.tasks.Go(func() { defer end(); carrier.toClient() })
}

// leave ends what admit began.
func (p *tlsPort) leave(c *tlsConn) {
	_ = c.Close()
	p.conns.remove(c.TCPConn)
	p.engine.tlsConns.Add(-1)
	p.engine.admission.give(tlsPlaces)
	p.engine.admission.addresses.Leave(c.place, time.Now())
}

func (p *tlsPort) handshake(secured *tls.Conn) error {
	ctx, cancel := context.WithTimeout(p.engine.ctx, p.engine.o.HeadTimeout)
	defer cancel()
	return secured.HandshakeContext(ctx)
}

// tlsPeer comes with a connection that a loop takes over: whose it is, and which listener it belongs to.
type tlsPeer struct {
	listener uint16
	addr     string // of the client, as log lines have it
	arrival
}

// openSession makes a session at the next loop for the client that has just said hello.
func (p *tlsPort) openSession(c *tlsConn) (*tlsCarrier, error) {
	came := arrival{tcp: time.Now()}
	plain, err := p.readHeader(c)
	if err != nil {
		return nil, err
	}
	secured := tls.Server(plain, p.config)
	if err := p.handshake(secured); err != nil {
		p.engine.tlsFailed.Add(1)
		return nil, err
	}
	came.tls = time.Now()
	loops := p.engine.loops
	l := loops[p.next.Add(1)%uint32(len(loops))]
	ours, err := l.registerPair(context.Background(), &tlsPeer{p.index, poll.AddressText(plain.RemoteAddr()), came})
	if err != nil {
		return nil, err
	}
	return &tlsCarrier{tcp: c.TCPConn, secured: secured, plain: ours.(*net.UnixConn), patience: p.engine.o.PingInterval}, nil
}

// readHeader reads what a proxy says whose connection it is, before anything is encrypted, and asks whether that client may connect.
func (p *tlsPort) readHeader(c *tlsConn) (net.Conn, error) {
	e := p.engine
	if !e.admission.expectsHeader(&e.o.Listeners[p.index], c.RemoteAddr()) {
		return c.TCPConn, nil
	}
	if err := c.SetReadDeadline(time.Now().Add(e.o.HeadTimeout)); err != nil {
		return nil, err
	}
	passed := proxyproto.NewConn(c.TCPConn)
	client, err := passed.Header()
	reason := CloseNone
	switch {
	case errors.Is(err, proxyproto.ErrHeader):
		reason = CloseProxyHeader
	case err == nil && client.IsValid():
		var after time.Duration
		if c.place, reason, after = e.admission.admit(client, true); reason != CloseNone && p.mayRefuse() {
			p.refuse(passed, c.TCPConn, after)
		}
	}
	if reason != CloseNone {
		e.loops[0].stats.closes[reason].Add(1)
		e.noteTurnedAway(reason, passed.RemoteAddr())
		return nil, errTurnedAway
	}
	return passed, errors.Join(err, c.SetReadDeadline(time.Time{}))
}

var errTurnedAway = errors.New("engine: turned away")

// To say why somebody is turned away takes a handshake, a millisecond of a processor with a certificate of RSA: so many are told in a second,
// and so many at a time. Others are closed.
const (
	refusalsPerSecond = 100
	refusalsAtOnce    = 16
	refusalTime       = 2 * time.Second
)

// turnAway ends a connection that has no place, and tells it when to come again, if that is to be afforded.
func (p *tlsPort) turnAway(c *net.TCPConn, after time.Duration) {
	e := p.engine
	if e.admission.expectsHeader(&e.o.Listeners[p.index], c.RemoteAddr()) || !p.mayRefuse() {
		_ = c.Close()
		return
	}
	p.conns.add(c)
	p.tasks.Go(func() {
		p.refuse(c, c, after)
		_ = c.Close()
		p.conns.remove(c)
	})
}

// mayRefuse says whether refuse may be called now.
func (p *tlsPort) mayRefuse() bool {
	if !p.refusals.Allow() {
		return false
	}
	select {
	case p.refusing <- struct{}{}:
		return true
	default:
		return false
	}
}

// refuse answers whatever is asked over c, a connection over tcp, which is closed next.
func (p *tlsPort) refuse(c net.Conn, tcp *net.TCPConn, after time.Duration) {
	defer func() { <-p.refusing }()
	err := tcp.SetDeadline(time.Now().Add(refusalTime))
	secured := tls.Server(c, p.config)
	if err == nil {
		_, err = secured.Write(poll.AppendComeAgain(nil, after))
	}
	if err != nil {
		return
	}
	if errors.Join(secured.CloseWrite(), tcp.CloseWrite()) == nil {
		_, _ = io.CopyN(io.Discard, tcp, 4*tlsBuffer) // unread input would take the answer away
	}
}

// fileConn makes a connection of a socket, which it closes in favour of a duplicate.
func fileConn(fd int) (net.Conn, error) {
	file := os.NewFile(uintptr(fd), "socket")
	defer file.Close()
	return net.FileConn(file)
}

// tlsCarrier carries bytes between a client and the session that stands for it on a loop.
type tlsCarrier struct {
	tcp      *net.TCPConn
	secured  *tls.Conn
	plain    *net.UnixConn
	patience time.Duration // how long the client may take nothing of what is sent to it
	ended    atomic.Int32  // directions

	// Of the direction to the client: what take has read.
	borrowed *[tlsBuffer]byte
	n        int  // 0 or less: the session has said its last
	gone     bool // and does not listen any more
}

// toLoop ends when the client has said its last.
func (c *tlsCarrier) toLoop() {
	b := make([]byte, tlsInput)
	for {
		n, err := c.secured.Read(b)
		if n > 0 {
			if _, err := c.plain.Write(b[:n]); err != nil {
				return // the session has gone; toClient knows
			}
		}
		if err != nil {
			_ = c.plain.CloseWrite() // the session may have gone
			return
		}
	}
}

// toClient ends when the session has said its last, or the client takes nothing any more.
func (c *tlsCarrier) toClient() {
	raw, err := c.plain.SyscallConn()
	if err != nil {
		panic("BUG: engine: a socket pair is no socket: " + err.Error())
	}
	take := c.take
	for {
		if err := raw.Read(take); err != nil {
			c.cut()
			return
		}
		if c.n <= 0 {
			c.sayGoodbye()
			return
		}
		err := c.send()
		c.giveBack()
		if err != nil {
			c.cut()
			return
		}
	}
}

// tlsBuffers are lent to connections that have something to send, and only for so long.
var tlsBuffers = sync.Pool{New: func() any { return new([tlsBuffer]byte) }}

// take reads what the loop has written, if there is something.
func (c *tlsCarrier) take(fd uintptr) (done bool) {
	c.borrowed = tlsBuffers.Get().(*[tlsBuffer]byte)
	var err error
	for {
		if c.n, err = unix.Read(int(fd), c.borrowed[:]); err != unix.EINTR {
			break
		}
	}
	if c.n <= 0 {
		c.giveBack()
		c.gone = err != unix.EAGAIN && hungUp(fd)
	}
	return err != unix.EAGAIN
}

// hungUp says whether the other end of a socket pair is closed, not only shut down for writing.
func hungUp(fd uintptr) bool {
	p := []unix.PollFd{{Fd: int32(fd)}}
	n, err := unix.Poll(p, 0)
	return err == nil && n > 0 && p[0].Revents&unix.POLLHUP != 0
}

func (c *tlsCarrier) giveBack() {
	if c.borrowed != nil {
		tlsBuffers.Put(c.borrowed)
		c.borrowed = nil
	}
}

func (c *tlsCarrier) send() error {
	if err := c.secured.SetWriteDeadline(time.Now().Add(c.patience)); err != nil {
		return err
	}
	_, err := c.secured.Write(c.borrowed[:c.n])
	return err
}

// sayGoodbye passes the end of the session on. A session that still listens wants to hear the client's goodbye.
func (c *tlsCarrier) sayGoodbye() {
	err := c.secured.CloseWrite()
	err = errors.Join(err, c.tcp.CloseWrite(), c.tcp.SetReadDeadline(time.Now().Add(lingerTime)))
	if c.gone || err != nil {
		c.cut()
	}
}

// cut ends everything at once.
func (c *tlsCarrier) cut() {
	_ = c.tcp.Close() // nothing can be said about it to anybody
	_ = c.plain.Close()
}
