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

// Assembly is a message that has not come in one piece: in fragments, or in a frame of which a part is still to come. A connection has
// one only between the first byte of such a message and the last.
type Assembly struct {
	opCode  ws.OpCode
	payload []byte
	length  int // of what came so far, kept or not

	// The frame under way.
	left int // bytes of its payload still to come
	fin  bool
	mask [4]byte
	at   int // bytes of its payload that came

	text utf8Scanner
}

// Size is what a holds in memory; a may be nil.
func (a *Assembly) Size() int {
	if a == nil {
		return 0
	}
	return assemblySize + cap(a.payload)
}

const assemblySize = 80

// FrameReader takes messages of clients out of bytes. It holds scratch memory only, so one serves all connections of a loop;
// it is not safe for concurrent use.
type FrameReader struct {
	source sliceReader
	header [ws.MaxHeaderSize]byte
}

// MaxUnread is the most bytes that Next leaves in b while it asks for more: those of a control frame that is not complete.
const MaxUnread = ws.MaxHeaderSize + maxControlPayload

// Next takes the next frame from b, or as much of it as is there. It answers the message and the number n of bytes that it has taken.
//
// ErrShort asks for more bytes behind b, which is left as it was; a frame that is too big is refused before it comes. Every other
// error is an *Error, and the connection is to be closed with its code.
//
// The payload is unmasked in place. It aliases b if the message came in one piece, otherwise Next has kept it in *a, and it is the
// caller's own. What does not complete a message is answered as ws.OpContinuation without payload. Without keep, messages of data are
// checked and dropped as they come, and the message that is complete has no payload. Control frames may come between fragments. The
// payloads of all fragments of a message together have at most maxPayload bytes.
func (r *FrameReader) Next(b []byte, a **Assembly, maxPayload int, keep bool) (m Message, n int, err error) {
	if *a != nil && (*a).left > 0 {
		if len(b) == 0 {
			return m, 0, ErrShort
		}
		return r.proceed(b, 0, a, keep)
	}
	h, n, err := r.readHeader(b)
	if err != nil {
		return m, 0, err
	}
	if err := checkHeader(h, n, *a, maxPayload); err != nil {
		return m, 0, err
	}
	whole := h.Length <= int64(len(b)-n)
	switch {
	case h.OpCode.IsControl() && !whole:
		return m, 0, ErrShort
	case h.OpCode.IsControl(), whole && h.Fin && *a == nil:
		end := n + int(h.Length)
		payload := b[n:end:end]
		ws.Cipher(payload, h.Mask, 0)
		if h.OpCode == ws.OpText && !utf8.Valid(payload) {
			return m, 0, ErrInvalidUTF8
		}
		if !keep && !h.OpCode.IsControl() {
			payload = nil
		}
		return Message{h.OpCode, payload}, end, nil
	}
	if *a == nil {
		*a = &Assembly{opCode: h.OpCode}
	}
	(*a).begin(h)
	return r.proceed(b, n, a, keep)
}

func (a *Assembly) begin(h ws.Header) {
	a.left, a.fin, a.mask, a.at = int(h.Length), h.Fin, h.Mask, 0
}

// proceed takes what is there of the frame under way, behind the first n bytes of b.
func (r *FrameReader) proceed(b []byte, n int, whole **Assembly, keep bool) (m Message, end int, err error) {
	a := *whole
	end = n + min(a.left, len(b)-n)
	part := b[n:end]
	ws.Cipher(part, a.mask, a.at)
	a.at += len(part)
	a.left -= len(part)
	a.length += len(part)
	if a.opCode == ws.OpText && !a.text.scan(part) {
		return m, 0, ErrInvalidUTF8
	}
	if keep {
		a.payload = append(a.payload, part...)
	}
	if a.left > 0 || !a.fin {
		return m, end, nil
	}
	if a.opCode == ws.OpText && a.text.inside() {
		return m, 0, ErrInvalidUTF8
	}
	*whole = nil
	return Message{a.opCode, a.payload}, end, nil
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

// checkHeader checks a header of n bytes.
func checkHeader(h ws.Header, n int, a *Assembly, maxPayload int) error {
	state, have := ws.StateServerSide, 0
	if a != nil {
		state, have = state.Set(ws.StateFragmented), a.length
	}
	if ws.CheckHeader(h, state) != nil {
		return ErrProtocolViolation
	}
	// RFC 6455, 5.2: "the minimal number of bytes MUST be used to encode the length".
	const medium, long = 4, 10 // bytes of a header without its mask
	if size := n - len(h.Mask); size == medium && h.Length < 126 || size == long && h.Length <= 0xffff {
		return ErrProtocolViolation
	}
	if !h.OpCode.IsControl() && h.Length > int64(maxPayload-have) {
		return ErrTooBig
	}
	return nil
}

// utf8Scanner checks text as it comes: bytes that can become no character are found with the first of them, not at the end of the
// message (RFC 6455, 8.1).
type utf8Scanner struct {
	tail [utf8.UTFMax]byte // the beginning of a character
	n    int
}

// scan says whether b may go on the text.
func (s *utf8Scanner) scan(b []byte) bool {
	for s.n > 0 && len(b) > 0 {
		s.tail[s.n] = b[0]
		s.n++
		b = b[1:]
		if utf8.FullRune(s.tail[:s.n]) {
			if c, size := utf8.DecodeRune(s.tail[:s.n]); c == utf8.RuneError && size <= 1 {
				return false
			}
			s.n = 0
		}
	}
	for i := 1; i < utf8.UTFMax && i <= len(b); i++ { // an incomplete character at the end waits for its rest
		if end := b[len(b)-i:]; utf8.RuneStart(end[0]) {
			if !utf8.FullRune(end) {
				s.n = copy(s.tail[:], end)
				b = b[:len(b)-i]
			}
			break
		}
	}
	return utf8.Valid(b)
}

// inside says whether a character is not complete.
func (s *utf8Scanner) inside() bool { return s.n > 0 }

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
