package handover

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// MaxSockets is how many descriptors go with one message (SCM_MAX_FD of Linux).
const MaxSockets = 253

// maxMessage bounds a message, in bytes.
const maxMessage = 512 << 20

// header is that of a message: its length, its kind, and the number of its descriptors.
const header = 6

// Conn is one end of the socket pair. One goroutine sends, one receives.
type Conn struct {
	socket *net.UnixConn
	memory *os.File // for SendParts
}

// Pair makes a socket pair: one end is ours, the other one a file for the successor.
func Pair() (ours *Conn, theirs *os.File, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("handover: %w", err)
	}
	theirs = os.NewFile(uintptr(pair[1]), "handover")
	ours, err = Open(pair[0])
	if err != nil {
		return nil, nil, errors.Join(err, theirs.Close())
	}
	return ours, theirs, nil
}

// Open makes a Conn of a descriptor, which it closes in favour of a duplicate.
func Open(fd int) (*Conn, error) {
	file := os.NewFile(uintptr(fd), "handover")
	defer file.Close()
	c, err := net.FileConn(file)
	if err != nil {
		return nil, fmt.Errorf("handover: %w", err)
	}
	socket, ok := c.(*net.UnixConn)
	if !ok {
		return nil, errors.Join(errors.New("handover: the descriptor is no unix socket"), c.Close())
	}
	return &Conn{socket: socket}, nil
}

// Over makes a Conn of a connection, which it takes over.
func Over(c *net.UnixConn) *Conn { return &Conn{socket: c} }

// Within bounds what is sent and received from now on; 0: it is not bounded.
func (c *Conn) Within(d time.Duration) {
	var deadline time.Time
	if d > 0 {
		deadline = time.Now().Add(d)
	}
	_ = c.socket.SetDeadline(deadline) // fails only when it is closed, and then so does everything
}

// Close ends the conversation.
func (c *Conn) Close() error {
	c.memory.Close() // fails if there is none
	return c.socket.Close()
}

// Watch calls gone if the other process ends, until stop is called. Nothing must be received meanwhile.
func (c *Conn) Watch(gone func()) (stop func()) {
	raw, err := c.socket.SyscallConn()
	if err != nil {
		return func() {}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = raw.Read(func(fd uintptr) bool { // fails when it is stopped
			n, _, err := unix.Recvfrom(int(fd), make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
			if err == unix.EAGAIN || err == unix.EINTR {
				return false
			}
			if n <= 0 {
				gone()
			}
			return true
		})
	}()
	return func() {
		_ = c.socket.SetReadDeadline(time.Now())
		<-done
		_ = c.socket.SetReadDeadline(time.Time{})
	}
}

// Send sends v, written as JSON, with descriptors, which stay open here.
func (c *Conn) Send(kind Kind, v any, sockets ...int) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("handover: %v: %w", kind, err)
	}
	return c.send(kind, body, sockets...)
}

func (c *Conn) send(kind Kind, body []byte, sockets ...int) error {
	var rights []byte
	if len(sockets) > 0 {
		rights = unix.UnixRights(sockets...)
	}
	h := make([]byte, header)
	binary.BigEndian.PutUint32(h, uint32(len(body)))
	h[4], h[5] = byte(kind), byte(len(sockets))
	n, _, err := c.socket.WriteMsgUnix(h, rights, nil)
	if err == nil && n < len(h) {
		_, err = c.socket.Write(h[n:])
	}
	if err == nil && len(body) > 0 {
		_, err = c.socket.Write(body)
	}
	if err != nil {
		return fmt.Errorf("handover: sending %v: %w", kind, err)
	}
	return nil
}

// Peer is an error of the other process, in its own words.
type Peer string

func (p Peer) Error() string { return string(p) }

// Receive takes the next message, which has to be of a kind, into v. The descriptors are the caller's to close. An error that is a Peer
// was sent by the other side.
func (c *Conn) Receive(kind Kind, v any) (sockets []int, err error) {
	body, sockets, err := c.await(kind)
	if err != nil || v == nil {
		return sockets, err
	}
	if err := json.Unmarshal(body, v); err != nil {
		CloseAll(sockets)
		return nil, fmt.Errorf("handover: %v: %w", kind, err)
	}
	return sockets, nil
}

// await takes the next message, which has to be of a kind.
func (c *Conn) await(kind Kind) (body []byte, sockets []int, err error) {
	got, body, sockets, err := c.receive()
	switch {
	case err != nil:
		return nil, nil, fmt.Errorf("handover: waiting for %v: %w", kind, err)
	case got == kind:
		return body, sockets, nil
	}
	CloseAll(sockets)
	if got != Failed {
		return nil, nil, fmt.Errorf("handover: %v came instead of %v", got, kind)
	}
	var text string
	if json.Unmarshal(body, &text) != nil {
		text = "no reason is given"
	}
	return nil, nil, Peer(text)
}

func (c *Conn) receive() (kind Kind, body []byte, sockets []int, err error) {
	h, rights := make([]byte, header), make([]byte, unix.CmsgSpace(MaxSockets*4))
	n, oob, flags, _, err := c.socket.ReadMsgUnix(h, rights)
	if err == nil && n == 0 {
		err = io.EOF
	}
	if err != nil {
		return 0, nil, nil, err
	}
	if sockets, err = parseRights(rights[:oob]); err != nil {
		return 0, nil, nil, err
	}
	defer func() {
		if err != nil {
			CloseAll(sockets)
		}
	}()
	if flags&unix.MSG_CTRUNC != 0 {
		return 0, nil, nil, errors.New("descriptors were lost on the way: the limit of the process is reached")
	}
	if _, err := io.ReadFull(c.socket, h[n:]); err != nil {
		return 0, nil, nil, err
	}
	size := binary.BigEndian.Uint32(h)
	if size > maxMessage {
		return 0, nil, nil, fmt.Errorf("a message of %d bytes is too long", size)
	}
	if int(h[5]) != len(sockets) {
		return 0, nil, nil, fmt.Errorf("%d of %d descriptors came", len(sockets), h[5])
	}
	body = make([]byte, size)
	if _, err := io.ReadFull(c.socket, body); err != nil {
		return 0, nil, nil, err
	}
	return Kind(h[4]), body, sockets, nil
}

func parseRights(b []byte) (sockets []int, err error) {
	messages, err := unix.ParseSocketControlMessage(b)
	if err != nil {
		return nil, err
	}
	for i := range messages {
		if fds, err := unix.ParseUnixRights(&messages[i]); err == nil {
			sockets = append(sockets, fds...)
		}
	}
	return sockets, nil
}

// CloseAll closes descriptors of which nobody wants to know any more.
func CloseAll(sockets []int) {
	for _, fd := range sockets {
		_ = unix.Close(fd)
	}
}
