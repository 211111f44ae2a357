package client

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/gobwas/ws"
)

// A WebSocket is a subscriber's connection. One goroutine at a time may
// receive, one may send.
type WebSocket struct {
	net.Conn
	reader io.Reader
	binary bool
}

// A CloseError is what the server said in its close frame.
type CloseError struct {
	Code   uint16
	Reason string
}

func (e *CloseError) Error() string {
	return fmt.Sprintf("closed by the server: %d %s", e.Code, e.Reason)
}

// Dial connects to addr and subscribes. The target is a path with its query;
// messages are read in the mode that it asks for.
func Dial(ctx context.Context, addr, target string) (*WebSocket, error) {
	return subscribe(ctx, ws.Dialer{}, "ws://"+addr+target)
}

// DialTLS is Dial to an encrypted port.
func DialTLS(ctx context.Context, config *tls.Config, addr, target string) (*WebSocket, error) {
	return subscribe(ctx, ws.Dialer{TLSConfig: config}, "wss://"+addr+target)
}

// DialFrom is Dial from a certain address of this machine.
func DialFrom(ctx context.Context, from net.Addr, addr, target string) (*WebSocket, error) {
	bound := net.Dialer{LocalAddr: from}
	return subscribe(ctx, ws.Dialer{NetDial: bound.DialContext}, "ws://"+addr+target)
}

func subscribe(ctx context.Context, dialer ws.Dialer, url string) (*WebSocket, error) {
	dialer.ReadBufferSize, dialer.WriteBufferSize, dialer.Timeout = 1024, 1024, 10*time.Second
	conn, buffered, _, err := dialer.Dial(ctx, url)
	if err != nil {
		return nil, err
	}
	w := &WebSocket{Conn: conn, binary: strings.Contains(url, "binaryMode=true")}
	w.reader = bufio.NewReader(conn)
	if buffered != nil {
		w.reader = bufio.NewReader(io.MultiReader(io.LimitReader(buffered, int64(buffered.Buffered())), conn))
	}
	return w, nil
}

// Receive waits for the messages of the next data frame. Pings are answered.
// The error is a *CloseError if the server has closed.
func (w *WebSocket) Receive() ([]Message, error) {
	for {
		payload, op, err := w.frame()
		switch {
		case err != nil:
			return nil, err
		case op == ws.OpClose:
			return nil, closeError(payload)
		case op == ws.OpPing:
			if err := w.send(ws.OpPong, payload); err != nil {
				return nil, err
			}
		case op == ws.OpText || op == ws.OpBinary:
			if (op == ws.OpBinary) != w.binary {
				return nil, fmt.Errorf("%w: opcode %d", ErrFraming, op)
			}
			return Parse(payload, w.binary)
		}
	}
}

func (w *WebSocket) frame() ([]byte, ws.OpCode, error) {
	f, err := ws.ReadFrame(w.reader)
	if err == nil && (!f.Header.Fin || f.Header.Masked || f.Header.Rsv != 0) {
		err = fmt.Errorf("%w: header %+v", ErrFraming, f.Header)
	}
	return f.Payload, f.Header.OpCode, err
}

func closeError(payload []byte) error {
	if len(payload) < 2 {
		return &CloseError{}
	}
	return &CloseError{binary.BigEndian.Uint16(payload), string(payload[2:])}
}

// Send sends a RequestBatch.
func (w *WebSocket) Send(batch []byte) error { return w.send(ws.OpBinary, batch) }

func (w *WebSocket) send(op ws.OpCode, payload []byte) error {
	return ws.WriteFrame(w.Conn, ws.MaskFrame(ws.NewFrame(op, true, payload)))
}

// Abort ends the connection with a reset, as a crashed client does.
func (w *WebSocket) Abort() {
	if tcp, ok := w.Conn.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	w.Close()
}
