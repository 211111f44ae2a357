package engine

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// write sends b to the peer, or keeps what the socket does not take. It is the one function that writes to a socket. A reader so
// slow that the buffer passes its limit is closed; but an empty buffer takes a write of any size, or a large replay could
// never be delivered. b is not kept.
func (l *loop) write(s *Session, b []byte) {
	if s.state == stateClosed || len(b) == 0 {
		return
	}
	buffered := s.conn.OutboundBuffered()
	if buffered == 0 {
		l.writeNow(s, b)
		return
	}
	if buffered+len(b) > int(s.slack)+l.o.MaxBuffered {
		l.close(s, CloseSlowReader)
		return
	}
	l.buffer(s, b)
}

// writeMore is write for the rest of one large message: it may exceed the limit.
func (l *loop) writeMore(s *Session, b []byte) {
	if s.state == stateClosed {
		return
	}
	if s.conn.OutboundBuffered() == 0 {
		l.writeNow(s, b)
		return
	}
	s.slack += uint32(len(b))
	l.buffer(s, b)
}

// writeNow writes without the scheduler's bookkeeping around a system call: the socket does not block, and that bookkeeping
// costs 14 % of a broadcast.
func (l *loop) writeNow(s *Session, b []byte) {
	s.slack = 0
	n, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(s.conn.Fd()), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	if errno == 0 && int(n) == len(b) {
		return
	}
	if errno != 0 {
		n = 0
	}
	s.slack = uint32(len(b) - int(n))
	l.buffer(s, b[n:]) // EAGAIN: gnet waits for the socket; another error: gnet closes and calls OnClose
}

// buffer leaves b to gnet, which copies it.
func (l *loop) buffer(s *Session, b []byte) {
	if _, err := s.conn.Write(b); err != nil {
		if !s.is(flagGone) {
			l.close(s, ClosePeer)
		}
		return
	}
	l.keep(s, len(b))
}
