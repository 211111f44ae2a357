package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"push-server/engine"
	"push-server/engine/accept"
	"push-server/engine/handover"
)

// An upgrade, as the running process sees it. Each arrow has a time limit; whatever goes wrong before Go ends in "serving" again.
//
//	serving ──start──► started ──Hello──► known ──Prepared──► prepared ──loops stand still, Sessions──► given ──Ready──► ready
//	   ▲     (10 s)       │     (10 s)      │      (60 s)         │               (5 s)                  │    (5 s)      │
//	   └──── killed ◄─────┴─────────────────┴─────────────────────┴──────────────────────────────────────┘               │ Go
//	                                                                                                                      ▼
//	                              ended ◄──what is left has ended, or push.upgradeLinger──── left ◄──Serving (10 s)──── gone
//
// Behind Go nothing goes back: a successor that does not serve then is a crash, and this process ends it and itself, with an error, so that
// whoever watches over it starts it anew.
var (
	helloTime   = 10 * time.Second
	prepareTime = 60 * time.Second
	standTime   = 5 * time.Second
	readyTime   = 5 * time.Second
	servingTime = 10 * time.Second
)

// handoverVariable says to a successor which descriptor it talks with its predecessor over.
const handoverVariable = "PUSH_SERVER_HANDOVER"

// errSucceeded says that another process serves now.
var errSucceeded = errors.New("another process has taken over")

// impossible is why a server can never have a successor.
type impossible struct{ error }

// lostSuccessor is the end of an upgrade behind the point of no return.
type lostSuccessor struct{ error }

// order is what to start in place of this process.
type order struct {
	Exec string   // path; "": that of this process
	Args []string // none: those of this process
	Drop bool     // connections stay, and are closed

	peer   *net.UnixConn // of a process that runs already; nil: one is to be started
	answer chan outcome
}

// outcome is what has become of an order.
type outcome struct {
	pid int // of the process that serves now
	err error
}

// successor is the process that is to take over.
type successor struct {
	conn   *handover.Conn
	memory memoryOffer
	cmd    *exec.Cmd     // nil: it runs elsewhere
	ended  chan struct{} // closed when it has
	since  uint64        // place in the feed when it was started
}

// pid is 0 if it runs elsewhere, where processes may have other numbers.
func (n *successor) pid() int {
	if n.cmd == nil {
		return 0
	}
	return n.cmd.Process.Pid
}

// successorOf is the process that is to take over.
func (s *server) successorOf(o order) (*successor, error) {
	if o.peer != nil {
		s.log.Info("upgrade: a process has come to take over, serving until it is ready")
		return &successor{conn: handover.Over(o.peer), since: s.engine.Place()}, nil
	}
	next, err := s.startSuccessor(o)
	if err == nil {
		s.log.Info("upgrade: a successor was started, serving until it is ready", "pid", next.pid(), "program", next.cmd.Path)
	}
	return next, err
}

// upgrade has another process take over. nil: it has, and this one lets go. A lostSuccessor: nobody serves. Any other error: everything
// goes on as if nothing had been.
func (s *server) upgrade(ctx context.Context, o order) (pid int, err error) {
	if os.Getpid() == 1 && o.peer == nil {
		return 0, impossible{errors.New("this is process 1, with which its container ends: start another container instead")}
	}
	if err := s.becomeReady(ctx); err != nil {
		return 0, fmt.Errorf("this server is not ready itself: %w", err)
	}
	begin := time.Now()
	next, err := s.successorOf(o)
	if err != nil {
		return 0, err
	}
	defer func() { _ = next.conn.Close() }() // the successor may have gone
	defer context.AfterFunc(ctx, func() { next.conn.Within(time.Nanosecond) })()
	defer collectEarly()
	departure, err := s.prepareSuccessor(ctx, next, o.Drop)
	if err != nil {
		next.refuse(err)
		return 0, err
	}
	next.memory.freeze()
	err = next.give(departure)
	if err == nil {
		err = next.conn.Send(handover.Go, nil)
	}
	if err != nil {
		next.refuse(err) // before anything goes on here: it must not touch a socket any more
		departure.Cancel()
		return 0, err
	}
	next.conn.Within(servingTime)
	_, err = next.conn.Receive(handover.Serving, nil)
	stood := time.Since(departure.Since)
	if err != nil {
		next.refuse(err) // it may only hang, with sockets that others would connect to
	} else if s.bereft, err = next.memory.leave(); err != nil {
		s.log.Error("upgrade: what is still published here is lost", "err", err)
	}
	s.leave(departure) // not before: to close so many sockets takes processor time, which those who begin to serve them need
	s.dropping = o.Drop
	if err != nil {
		return 0, lostSuccessor{fmt.Errorf("the successor has the connections and does not serve: %w", err)}
	}
	s.log.Info("upgrade: the successor serves", "pid", next.pid(), "connections", len(departure.Sessions),
		"stood", stood.Round(time.Millisecond), "took", time.Since(begin).Round(time.Millisecond))
	if next.cmd != nil {
		notify(s.log, fmt.Sprintf("MAINPID=%d\n%s", next.pid(), daemon.SdNotifyReady))
	}
	return next.pid(), nil
}

