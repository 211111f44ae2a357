package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"time"

	"push-server/cmd/push-server/internal/logfiles"
	"push-server/configs"
	"push-server/engine"
	"push-server/engine/closed"
	"push-server/engine/handover"
	"push-server/engine/ops"
)

// serve runs the server until ctx ends, then drains it. It returns nil if that was all that happened.
func serve(ctx context.Context, files []string, stdout, stderr io.Writer) (err error) {
	before, err := succeed()
	if err != nil {
		return fmt.Errorf("upgrade: %w", err)
	}
	defer func() { before.failed(err) }()
	ignoreBrokenPipe()
	out := newConsole()
	defer out.close()
	stdout, stderr = out.to(stdout), out.to(stderr)
	c, err := configuration(files, stderr)
	if err != nil {
		return err
	}
	if before == nil {
		if before, err = succeedAt(ctx, c.Push.HandoverSocket); err != nil {
			return err
		}
	}
	logs, err := openLogs(c, stderr)
	if err != nil {
		return fmt.Errorf("debug.folderName: %w", err)
	}
	defer logs.close()
	err = serveLogged(ctx, files, c, logs, before, stdout)
	logs.fatal(err)
	return err
}

func serveLogged(ctx context.Context, files []string, c *configs.Config, logs *logs, before *succession, stdout io.Writer) error {
	reloads, reopens, stop := reloadSignals()
	defer stop()
	ends, stopEnds := endSignals()
	defer stopEnds()
	raiseDescriptors(logs.log)
	limitMemory(logs.log)
	collectEarly()
	spareProcessor(loops(&c.Push))
	orders, stopOrders := takeOrders(logs.log)
	defer stopOrders()
	socket, err := openHandoverSocket(c.Push.HandoverSocket)
	if err != nil {
		return err
	}
	s, err := newServer(files, c, logs, before)
	if err != nil {
		return errors.Join(err, socket.Close())
	}
	defer s.bus.Close()
	defer s.closeWindow()
	if err := s.begin(ctx); err != nil {
		return errors.Join(unlessAsked(ctx, err), socket.Close())
	}
	orders.handOverAt(socket)
	s.print(stdout)
	stopBeating := inBackground(s.beat) // also while it drains
	err = s.wait(ctx, reloads, reopens, orders.orders)
	if errors.Is(err, errSucceeded) {
		stopBeating()
		stopOrders()
		s.closeWindow()
		return s.finish(ctx, ends)
	}
	defer stopBeating()
	if err != nil {
		logs.log.Error("shutting down", "err", err)
		return errors.Join(err, s.drain(brokenTimeout))
	}
	err = s.drainUntil(ends, s.config.Push.DrainTimeout, s.config.Push.DrainDelay) // as of the last reload
	s.drainer.finish(err)
	return err
}

// begin returns when everybody is served.
func (s *server) begin(ctx context.Context) error {
	if s.before != nil {
		return s.takeOver(ctx, s.before)
	}
	if err := s.openWindow(); err != nil {
		return err
	}
	if err := s.engine.Start(ctx); err != nil {
		return err
	}
	if err := s.openPorts(); err != nil {
		return errors.Join(err, s.drain(brokenTimeout))
	}
	notifyReady(s.log)
	return nil
}

// inBackground runs f until the function that it returns is called, which waits for its end.
func inBackground(f func(ctx context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(ctx)
	}()
	return func() {
		cancel()
		<-done
	}
}

// brokenTimeout is how long a server that has lost an event loop or a port takes to store what it has accepted and to say goodbye:
// whoever starts it again should not have to wait.
const brokenTimeout = time.Second

