// Package accept keeps listeners alive when a connection cannot be accepted: for want of descriptors or memory, because a policy of the
// system forbids it, because the client has gone already. None of that is the end of a listener.
package accept

import (
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Failures counts accepts that failed and logs one line a minute about them. Its methods may be called from any goroutine.
type Failures struct {
	log   *slog.Logger
	count atomic.Uint64

	mu     sync.Mutex
	said   uint64    // count at the last line
	silent time.Time // until then
}

// NewFailures returns Failures that log to log.
func NewFailures(log *slog.Logger) *Failures { return &Failures{log: log} }

const lineEvery = time.Minute

// Note notes that listener could not accept a connection.
func (f *Failures) Note(listener string, err error) {
	count := f.count.Add(1)
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	if now.Before(f.silent) || count <= f.said {
		return
	}
	f.log.Warn("connections cannot be accepted, trying again", "listener", listener, "err", err, "failures", count-f.said)
	f.said, f.silent = count, now.Add(lineEvery)
}

// Count is the number of failures since the start.
func (f *Failures) Count() uint64 { return f.count.Load() }

// Spare is a descriptor kept for the time when there is no other: a connection that is accepted in its place can be told so, where
// otherwise it would stay in the queue of its listener unanswered. It belongs to one goroutine.
type Spare struct {
	fd   int
	held bool
}

// Hold takes the descriptor unless it is held, and says whether it is: if not, there are none.
func (s *Spare) Hold() bool {
	if !s.held {
		fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC) // costs nothing and needs no file system
		s.fd, s.held = fd, err == nil
	}
	return s.held
}

// Release makes way for a connection, and says whether the descriptor was held.
func (s *Spare) Release() bool {
	if !s.held {
		return false
	}
	s.held = false
	return unix.Close(s.fd) == nil
}

// OutOfDescriptors says whether the process, or the system, has too many open files for another connection.
func OutOfDescriptors(err error) bool {
	return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE)
}

// maxDrain bounds what Refuse reads, in reads of a buffer.
const maxDrain = 4

// Refuse answers on a non-blocking socket that is about to be closed. What has come is read: closing with unread input resets the
// connection, which may take the answer away from the client.
func Refuse(fd int, reply []byte) {
	if _, err := unix.Write(fd, reply); err != nil {
		return // has gone
	}
	_ = unix.Shutdown(fd, unix.SHUT_WR) // fails if the client has gone in the meantime
	var b [4096]byte
	for range maxDrain {
		if n, err := unix.Read(fd, b[:]); n <= 0 || err != nil {
			return
		}
	}
}

// Pauses between attempts to accept, each twice the last one.
const (
	firstPause = 5 * time.Millisecond
	lastPause  = 200 * time.Millisecond
)

// Listener is a listener whose Accept fails when it is closed, and at no other time. Accept is called from one goroutine.
type Listener struct {
	net.Listener
	name     string
	failures *Failures
	refusal  []byte
	spare    Spare
	enter    func() bool // nil: everybody may
	leave    func()
	closed   chan struct{}
	once     sync.Once
}

// Admit has connections for which enter says no get the refusal; leave is called for each of the others when it is closed. Both may be
// called from any goroutine.
func (l *Listener) Admit(enter func() bool, leave func()) { l.enter, l.leave = enter, leave }

// admitted is a connection that has a place.
type admitted struct {
	*net.TCPConn
	leave func()
	once  sync.Once
}

// Close closes the connection and gives its place to another.
func (c *admitted) Close() error {
	err := c.TCPConn.Close()
	c.once.Do(c.leave)
	return err
}

// NewListener makes a Listener of ln, whose name failures get. Connections for which there is no descriptor get refusal before they are
// closed.
func NewListener(ln net.Listener, name string, failures *Failures, refusal []byte) *Listener {
	l := &Listener{Listener: ln, name: name, failures: failures, refusal: refusal, closed: make(chan struct{})}
	l.spare.Hold()
	return l
}

// Accept waits for the next connection, however long it takes.
func (l *Listener) Accept() (net.Conn, error) {
	pause := firstPause
	for {
		c, err := l.Listener.Accept()
		switch {
		case err == nil && l.spare.Hold():
			tcp, ok := c.(*net.TCPConn)
			if l.enter == nil || !ok {
				return c, nil
			}
			if l.enter() {
				return &admitted{TCPConn: tcp, leave: l.leave}, nil
			}
			l.refuse(c)
			continue
		case err == nil:
			l.refuse(c)
			l.spare.Hold() // it is free again
			continue
		case errors.Is(err, net.ErrClosed):
			l.spare.Release()
			return nil, err
		}
		l.failures.Note(l.name, err)
		if OutOfDescriptors(err) && l.spare.Release() {
			continue
		}
		select {
		case <-time.After(pause):
		case <-l.closed:
		}
		pause = min(2*pause, lastPause)
	}
}

func (l *Listener) refuse(c net.Conn) {
	if s, ok := c.(syscall.Conn); ok {
		if raw, err := s.SyscallConn(); err == nil {
			_ = raw.Control(func(fd uintptr) { Refuse(int(fd), l.refusal) }) // fails when the connection is closed, which nobody else does
		}
	}
	_ = c.Close()
}

// Close ends the listener, also while it waits for better times.
func (l *Listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}
