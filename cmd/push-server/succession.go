package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"push-server/configs"
	"push-server/engine"
	"push-server/engine/handover"
	"push-server/engine/membus"
)

// succession is an upgrade, as the new process sees it: what it gets of its predecessor.
type succession struct {
	conn    *handover.Conn
	ports   handover.Ports
	sockets map[int][]int // by the index of the port; what is taken is nil
	memory  []int         // those that lead to the bus in the memory of the predecessor; none: it is elsewhere, or taken
	bus     *membus.Successor
	apart   bool // the predecessor has not started this process
	// listeners are those of the engine, in the order of the predecessor's: sessions name theirs.
	listeners []int
}

// succeed talks to the process that has started this one to take over. nil: nobody has.
func succeed() (*succession, error) {
	text := os.Getenv(handoverVariable)
	if text == "" {
		return nil, nil
	}
	if err := os.Unsetenv(handoverVariable); err != nil {
		return nil, err
	}
	fd, err := strconv.Atoi(text)
	if err != nil {
		return nil, fmt.Errorf("%s=%s is no descriptor: it is set by an upgrade, by nobody else", handoverVariable, text)
	}
	conn, err := handover.Open(fd)
	if err != nil {
		return nil, err
	}
	return greet(conn)
}

// greet says hello to the process at the other end and takes what it offers.
func greet(conn *handover.Conn) (*succession, error) {
	h := &succession{conn: conn, sockets: make(map[int][]int)}
	h.conn.Within(helloTime)
	if err := h.conn.Send(handover.Hello, handover.Greeting{Version: handover.Version, Program: versionText()}); err != nil {
		return nil, err
	}
	sockets, err := h.conn.Receive(handover.Offer, &h.ports)
	if err != nil {
		return nil, err
	}
	for i, p := range h.ports.List {
		if p.Sockets < 0 || p.Sockets > len(sockets) {
			return nil, errors.New("an offer lacks sockets")
		}
		h.sockets[i], sockets = sockets[:p.Sockets:p.Sockets], sockets[p.Sockets:]
	}
	if h.memory = sockets; len(sockets) != h.ports.Memory {
		return nil, errors.New("an offer lacks sockets")
	}
	h.listeners = make([]int, len(h.ports.List))
	return h, nil
}

// failed tells the predecessor why nothing comes of it.
func (h *succession) failed(err error) {
	if h != nil && err != nil {
		_ = h.conn.Send(handover.Failed, err.Error()) // it may have given up itself
		_ = h.conn.Close()
	}
}

// take returns the sockets of a port of the predecessor, and its index; nil: it had none like that. The port that was asked for in the same
// words, under the same name, goes before others.
func (h *succession) take(role, name, asked string) (sockets []int, index int) {
	if h == nil {
		return nil, 0
	}
	for _, sameName := range []bool{true, false} {
		for i, p := range h.ports.List {
			if p.Role == role && p.Asked == asked && h.sockets[i] != nil && (p.Name == name || !sameName) {
				sockets, h.sockets[i] = h.sockets[i], nil
				return sockets, i
			}
		}
	}
	return nil, 0
}

// subscribers returns the sockets of a port with subscribers, which is the engine's listener with the given index.
func (h *succession) subscribers(l *configs.Server, encrypted bool, listener int) []int {
	sockets, i := h.take(subscriberRole(encrypted), l.Name, l.Address)
	if sockets != nil {
		h.listeners[i] = listener
	}
	return sockets
}

// has says whether the predecessor listens where a port is to be, and for the same.
func (h *succession) has(l *configs.Server) bool {
	role := handover.RolePublishers
	if l.Routes.Sub != "" {
		role = subscriberRole(l.SSL != nil)
	}
	return h != nil && slices.ContainsFunc(h.ports.List, func(p handover.Listener) bool { return p.Asked == l.Address && p.Role == role })
}

// order is the engine's listeners in the order of the predecessor's.
func (h *succession) order() (listeners []int) {
	for i, p := range h.ports.List {
		if p.Role == handover.RoleSubscribers || p.Role == handover.RoleEncrypted {
			listeners = append(listeners, h.listeners[i])
		}
	}
	return listeners
}

// accepts says whether clients of the predecessor can be served under another configuration. If they do not come along, any will do.
func (h *succession) accepts(c *configs.Config) error {
	if h.ports.Dropped {
		return nil
	}
	var before []configs.Value
	if err := json.Unmarshal(h.ports.Config, &before); err != nil {
		return fmt.Errorf("the configuration of the process before: %w", err)
	}
	var refused []string
	all, _ := configs.Compare(before, c.Effective())
	for _, d := range all {
		if from, to := d.Text(); d.Change.Restarts() {
			refused = append(refused, fmt.Sprintf("%s: %s → %s", d.Key, from, to))
		}
	}
	if len(refused) > 0 {
		return fmt.Errorf("the new configuration needs a restart, or an upgrade with --drop: %s", strings.Join(refused, ", "))
	}
	return nil
}