// unlessAsked forgets an error that is the consequence of being asked to end.
func unlessAsked(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// server is the engine, which has all ports with subscribers, beside the ports that only publish.
type server struct {
	files        []string        // that the configuration is read from; none: the environment
	config       *configs.Config // that is in effect
	randomKey    []byte          // that counts while the configuration has none
	log          *slog.Logger
	logs         *logs
	trace        *trace // nil: nobody is followed
	bus          engine.Bus
	engine       *engine.Engine
	ports        []*publishPort
	drainer      *drainer
	window       *ops.Server   // nil: nobody wants to look
	closed       *closed.Ring  // what the window tells of connections that are gone
	secured      []*tls.Config // by listener; nil: plain
	certificates []*certificate
	before       *succession     // what this process takes over from; nil: it begins anew
	succeeded    bool            // another process has taken over
	dropping     bool            // without the connections, which end here
	bereft       <-chan struct{} // closed when that process has ended, whose bus this one uses; nil: it uses none
}

func newServer(files []string, c *configs.Config, logs *logs, before *succession) (*server, error) {
	s := &server{files: files, config: c, log: logs.log, logs: logs, trace: newTrace(&c.Debug, logs.files), before: before}
	if before != nil {
		if err := before.accepts(c); err != nil {
			return nil, err
		}
	}
	if !c.Push.SharePort {
		fresh := slices.DeleteFunc(slices.Clone(c.Servers), func(l configs.Server) bool { return before.has(&l) })
		if err := preflight(fresh); err != nil {
			return nil, err
		}
	}
	if err := s.openTLS(); err != nil {
		return nil, err
	}
	var err error
	if s.bus, err = newBus(c, s.log, before); err != nil {
		return nil, err
	}
	if c.Push.Metrics != "" {
		s.closed = closed.NewRing(time.Now())
	}
	if s.engine, err = engine.New(engineOptions(s), s.bus); err != nil {
		s.bus.Close()
		return nil, err
	}
	s.drainer = newDrainer(s.engine)
	return s, nil
}

// preflight tells whether somebody has one of the ports already. The engine shares its ports between its loops, so it would share them
// with a second instance, too, without a word.
func preflight(servers []configs.Server) error {
	for _, s := range servers {
		ln, err := net.Listen("tcp", s.Address)
		if err != nil {
			return fmt.Errorf("%s: %w", s.Name, err)
		}
		if err := ln.Close(); err != nil {
			return fmt.Errorf("%s: %w", s.Name, err)
		}
	}
	return nil
}

// openPorts opens the ports without subscribers.
func (s *server) openPorts() error {
	for i, l := range s.config.Servers {
		if l.Routes.Sub != "" {
			continue
		}
		p, err := newPublishPort(s, &l, s.secured[i])
		if err != nil {
			return fmt.Errorf("%s: %w", l.Name, err)
		}
		s.ports = append(s.ports, p)
	}
	return nil
}

// openWindow lets operators look, from before the start of the engine until after its end.
func (s *server) openWindow() (err error) {
	addr := s.config.Push.Metrics
	if addr == "" {
		return nil
	}
	o, err := s.windowOptions(s.config)
	if err != nil {
		return fmt.Errorf("push.operators: %w", err)
	}
	ln, err := s.before.listener(handover.RoleOperators, "", addr)
	if err != nil {
		return fmt.Errorf("push.metrics: %w", err)
	}
	if ln != nil {
		s.window = ops.Serve(ln, addr, s.engine, s.engine.AcceptFailures(), o)
		return nil
	}
	if s.window, err = ops.Listen(addr, s.engine, s.engine.AcceptFailures(), o); err != nil {
		return fmt.Errorf("push.metrics: %w", err)
	}
	return nil
}

func (s *server) closeWindow() {
	if s.window == nil {
		return
	}
	if err := s.window.Close(); err != nil {
		s.log.Warn("the listener for operators failed", "err", err)
	}
	s.window = nil
}

// print says what is served, in the order of the configuration.
func (s *server) print(w io.Writer) {
	subscribers, publishers := s.engine.Addrs(), s.ports
	for _, l := range s.config.Servers {
		var addr string
		if l.Routes.Sub != "" {
			addr, subscribers = subscribers[0], subscribers[1:]
		} else {
			addr, publishers = publishers[0].addr(), publishers[1:]
		}
		printListener(w, &l, addr)
		s.logs.write(logfiles.Info, listeningLine(&l, addr))
	}
	fmt.Fprintln(w, storageText(&s.config.Storage))
	if s.window != nil {
		profiles := ""
		if s.config.ServesProfiles() {
			profiles = " /debug/pprof/"
		}
		fmt.Fprintf(w, "for operators: http://%[1]s/ (a page for the browser)\nfor operators: http://%[1]s/metrics /healthz /readyz%[2]s\n",
			s.window.Addr(), profiles)
	}
}

// wait returns nil when ctx ends, and the reason when something stopped that was not asked to; errSucceeded: another process serves. It
// reloads when asked.
func (s *server) wait(ctx context.Context, reloads, reopens <-chan os.Signal, orders <-chan order) error {
	failed := make(chan error, len(s.ports)+1)
	for _, p := range s.ports {
		go func() { failed <- <-p.done }()
	}
	for {
		select {
		case <-reloads:
			notifyReloading(s.log)
			s.logs.reopen()
			s.reload(ctx)
			s.reloadTLS()
			notifyReady(s.log)
		case <-reopens:
			notifyReloading(s.log)
			s.logs.reopen()
			s.reloadTLS()
			notifyReady(s.log)
		case o := <-orders:
			pid, err := s.upgrade(ctx, o)
			o.answer <- outcome{pid, err}
			if err == nil {
				return errSucceeded
			}
			s.log.Error("upgrade: no other process has taken over", "err", err)
			if errors.As(err, new(lostSuccessor)) {
				return err
			}
		case <-ctx.Done():
			s.log.Info("shutting down", "cause", context.Cause(ctx))
			return nil
		case <-s.drainer.asked:
			s.log.Info("shutting down", "cause", "an operator asked for it at push.metrics")
			return nil
		case err := <-s.engine.Failed():
			return fmt.Errorf("event loop: %w", err)
		case err := <-failed:
			return fmt.Errorf("publishing port: %w", err)
		}
	}
}

// drain ends everything in good order, in the time that it is given: first those who publish, so that the queue they fill is empty at
// the end.
func (s *server) drain(timeout time.Duration) error {
	return s.drainUntil(nil, timeout, 0)
}

// drainUntil is drain that a further signal to end cuts short: what is lost is said all the same. For a delay, out of its time, only
// /readyz says that it goes on.
func (s *server) drainUntil(ends <-chan os.Signal, timeout, delay time.Duration) error {
	if !s.succeeded { // otherwise somebody else is the service
		notifyStopping(s.log)
	}
	begin := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	further := 2 // the first one has begun the drain
	if isClosed(s.drainer.asked) {
		further = 1
	}
	go func() {
		for range further {
			select {
			case <-ends:
			case <-ctx.Done():
				return
			}
		}
		s.log.Warn("second signal, stopping at once", "unstored", s.engine.Unstored())
		cancel()
	}()
	s.engine.Announce()
	if delay > 0 {
		s.log.Info("still serving, until it is noticed that the server is not ready any more", "for", delay)
		select {
		case <-time.After(delay):
		case <-ctx.Done():
		}
	}
	errs := []error{s.shutPorts(ctx, (timeout-delay)/4)}
	if err := s.engine.Drain(ctx); err != nil {
		errs = append(errs, fmt.Errorf("drain: %w", err))
	}
	s.log.Info("stopped", "took", time.Since(begin).Round(time.Millisecond))
	return errors.Join(errs...)
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func (s *server) shutPorts(ctx context.Context, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var errs []error
	for _, p := range s.ports {
		errs = append(errs, p.shut(ctx))
	}
	return errors.Join(errs...)
}
