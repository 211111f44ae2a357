package protocol

import (
	"bytes"
	"encoding/binary"
	"iter"
	"slices"
	"strings"
	"testing"

	"github.com/gobwas/ws"
)

const testMaxPayload = 1 << 20

// clientFrame is a frame as a client sends it.
type clientFrame struct {
	op       ws.OpCode
	payload  string
	part     bool // not the last fragment
	rsv      byte
	unmasked bool
	length   uint64 // said instead of the true one
}

func (f clientFrame) append(dst []byte) []byte {
	first := byte(f.op) | f.rsv<<4
	if !f.part {
		first |= 0x80
	}
	n := uint64(len(f.payload))
	if f.length > 0 {
		n = f.length
	}
	var second byte
	if !f.unmasked {
		second = 0x80
	}
	dst = append(dst, first)
	switch {
	case n <= 125:
		dst = append(dst, second|byte(n))
	case n <= 0xffff:
		dst = binary.BigEndian.AppendUint16(append(dst, second|126), uint16(n))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, second|127), n)
	}
	if f.unmasked {
		return append(dst, f.payload...)
	}
	mask := [4]byte{0x37, 0xfa, 0x21, 0x3d}
	dst = append(dst, mask[:]...)
	start := len(dst)
	dst = append(dst, f.payload...)
	ws.Cipher(dst[start:], mask, 0)
	return dst
}

// readAll takes all messages from bytes that come in pieces, as from a socket.
func readAll(pieces iter.Seq[[]byte], maxPayload int) (messages []Message, err error) {
	var r FrameReader
	var a *Assembly
	var buffered []byte
	for piece := range pieces {
		buffered = append(buffered, piece...)
		for {
			m, n, err := r.Next(buffered, &a, maxPayload, true)
			if err == ErrShort {
				break
			}
			if err != nil {
				return messages, err
			}
			if m.OpCode != ws.OpContinuation {
				messages = append(messages, Message{m.OpCode, bytes.Clone(m.Payload)})
			}
			buffered = buffered[n:]
		}
	}
	if len(buffered) > 0 || a != nil && a.left > 0 {
		return messages, ErrShort
	}
	return messages, nil
}

func sameMessage(a, b Message) bool {
	return a.OpCode == b.OpCode && bytes.Equal(a.Payload, b.Payload)
}

// framesCheck compares what frames are read as, in pieces of several sizes.
func framesCheck(t *testing.T) func(frames []clientFrame, wantErr error, want ...Message) {
	return func(frames []clientFrame, wantErr error, want ...Message) {
		t.Helper()
		var b []byte
		for _, fr := range frames {
			b = fr.append(b)
		}
		for _, size := range []int{len(b), 1, 2, 3, 7, len(b)/2 + 1} {
			got, err := readAll(slices.Chunk(b, size), testMaxPayload)
			if err != wantErr || !slices.EqualFunc(got, want, sameMessage) {
				t.Fatalf("in pieces of %d: got %.200q, %v; want %.200q, %v", size, got, err, want, wantErr)
			}
		}
	}
}

type frames []clientFrame

func TestFrameReader(t *testing.T) {
	f := framesCheck(t)
	text := func(s string) Message { return Message{ws.OpText, []byte(s)} }
	binary := func(s string) Message { return Message{ws.OpBinary, []byte(s)} }

	f(frames{{op: ws.OpText, payload: "hello"}}, nil, text("hello"))
	f(frames{{op: ws.OpText}}, nil, text(""))
	f(frames{{op: ws.OpBinary, payload: "\xff\xfe"}}, nil, binary("\xff\xfe"))
	for _, n := range []int{125, 126, 127, 0xffff, 0x10000} {
		s := strings.Repeat("x", n)
		f(frames{{op: ws.OpBinary, payload: s}}, nil, binary(s))
	}
	f(frames{{op: ws.OpText, payload: "a"}, {op: ws.OpPing, payload: "p"}, {op: ws.OpBinary, payload: "b"}}, nil,
		text("a"), Message{ws.OpPing, []byte("p")}, binary("b"))
	f(frames{{op: ws.OpPong}}, nil, Message{ws.OpPong, nil})
	f(frames{{op: ws.OpPing, payload: strings.Repeat("p", 125)}}, nil, Message{ws.OpPing, []byte(strings.Repeat("p", 125))})
	f(frames{{op: ws.OpClose, payload: "\x03\xe8bye"}}, nil, Message{ws.OpClose, []byte("\x03\xe8bye")})

	// Fragments, with control frames between them; a character may be split.
	f(frames{{op: ws.OpText, payload: "h", part: true}, {op: ws.OpContinuation, payload: "i"}}, nil, text("hi"))
	f(frames{
		{op: ws.OpText, payload: "\xd0", part: true}, {op: ws.OpPing, payload: "p"}, {op: ws.OpContinuation, part: true},
		{op: ws.OpContinuation, payload: "\x96"}, {op: ws.OpText, payload: "next"},
	}, nil, Message{ws.OpPing, []byte("p")}, text("Ж"), text("next"))
	f(frames{{op: ws.OpBinary, part: true}, {op: ws.OpContinuation}}, nil, binary(""))
}

