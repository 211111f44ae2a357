package engine

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/panjf2000/gnet/v2"
	gneterrors "github.com/panjf2000/gnet/v2/pkg/errors"
	"github.com/panjf2000/gnet/v2/pkg/socket"
	"golang.org/x/sys/unix"

	"push-server/engine/accept"
	"push-server/engine/adopt"
	"push-server/engine/ratelimit"
	"push-server/engine/recorder"
	"push-server/poll"
	"push-server/protocol"
	"push-server/protocol/proxyproto"
)

// gnet ends a loop, with all its connections, when an accept has failed: if errors.Is finds ErrAcceptSocket in what the callback of its
// poller returns. It never finds an error that cannot be compared, so that such an accept is over and done with for gnet.
func init() { gneterrors.ErrAcceptSocket = errAccept{} }

type errAccept []struct{}

func (errAccept) Error() string { return "engine: accept failed" }

// acceptFormat is what gnet says, on the loop, when an accept has failed, with the error as its argument.
const acceptFormat = "Accept() failed due to error: %v"

// quiet is gnet's logger: what it has to say is for developers, but for errors.
type quiet struct {
	log          *slog.Logger
	acceptFailed func(error)
}

func (q quiet) Debugf(format string, args ...any) {}
func (q quiet) Infof(format string, args ...any) {
	q.log.Debug("gnet: " + fmt.Sprintf(format, args...))
}

// Warnf is about stale connections, mostly.
func (q quiet) Warnf(format string, args ...any) { q.Infof(format, args...) }

func (q quiet) Errorf(format string, args ...any) {
	if format == acceptFormat {
		err, _ := args[0].(error)
		q.acceptFailed(err)
		return
	}
	q.log.Error("gnet: " + fmt.Sprintf(format, args...))
}
func (q quiet) Fatalf(format string, args ...any) {
	q.log.Error("gnet: " + fmt.Sprintf(format, args...))
}

// acceptor is what a loop knows about its listeners. A connection that cannot be accepted stays in the queue, and the loop is told of it
// again and again: either there is a descriptor to turn it away with, or the loop has to look away for a while.
type acceptor struct {
	spare     accept.Spare
	lent      bool           // the spare descriptor, to the connection that comes next
	failed    int            // accepts in a row
	poller    int            // gnet's epoll instance; -1: not found
	listeners []int          // that are in it
	bound     []*net.TCPAddr // what each of them is bound to, as gnet knows it; nil: that cannot be told
	accepting bool
	deaf      bool   // they are not looked at
	left      bool   // nor again: another process accepts from them
	leftIn    uint64 // turn
	deafSince time.Time
}

// acceptTries is how many accepts in a row may fail before the loop looks away: some failures are those of one connection, which the
// accept has taken out of the queue.
const acceptTries = 16

// acceptPause is for how long.
const acceptPause = 100 * time.Millisecond

// begin looks around once gnet runs; fd is a descriptor that it watches.
func (a *acceptor) begin(fd int) {
	a.spare.Hold()
	a.poller, a.listeners = findListeners(fd)
	for _, listener := range a.listeners {
		addr, err := accept.Address(listener)
		if err != nil {
			addr = nil
		}
		a.bound = append(a.bound, addr)
	}
}

// at is the listener that gnet has opened at an address; -1: it is not known.
func (a *acceptor) at(address net.Addr) int {
	asked, ok := address.(*net.TCPAddr)
	if !ok {
		return -1
	}
	for i, listener := range a.listeners {
		if addr := a.bound[i]; addr != nil && addr.Port == asked.Port && (addr.IP.Equal(asked.IP) || addr.IP.IsUnspecified() && len(asked.IP) == 0) {
			return listener
		}
	}
	return -1
}

// acceptBatch is how many connections come in at a time: opening one costs some microseconds.
const acceptBatch = 64

// acceptMore lets those in who wait behind c, of whom gnet takes one after each round through all sockets that are ready: beside a crowd
// that is a hundredth of a second each.
func (l *loop) acceptMore(c gnet.Conn) {
	a := &l.acceptor
	if a.accepting || a.deaf || a.left {
		return
	}
	queue := a.at(c.LocalAddr())
	a.accepting = true
	for n := 1; n < acceptBatch && queue >= 0 && a.spare.Hold(); n++ {
		fd, from, err := socket.Accept(queue)
		if err != nil {
			break // there is nobody, or gnet will be told why not
		}
		if err := adopt.Conn(c, fd, c.LocalAddr(), socket.SockaddrToTCPOrUnixAddr(from), nil); err != nil {
			l.log.Debug("connection not registered", "err", err)
		}
	}
	a.accepting = false
}

