// Package ops is the operator's window on a server: metrics, health and profiles, on a listener of their own, apart from what
// clients reach.
//
//	/metrics        for Prometheus; metrics.go has every name
//	/healthz        200 as long as the process answers
//	/readyz         200 while it serves; 503 and why: before the bus has answered, while it is silent, while a loop stands
//	                still or delivers nothing, and from the beginning of a drain
//	/overview       JSON: all that is watched live
//	/connections    JSON: who is connected; below it, what happened on a connection, and what happens (events.go)
//	/users          JSON: what users of version 5 were sent, and have acknowledged
//	/closes         JSON: connections of a channel that have ended
//	/drain          ends the server in good order, and tells how that goes
//	/warnings       JSON: the latest warnings and errors
//	/config         JSON: the configuration as it counts, without secrets
//	/debug/pprof/   profiles of the Go runtime
//	/               the page for operators, package page
//	/tester/        what it sends itself messages with
//
// Health is for everybody, the rest for those whom guard lets in.
package ops

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"sync/atomic"
	"time"

	"golang.org/x/net/netutil"

	"push-server/engine"
	"push-server/engine/accept"
	"push-server/engine/closed"
	"push-server/engine/latency"
	"push-server/engine/recorder"
	"push-server/engine/view"
	"push-server/poll"
)

// Source is what is looked at; an engine.Engine is one. Its methods are called from any goroutine.
type Source interface {
	Stats() engine.Stats
	Problem() error // why it does not serve; nil: it does
	Latency() *latency.Set
	Connections(ctx context.Context, q view.Query) (*view.List, error)
	Users(ctx context.Context, q view.UserQuery) (*view.Users, error)
	Events(ctx context.Context, id view.ID) ([]recorder.Line, error)
	Watch(ctx context.Context, id view.ID) (*recorder.Follower, error)
	Disconnect(ctx context.Context, id view.ID) (found bool, err error)
}

// Server serves the window.
type Server struct {
	socket   net.Listener
	listener net.Listener
	http     *http.Server
	served   chan error

	source   Source
	started  time.Time
	loopback bool
	host     string // that addr names; ""
	handler  atomic.Pointer[http.Handler]
}

// Options say who may look, and what there is to see.
type Options struct {
	Token    string   // that whoever looks has to give; "": nobody has to
	ReadOnly bool     // nobody may do anything
	Profiles bool     // of the Go runtime
	Hosts    []string // names of the server, where a name is asked for
	Warnings *Warnings
	Page     http.Handler // answers / and /assets/; nil: there is no page
	Tester   http.Handler // answers /tester/; nil: there is none
	Drain    http.Handler // answers POST /drain, which ends the server; nil: there is none
	Closed   *closed.Ring // connections that have ended; nil: they are not shown

	// What else there is to say about the process; Config is written as JSON.
	Version     string
	Process     string
	Storage     string
	ClusterMode bool
	Loops       int
	Config      any

	started time.Time // the process
}

// maxConnections is how many look at the same time; others wait. Each takes a descriptor, and subscribers need those. Half of them may be
// those who follow a connection, which they do for long.
const maxConnections = 24

// A place is not kept for long: headTimeout is how long a client may take to say what it wants, replyTimeout to read a reply (beyond the
// time that a profile takes), idleTimeout to come back.
const (
	headTimeout  = 5 * time.Second
	replyTimeout = 30 * time.Second
	idleTimeout  = 10 * time.Second
)

// Listen opens the window at addr, "host:port". It serves until Close. failures count connections that could not be accepted.
func Listen(addr string, source Source, failures *accept.Failures, o Options) (*Server, error) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("ops: %w", err)
	}
	return Serve(ln, addr, source, failures, o), nil
}

// Serve is Listen with a listener that is there already.
func Serve(ln net.Listener, addr string, source Source, failures *accept.Failures, o Options) *Server {
	host, _, _ := net.SplitHostPort(addr) // it is listened at
	tcp, ok := ln.Addr().(*net.TCPAddr)
	s := &Server{
		socket:   ln,
		listener: netutil.LimitListener(accept.NewListener(ln, "push.metrics", failures, poll.AppendUnavailable(nil)), maxConnections),
		served:   make(chan error, 1), source: source, started: time.Now(), loopback: ok && tcp.IP.IsLoopback(), host: host,
	}
	s.http = &http.Server{Handler: s, ReadHeaderTimeout: headTimeout, WriteTimeout: replyTimeout, IdleTimeout: idleTimeout}
	s.Change(o)
	go func() { s.served <- s.http.Serve(s.listener) }()
	return s
}

// Socket is what is listened with.
func (s *Server) Socket() net.Listener { return s.socket }

// Change has other options count for the next request. It may be called from any goroutine.
func (s *Server) Change(o Options) {
	o.Hosts, o.started = append([]string{s.host}, o.Hosts...), s.started
	h := Handler(s.source, &o, s.loopback)
	s.handler.Store(&h)
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	(*s.handler.Load()).ServeHTTP(w, r)
}

// Addr is the address that is listened at.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Close ends service at once, also for those who are looking.
func (s *Server) Close() error {
	err := s.http.Close()
	if served := <-s.served; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

// Handler answers the requests of the window. loopback: it is reached from this machine only.
func Handler(source Source, o *Options, loopback bool) http.Handler {
	open := http.NewServeMux()
	open.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { say(w, http.StatusOK, "ok") })
	open.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if problem := source.Problem(); problem != nil {
			say(w, http.StatusServiceUnavailable, "not ready: "+problem.Error())
			return
		}
		say(w, http.StatusOK, fmt.Sprintf("ready\nroom for %d connections", source.Stats().Free))
	})
	readOnly := o.ReadOnly || !loopback && o.Token == ""
	open.Handle("/", newGuard(o, loopback, readOnly, guarded(source, o, readOnly)))
	return open
}

// guarded is what not everybody may see.
func guarded(source Source, o *Options, readOnly bool) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /overview", (&overviewer{source: source, o: o, readOnly: readOnly, started: o.started}).serve)
	c := connections{source}
	mux.HandleFunc("GET /connections", c.list)
	mux.HandleFunc("GET /users", c.users)
	mux.HandleFunc("GET /connections/{id}/events", c.events)
	mux.HandleFunc("GET /connections/{id}/follow", c.follow)
	mux.HandleFunc("POST /connections/{id}/close", c.close)
	if o.Closed != nil {
		mux.HandleFunc("GET /closes", closer{o.Closed}.serve)
	}
	mux.HandleFunc("GET /warnings", o.Warnings.serve)
	mux.HandleFunc("GET /config", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, o.Config) })
	mux.Handle("GET /metrics", exposition(source, o.Version))
	if o.Page != nil {
		mux.Handle("GET /{$}", o.Page)
		mux.Handle("GET /assets/", o.Page)
	}
	if o.Tester != nil {
		mux.Handle("/tester/", o.Tester)
	}
	if o.Drain != nil {
		mux.Handle("POST /drain", o.Drain)
	}
	if o.Profiles {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("POST /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	return mux
}

func say(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = fmt.Fprintln(w, text) // whoever asked may have gone
}
