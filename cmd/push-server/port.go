package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"

	"github.com/valyala/fasthttp"

	"push-server/configs"
	"push-server/poll"
)

// publishPort is a port without subscribers: plain HTTP, no event loop.
type publishPort struct {
	listener net.Listener
	server   *fasthttp.Server
	done     chan error // gets what Serve returned
}

// newPublishPort opens the port. secured is nil if it is plain.
func newPublishPort(s *server, l *configs.Server, secured *tls.Config) (*publishPort, error) {
	ln, err := net.Listen("tcp", l.Address)
	if err != nil {
		return nil, err
	}
	if secured != nil {
		ln = tls.NewListener(ln, secured)
	}
	push := &s.config.Push
	p := &publishPort{listener: ln, done: make(chan error, 1)}
	p.server = poll.NewServer(s.engine.Handler(poll.Routes(l.Routes)), poll.ServerOptions{
		MaxPayload:  s.config.Limits.MaxPayload,
		IdleTimeout: push.IdleTimeout,
		HeadTimeout: push.HeadTimeout,
		BodyTimeout: push.BodyTimeout,
		Log:         s.log,
		ErrorLog:    logRefusals(s.log),
		TestKey:     s.config.Debug.TestConnectionKey,
	})
	p.server.CloseOnShutdown = true
	go func() { p.done <- p.server.Serve(poll.GateListener(ln)) }()
	return p, nil
}

func (p *publishPort) addr() string { return p.listener.Addr().String() }

// shut waits for requests under way, no longer than ctx.
func (p *publishPort) shut(ctx context.Context) error {
	err := p.server.ShutdownWithContext(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("requests were still under way at %s: %w", p.addr(), err)
	}
	return err
}