// replace puts socket, which it takes over, in the place of a listener, to which gnet has the number. The loop does not look at it before
// it is told to.
func (a *acceptor) replace(listener, socket int) error {
	defer func() { _ = unix.Close(socket) }() // nothing was written
	if err := unix.Dup3(socket, listener, unix.O_CLOEXEC); err != nil {
		return err
	}
	return unix.EpollCtl(a.poller, unix.EPOLL_CTL_ADD, listener, &unix.EpollEvent{Fd: int32(listener)}) // what it replaces has left
}

// acceptFailed is called on the loop when gnet could not accept a connection.
func (l *loop) acceptFailed(err error) {
	l.engine.acceptFailures.Note("subscribers", err)
	a := &l.acceptor
	a.failed++
	if accept.OutOfDescriptors(err) {
		l.engine.admission.adjust() // the limit may have been lowered
		if a.lent = a.spare.Release(); a.lent {
			return // OnOpen turns that connection away
		}
	}
	if a.failed < acceptTries {
		return
	}
	if a.poller < 0 {
		time.Sleep(time.Millisecond) // there is nothing better where /proc is not mounted
		return
	}
	a.deaf, a.deafSince = true, time.Now()
	l.listenFor(0)
	l.deadlines.catchUp()
	l.deadlines.wakeBy(l.deadlines.now + 1)
}

// accepted says whether the connection that was just accepted may stay, as far as descriptors go.
func (a *acceptor) accepted() bool {
	a.failed, a.lent = 0, false
	return a.spare.Hold()
}

// restore is called in every turn: it takes the spare descriptor back, and ends a pause that was long enough.
func (l *loop) restore() {
	a := &l.acceptor
	if a.left {
		return
	}
	if a.deaf && time.Since(a.deafSince) >= acceptPause {
		a.deaf = false
		l.listenFor(unix.EPOLLIN | unix.EPOLLPRI) // as gnet does
	}
	if a.deaf || !a.lent && !a.spare.Hold() {
		l.deadlines.wakeBy(l.deadlines.now + 1)
	}
}

func (l *loop) listenFor(events uint32) {
	for _, fd := range l.acceptor.listeners {
		event := unix.EpollEvent{Events: events, Fd: int32(fd)}
		if err := unix.EpollCtl(l.acceptor.poller, unix.EPOLL_CTL_MOD, fd, &event); err != nil {
			l.log.Error("BUG: engine: a listener is not where it was", "err", err)
		}
	}
}

// OnOpen makes a session of a connection, if there is room for one.
func (l *loop) OnOpen(c gnet.Conn) ([]byte, gnet.Action) {
	if c.Context() == any(l) {
		l.control = c
		l.acceptor.begin(c.Fd())
		if l.standsBy {
			l.lookAway()
			l.findStandIns()
		}
		return nil, gnet.None
	}
	switch came := c.Context().(type) {
	case ownConn:
		l.openProbe(c)
		return nil, gnet.None
	case *arriving:
		l.adopt(c, came)
		return nil, gnet.None
	}
	if l.standsBy {
		return nil, gnet.Close // nobody knows of the port yet
	}
	peer, encrypted := c.Context().(*tlsPeer)
	action := l.opened(c, peer)
	if !encrypted {
		l.acceptMore(c)
	}
	return nil, action
}

// opened makes a session of a client's connection; peer: whose it is, if it is encrypted.
func (l *loop) opened(c gnet.Conn, peer *tlsPeer) gnet.Action {
	roomy := l.acceptor.accepted()
	listener, known := l.listenerOf(c.LocalAddr())
	if peer != nil {
		listener, known = peer.listener, true
	}
	if !roomy {
		l.wake() // to restore the spare descriptor once this connection is closed
	}
	if !known {
		l.stats.closes[CloseAdmission].Add(1)
		c.SetContext(nil)
		return gnet.Close
	}
	place, reason, after := l.engine.admission.admitConn(c.RemoteAddr())
	if reason == CloseNone && !(roomy && l.engine.admission.enter()) {
		l.engine.admission.addresses.Undo(place, time.Now())
		reason, after = CloseAdmission, whenRoomy()
	}
	if reason != CloseNone {
		l.turnAway(c, reason, after)
		c.SetContext(nil)
		return gnet.Close
	}
	l.look()
	s := l.open(c, listener)
	l.keepPlace(s, place, false)
	if peer != nil {
		l.rememberPeer(s, peer.addr)
	} else if l.engine.admission.expectsHeader(&l.o.Listeners[listener], c.RemoteAddr()) {
		s.state = stateProxy
	}
	if l.o.Trace != nil {
		l.traceOpen(s, peer)
	}
	return gnet.None
}

