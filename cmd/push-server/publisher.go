package main

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/valyala/fasthttp"

	"push-server/configs"
	"push-server/poll"
)

// publisher is a port without subscribers: plain HTTP, no event loop.
type publisher struct {
	listener net.Listener
	server   *fasthttp.Server
	done     chan error // gets what Serve returned
}

func newPublisher(s *server, l *configs.Server) (*publisher, error) {
	ln, err := net.Listen("tcp", l.Address)
	if err != nil {
		return nil, err
	}
	push := &s.config.Push
	p := &publisher{listener: ln, done: make(chan error, 1)}
	p.server = poll.NewServer(s.engine.Handler(poll.Routes(l.Routes)), poll.ServerOptions{
		MaxPayload:  s.config.Limits.MaxPayload,
		IdleTimeout: push.IdleTimeout,
		HeadTimeout: push.HeadTimeout,
		BodyTimeout: push.BodyTimeout,
		Log:         s.log,
		ErrorLog:    refusals(s.log),
		TestKey:     s.config.Debug.TestConnectionKey,
	})
	p.server.CloseOnShutdown = true
	go func() { p.done <- p.server.Serve(poll.GateListener(ln)) }()
	return p, nil
}

func (p *publisher) addr() string { return p.listener.Addr().String() }

// shut waits for requests under way, no longer than ctx.
func (p *publisher) shut(ctx context.Context) error {
	err := p.server.ShutdownWithContext(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("requests were still under way at %s: %w", p.addr(), err)
	}
	return err
}