// missing says which port with subscribers is not there any more, although the configurations do not tell: a name may have another address.
func (h *succession) missing() error {
	if h.ports.Dropped {
		return nil
	}
	for i, p := range h.ports.List {
		if (p.Role == handover.RoleSubscribers || p.Role == handover.RoleEncrypted) && h.sockets[i] != nil {
			return fmt.Errorf("%s, %s, is not in the new configuration as it was (%s): clients are connected there, so restart instead",
				p.Name, p.Asked, p.Role)
		}
	}
	return nil
}

// drop closes sockets that nobody has taken.
func (h *succession) drop() {
	for i := range h.sockets {
		handover.CloseAll(h.sockets[i])
		h.sockets[i] = nil
	}
	handover.CloseAll(h.memory)
	h.memory = nil
}

// takeOver goes through an upgrade. After an error the predecessor goes on, and should hear of it before this process has ended.
func (s *server) takeOver(ctx context.Context, h *succession) (err error) {
	defer func() { h.failed(err) }()
	if err := h.missing(); err != nil {
		return err
	}
	if err := s.prepare(ctx, h); err != nil {
		return err
	}
	holdReady(h.ports.Connections * takingOver)
	defer collectEarly()
	if err := h.conn.Send(handover.Prepared, handover.Preparation{Memory: h.bus != nil}); err != nil {
		return err
	}
	sessions, err := s.receive(ctx, h)
	if err != nil {
		return err
	}
	if err := h.confirmed(); err != nil {
		sessions.Refuse()
		return err
	}
	if h.bus != nil {
		if err := h.bus.Lead(); err != nil {
			s.log.Error("upgrade: what the process before has still to publish is lost", "err", err)
		}
	}
	bounded, cancelTakeOver := context.WithTimeout(ctx, servingTime)
	defer cancelTakeOver()
	if err := s.engine.TakeOver(bounded, sessions, time.Unix(h.ports.Started, 0)); err != nil {
		return err
	}
	if err := errors.Join(s.openPorts(), s.openWindow()); err != nil {
		s.log.Error("upgrade: a port cannot be opened", "err", err) // clients are served, and that goes before
	}
	h.drop()
	h.conn.Within(0)
	_ = h.conn.Send(handover.Serving, nil) // a predecessor that has died does not want to know
	h.conn.Within(ackTime)
	_, _ = h.conn.Receive(handover.Go, nil) // it closes its end when it has told systemd who serves
	return h.conn.Close()
}

// prepare ends early if the predecessor does: as long as this process has its sockets, nobody else can begin to listen there.
func (s *server) prepare(ctx context.Context, h *succession) error {
	prepare, cancel := context.WithTimeout(ctx, prepareTime)
	defer cancel()
	watched, gone := context.WithCancelCause(prepare)
	defer gone(nil)
	h.conn.Within(0)
	stop := h.conn.Watch(func() { gone(errors.New("the process before has ended")) })
	err := s.engine.Prepare(watched, h.ports.Connections)
	stop()
	h.conn.Within(readyTime)
	if err != nil && watched.Err() != nil {
		return errors.Join(context.Cause(watched), err)
	}
	return err
}

// ackTime is how long a successor waits for that.
const ackTime = 2 * time.Second

// receive takes everything that the predecessor gives. Nothing is touched yet.
func (s *server) receive(ctx context.Context, h *succession) (*engine.Takeover, error) {
	var all handover.Engine
	h.conn.Within(prepareTime)
	if _, err := h.conn.Receive(handover.State, &all); err != nil {
		return nil, err
	}
	h.conn.Within(readyTime)
	served, bodies, sockets, err := h.conn.ReceiveParts()
	if err != nil {
		return nil, err
	}
	all.Served = served
	sessions, err := s.engine.Receive(&all, h.order())
	if err != nil {
		handover.CloseAll(sockets)
		return nil, err
	}
	for i := range bodies {
		sessions.Add(bodies[i], sockets[i])
	}
	bounded, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	caughtUp := make(chan error, 1)
	go func() { caughtUp <- errors.Join(h.catchUp(bounded), s.engine.CatchUp(bounded)) }()
	if err := errors.Join(sessions.Complete(), <-caughtUp); err != nil {
		sessions.Refuse()
		return nil, err
	}
	return sessions, nil
}

// confirmed says that everything is here and waits for the word. A predecessor that ends without it has died: it would have ended this
// process first, if it has started it.
func (h *succession) confirmed() error {
	err := h.conn.Send(handover.Ready, nil)
	if err != nil && (h.apart || unlessGone(err) != nil) {
		return err
	}
	h.conn.Within(servingTime) // longer than the predecessor waits, so that it is the one which decides
	_, err = h.conn.Receive(handover.Go, nil)
	if h.apart {
		return err
	}
	return unlessGone(err)
}

// unlessGone forgets an error that says that the other process has ended.
func unlessGone(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		return nil
	}
	return err
}

// listener is one with the socket of the predecessor; nil: it had none.
func (h *succession) listener(role, name, asked string) (net.Listener, error) {
	sockets, _ := h.take(role, name, asked)
	if len(sockets) == 0 {
		return nil, nil
	}
	file := os.NewFile(uintptr(sockets[0]), "listener")
	defer file.Close()
	return net.FileListener(file)
}