func (l *loop) open(c gnet.Conn, listener uint16) *Session {
	s := l.slab.take()
	s.conn = c
	s.listener = listener
	s.opened = uint32(time.Since(l.engine.started) / time.Second)
	l.note(s, recorder.Opened, 0, 0)
	c.SetContext(s)
	l.deadlines.catchUp()
	l.deadlines.start(s, timerHead)
	l.stats.opened.Add(1)
	return s
}

// readProxyHeader reads whose connection it is that a proxy has opened, and what that client may.
func (l *loop) readProxyHeader(s *Session, buf []byte) (n int, more bool) {
	client, n, err := proxyproto.Read(buf)
	switch {
	case errors.Is(err, protocol.ErrShort):
		return 0, false
	case err != nil:
		l.engine.noteTurnedAway(CloseProxyHeader, s.conn.RemoteAddr())
		l.close(s, CloseProxyHeader)
		return len(buf), false
	}
	s.state = stateHead
	if !client.IsValid() { // the proxy's own
		return n, true
	}
	l.rememberPeer(s, poll.AddressText(net.TCPAddrFromAddrPort(netip.AddrPortFrom(client, 0))))
	place, reason, after := l.engine.admission.admit(client, true)
	if reason != CloseNone {
		l.turnAwayRequest(s, reason, after)
		return len(buf), false
	}
	l.keepPlace(s, place, false)
	return n, true
}

// turnAway answers a connection that is not to stay, and tells the log. It is closed when OnOpen returns.
func (l *loop) turnAway(c gnet.Conn, reason CloseReason, after time.Duration) {
	l.stats.closes[reason].Add(1)
	l.engine.noteTurnedAway(reason, c.RemoteAddr())
	l.scratch = poll.AppendComeAgain(l.scratch[:0], after)
	accept.Refuse(c.Fd(), l.scratch)
}

// turnAwayRequest is turnAway for one that has asked for something already.
func (l *loop) turnAwayRequest(s *Session, reason CloseReason, after time.Duration) {
	l.engine.notices.note(closeTable[reason].notice, l.peer(s))
	l.comeAgain(s, reason, after)
}

// unavailable answers a request that there is no room for, and ends the connection.
func (l *loop) unavailable(s *Session, reason CloseReason) { l.comeAgain(s, reason, whenRoomy()) }

func (l *loop) comeAgain(s *Session, reason CloseReason, after time.Duration) {
	s.reason = reason
	l.scratch = poll.AppendComeAgain(l.scratch[:0], after)
	l.write(s, l.scratch)
	l.finish(s)
}

// whenRoomy is after how long those come again who find the process full: nobody knows when there is room, but it is not at the same time.
func whenRoomy() time.Duration { return ratelimit.Spread(4*time.Second, 10*time.Second) }

// findListeners finds the epoll instance that watches fd, and the listeners among all that it watches. It has to be done at the start:
// it takes descriptors, and time if there are many. gnet tells neither.
func findListeners(fd int) (poller int, listeners []int) {
	links, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		panic("BUG: engine: " + err.Error())
	}
	for _, link := range links {
		if target, err := os.Readlink(link); err != nil || target != "anon_inode:[eventpoll]" {
			continue
		}
		name := filepath.Base(link)
		info, err := os.ReadFile("/proc/self/fdinfo/" + name)
		if err != nil {
			continue // has been closed in the meantime
		}
		if watched := watchedBy(info); slices.Contains(watched, fd) {
			poller, _ = strconv.Atoi(name)
			return poller, slices.DeleteFunc(watched, func(fd int) bool { return !isListener(fd) })
		}
	}
	return -1, nil
}

// watchedBy reads what proc(5) says about an epoll instance: lines "tfd: 7 events: 3 …".
func watchedBy(info []byte) (fds []int) {
	for line := range bytes.Lines(info) {
		fields := bytes.Fields(line)
		if len(fields) < 2 || string(fields[0]) != "tfd:" {
			continue
		}
		if fd, err := strconv.Atoi(string(fields[1])); err == nil {
			fds = append(fds, fd)
		}
	}
	return fds
}

func isListener(fd int) bool {
	v, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	return err == nil && v == 1
}
