package load

import (
	"fmt"
	"math"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	readBufferSize = 1 << 20
	eventsPerWait  = 512
	maxWait        = int64(100e6) // ns; nothing depends on it
	never          = int64(math.MaxInt64)
)

// handler is called when its descriptor has something to say.
type handler interface {
	ready(events uint32)
}

// loop is one epoll loop. Everything happens on the goroutine that calls run, except post.
type loop struct {
	epoll    int
	wakeFD   int
	events   []unix.EpollEvent
	handlers []handler // by descriptor
	buf      []byte    // what the handler of this turn reads into
	now      int64     // refreshed once per turn and after each read
	posted   chan func()
	quit     bool
}

func newLoop() (*loop, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("load: epoll: %w", err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		unix.Close(epoll)
		return nil, fmt.Errorf("load: eventfd: %w", err)
	}
	l := &loop{
		epoll: epoll, wakeFD: wake,
		events: make([]unix.EpollEvent, eventsPerWait),
		buf:    make([]byte, readBufferSize),
		posted: make(chan func(), 64),
		now:    now(),
	}
	if err := l.add(wake, l); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

func (l *loop) close() {
	unix.Close(l.wakeFD)
	unix.Close(l.epoll)
}

// add watches fd, edge-triggered: a handler reads until the descriptor is empty.
func (l *loop) add(fd int, h handler) error {
	for len(l.handlers) <= fd {
		l.handlers = append(l.handlers, nil)
	}
	l.handlers[fd] = h
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET, Fd: int32(fd)}
	if err := unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
		return fmt.Errorf("load: epoll_ctl: %w", err)
	}
	return nil
}

// forget must be called before fd is closed: the number comes back with another connection.
func (l *loop) forget(fd int) { l.handlers[fd] = nil }

// post has f called on the loop. Safe from any goroutine; blocks while 64 are waiting.
func (l *loop) post(f func()) {
	l.posted <- f
	one := [8]byte{1}
	unix.Write(l.wakeFD, one[:]) // fails only when the counter is full, and then the loop wakes anyway
}

// ready takes what was posted.
func (l *loop) ready(uint32) {
	var b [8]byte
	unix.Read(l.wakeFD, b[:])
	for {
		select {
		case f := <-l.posted:
			f()
		default:
			return
		}
	}
}

// run serves until quit is set. step does what is due and returns when it wants to be called again at the latest; it is called
// after every turn.
func (l *loop) run(step func() int64) error {
	for !l.quit {
		l.now = now()
		next := step()
		n, err := l.wait(next - l.now)
		if err != nil {
			return err
		}
		l.now = now()
		for _, ev := range l.events[:n] {
			if h := l.handlers[ev.Fd]; h != nil {
				h.ready(ev.Events)
			}
		}
	}
	return nil
}

// wait is epoll_pwait2: epoll_wait counts in milliseconds, too coarse for thousands of publications a second.
func (l *loop) wait(ns int64) (int, error) {
	ts := unix.NsecToTimespec(min(max(ns, 0), maxWait))
	n, _, errno := syscall.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(l.epoll), uintptr(unsafe.Pointer(&l.events[0])),
		uintptr(len(l.events)), uintptr(unsafe.Pointer(&ts)), 0, 0)
	if errno == unix.EINTR {
		return 0, nil
	}
	if errno != 0 {
		return 0, fmt.Errorf("load: epoll_pwait2: %w", errno)
	}
	return int(n), nil
}
