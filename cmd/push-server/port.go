package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"syscall"

	"github.com/valyala/fasthttp"
	"golang.org/x/sys/unix"

	"push-server/configs"
	"push-server/engine/accept"
	"push-server/engine/handover"
	"push-server/poll"
	"push-server/protocol/proxyproto"
)

// publishPort is a port without subscribers: plain HTTP, no event loop.
type publishPort struct {
	listener net.Listener
	socket   net.Listener // what listener accepts from
	server   *fasthttp.Server
	leaving  atomic.Bool
	done     chan error // gets what Serve returned
}

// newPublishPort opens the port. secured is nil if it is plain.
func newPublishPort(s *server, l *configs.Server, secured *tls.Config) (*publishPort, error) {
	push := &s.config.Push
	ln, err := s.before.listener(handover.RolePublishers, l.Name, l.Address)
	if ln == nil && err == nil {
		ln, err = listen(l.Address, push.SharePort)
	}
	if err != nil {
		return nil, err
	}
	p := &publishPort{socket: ln, done: make(chan error, 1)}
	var refusal []byte
	if secured == nil {
		refusal = poll.AppendUnavailable(nil)
	}
	admitting := accept.NewListener(ln, l.Name, s.engine.AcceptFailures(), refusal)
	admitting.Admit(s.engine.EnterPublisher, s.engine.LeavePublisher)
	ln = admitting
	if l.ProxyProtocol {
		ln = proxyproto.Listener{Listener: ln, Trusts: s.engine.TrustsProxy, Refused: s.engine.NoteNoHeader}
	}
	if secured != nil {
		ln = tls.NewListener(ln, secured)
	}
	p.listener = ln
	routes := poll.Routes(l.Routes)
	p.server = poll.NewServer(p.untilLeaving(s.engine.Handler(routes)), poll.ServerOptions{
		Routes:      &routes,
		MaxPayload:  s.config.Limits.MaxPayload,
		V5:          push.V5.Enabled,
		IdleTimeout: push.IdleTimeout,
		HeadTimeout: push.HeadTimeout,
		BodyTimeout: push.BodyTimeout,
		Log:         s.log,
	})
	p.server.CloseOnShutdown = true
	go func() { p.done <- p.server.Serve(poll.GateListener(ln)) }()
	return p, nil
}

// listen opens a port, a shared one beside those who share it, too.
func listen(addr string, shared bool) (net.Listener, error) {
	var lc net.ListenConfig
	if shared {
		lc.Control = reusePort
	}
	return lc.Listen(context.Background(), "tcp", addr)
}

func reusePort(_, _ string, c syscall.RawConn) (err error) {
	controlErr := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) })
	return errors.Join(controlErr, err)
}

// untilLeaving has the connection of a request end with its reply once another process accepts.
func (p *publishPort) untilLeaving(h fasthttp.RequestHandler) fasthttp.RequestHandler {
	return func(ctx *fasthttp.RequestCtx) {
		h(ctx)
		if p.leaving.Load() {
			ctx.SetConnectionClose()
		}
	}
}

// leave lets go of the port, which another process has, too. Connections go on until their next reply, or until they have been idle for too
// long.
func (p *publishPort) leave() {
	p.leaving.Store(true)
	_ = p.listener.Close() // the socket lives on elsewhere
}

func (p *publishPort) addr() string { return p.listener.Addr().String() }

// shut waits for requests under way, no longer than ctx.
func (p *publishPort) shut(ctx context.Context) error {
	err := p.server.ShutdownWithContext(ctx)
	if p.leaving.Load() && errors.Is(err, net.ErrClosed) {
		return nil // it was closed when another process had the port
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("requests were still under way at %s: %w", p.addr(), err)
	}
	return err
}
