package rfc6455

import "fmt"

func (s *suite) closing() {
	s.about("5.5.1 close")
	s.ends("empty", these(byeOf("")), nil)
	s.ends("behind messages", these(text("a"), binary("b"), bye(1000, "")), nil, textOf("a"), binaryOf("b"))
	s.ends("with a reason", these(bye(1000, "going home")), nil)
	s.ends("with the longest reason", these(bye(1000, long(123))), nil)
	s.ends("with a reason that is not ASCII", these(bye(1001, "Ж€😀")), nil)
	s.ends("what follows is dropped", these(bye(1000, "")), these(text("a"), ping("b"), binary("c")))
	s.ends("a second one is dropped", these(bye(1000, "")), these(bye(1001, "")))
	s.ends("what follows need not be right", these(byeOf("")), these(sent{op: 3}.bare(), text("\xff")))
	s.wrong("one byte", protocolError, these(byeOf("\x03")))
	s.wrong("one byte, behind a message", protocolError, these(text("a"), byeOf("x")), textOf("a"))

	s.about("8.1 reason of a close")
	for _, b := range broken {
		s.wrong(b.name, invalidPayload, these(bye(1000, "why: "+b.bytes)))
	}
	s.wrong("a character that is cut", invalidPayload, these(bye(1000, "\xe2\x82")))
	s.wrong("a wrong code with a wrong reason", protocolError, these(bye(999, "\xff")))
}

func (s *suite) closeCodes() {
	s.about("7.4 close codes")
	for _, code := range []int{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3001, 3999, 4000, 4010, 4999} {
		s.ends(fmt.Sprint(code), these(bye(code, "")), nil)
	}
	for _, code := range []int{0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 1999, 2000, 2999, 5000, 0x8000, 65535} {
		s.wrong(fmt.Sprint(code), protocolError, these(bye(code, "")))
		s.wrong(fmt.Sprint(code, " with a reason"), protocolError, these(bye(code, "why")))
	}
	for _, code := range []int{1012, 1013, 1014} { // registered since (RFC 6455, 11.7)
		s.ends(fmt.Sprint(code, ", registered later"), these(bye(code, "")), nil)
	}
}