// What breaks the rules is refused, behind what does not.
func TestFrameReaderRefuses(t *testing.T) {
	f := framesCheck(t)
	f(frames{{op: ws.OpText, payload: "hello", unmasked: true}}, ErrProtocolViolation)
	f(frames{{op: ws.OpBinary, payload: "hello", rsv: 4}}, ErrProtocolViolation)
	f(frames{{op: ws.OpText, payload: "hello", rsv: 1}}, ErrProtocolViolation)
	f(frames{{op: 3, payload: "hello"}}, ErrProtocolViolation)
	f(frames{{op: 11, payload: "hello"}}, ErrProtocolViolation)
	f(frames{{op: ws.OpPing, payload: strings.Repeat("x", 126)}}, ErrProtocolViolation)
	f(frames{{op: ws.OpPing, payload: "x", part: true}}, ErrProtocolViolation)
	f(frames{{op: ws.OpContinuation, payload: "x"}}, ErrProtocolViolation)
	f(frames{{op: ws.OpText, payload: "x", part: true}, {op: ws.OpText, payload: "y"}}, ErrProtocolViolation)
	f(frames{{op: ws.OpText, payload: "\xff\xfe"}}, ErrInvalidUTF8)
	f(frames{{op: ws.OpText, payload: "\xd0", part: true}, {op: ws.OpContinuation, payload: "x"}}, ErrInvalidUTF8)
	f(frames{{op: ws.OpText, payload: "ok"}, {op: ws.OpContinuation, payload: "x"}}, ErrProtocolViolation, Message{ws.OpText, []byte("ok")})

	// What is too big is refused as soon as its header is there.
	f(frames{{op: ws.OpBinary, length: testMaxPayload + 1}}, ErrTooBig)
	f(frames{{op: ws.OpBinary, length: 1 << 62}}, ErrTooBig)
	f(frames{{op: ws.OpBinary, length: 1 << 63}}, ErrTooBig)
	f(frames{{op: ws.OpBinary, payload: "x", part: true}, {op: ws.OpContinuation, length: testMaxPayload}}, ErrTooBig)
	f(frames{{op: ws.OpBinary, payload: "x", part: true}, {op: ws.OpContinuation, length: testMaxPayload - 1}}, ErrShort)
	f(frames{{op: ws.OpBinary, length: testMaxPayload}}, ErrShort)
}

func TestFrameReaderLimit(t *testing.T) {
	b := clientFrame{op: ws.OpBinary, payload: strings.Repeat("x", 100)}.append(nil)
	if messages, err := readAll(slices.Values([][]byte{b}), 100); err != nil || len(messages) != 1 {
		t.Fatalf("exactly the limit: %v", err)
	}
	if _, err := readAll(slices.Values([][]byte{b}), 99); err != ErrTooBig {
		t.Fatalf("one byte above the limit: %v", err)
	}
	// A control frame is not part of the message that it comes in between.
	b = clientFrame{op: ws.OpBinary, payload: "x", part: true}.append(nil)
	b = clientFrame{op: ws.OpPing, payload: "ping"}.append(b)
	b = clientFrame{op: ws.OpContinuation}.append(b)
	if messages, err := readAll(slices.Values([][]byte{b}), 1); err != nil || len(messages) != 2 {
		t.Fatalf("a ping counts as payload: %v", err)
	}
}

