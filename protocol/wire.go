package protocol

import (
	"bytes"
	"errors"
	"iter"
	"unicode/utf8"

	"golang.org/x/text/encoding/unicode"
	"google.golang.org/protobuf/encoding/protowire"
)

// errMalformed says that bytes are no protobuf message of the expected kind.
var errMalformed = errors.New("protocol: malformed protobuf")

// field is one field of a protobuf message.
type field struct {
	number protowire.Number
	kind   protowire.Type
	scalar uint64 // of varints and fixed-width numbers
	bytes  []byte // of strings, bytes and messages; aliases the message
}

// is says whether the field is the one that the schema knows under this number. A known number with another wire type is
// treated like an unknown field.
func (f field) is(number protowire.Number, kind protowire.Type) bool {
	return f.number == number && f.kind == kind
}

// isBytes is is for strings, bytes and messages.
func (f field) isBytes(number protowire.Number) bool { return f.is(number, protowire.BytesType) }

// isVarint is is for whole numbers and booleans.
func (f field) isVarint(number protowire.Number) bool { return f.is(number, protowire.VarintType) }

// nextField takes the first field from a message that is not empty. Groups are malformed: nobody has ever sent one.
func nextField(b []byte) (f field, rest []byte, ok bool) {
	n := 0
	f.number, f.kind, n = protowire.ConsumeTag(b)
	if n < 0 {
		return f, nil, false
	}
	b = b[n:]
	switch f.kind {
	case protowire.VarintType:
		f.scalar, n = protowire.ConsumeVarint(b)
	case protowire.Fixed64Type:
		f.scalar, n = protowire.ConsumeFixed64(b)
	case protowire.Fixed32Type:
		var v uint32
		v, n = protowire.ConsumeFixed32(b)
		f.scalar = uint64(v)
	case protowire.BytesType:
		f.bytes, n = protowire.ConsumeBytes(b)
	default:
		return f, nil, false
	}
	if n < 0 {
		return f, nil, false
	}
	return f, b[n:], true
}

// schema tells which fields of a message are messages, by number; the others are nil.
type schema []schema

// valid says whether b can be decoded, in all its depth. What has been found valid is read afterwards without looking for
// errors.
func (s schema) valid(b []byte) bool {
	for len(b) > 0 {
		f, rest, ok := nextField(b)
		if !ok {
			return false
		}
		if f.kind == protowire.BytesType && int(f.number) < len(s) {
			if sub := s[f.number]; sub != nil && !sub.valid(f.bytes) {
				return false
			}
		}
		b = rest
	}
	return true
}

// fields are the fields of a valid message.
func fields(b []byte) iter.Seq[field] {
	return func(yield func(field) bool) {
		for len(b) > 0 {
			f, rest, ok := nextField(b)
			if !ok {
				panic("BUG: reading a protobuf message that was not found valid")
			}
			if !yield(f) {
				return
			}
			b = rest
		}
	}
}

// countBytes counts the strings, bytes or messages that stand under this number in a valid message.
func countBytes(b []byte, number protowire.Number) (n int) {
	for f := range fields(b) {
		if f.isBytes(number) {
			n++
		}
	}
	return n
}

// validText answers s if it is UTF-8, and otherwise a copy that is: as browsers and Node decode it, every maximal malformed
// part becomes one U+FFFD.
func validText(s []byte) []byte {
	if utf8.Valid(s) {
		return s
	}
	return decodeText(s)
}

// cloneText is validText that always copies.
func cloneText(s []byte) []byte {
	if utf8.Valid(s) {
		return bytes.Clone(s)
	}
	return decodeText(s)
}

func decodeText(s []byte) []byte {
	decoded, err := unicode.UTF8.NewDecoder().Bytes(s)
	if err != nil {
		panic("BUG: decoding UTF-8 with replacement: " + err.Error())
	}
	return decoded
}
