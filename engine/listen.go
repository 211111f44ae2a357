package engine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// listen opens every port on every loop.
func (e *Engine) listen(ctx context.Context) error {
	var addrs []string
	for _, l := range e.o.Listeners {
		addr, release, err := resolveAddr(l.Addr)
		if err != nil {
			return fmt.Errorf("engine: listener %s: %w", l.Name, err)
		}
		defer release()
		if l.TLS == nil {
			addrs = append(addrs, "tcp://"+nameForGnet(addr))
		}
		e.addrs = append(e.addrs, addr.String())
		e.ports = append(e.ports, addr)
	}
	if len(addrs) == 0 {
		addrs = []string{"tcp://127.0.0.1:0"} // gnet runs no loop without a listener; who comes in there belongs to no listener
	}
	for _, l := range e.loops {
		if err := e.startLoop(ctx, l, addrs); err != nil {
			return err
		}
	}
	return e.listenTLS(ctx)
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

// listenerOf finds the listener of a connection by its local address.
func (e *Engine) listenerOf(local net.Addr) (i uint16, ok bool) {
	addr, ok := local.(*net.TCPAddr)
	if !ok {
		return 0, false
	}
	for i, a := range e.ports {
		if a.Port == addr.Port && (a.IP.IsUnspecified() || a.IP.Equal(addr.IP)) {
			return uint16(i), true
		}
	}
	return 0, false
}
