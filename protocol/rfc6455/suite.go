package rfc6455

import (
	"iter"
	"math/rand/v2"
	"slices"
)

// Slices cuts b as a network may: into slices of random sizes, the same ones for a seed.
func Slices(b []byte, seed uint64) iter.Seq[[]byte] {
	r := rand.New(rand.NewPCG(seed, uint64(len(b))))
	return func(yield func([]byte) bool) {
		for len(b) > 0 {
			n := 1 + r.IntN(min(len(b), 1+r.IntN(len(b))))
			if !yield(b[:n]) {
				return
			}
			b = b[n:]
		}
	}
}

// suite gathers cases.
type suite struct {
	section    string
	deliberate string
	cases      []Case
}

// about says which section those that follow are of.
func (s *suite) about(section string) { s.section, s.deliberate = section, "" }

// on says why those that follow are not as the RFC says.
func (s *suite) on(purpose string) { s.deliberate = purpose }

func (s *suite) add(name string, known int, frames []sent, want []Frame) {
	s.cases = append(s.cases, Case{s.section, name, join(frames), want, known, s.deliberate})
}

// fine is what a server has to take; the connection goes on.
func (s *suite) fine(name string, frames []sent, want ...Frame) { s.add(name, -1, frames, want) }

// wrong is what a server has to end with code, behind the answers to what was right. It knows with the last byte.
func (s *suite) wrong(name string, code int, frames []sent, want ...Frame) {
	s.add(name, len(join(frames))-1, frames, append(slices.Clip(want), closed(code)))
}

// wrongAt is wrong where the server knows with byte at of the payload of the last frame; -1 is the last byte of its header.
func (s *suite) wrongAt(at int, name string, code int, frames []sent, want ...Frame) {
	known := len(join(frames)) - len(frames[len(frames)-1].payload) + at
	s.add(name, known, frames, append(slices.Clip(want), closed(code)))
}

const header = -1

// ends is a close frame, the last of frames, and what comes behind it. It is answered with its own payload.
func (s *suite) ends(name string, frames, behind []sent, want ...Frame) {
	payload := frames[len(frames)-1].payload
	s.add(name, len(join(frames))-1, slices.Concat(frames, behind), append(slices.Clip(want), Frame{opClose, payload}))
}

// sent is a frame of a client. What is not said is as usual.
type sent struct {
	op       byte
	payload  string
	part     bool // FIN is not set
	rsv      byte
	unmasked bool
	mask     *[4]byte
	wide     int    // bytes of the length field: 2 or 8 where fewer would do
	says     uint64 // a length that is not the payload's
}

func text(payload string) sent   { return sent{op: opText, payload: payload} }
func binary(payload string) sent { return sent{op: opBinary, payload: payload} }
func ping(payload string) sent   { return sent{op: opPing, payload: payload} }
func pong(payload string) sent   { return sent{op: opPong, payload: payload} }

// next is a fragment behind the first, last is the last of them.
func next(payload string) sent { return sent{op: opContinuation, payload: payload, part: true} }
func last(payload string) sent { return sent{op: opContinuation, payload: payload} }

// bye is a close frame.
func bye(code int, reason string) sent { return byeOf(codeBytes(code) + reason) }
func byeOf(payload string) sent        { return sent{op: opClose, payload: payload} }

// fragment is f without FIN.
func (f sent) fragment() sent {
	f.part = true
	return f
}

func (f sent) bare() sent {
	f.unmasked = true
	return f
}

func (f sent) maskedWith(a, b, c, d byte) sent {
	f.mask = &[4]byte{a, b, c, d}
	return f
}

func (f sent) reserved(bits byte) sent {
	f.rsv = bits
	return f
}

// in has the length of f in a field of n bytes.
func (f sent) in(n int) sent {
	f.wide = n
	return f
}

// announced is the beginning of f, with the length of the whole.
func (f sent) announced(n uint64) sent {
	f.says = n
	return f
}

func these(frames ...sent) []sent { return frames }

func join(frames []sent) (b []byte) {
	for _, f := range frames {
		b = f.append(b)
	}
	return b
}

func (f *sent) append(b []byte) []byte {
	first, masked := f.op|f.rsv<<4, byte(0x80)
	if !f.part {
		first |= 0x80
	}
	if f.unmasked {
		masked = 0
	}
	n := uint64(len(f.payload))
	if f.says > 0 {
		n = f.says
	}
	b = append(b, first)
	switch {
	case f.wide == 8 || n > 0xffff:
		b = append(b, masked|127)
		for shift := 56; shift >= 0; shift -= 8 {
			b = append(b, byte(n>>shift))
		}
	case f.wide == 2 || n > 125:
		b = append(b, masked|126, byte(n>>8), byte(n))
	default:
		b = append(b, masked|byte(n))
	}
	if f.unmasked {
		return append(b, f.payload...)
	}
	mask := f.mask
	if mask == nil {
		mask = &[4]byte{0x37, 0xfa, 0x21, 0x3d}
	}
	b = append(b, mask[:]...)
	for i := range len(f.payload) {
		b = append(b, f.payload[i]^mask[i%4])
	}
	return b
}

// The answers.
func textOf(payload string) Frame   { return Frame{opText, payload} }
func binaryOf(payload string) Frame { return Frame{opBinary, payload} }
func pongOf(payload string) Frame   { return Frame{opPong, payload} }
func closed(code int) Frame         { return Frame{opClose, codeBytes(code)} }

func codeBytes(code int) string { return string([]byte{byte(code >> 8), byte(code)}) }
