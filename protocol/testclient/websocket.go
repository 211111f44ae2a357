package testclient

import (
	"context"
	"crypto/sha1"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/gobwas/ws"
)

// A CloseError is the close frame that a server has sent.
type CloseError struct {
	Code   uint16
	Reason string
}

func (e *CloseError) Error() string {
	return fmt.Sprintf("closed by the server: %d %s", e.Code, e.Reason)
}

// Dial connects to addr and subscribes by WebSocket. The target is a path with
// its query; messages are read in the mode that it asks for.
func Dial(ctx context.Context, addr, target string) (*Conn, error) {
	return DialFrom(ctx, nil, addr, target)
}

// DialFrom is Dial from a certain address of this machine.
func DialFrom(ctx context.Context, from net.Addr, addr, target string) (*Conn, error) {
	conn, err := connect(ctx, &net.Dialer{LocalAddr: from}, addr)
	if err != nil {
		return nil, err
	}
	return conn.subscribed(target)
}

// DialTLS is Dial to an encrypted port.
func DialTLS(ctx context.Context, config *tls.Config, addr, target string) (*Conn, error) {
	conn, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return NewConn(conn).subscribed(target)
}

// handshakeTime is how long a server may take to answer a handshake.
const handshakeTime = 10 * time.Second

func (c *Conn) subscribed(target string) (*Conn, error) {
	c.SetDeadline(time.Now().Add(handshakeTime))
	if err := c.Upgrade(target); err != nil {
		c.Close()
		return nil, err
	}
	c.SetDeadline(time.Time{})
	return c, nil
}

const handshakeKey = "dGhlIHNhbXBsZSBub25jZQ=="

// Upgrade makes a WebSocket of the connection. More are further lines of the
// request head.
func (c *Conn) Upgrade(target string, more ...string) error {
	reply, err := c.Poll(target, append(more, "Connection: Upgrade", "Upgrade: websocket",
		"Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: "+handshakeKey)...)
	if err != nil {
		return err
	}
	if reply.Status != http.StatusSwitchingProtocols {
		return fmt.Errorf("testclient: handshake answered %v %s", reply, reply.Body)
	}
	sum := sha1.Sum([]byte(handshakeKey + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	if accept := reply.Header.Get("Sec-WebSocket-Accept"); accept != base64.StdEncoding.EncodeToString(sum[:]) {
		return fmt.Errorf("%w: Sec-WebSocket-Accept: %s", ErrFraming, accept)
	}
	c.calls = strings.Contains(target, "jsonRpc=true")
	c.binary = !c.calls && strings.Contains(target, "binaryMode=true")
	return nil
}

// Receive waits for the messages of the next data frame. Pings are answered,
// and messages of version 5 are acknowledged. The error is a *CloseError if the
// server has closed.
func (c *Conn) Receive() ([]Message, error) {
	for {
		f, err := c.Frame()
		switch {
		case err != nil:
			return nil, err
		case f.Header.OpCode == ws.OpClose:
			return nil, closeError(f.Payload)
		case f.Header.OpCode == ws.OpPing:
			if err := c.SendFrame(ws.OpPong, f.Payload); err != nil {
				return nil, err
			}
		case f.Header.OpCode.IsData():
			if (f.Header.OpCode == ws.OpBinary) != c.binary {
				return nil, fmt.Errorf("%w: opcode %d", ErrFraming, f.Header.OpCode)
			}
			if c.calls {
				ms, err := c.hearCalls(f.Payload)
				if len(ms) == 0 && err == nil {
					continue
				}
				return ms, err
			}
			return Parse(f.Payload, c.binary)
		}
	}
}

// hearCalls reads a frame of version 5 and says what its clients say to it.
func (c *Conn) hearCalls(payload []byte) ([]Message, error) {
	if string(payload) == "ping" {
		return nil, c.SendFrame(ws.OpText, []byte("pong"))
	}
	ms, err := ParseCalls(payload)
	for _, m := range ms {
		if err == nil {
			err = c.SendFrame(ws.OpText, []byte("mack:"+m.ID))
		}
	}
	return ms, err
}

// Frame reads the next frame, whatever it is. Pings are not answered.
func (c *Conn) Frame() (ws.Frame, error) {
	f, err := ws.ReadFrame(c.in)
	if err == nil && (!f.Header.Fin || f.Header.Masked || f.Header.Rsv != 0) {
		err = fmt.Errorf("%w: header %+v", ErrFraming, f.Header)
	}
	return f, err
}

// End reads until the connection ends. A close frame is answered; it is the
// *CloseError that End returns. Without one, the error is nil.
func (c *Conn) End() (*CloseError, error) {
	var end *CloseError
	for {
		f, err := c.Frame()
		if IsEnd(err) {
			return end, nil
		}
		if err != nil {
			return end, err
		}
		if f.Header.OpCode == ws.OpClose {
			end = closeError(f.Payload)
			if err := c.SendFrame(ws.OpClose, f.Payload); err != nil && !IsEnd(err) {
				return end, err
			}
		}
	}
}

// IsEnd says whether err is what reading or writing gives when the other side
// has ended the connection.
func IsEnd(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

func closeError(payload []byte) *CloseError {
	if len(payload) < 2 {
		return &CloseError{}
	}
	return &CloseError{binary.BigEndian.Uint16(payload), string(payload[2:])}
}

// Send sends a RequestBatch.
func (c *Conn) Send(batch []byte) error { return c.SendFrame(ws.OpBinary, batch) }

// SendFrame sends a frame.
func (c *Conn) SendFrame(op ws.OpCode, payload []byte) error {
	return ws.WriteFrame(c.Conn, ws.MaskFrame(ws.NewFrame(op, true, payload)))
}