// Nothing waits for the rest of a message but its header, or a control frame: what is there is taken, so that nobody has to keep it.
func TestFrameReaderTakesWhatIsThere(t *testing.T) {
	f := func(op ws.OpCode, payload string, keep bool) {
		t.Helper()
		b := clientFrame{op: op, payload: payload}.append(nil)
		var r FrameReader
		var a *Assembly
		var waiting []byte
		for i := range b {
			waiting = append(waiting, b[i])
			m, n, err := r.Next(waiting, &a, testMaxPayload, keep)
			if waiting = waiting[n:]; err != nil && err != ErrShort || len(waiting) > MaxUnread {
				t.Fatalf("byte %d of %d: %d bytes wait, %v", i, len(b), len(waiting), err)
			}
			if !keep && a.Size() > assemblySize {
				t.Fatalf("%d bytes of a message that nobody wants", a.Size())
			}
			if last := i == len(b)-1; (m.OpCode == op) != last || last && keep && string(m.Payload) != payload || last && !keep && m.Payload != nil {
				t.Fatalf("byte %d of %d: %v %q", i, len(b), m.OpCode, m.Payload)
			}
		}
	}
	f(ws.OpText, strings.Repeat("ж", 300), true)
	f(ws.OpText, strings.Repeat("ж", 300), false)
	f(ws.OpBinary, strings.Repeat("\xff", 70_000), false)
	f(ws.OpPing, "ping", true)
}

// What can become no text is refused with its first wrong byte, wherever a frame or a segment ends.
func TestTextIsCheckedAsItComes(t *testing.T) {
	f := func(text string, wrong int) { // the index of the byte that is one too many
		t.Helper()
		for _, part := range []bool{false, true} {
			b := clientFrame{op: ws.OpText, payload: text, part: part}.append(nil)
			header := len(b) - len(text)
			var r FrameReader
			var a *Assembly
			var waiting []byte
			for i := range b {
				waiting = append(waiting, b[i])
				_, n, err := r.Next(waiting, &a, testMaxPayload, true)
				waiting = waiting[n:]
				if got := err == ErrInvalidUTF8; got != (i == header+wrong) {
					t.Fatalf("%q, byte %d: %v", text, i-header, err)
				}
				if err == ErrInvalidUTF8 {
					break
				}
			}
		}
	}
	f("abc\xffdef", 3)
	f("\xce\xba\xed\xa0\x80ab", 3)       // a surrogate
	f("\xf4\x90\x80\x80ab", 1)           // above U+10FFFF
	f("ab\xe2\x28\xa1", 3)               // not a continuation
	f("\xc0\xafabc", 0)                  // longer than it need be
	f("\xf0\x9f\x98\xf0\x9f\x98\x80", 3) // begins anew in the middle
}

// RFC 6455, 5.2: "the minimal number of bytes MUST be used to encode the length".
func TestLengthsAreMinimal(t *testing.T) {
	f := func(header string, want error) {
		t.Helper()
		var r FrameReader
		var a *Assembly
		if _, _, err := r.Next(append(unhex(t, header), make([]byte, 200)...), &a, testMaxPayload, true); err != want {
			t.Errorf("%s: %v, want %v", header, err, want)
		}
	}
	f("82 fe 007d 00000000", ErrProtocolViolation)
	f("82 fe 007e 00000000", nil)
	f("82 ff 000000000000007d 00000000", ErrProtocolViolation)
	f("82 ff 000000000000ffff 00000000", ErrProtocolViolation)
	f("89 fe 0001 00000000", ErrProtocolViolation)
}

// A header that is not there as a whole is left as it was.
func TestFrameReaderLeavesBytesAlone(t *testing.T) {
	b := clientFrame{op: ws.OpText, payload: "hello, world"}.append(nil)
	var r FrameReader
	var a *Assembly
	for n := range b[:len(b)-len("hello, world")] {
		got := bytes.Clone(b[:n])
		if _, used, err := r.Next(got, &a, testMaxPayload, true); err != ErrShort || used != 0 || !bytes.Equal(got, b[:n]) {
			t.Fatalf("%d bytes: %v, %d used, %x", n, err, used, got)
		}
	}
}

