package rfc6455

import (
	"fmt"
	"slices"
)

func (s *suite) fragments() {
	s.about("5.4 fragments")
	for _, n := range []int{2, 3, 4, 10, 100} {
		whole := long(3 * n)
		frames, empty := these(text(whole[:3]).fragment()), these(binary("").fragment())
		for i := 1; i < n; i++ {
			frames = append(frames, next(whole[3*i:3*i+3]))
			empty = append(empty, next(""))
		}
		s.fine(fmt.Sprintf("text in %d", n), final(frames), textOf(whole))
		s.fine(fmt.Sprintf("binary in %d empty ones", n), final(empty), binaryOf(""))
	}
	s.fine("an empty first one", these(text("").fragment(), last("a")), textOf("a"))
	s.fine("an empty last one", these(text("a").fragment(), last("")), textOf("a"))
	s.fine("an empty one between", these(text("a").fragment(), next(""), next(""), last("b")), textOf("ab"))
	s.fine("of each length", these(binary(long(125)).fragment(), next(long(126)), next(long(256)), last(long(65536-507))),
		binaryOf(long(125)+long(126)+long(256)+long(65536-507)))
	s.fine("messages behind each other", these(text("a").fragment(), last("b"), text("c"), binary("d").fragment(), last("e")),
		textOf("ab"), textOf("c"), binaryOf("de"))

	s.wrongAt(header, "a last one that has no first", protocolError, these(last("a")))
	s.wrongAt(header, "a further one that has no first", protocolError, these(next("a")))
	s.wrongAt(header, "an empty last one that has no first", protocolError, these(last("")))
	s.wrongAt(header, "one behind a whole message", protocolError, these(text("a"), last("b")), textOf("a"))
	s.wrongAt(header, "one behind the last", protocolError, these(text("a").fragment(), last("b"), last("c")), textOf("ab"))
	s.wrongAt(header, "one behind a ping", protocolError, these(ping("a"), last("b")), pongOf("a"))
	for _, f := range []sent{text("b"), binary("b"), text(""), text("b").fragment(), binary("").fragment()} {
		name := fmt.Sprintf("opcode %d with %d bytes, part %t, ", f.op, len(f.payload), f.part)
		s.wrongAt(header, name+"inside a text", protocolError, these(text("a").fragment(), f))
		s.wrongAt(header, name+"inside a binary message", protocolError, these(binary("a").fragment(), f))
		s.wrongAt(header, name+"behind two fragments", protocolError, these(text("a").fragment(), next("b"), f))
	}
}

// final sets FIN on the last frame.
func final(frames []sent) []sent {
	frames[len(frames)-1].part = false
	return frames
}

func (s *suite) controlInFragments() {
	s.about("5.4 control frames between fragments")
	s.fine("ping", these(text("a").fragment(), ping("p"), last("b")), pongOf("p"), textOf("ab"))
	s.fine("ping of 125 bytes", these(binary("a").fragment(), ping(long(125)), last("b")), pongOf(long(125)), binaryOf("ab"))
	s.fine("pong", these(text("a").fragment(), pong("p"), last("b")), textOf("ab"))
	s.fine("one behind each", these(text("a").fragment(), ping("1"), next("b"), ping("2"), pong(""), next(""), ping("3"), last("c"), ping("4")),
		pongOf("1"), pongOf("2"), pongOf("3"), textOf("abc"), pongOf("4"))
	s.fine("ping behind an empty one", these(text("").fragment(), ping(""), last("")), pongOf(""), textOf(""))
	s.fine("ping where the rest does not come", these(text("a").fragment(), ping("p")), pongOf("p"))
	s.fine("ping in a character", these(text("\xe2\x82").fragment(), ping("\xe2"), last("\xac")), pongOf("\xe2"), textOf("€"))
	s.ends("close", these(text("a").fragment(), bye(1000, "")), these(last("b")))
	s.ends("close with a reason", these(binary("a").fragment(), next("b"), bye(3000, "enough")), nil)
	s.ends("close in a character", these(text("\xe2\x82").fragment(), byeOf("")), these(last("\xac")))
	var frames []sent
	for i := range 20 {
		frames = append(frames, next(fmt.Sprint(i%10)), pong(""))
	}
	frames[0].op = opText
	s.fine("twenty pongs", final(slices.Clone(frames[:39])), textOf("01234567890123456789"))
}
