package rfc6455

import (
	"fmt"
	"strings"
)

// long is a payload of n bytes that shows where it is cut or masked wrongly.
func long(n int) string {
	const part = "0123456789abcdefghijklmnopqrstuvw" // of a length that no mask divides
	return strings.Repeat(part, n/len(part)+1)[:n]
}

// lengths are those around the ends of each form of the length field.
func (s *suite) lengths() {
	s.about("5.2 length")
	for _, n := range []int{0, 1, 2, 3, 4, 5, 7, 8, 9, 124, 125, 126, 127, 128, 255, 256, 257, 4095, 4096, 32767, 32768, 65534, 65535, 65536, 65537} {
		s.fine(fmt.Sprintf("text of %d bytes", n), these(text(long(n))), textOf(long(n)))
		s.fine(fmt.Sprintf("binary of %d bytes", n), these(binary(long(n))), binaryOf(long(n)))
	}
	s.fine("three messages in one segment", these(text("a"), binary("b"), text("")), textOf("a"), binaryOf("b"), textOf(""))
	s.fine("binary that is no text", these(binary("\xff\x00\xfe\x80")), binaryOf("\xff\x00\xfe\x80"))
}

// longLengths are lengths in a field that is wider than it need be, or wider than any number.
func (s *suite) longLengths() {
	s.about("5.2 minimal length")
	for _, n := range []int{0, 1, 125} {
		for _, f := range []sent{text(long(n)), binary(long(n)), ping(long(n))} {
			s.wrongAt(header, fmt.Sprintf("opcode %d, %d in two bytes", f.op, n), protocolError, these(f.in(2)))
			s.wrongAt(header, fmt.Sprintf("opcode %d, %d in eight bytes", f.op, n), protocolError, these(f.in(8)))
		}
	}
	for _, n := range []int{126, 127, 65535} {
		s.wrongAt(header, fmt.Sprintf("%d in eight bytes", n), protocolError, these(binary(long(n)).in(8)))
	}
	s.wrongAt(header, "close, 2 in two bytes", protocolError, these(bye(1000, "").in(2)))
	s.wrongAt(header, "of a fragment behind the first", protocolError, these(text("a").fragment(), last("b").in(2)))

	s.about("5.2 most significant bit")
	s.on("Node ends with 1009 what is longer than any number it has; either code fails the connection")
	s.wrongAt(header, "of a message", tooBig, these(binary("").announced(1<<63)))
	s.wrongAt(header, "with all others", tooBig, these(text("").announced(1<<64-1)))
}

// reserved are bits and opcodes without a meaning.
func (s *suite) reserved() {
	s.about("5.2 RSV")
	for bits := byte(1); bits < 8; bits++ {
		s.wrongAt(header, fmt.Sprintf("%03b on a message", bits), protocolError, these(text("hello").reserved(bits)))
		s.wrongAt(header, fmt.Sprintf("%03b on an empty message", bits), protocolError, these(binary("").reserved(bits)))
	}
	for _, bits := range []byte{1, 2, 4} {
		s.wrongAt(header, fmt.Sprintf("%03b on a ping", bits), protocolError, these(text("a"), ping("b").reserved(bits)), textOf("a"))
		s.wrongAt(header, fmt.Sprintf("%03b on a pong", bits), protocolError, these(pong("").reserved(bits)))
		s.wrongAt(header, fmt.Sprintf("%03b on a close", bits), protocolError, these(bye(1000, "").reserved(bits)))
		s.wrongAt(header, fmt.Sprintf("%03b on a first fragment", bits), protocolError, these(text("a").fragment().reserved(bits)))
		s.wrongAt(header, fmt.Sprintf("%03b on a last fragment", bits), protocolError, these(text("a").fragment(), last("b").reserved(bits)))
	}

	s.about("5.2 opcodes")
	for _, op := range []byte{3, 4, 5, 6, 7, 11, 12, 13, 14, 15} {
		s.wrongAt(header, fmt.Sprintf("%d without payload", op), protocolError, these(sent{op: op}))
		s.wrongAt(header, fmt.Sprintf("%d with payload", op), protocolError, these(text("a"), sent{op: op, payload: "hello"}), textOf("a"))
		s.wrongAt(header, fmt.Sprintf("%d as a fragment", op), protocolError, these(sent{op: op, payload: "x", part: true}))
		s.wrongAt(header, fmt.Sprintf("%d between fragments", op), protocolError, these(text("a").fragment(), sent{op: op}))
	}
}

