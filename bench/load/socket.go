package load

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

var (
	errClosed  = errors.New("load: closed by the server")
	errTooMuch = errors.New("load: more unread bytes than fit the buffer")
)

// socket is a non-blocking TCP connection on a loop.
type socket struct {
	l     *loop
	fd    int    // -1: not open
	out   []byte // not yet taken by the kernel
	carry []byte // beginning of a message whose rest has not come
}

// address is a parsed host:port; 127.0.0.1 or any other IPv4 address.
func address(hostport string) (*unix.SockaddrInet4, error) {
	host, port, err := net.SplitHostPort(hostport)
	if err != nil {
		return nil, fmt.Errorf("load: address: %w", err)
	}
	ip := net.ParseIP(host).To4()
	n, err := strconv.ParseUint(port, 10, 16)
	if ip == nil || err != nil {
		return nil, fmt.Errorf("load: address %q is not IPv4:port", hostport)
	}
	return &unix.SockaddrInet4{Addr: [4]byte(ip), Port: int(n)}, nil
}

// dial starts to connect; h hears when it is writable or failed. source may be nil.
func (s *socket) dial(l *loop, source, to *unix.SockaddrInet4, h handler) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("load: socket: %w", err)
	}
	s.l, s.fd = l, fd
	s.out, s.carry = s.out[:0], s.carry[:0]
	if err := s.connect(source, to, h); err != nil {
		s.close()
		return err
	}
	return nil
}

func (s *socket) connect(source, to *unix.SockaddrInet4, h handler) error {
	if err := unix.SetsockoptInt(s.fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return fmt.Errorf("load: TCP_NODELAY: %w", err)
	}
	if source != nil {
		// The port is chosen at connect, for the whole four-tuple: 28,000 connections per source address to one port.
		if err := unix.SetsockoptInt(s.fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); err != nil {
			return fmt.Errorf("load: IP_BIND_ADDRESS_NO_PORT: %w", err)
		}
		if err := unix.Bind(s.fd, source); err != nil {
			return fmt.Errorf("load: bind: %w", err)
		}
	}
	if err := unix.Connect(s.fd, to); err != nil && err != unix.EINPROGRESS {
		return fmt.Errorf("load: connect: %w", err)
	}
	return s.l.add(s.fd, h)
}

// connected says whether the connection stands, once it is writable.
func (s *socket) connected() error {
	code, err := unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && code != 0 {
		err = unix.Errno(code)
	}
	return err
}

// write sends b, or keeps what the kernel does not take.
func (s *socket) write(b []byte) error {
	if len(s.out) > 0 {
		s.out = append(s.out, b...)
		return nil
	}
	n, err := rawWrite(s.fd, b)
	if err != nil {
		return err
	}
	s.out = append(s.out, b[n:]...)
	return nil
}

// flush goes on with what write has kept.
func (s *socket) flush() error {
	if len(s.out) == 0 {
		return nil
	}
	n, err := rawWrite(s.fd, s.out)
	if err != nil {
		return err
	}
	s.out = s.out[:copy(s.out, s.out[n:])]
	return nil
}

// read returns what is there, with what keep has kept in front; valid until the next read of any socket of the loop. more says
// that there may be more to read.
func (s *socket) read() (b []byte, more bool, err error) {
	buf := s.l.buf
	kept := copy(buf, s.carry)
	if kept == len(buf) {
		return nil, false, errTooMuch
	}
	n, err := rawRead(s.fd, buf[kept:])
	if err == unix.EAGAIN {
		return buf[:kept], false, nil
	}
	if err != nil {
		return nil, false, err
	}
	if n == 0 {
		return nil, false, errClosed
	}
	s.l.now = now()
	return buf[:kept+n], kept+n == len(buf), nil
}

// keep holds b, the rest of what read returned, for the next read.
func (s *socket) keep(b []byte) {
	s.carry = append(s.carry[:0], b...)
}

func (s *socket) open() bool { return s.fd >= 0 }

// close ends the connection with a FIN.
func (s *socket) close() {
	if s.fd < 0 {
		return
	}
	if s.fd < len(s.l.handlers) {
		s.l.forget(s.fd)
	}
	unix.Close(s.fd)
	s.fd = -1
}

// reset ends the connection with a RST, which leaves no port in TIME_WAIT.
func (s *socket) reset() {
	if s.fd >= 0 {
		unix.SetsockoptLinger(s.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	}
	s.close()
}

// rawRead and rawWrite spare the scheduler's bookkeeping around system calls: the sockets are non-blocking, and the cost would be
// that of the client, which shares the processors with the server that it measures.
func rawRead(fd int, b []byte) (int, error) {
	n, _, errno := syscall.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// rawWrite counts a full socket buffer as 0 bytes.
func rawWrite(fd int, b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	n, _, errno := syscall.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	if errno == unix.EAGAIN {
		return 0, nil
	}
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