// becomeReady waits a moment until the server serves: it may have just begun to, or have been through an upgrade that failed.
func (s *server) becomeReady(ctx context.Context) error {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for begin := time.Now(); ; {
		err := s.engine.Problem()
		if err == nil || time.Since(begin) > helloTime || ctx.Err() != nil {
			return err
		}
		<-ticker.C
	}
}

func (s *server) startSuccessor(o order) (*successor, error) {
	path := o.Exec
	if path == "" {
		var err error
		if path, err = os.Executable(); err != nil {
			return nil, err
		}
	}
	args := o.Args
	if len(args) == 0 {
		args = os.Args[1:]
	}
	ours, theirs, err := handover.Pair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = os.Stdout, os.Stderr, []*os.File{theirs}
	cmd.Env = append(successorEnvironment(os.Environ()), handoverVariable+"=3")
	next := &successor{conn: ours, cmd: cmd, ended: make(chan struct{}), since: s.engine.Place()}
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, ours.Close())
	}
	go func() {
		defer close(next.ended)
		_ = cmd.Wait() // how it ended shows in what it says before
	}()
	return next, nil
}

// successorEnvironment leaves out what is said to this process alone.
func successorEnvironment(all []string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(v string) bool {
		return strings.HasPrefix(v, "WATCHDOG_PID=") || strings.HasPrefix(v, handoverVariable+"=")
	})
}

// kill returns when the successor has ended.
func (n *successor) kill() {
	_ = n.cmd.Process.Kill() // it may have ended already
	<-n.ended
}

// refuse has the process of no successor, and a bus in memory be what it was. One that runs elsewhere, and hangs, has not been told to go.
func (n *successor) refuse(why error) {
	if n.cmd != nil {
		n.kill()
	} else {
		n.conn.Within(time.Second)
		_ = n.conn.Send(handover.Failed, why.Error()) // it may have gone
	}
	n.memory.cancel()
}

// prepareSuccessor returns when it has everything but the sessions, and the loops stand still.
func (s *server) prepareSuccessor(ctx context.Context, next *successor, drop bool) (*engine.Departure, error) {
	var hello handover.Greeting
	next.conn.Within(helloTime)
	if _, err := next.conn.Receive(handover.Hello, &hello); err != nil {
		return nil, gaveUp("the successor did not start", err)
	}
	if hello.Version != handover.Version {
		return nil, fmt.Errorf("the successor, %s, speaks version %d of the handover, and this process version %d: restart instead",
			hello.Program, hello.Version, handover.Version)
	}
	ports, sockets, err := s.offer(ctx)
	if err != nil {
		return nil, err
	}
	ports.Dropped = drop
	if next.memory, err = offerMemory(s.bus); err != nil {
		return nil, err
	}
	some := next.memory.sockets()
	ports.Memory, sockets = len(some), append(sockets, some...)
	if ports.Config, err = json.Marshal(s.config.Effective()); err == nil {
		err = next.conn.Send(handover.Offer, ports, sockets...)
	}
	if err != nil {
		return nil, err
	}
	next.memory.sent()
	next.conn.Within(prepareTime)
	var prepared handover.Preparation
	if _, err := next.conn.Receive(handover.Prepared, &prepared); err != nil {
		return nil, gaveUp("the successor did not get ready", err)
	}
	if !prepared.Memory {
		next.memory.cancel()
	}
	connections := s.engine.Left()
	if err := next.conn.Reserve(connections*bodySize + servedSize); err != nil {
		return nil, err
	}
	s.engine.ExpectDeparture()
	holdReady(connections * givingAway)
	stand, cancel := context.WithTimeout(ctx, standTime)
	defer cancel()
	departure, err := s.engine.Depart(stand, next.since)
	if err == nil && drop {
		departure.Stay()
	}
	return departure, err
}

