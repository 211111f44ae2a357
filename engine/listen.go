package engine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/panjf2000/gnet/v2"
	"golang.org/x/sys/unix"

	"push-server/engine/accept"
)

// startLoops has every loop run, with its ports open. A loop that stands by accepts nobody yet.
func (e *Engine) startLoops(ctx context.Context) error {
	for i := range e.o.Listeners {
		l := &e.o.Listeners[i]
		addr, release, err := resolveAddr(l.Addr)
		if len(l.Sockets) > 0 {
			addr, err = accept.Address(l.Sockets[0])
		}
		if err != nil {
			return fmt.Errorf("engine: listener %s: %w", l.Name, err)
		}
		defer release()
		e.addrs = append(e.addrs, addr.String())
		e.ports = append(e.ports, addr)
	}
	for _, l := range e.loops {
		addrs, release, err := e.addrsOf(l)
		if err != nil {
			return err
		}
		err = e.startLoop(ctx, l, addrs)
		release()
		if err != nil {
			return err
		}
	}
	return nil
}

// standIn is a port of gnet's own, in whose place a socket of the process before comes.
type standIn struct {
	addr     *net.TCPAddr
	socket   int
	place    int // gnet's descriptor
	listener uint16
}

// addrsOf are the addresses that gnet opens for l. Sockets of the process before are shared out among the loops: all of them have to be
// accepted from, however many loops there were, because the system shares out connections among them. Loops share one where there are
// too few: another one would get connections from the moment on at which it is open, and nobody accepts them before this process serves.
func (e *Engine) addrsOf(l *loop) (addrs []string, release func(), err error) {
	var releases []func()
	release = func() {
		for _, f := range releases {
			f()
		}
	}
	for i := range e.o.Listeners {
		o := &e.o.Listeners[i]
		if o.TLS != nil {
			continue
		}
		sockets, err := e.socketsOf(l, o.Sockets)
		if err != nil {
			release()
			return nil, nil, err
		}
		if len(sockets) == 0 {
			addrs = append(addrs, "tcp://"+nameForGnet(e.ports[i]))
		}
		for _, socket := range sockets {
			own, free, err := reservePort(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
			if err != nil {
				release()
				return nil, nil, err
			}
			releases = append(releases, free)
			l.standIns = append(l.standIns, standIn{addr: own, socket: socket, listener: uint16(i)})
			addrs = append(addrs, "tcp://"+own.String())
		}
	}
	if len(addrs) == 0 {
		addrs = []string{"tcp://127.0.0.1:0"} // gnet runs no loop without a listener; who comes in there belongs to no listener
	}
	return addrs, release, nil
}

// socketsOf is what l gets of all sockets of a port.
func (e *Engine) socketsOf(l *loop, all []int) (sockets []int, err error) {
	for k := l.id; k < len(all); k += len(e.loops) {
		sockets = append(sockets, all[k])
	}
	if len(sockets) > 0 || len(all) == 0 {
		return sockets, nil
	}
	shared, err := unix.FcntlInt(uintptr(all[l.id%len(all)]), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("engine: %w", err)
	}
	return []int{shared}, nil
}

// findStandIns finds out where gnet's own listeners are. It is done while there are few descriptors.
func (l *loop) findStandIns() {
	for i := range l.standIns {
		in := &l.standIns[i]
		in.place = l.acceptor.at(in.addr)
	}
}

// takeSockets puts the sockets of the process before in the place of those that gnet has opened.
func (l *loop) takeSockets() {
	for i := range l.standIns {
		in := &l.standIns[i]
		if err := l.acceptor.replace(in.place, in.socket); err != nil {
			l.log.Error("BUG: engine: a listening socket of the process before cannot be used", "err", err)
		}
	}
}

// nameForGnet leaves [::] out: with it gnet takes connections of version 6 only, with nothing before the port those of both.
func nameForGnet(addr *net.TCPAddr) string {
	if addr.IP.Equal(net.IPv6unspecified) {
		return net.JoinHostPort("", strconv.Itoa(addr.Port))
	}
	return addr.String()
}

func (e *Engine) startLoop(ctx context.Context, l *loop, addrs []string) error {
	ended := make(chan error, 1)
	e.tasks.Go(func() {
		err := l.run(addrs)
		ended <- err
		if !e.stopping.Load() {
			e.failed <- fmt.Errorf("engine: loop %d ended unasked: %w", l.id, errors.Join(err, errLoopEnded))
		}
	})
	select {
	case <-l.started:
		if err := l.connect(ctx); err != nil {
			return err
		}
		return l.connectProbe(ctx)
	case err := <-ended:
		return fmt.Errorf("engine: cannot listen on %s: %w", strings.Join(addrs, ", "), errors.Join(err, errLoopEnded))
	case <-ctx.Done():
		select { // only a loop that has started can be stopped
		case <-l.started:
		case <-l.ended:
		}
		return ctx.Err()
	}
}

// connectProbe opens the session over which the loop shows that it delivers.
func (l *loop) connectProbe(ctx context.Context) error {
	ours, err := l.registerPair(ctx, ownConn{})
	if err != nil {
		return fmt.Errorf("engine: connection of the probe: %w", err)
	}
	l.engine.tasks.Go(func() {
		if err := l.engine.prober.Listen(l.id, ours); err != nil {
			l.log.Error("probes of an event loop are not read any more", "loop", l.id, "err", err)
		}
	})
	return nil
}

// registerPair makes one end of a socket pair a connection of the loop; OnOpen finds value as its context. The other end is the caller's.
func (l *loop) registerPair(ctx context.Context, value any) (net.Conn, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	ours, err := fileConn(pair[0])
	if err != nil {
		_ = unix.Close(pair[1]) // nothing was written
		return nil, err
	}
	if err := l.register(ctx, pair[1], value); err != nil {
		return nil, errors.Join(err, ours.Close())
	}
	return ours, nil
}

// register makes a socket, which it takes over, a connection of the loop; OnOpen finds value as its context.
func (l *loop) register(ctx context.Context, fd int, value any) error {
	conn, err := fileConn(fd)
	if err != nil {
		return err
	}
	result, err := l.gnet.Register(gnet.NewContext(gnet.NewNetConnContext(ctx, conn), value))
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	select {
	case r, ok := <-result:
		if !ok {
			return errLoopEnded
		}
		return r.Err
	case <-l.ended:
		return errLoopEnded
	}
}

// errLoopEnded is what a gnet engine that ends by itself means, whatever it says.
var errLoopEnded = errors.New("engine: event loop ended")

// resolveAddr finds the address to bind. A port 0 becomes a free one, reserved until release: bound but not listening, so that
// no connection can get lost there.
func resolveAddr(s string) (addr *net.TCPAddr, release func(), err error) {
	addr, err = net.ResolveTCPAddr("tcp", s)
	if err != nil {
		return nil, nil, err
	}
	if addr.IP == nil {
		addr.IP = net.IPv6unspecified
		if !hasIPv6() {
			addr.IP = net.IPv4zero
		}
	}
	if addr.Port != 0 {
		return addr, func() {}, nil
	}
	return reservePort(addr)
}

func hasIPv6() bool {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	return unix.Close(fd) == nil
}

func reservePort(addr *net.TCPAddr) (*net.TCPAddr, func(), error) {
	family, sa := unix.AF_INET6, unix.Sockaddr(&unix.SockaddrInet6{Addr: [16]byte(addr.IP.To16())})
	if ip := addr.IP.To4(); ip != nil {
		family, sa = unix.AF_INET, &unix.SockaddrInet4{Addr: [4]byte(ip)}
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("reserve a port: %w", err)
	}
	release := func() { _ = unix.Close(fd) }
	err = errors.Join(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1), unix.Bind(fd, sa))
	if err == nil {
		sa, err = unix.Getsockname(fd)
	}
	if err != nil {
		release()
		return nil, nil, fmt.Errorf("reserve a port: %w", err)
	}
	bound := *addr
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		bound.Port = sa.Port
	case *unix.SockaddrInet6:
		bound.Port = sa.Port
	}
	return &bound, release, nil
}

// listenerOf finds the listener of a connection by its local address, which is that of the stand-in, if there is one.
func (l *loop) listenerOf(local net.Addr) (i uint16, ok bool) {
	addr, ok := local.(*net.TCPAddr)
	if !ok {
		return 0, false
	}
	for i := range l.standIns {
		if in := &l.standIns[i]; in.addr.Port == addr.Port && in.addr.IP.Equal(addr.IP) {
			return in.listener, true
		}
	}
	return l.engine.portOf(addr)
}

// portOf finds the listener that is bound to addr.
func (e *Engine) portOf(addr *net.TCPAddr) (i uint16, ok bool) {
	for i, a := range e.ports {
		if a.Port == addr.Port && (a.IP.IsUnspecified() || a.IP.Equal(addr.IP)) {
			return uint16(i), true
		}
	}
	return 0, false
}