// The payload of one message must not grow into the frame behind it.
func TestFrameReaderPayloadEndsAtItsFrame(t *testing.T) {
	b := clientFrame{op: ws.OpText, payload: "one"}.append(nil)
	n := len(b)
	b = clientFrame{op: ws.OpText, payload: "two"}.append(b)
	second := bytes.Clone(b[n:])
	var r FrameReader
	var a *Assembly
	m, used, err := r.Next(b, &a, testMaxPayload, true)
	if err != nil || used != n {
		t.Fatalf("%d bytes used, %v", used, err)
	}
	_ = append(m.Payload, "overwritten"...)
	if !bytes.Equal(b[n:], second) {
		t.Fatal("the next frame is damaged")
	}
}

func TestAppendFrame(t *testing.T) {
	f := func(op ws.OpCode, n int, header string) {
		t.Helper()
		payload := bytes.Repeat([]byte{'x'}, n)
		want := append(unhex(t, header), payload...)
		if got := AppendFrame(nil, op, payload); !bytes.Equal(got, want) {
			t.Fatalf("got %.20x, want %.20x", got, want)
		}
		h, err := ws.ReadHeader(bytes.NewReader(want))
		if err != nil || h.Length != int64(n) || h.OpCode != op || !h.Fin || h.Masked {
			t.Fatalf("read back as %+v, %v", h, err)
		}
	}
	f(ws.OpText, 0, "81 00")
	f(ws.OpBinary, 41, "82 29")
	f(ws.OpText, 125, "81 7d")
	f(ws.OpText, 126, "81 7e 007e")
	f(ws.OpText, 0xffff, "81 7e ffff")
	f(ws.OpBinary, 0x10000, "82 7f 0000000000010000")
	if got, want := AppendFrame(nil, ws.OpPing, []byte("ws ping")), unhex(t, "89 07 77 73 20 70 69 6e 67"); !bytes.Equal(got, want) {
		t.Fatalf("ping: %x", got)
	}
}

func TestAppendClose(t *testing.T) {
	f := func(code uint16, reason, want string) {
		t.Helper()
		if got := string(AppendClose(nil, code, reason)); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
	f(ErrWrongChannel.Code, ErrWrongChannel.Reason(), "\x88\x19\x0f\xaa4010: Wrong Channel Id.")
	f(ErrTooBig.Code, ErrTooBig.Reason(), "\x88\x02\x03\xf1")
	f(1001, "going away", "\x88\x0c\x03\xe9going away")
	f(0, "", "\x88\x00")
	f(0, "without a code there is no reason", "\x88\x00")
	f(1000, strings.Repeat("x", 123), "\x88\x7d\x03\xe8"+strings.Repeat("x", 123))
	f(1000, strings.Repeat("x", 124), "\x88\x7d\x03\xe8"+strings.Repeat("x", 123))
	f(1000, strings.Repeat("Ж", 62), "\x88\x7c\x03\xe8"+strings.Repeat("Ж", 61))
}

func TestParseClose(t *testing.T) {
	f := func(payload string, wantCode uint16, wantErr error) {
		t.Helper()
		code, err := ParseClose([]byte(payload))
		if code != wantCode || err != wantErr {
			t.Fatalf("%q: %d, %v; want %d, %v", payload, code, err, wantCode, wantErr)
		}
	}
	f("", 0, nil)
	f("x", 0, ErrProtocolViolation)
	f("\x03\xe8", 1000, nil)
	f("\x03\xe9going away", 1001, nil)
	f("\x0b\xb8config was replaced", 3000, nil)
	f("\x13\x87bye", 4999, nil)
	f("\x03\xe8\xff", 0, ErrInvalidUTF8)
	code := func(code uint16, ok bool) {
		t.Helper()
		payload := string(binary.BigEndian.AppendUint16(nil, code))
		if ok {
			f(payload, code, nil)
		} else {
			f(payload, 0, ErrProtocolViolation)
		}
	}
	for _, c := range []uint16{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4010, 4999} {
		code(c, true)
	}
	for _, c := range []uint16{0, 999, 1004, 1005, 1006, 1015, 1016, 1999, 2000, 2999, 5000, 65535} {
		code(c, false)
	}
}