// gaveUp is why the other process has given up, if it has said so.
func gaveUp(what string, err error) error {
	var peer handover.Peer
	switch {
	case errors.As(err, &peer):
		return fmt.Errorf("%s: %s", what, peer.Error())
	case errors.Is(err, io.EOF):
		return fmt.Errorf("%s: it ended, see its last lines in the log", what)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// offer is all ports, with their sockets.
func (s *server) offer(ctx context.Context) (ports handover.Ports, sockets []int, err error) {
	ports = handover.Ports{Version: handover.Version, Started: s.engine.Started().Unix(), Connections: s.engine.Left()}
	subscribers, err := s.engine.Sockets(ctx)
	if err != nil {
		return ports, nil, err
	}
	addrs, publishers := s.engine.Addrs(), s.ports
	add := func(p handover.Listener, some ...int) {
		p.Sockets = len(some)
		ports.List = append(ports.List, p)
		sockets = append(sockets, some...)
	}
	for i := range s.config.Servers {
		c := &s.config.Servers[i]
		p := handover.Listener{Name: c.Name, Asked: c.Address}
		if c.Routes.Sub == "" {
			socket, err := accept.Socket(publishers[0].socket)
			if err != nil {
				return ports, nil, err
			}
			p.Role, p.Addr = handover.RolePublishers, publishers[0].addr()
			add(p, socket)
			publishers = publishers[1:]
			continue
		}
		p.Role, p.Addr = subscriberRole(s.secured[i] != nil), addrs[0]
		add(p, subscribers[0]...)
		addrs, subscribers = addrs[1:], subscribers[1:]
	}
	if s.window != nil {
		socket, err := accept.Socket(s.window.Socket())
		if err != nil {
			return ports, nil, err
		}
		add(handover.Listener{Role: handover.RoleOperators, Asked: s.config.Push.Metrics, Addr: s.window.Addr()}, socket)
	}
	if most := handover.MaxSockets - memorySockets; len(sockets) > most {
		return ports, nil, fmt.Errorf("%d listening sockets are more than can be handed over: %d", len(sockets), most)
	}
	return ports, sockets, nil
}

func subscriberRole(encrypted bool) string {
	if encrypted {
		return handover.RoleEncrypted
	}
	return handover.RoleSubscribers
}

// give sends what stands still, and returns when the successor has all of it.
func (n *successor) give(d *engine.Departure) error {
	n.conn.Within(readyTime)
	bodies, sockets := make([][]byte, len(d.Sessions)), make([]int, len(d.Sessions))
	for i, p := range d.Sessions {
		bodies[i], sockets[i] = p.Body, p.Socket
	}
	err := n.conn.Send(handover.State, &d.State)
	if err == nil {
		err = n.conn.SendParts(d.State.Served, bodies, sockets)
	}
	if err != nil {
		return gaveUp("the successor does not take the connections", n.why(err))
	}
	if _, err := n.conn.Receive(handover.Ready, nil); err != nil {
		return gaveUp("the successor did not take the connections", err)
	}
	return nil
}

// why is what the successor has said before it closed its end, or err.
func (n *successor) why(err error) error {
	var peer handover.Peer
	if _, said := n.conn.Receive(handover.Ready, nil); errors.As(said, &peer) {
		return peer
	}
	return err
}

// leave lets go of everything that the successor has.
func (s *server) leave(d *engine.Departure) {
	d.Leave()
	for _, p := range s.ports {
		p.leave()
	}
}

// finish is the end of a process that has a successor: what is left ends in its own time, and no later than push.upgradeLinger.
func (s *server) finish(ctx context.Context, ends <-chan os.Signal) error {
	s.succeeded = true
	if s.dropping {
		return s.drainUntil(ends, s.config.Push.DrainTimeout, 0)
	}
	linger, cancel := context.WithTimeout(ctx, s.config.Push.UpgradeLinger)
	defer cancel()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	begin := time.Now()
	for said := false; linger.Err() == nil; {
		left := s.engine.Left()
		if left == 0 && s.engine.Unstored() == 0 && followers(s.bus) == 0 && time.Since(begin) >= leastLinger {
			break
		}
		if !said && left > 0 {
			s.log.Info("upgrade: connections that cannot be handed over go on here until they end", "connections", left, "at most", s.config.Push.UpgradeLinger)
			said = true
		}
		select {
		case <-linger.Done():
		case <-s.bereft:
			s.log.Error("upgrade: the process that has taken over has ended, and with it what was published; ending, too")
			cancel()
		case <-ticker.C:
		}
	}
	return s.drainUntil(ends, s.config.Push.DrainTimeout, 0)
}

// leastLinger lets systemd hear of the successor before its predecessor ends.
const leastLinger = 200 * time.Millisecond
