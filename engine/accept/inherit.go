package accept

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Address is what a listening socket is bound to.
func Address(socket int) (*net.TCPAddr, error) {
	sa, err := unix.Getsockname(socket)
	if err != nil {
		return nil, fmt.Errorf("accept: %w", err)
	}
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return &net.TCPAddr{IP: sa.Addr[:], Port: sa.Port}, nil
	case *unix.SockaddrInet6:
		return &net.TCPAddr{IP: sa.Addr[:], Port: sa.Port}, nil
	}
	return nil, errors.New("accept: the socket is not one of TCP")
}

// Inherit makes a listener of a listening socket, which it takes over. Its connections have no keep-alive probes.
func Inherit(socket int) (net.Listener, error) {
	file := os.NewFile(uintptr(socket), "listener")
	defer file.Close()
	ln, err := net.FileListener(file)
	if err != nil {
		return nil, fmt.Errorf("accept: %w", err)
	}
	tcp, ok := ln.(*net.TCPListener)
	if !ok {
		return nil, errors.Join(errors.New("accept: the socket is not one of TCP"), ln.Close())
	}
	return withoutKeepAlive{tcp}, nil
}

// withoutKeepAlive undoes what package net does to the connections of a listener that was a file.
type withoutKeepAlive struct{ *net.TCPListener }

func (l withoutKeepAlive) Accept() (net.Conn, error) {
	c, err := l.AcceptTCP()
	if err != nil {
		return nil, err
	}
	_ = c.SetKeepAlive(false) // fails only for a connection that is over
	return c, nil
}

// Socket is the descriptor of a listener, which keeps it.
func Socket(ln net.Listener) (socket int, err error) {
	s, ok := ln.(syscall.Conn)
	if !ok {
		return 0, fmt.Errorf("accept: a %T has no socket", ln)
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return 0, fmt.Errorf("accept: %w", err)
	}
	err = raw.Control(func(fd uintptr) { socket = int(fd) })
	return socket, err
}