func (s *suite) masks() {
	s.about("5.1 masks")
	for _, f := range []sent{text("hello"), binary("hello"), text(""), ping("hello"), ping(""), pong("x"), bye(1000, "bye"), byeOf("")} {
		s.wrongAt(header, fmt.Sprintf("none on opcode %d with %d bytes", f.op, len(f.payload)), protocolError, these(text("a"), f.bare()), textOf("a"))
	}
	s.wrongAt(header, "none on a first fragment", protocolError, these(text("hello").fragment().bare()))
	s.wrongAt(header, "none on a last fragment", protocolError, these(text("a").fragment(), last("b").bare()))
	s.wrongAt(header, "none on 126 bytes", protocolError, these(binary(long(126)).bare()))
	s.wrongAt(header, "none on 65536 bytes", protocolError, these(binary(long(65536)).bare()))

	s.about("5.3 masks")
	s.fine("of zeros", these(text("hello").maskedWith(0, 0, 0, 0)), textOf("hello"))
	s.fine("of ones", these(text("hello").maskedWith(255, 255, 255, 255)), textOf("hello"))
	s.fine("of one byte", these(binary(long(1000)).maskedWith(0, 0, 0, 1)), binaryOf(long(1000)))
	s.fine("that make text of what is none", these(text("\x7f\x7f").maskedWith(0x80, 0x80, 0, 0)), textOf("\x7f\x7f"))
	s.fine("another for each fragment",
		these(text("he").maskedWith(1, 2, 3, 4).fragment(), next("llo, w").maskedWith(9, 8, 7, 6), last("orld").maskedWith(0, 0, 255, 0)),
		textOf("hello, world"))
	s.fine("another for each message", these(text("abcde").maskedWith(1, 2, 3, 4), text("abcde").maskedWith(5, 6, 7, 8)), textOf("abcde"), textOf("abcde"))
}

func (s *suite) control() {
	s.about("5.5.2 ping")
	for _, n := range []int{0, 1, 2, 3, 4, 5, 124, 125} {
		s.fine(fmt.Sprintf("of %d bytes", n), these(ping(long(n))), pongOf(long(n)))
	}
	s.fine("with bytes that are no text", these(ping("\x00\xff\xfe\x80")), pongOf("\x00\xff\xfe\x80"))
	var many []sent
	var answers []Frame
	for i := range 10 {
		many = append(many, ping(fmt.Sprint(i)))
		answers = append(answers, pongOf(fmt.Sprint(i)))
	}
	s.fine("ten at once", many, answers...)
	s.fine("behind messages", these(text("a"), ping("1"), binary("b"), ping("2")), textOf("a"), pongOf("1"), binaryOf("b"), pongOf("2"))

	s.about("5.5.3 pong")
	s.fine("that nobody asked for", these(pong("")))
	s.fine("of 125 bytes", these(pong(long(125)), text("a")), textOf("a"))
	s.fine("ten, and a ping", append(these(pong("x"), pong(""), pong("x"), pong(""), pong("x"), pong(""), pong("x"), pong(""), pong("x"), pong("")), ping("p")), pongOf("p"))

	s.about("5.5 control frames")
	for _, f := range []sent{ping(""), pong(""), byeOf("")} {
		for _, n := range []int{126, 127, 65535, 65536} {
			f.payload = long(n)
			s.wrongAt(header, fmt.Sprintf("opcode %d with %d bytes", f.op, n), protocolError, these(f))
		}
		f.payload = "\x03\xe8"
		s.wrongAt(header, fmt.Sprintf("opcode %d in fragments", f.op), protocolError, these(f.fragment()))
		s.wrongAt(header, fmt.Sprintf("opcode %d in fragments between those of a message", f.op), protocolError, these(text("a").fragment(), f.fragment()))
	}
	s.wrongAt(header, "a ping of 2^62 bytes", protocolError, these(ping("").announced(1<<62)))
}

// limits are of this server, and the code is that of the RFC.
func (s *suite) limits() {
	s.about("7.4.1 1009")
	most := long(MaxPayload)
	s.fine("the largest message", these(binary(most)), binaryOf(most))
	s.fine("the largest text", these(text(most)), textOf(most))
	s.fine("the largest in two fragments", these(binary(most[:9]).fragment(), last(most[9:])), binaryOf(most))
	s.fine("the largest with a ping in it", these(binary(most[:9]).fragment(), ping(long(125)), last(most[9:])), pongOf(long(125)), binaryOf(most))
	s.fine("two of the largest", these(binary(most), binary(most)), binaryOf(most), binaryOf(most))
	s.wrongAt(header, "one byte more", tooBig, these(binary("").announced(MaxPayload+1)))
	s.wrongAt(header, "one byte more, text", tooBig, these(text("").announced(MaxPayload+1)))
	s.wrongAt(header, "one byte more in two fragments", tooBig, these(binary("123456789").fragment(), last("").announced(MaxPayload-8)))
	s.wrongAt(header, "one byte more in an endless fragment", tooBig, these(binary("123456789").fragment(), next("").announced(MaxPayload-8)))
	s.wrongAt(header, "one byte in a fragment behind the largest", tooBig, these(binary(most).fragment(), last("x")))
	s.fine("an empty fragment behind the largest", these(binary(most).fragment(), last("")), binaryOf(most))
	for _, shift := range []uint{17, 31, 32, 33, 53, 62} {
		s.wrongAt(header, fmt.Sprintf("2^%d bytes", shift), tooBig, these(text("a"), binary("").announced(1<<shift)), textOf("a"))
	}
}
