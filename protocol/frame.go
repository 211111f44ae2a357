package protocol

import (
	"encoding/binary"
	"errors"
	"io"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// maxControlPayload is the bound of RFC 6455, 5.5: "All control frames MUST have a payload length of 125 bytes or less".
const maxControlPayload = ws.MaxControlFramePayloadSize

// Message is a whole message of a client, or a control frame.
type Message struct {
	OpCode  ws.OpCode
	Payload []byte
}

// Assembly gathers the fragments of one message. A connection has one only between the first fragment and the last.
type Assembly struct {
	opCode  ws.OpCode
	payload []byte
}

// FrameReader takes messages of clients out of bytes. It holds scratch memory only, so one serves all connections of a loop;
// it is not safe for concurrent use.
type FrameReader struct {
	source sliceReader
	header [ws.MaxHeaderSize]byte
}

// Next takes the next frame from b. It answers the message and the number n of bytes that the frame has in b.
//
// ErrShort asks for more bytes behind b, which is left as it was; a frame that is too big is refused before that. Every other
// error is an *Error, and the connection is to be closed with its code.
//
// The payload is unmasked in place. It aliases b unless the message came in fragments, which Next keeps in *a; then it is
// the caller's own. A fragment that does not complete its message is answered as ws.OpContinuation without payload. Control
// frames may come between fragments. The payloads of all fragments of a message together have at most maxPayload bytes.
func (r *FrameReader) Next(b []byte, a **Assembly, maxPayload int) (m Message, n int, err error) {
	h, n, err := r.readHeader(b)
	if err != nil {
		return m, 0, err
	}
	if err := checkHeader(h, *a, maxPayload); err != nil {
		return m, 0, err
	}
	if h.Length > int64(len(b)-n) {
		return m, 0, ErrShort
	}
	end := n + int(h.Length)
	payload := b[n:end:end]
	ws.Cipher(payload, h.Mask, 0)
	if h.OpCode.IsControl() {
		return Message{h.OpCode, payload}, end, nil
	}
	m, err = assemble(a, h, payload)
	return m, end, err
}

func (r *FrameReader) readHeader(b []byte) (h ws.Header, n int, err error) {
	r.source.rest = b
	h, err = ws.ReadHeaderBuffer(&r.source, r.header[:])
	n = len(b) - len(r.source.rest)
	r.source.rest = nil
	switch {
	case err == nil:
		return h, n, nil
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return h, 0, ErrShort
	case errors.Is(err, ws.ErrHeaderLengthMSB):
		return h, 0, ErrTooBig
	}
	return h, 0, ErrProtocolViolation
}

func checkHeader(h ws.Header, a *Assembly, maxPayload int) error {
	state, have := ws.StateServerSide, 0
	if a != nil {
		state, have = state.Set(ws.StateFragmented), len(a.payload)
	}
	if ws.CheckHeader(h, state) != nil {
		return ErrProtocolViolation
	}
	if !h.OpCode.IsControl() && h.Length > int64(maxPayload-have) {
		return ErrTooBig
	}
	return nil
}

// assemble takes the payload of a data frame and answers the message if that completes it.
func assemble(a **Assembly, h ws.Header, payload []byte) (m Message, err error) {
	switch {
	case !h.Fin && *a == nil:
		*a = &Assembly{opCode: h.OpCode, payload: append([]byte(nil), payload...)}
		return m, nil
	case !h.Fin:
		(*a).payload = append((*a).payload, payload...)
		return m, nil
	case *a == nil:
		m = Message{h.OpCode, payload}
	default:
		m = Message{(*a).opCode, append((*a).payload, payload...)}
		*a = nil
	}
	if m.OpCode == ws.OpText && !utf8.Valid(m.Payload) {
		return Message{}, ErrInvalidUTF8
	}
	return m, nil
}

// sliceReader is a bytes.Reader that shows what is left.
type sliceReader struct{ rest []byte }

func (r *sliceReader) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// AppendFrame appends a whole message to a client: one frame, neither masked nor fragmented.
func AppendFrame(dst []byte, op ws.OpCode, payload []byte) []byte {
	return append(AppendFrameHeader(dst, op, len(payload)), payload...)
}

// AppendFrameHeader appends the header of such a frame; n bytes of payload are to follow.
func AppendFrameHeader(dst []byte, op ws.OpCode, n int) []byte {
	const fin = 0x80
	dst = append(dst, fin|byte(op))
	switch {
	case n <= 125:
		return append(dst, byte(n))
	case n <= 0xffff:
		return binary.BigEndian.AppendUint16(append(dst, 126), uint16(n))
	}
	return binary.BigEndian.AppendUint64(append(dst, 127), uint64(n))
}

// AppendClose appends a close frame. Code 0 stands for none, and then there is no reason either. A reason of more than 123
// bytes is cut.
func AppendClose(dst []byte, code uint16, reason string) []byte {
	if code == 0 {
		return AppendFrameHeader(dst, ws.OpClose, 0)
	}
	reason = cut(reason, maxControlPayload-2)
	dst = AppendFrameHeader(dst, ws.OpClose, 2+len(reason))
	dst = binary.BigEndian.AppendUint16(dst, code)
	return append(dst, reason...)
}

// cut shortens s to at most n bytes of whole characters.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// ParseClose reads the payload of a close frame. It answers the code, 0 if there is none, or an *Error with the code to
// close with instead.
func ParseClose(payload []byte) (code uint16, err error) {
	switch {
	case len(payload) == 0:
		return 0, nil
	case len(payload) == 1:
		return 0, ErrProtocolViolation
	}
	code = binary.BigEndian.Uint16(payload)
	if !isCloseCode(code) {
		return 0, ErrProtocolViolation
	}
	if !utf8.Valid(payload[2:]) {
		return 0, ErrInvalidUTF8
	}
	return code, nil
}

// isCloseCode says whether a code may stand in a close frame: 1004 to 1006 and 1015 "MUST NOT be set" (RFC 6455, 7.4.1), the
// others up to 1014 are registered, and from 3000 on they are free.
func isCloseCode(code uint16) bool {
	switch {
	case code >= 1004 && code <= 1006:
		return false
	case code >= 1000 && code <= 1014:
		return true
	}
	return code >= 3000 && code <= 4999
}
