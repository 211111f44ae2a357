package testclient

import (
	"encoding/binary"
	"fmt"
)

// The wire types of protobuf that the protocol uses.
const (
	typeVarint  = 0
	typeBytes   = 2
	typeFixed32 = 5
)

// A field is one field of a protobuf message.
type field struct {
	number int
	value  []byte // of a text or a message
	scalar uint64 // of a number
}

// fields calls f with each field of a message.
func fields(b []byte, f func(field) error) error {
	for len(b) > 0 {
		x, n := readField(b)
		if n <= 0 {
			return fmt.Errorf("%w: %.100x is no protobuf", ErrFraming, b)
		}
		if err := f(x); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// readField reads the field that b begins with; n is 0 if there is none.
func readField(b []byte) (x field, n int) {
	tag, n := binary.Uvarint(b)
	if n <= 0 || tag>>3 == 0 {
		return x, 0
	}
	x.number, b = int(tag>>3), b[n:]
	switch tag & 7 {
	case typeVarint:
		scalar, size := binary.Uvarint(b)
		if size <= 0 {
			return x, 0
		}
		x.scalar = scalar
		return x, n + size
	case typeBytes:
		length, size := binary.Uvarint(b)
		if size <= 0 || length > uint64(len(b)-size) {
			return x, 0
		}
		x.value = b[size : size+int(length)]
		return x, n + size + int(length)
	case typeFixed32:
		if len(b) < 4 {
			return x, 0
		}
		return x, n + 4
	}
	return x, 0
}

// nested calls f with each field of that number.
func nested(b []byte, number int, f func([]byte) error) error {
	return fields(b, func(x field) error {
		if x.number != number {
			return nil
		}
		return f(x.value)
	})
}

func appendBytes(dst []byte, number int, value []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(number)<<3|typeBytes)
	dst = binary.AppendUvarint(dst, uint64(len(value)))
	return append(dst, value...)
}

func appendNumber(dst []byte, number int, value uint64) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(dst, uint64(number)<<3|typeVarint), value)
}
