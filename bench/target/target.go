// Package target starts the servers that are measured, each with what it needs in a temporary folder of its own, and ends them.
package target

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"push-server/bench/load"
	"push-server/bench/proc"
)

// The kinds of servers that can be started.
const (
	PushServer       = "push-server"
	PushServerMemory = "push-server-memory" // without Redis
	Node             = "node"
	Nchan            = "nchan"
	NchanRedis       = "nchan-redis"
	Centrifugo       = "centrifugo" // without Redis
	CentrifugoRedis  = "centrifugo-redis"
	External         = "external" // started by someone else
)

// Kinds are all of them.
var Kinds = []string{PushServer, PushServerMemory, Node, Nchan, NchanRedis, Centrifugo, CentrifugoRedis, External}

// startTime is how long a server may take to accept connections.
const startTime = 20 * time.Second

// Options say what to start.
type Options struct {
	Kind        string
	Name        string      // in results; "" is Kind, and the format if it is not the usual one
	Binary      string      // of PushServer
	Processes   int         // that share the subscribers' port; 0 is 1
	Scenario    []byte      // the same, of a scenario, under Extra
	Extra       []byte      // JSON merged into the configuration of PushServer, or nil
	Peers       string      // folder bench/peers, for Node and Centrifugo
	Format      load.Format // how messages are framed; empty: protobuf
	Acknowledge bool        // clients of JSON-RPC acknowledge each message
	Keep        bool        // do not delete the temporary folder
	// External holds the addresses, paths and key for that kind, and what can be measured of it.
	External    load.Target
	ExternalPID []int
	RedisPID    int
	Metrics     string // URL of Prometheus metrics
}

// Label is what results call the server.
func (o *Options) Label() string {
	switch {
	case o.Name != "":
		return o.Name
	case o.IsOurs() && o.Format != "" && o.Format != load.Protobuf:
		return o.Kind + ", " + string(o.Format)
	}
	return o.Kind
}

// IsOurs says whether it is the server of this project.
func (o *Options) IsOurs() bool { return o.Kind == PushServer || o.Kind == PushServerMemory }

// Running is a server with what belongs to it.
type Running struct {
	Target  load.Target
	PIDs    []int // of the server, all its processes
	Redis   *Redis
	Metrics string // URL, "" if it has none

	folder string
	keep   bool
	procs  []*process // that have to run
	past   []*process // in whose place others have come
	binary string     // of the server of this project
}

// Start starts a server and waits until it accepts connections.
func Start(ctx context.Context, o Options) (*Running, error) {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	r := &Running{keep: o.Keep}
	if err := r.start(ctx, o); err != nil {
		r.Stop()
		return nil, err
	}
	return r, nil
}

func (r *Running) start(ctx context.Context, o Options) (err error) {
	if r.folder, err = os.MkdirTemp("", "push-bench-"); err != nil {
		return fmt.Errorf("target: %w", err)
	}
	switch o.Kind {
	case PushServer, PushServerMemory:
		err = r.startPushServer(ctx, o)
	case Node:
		err = r.startNode(ctx, o)
	case Nchan, NchanRedis:
		err = r.startNchan(ctx, o)
	case Centrifugo, CentrifugoRedis:
		err = r.startCentrifugo(ctx, o)
	case External:
		err = r.useExternal(o)
	default:
		err = fmt.Errorf("target: no kind %q; known are %s", o.Kind, strings.Join(Kinds, ", "))
	}
	if err != nil {
		return err
	}
	r.Target.Name = o.Label()
	r.Target.Format, r.Target.Acknowledge = cmp.Or(o.Format, load.Protobuf), o.Acknowledge
	return r.await(ctx)
}

// useExternal takes what somebody else has started.
func (r *Running) useExternal(o Options) error {
	if len(o.External.Subscribe) == 0 || len(o.External.Publish) == 0 {
		return errors.New("target: an external server needs the addresses of subscribers and publishers")
	}
	r.Target, r.PIDs, r.Metrics = o.External, o.ExternalPID, o.Metrics
	if r.Target.Dialect == "" {
		r.Target.Dialect = "push"
	}
	if o.RedisPID != 0 {
		r.Redis = &Redis{PID: o.RedisPID}
	}
	return nil
}

// await waits until every address accepts connections.
func (r *Running) await(ctx context.Context) error {
	for _, a := range slices.Concat(r.Target.Subscribe, r.Target.Publish) {
		if err := r.awaitAddress(ctx, "tcp", a); err != nil {
			return err
		}
	}
	return nil
}

func (r *Running) awaitAddress(ctx context.Context, network, a string) error {
	var d net.Dialer
	for {
		c, err := d.DialContext(ctx, network, a)
		if err == nil {
			return c.Close()
		}
		for _, p := range r.procs {
			if p.hasEnded() {
				return p.failure()
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("target: %s does not accept connections: %w", a, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Stop ends the server and what belongs to it, and deletes its folder.
func (r *Running) Stop() {
	for _, p := range slices.Backward(slices.Concat(r.past, r.procs)) {
		p.stop()
	}
	if !r.keep && r.folder != "" {
		os.RemoveAll(r.folder) // a leftover in the temporary folder harms nobody
	}
}

// Alive returns an error if a process has ended by itself.
func (r *Running) Alive() error {
	for _, p := range r.procs {
		if p.hasEnded() {
			return p.failure()
		}
	}
	return nil
}

// Cost is the processor time used so far.
type Cost struct {
	Server, Redis proc.CPU
}

// Sub is what was used since o.
func (c Cost) Sub(o Cost) Cost { return Cost{c.Server.Sub(o.Server), c.Redis.Sub(o.Redis)} }

// Cost reads the processor time of server and Redis.
func (r *Running) Cost() (c Cost, err error) {
	if c.Server, err = proc.CPUOf(r.PIDs...); err != nil {
		return c, err
	}
	if r.Redis != nil {
		c.Redis, err = proc.CPUOf(r.Redis.PID)
	}
	return c, err
}

// freePort finds a port of the loopback that nobody uses now.
func freePort() (int, error) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("target: %w", err)
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port, nil
}

func loopback(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
