package replay

import (
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// The opcodes of WebSocket frames.
const (
	opContinue = 0
	opText     = 1
	opBinary   = 2
	opClose    = 8
	opPing     = 9
	opPong     = 10
)

var opcodes = map[string]byte{
	"cont": opContinue, "text": opText, "binary": opBinary,
	"close": opClose, "ping": opPing, "pong": opPong,
}

// A frame is a WebSocket frame, with the faults that a test may want.
type frame struct {
	op       byte
	notFinal bool
	reserved byte // the three reserved bits, 1..7
	unmasked bool
	length   int // the announced length, if not that of the payload
	payload  []byte
}

// bytes writes the frame as a client does, masked unless told otherwise.
func (f frame) bytes() []byte {
	first := f.op | f.reserved<<4
	if !f.notFinal {
		first |= 0x80
	}
	length := len(f.payload)
	if f.length > 0 {
		length = f.length
	}
	out := appendLength([]byte{first}, length, !f.unmasked)
	if f.unmasked {
		return append(out, f.payload...)
	}
	mask := make([]byte, 4)
	rand.Read(mask)
	out = append(out, mask...)
	for i, b := range f.payload {
		out = append(out, b^mask[i%4])
	}
	return out
}

func appendLength(out []byte, length int, masked bool) []byte {
	var bit byte
	if masked {
		bit = 0x80
	}
	switch {
	case length < 126:
		return append(out, bit|byte(length))
	case length < 1<<16:
		return binary.BigEndian.AppendUint16(append(out, bit|126), uint16(length))
	}
	return binary.BigEndian.AppendUint64(append(out, bit|127), uint64(length))
}

// parseFrame reads "FLAGS : PAYLOAD", where flags are an opcode word or
// op=N, and any of nofin, unmasked, rsv=N, length=N, repeat=N, hex.
func parseFrame(text string) (frame, error) {
	flags, payload, _ := strings.Cut(text, ":")
	f := frame{}
	raw, err := unescape(strings.TrimPrefix(payload, " "))
	f.payload = []byte(raw)
	for _, flag := range strings.Fields(flags) {
		if err == nil {
			err = f.set(flag)
		}
	}
	return f, err
}

// set applies one flag.
func (f *frame) set(flag string) (err error) {
	name, value, _ := strings.Cut(flag, "=")
	number, _ := strconv.Atoi(value)
	switch name {
	case "nofin":
		f.notFinal = true
	case "unmasked":
		f.unmasked = true
	case "hex":
		f.payload, err = hex.DecodeString(strings.ReplaceAll(string(f.payload), " ", ""))
	case "repeat":
		f.payload = []byte(strings.Repeat(string(f.payload), number))
	case "length":
		f.length = number
	case "rsv":
		f.reserved = byte(number)
	case "op":
		f.op = byte(number)
	default:
		op, ok := opcodes[name]
		if !ok {
			return fmt.Errorf("no frame flag %q", flag)
		}
		f.op = op
	}
	return err
}

// closePayload builds the payload of a close frame from "CODE REASON".
func closePayload(text string) ([]byte, error) {
	code, reason, _ := strings.Cut(text, " ")
	if code == "" {
		return nil, nil
	}
	n, err := strconv.ParseUint(code, 10, 16)
	return append(binary.BigEndian.AppendUint16(nil, uint16(n)), reason...), err
}

// closeText is the reverse of closePayload.
func closeText(payload []byte) string {
	if len(payload) < 2 {
		return ""
	}
	return strings.TrimSpace(fmt.Sprintf("%d %s", binary.BigEndian.Uint16(payload), payload[2:]))
}

// String writes a frame as it stands in a conversation.
func (f frame) String() string {
	switch f.op {
	case opClose:
		return strings.TrimSpace("close " + closeText(f.payload))
	case opPing:
		return strings.TrimSpace("ping " + escape(string(f.payload)))
	case opPong:
		return strings.TrimSpace("pong " + escape(string(f.payload)))
	case opText:
		return "text " + escape(string(f.payload))
	}
	return fmt.Sprintf("frame op=%d %x", f.op, f.payload)
}

// readFrame reads one frame, and the continuations of a fragmented one. When
// it cannot, it leaves the cursor where it was.
func readFrame(c *conn, deadline time.Time) (frame, error) {
	var whole frame
	begin := c.pos
	for {
		f, err := readFragment(c, deadline)
		if err != nil {
			c.pos = begin
			return f, err
		}
		if f.op >= opClose {
			return f, nil
		}
		if f.op != opContinue {
			whole.op = f.op
		}
		whole.payload = append(whole.payload, f.payload...)
		if !f.notFinal {
			return whole, nil
		}
	}
}

func readFragment(c *conn, deadline time.Time) (f frame, err error) {
	head, err := c.take(2, deadline)
	if err != nil {
		return f, err
	}
	if head[0]&0x70 != 0 || head[1]&0x80 != 0 {
		return f, fmt.Errorf("frame of the server has reserved bits or a mask: %x", head)
	}
	f.op, f.notFinal = head[0]&15, head[0]&0x80 == 0
	length := uint64(head[1])
	if extra := map[uint64]int{126: 2, 127: 8}[length]; extra > 0 {
		more, err := c.take(extra, deadline)
		if err != nil {
			return f, err
		}
		length = binary.BigEndian.Uint64(append(make([]byte, 8-extra), more...))
	}
	if length > 64<<20 {
		return f, fmt.Errorf("frame of %d bytes", length)
	}
	f.payload, err = c.take(int(length), deadline)
	return f, err
}

// nextFrame reads the next frame that is not a ping; pings are answered.
func nextFrame(c *conn, deadline time.Time) (frame, error) {
	for {
		f, err := readFrame(c, deadline)
		if err != nil || f.op != opPing {
			return f, err
		}
		c.write(frame{op: opPong, payload: f.payload}.bytes())
	}
}

// nextItem gives the next item, out of the next data frame if need be.
func nextItem(c *conn, deadline time.Time) (item, error) {
	for len(c.items) == 0 {
		f, err := nextFrame(c, deadline)
		if err != nil {
			return item{}, err
		}
		if f.op >= opClose || (f.op == opBinary) != c.binary {
			return item{}, errors.New("got  " + f.String())
		}
		if c.items, err = parseItems(f.payload, c.binary); err != nil {
			return item{}, err
		}
	}
	it := c.items[0]
	c.items = c.items[1:]
	return it, nil
}

// expectFrame compares the next control or text frame.
func expectFrame(c *conn, part Part, v vars, deadline time.Time) error {
	want := strings.TrimSpace(part.Kind + " " + part.Text)
	if len(c.items) > 0 {
		return fmt.Errorf("want %s\ngot  %s", want, c.items[0])
	}
	read := nextFrame
	if part.Kind == "ping" {
		read = readFrame
	}
	f, err := read(c, deadline)
	if err != nil {
		return fmt.Errorf("want %s\ngot  %w", want, err)
	}
	return v.match(want, f.String())
}

// expectBatch compares a whole binary frame.
func expectBatch(c *conn, text string, v vars, deadline time.Time) error {
	f, err := nextFrame(c, deadline)
	if err != nil {
		return err
	}
	if f.op != opBinary {
		return fmt.Errorf("want a binary frame\ngot  %s", f)
	}
	return compareProtoText("ResponseBatch", text, f.payload, v)
}

// websocketKey makes the key of a handshake and the answer that it needs.
func websocketKey() (key, accept string) {
	b := make([]byte, 16)
	rand.Read(b)
	key = base64.StdEncoding.EncodeToString(b)
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return key, base64.StdEncoding.EncodeToString(sum[:])
}
