package rfc6455

import (
	"fmt"
	"slices"
)

// characters are the first and the last of each length, and those that are special.
var characters = []string{
	"\x00", "\x7f", "\u0080", "\u07ff", "\u0800", "\ud7ff", "\ue000", "\ufeff", "\ufffd", "\ufffe", "\uffff",
	"\U00010000", "\U0001fffe", "\U0001f600", "\U0010ffff",
}

func (s *suite) validText() {
	s.about("8.1 UTF-8")
	s.fine("of several languages", these(text("Grüße, Жизнь, κόσμε, 日本語, 😀")), textOf("Grüße, Жизнь, κόσμε, 日本語, 😀"))
	s.fine("combining characters", these(text("e\u0301\u200d\u0300")), textOf("e\u0301\u200d\u0300"))
	for _, c := range characters {
		name := fmt.Sprintf("%U", []rune(c)[0])
		s.fine(name, these(text(c)), textOf(c))
		s.fine(name+" in a longer text", these(text("ab"+c+"cd"+c)), textOf("ab"+c+"cd"+c))
		if len(c) > 1 {
			s.fine(name+" in fragments", bytewise("a"+c+"b"), textOf("a"+c+"b"))
		}
	}
	s.fine("a text of characters in fragments", bytewise("κόσμε😀"), textOf("κόσμε😀"))
	s.fine("4096 characters", these(text(repeat("€", 4096))), textOf(repeat("€", 4096)))
	s.fine("binary messages may be anything", these(binary("\xed\xa0\x80\xff").fragment(), last("\xc0")), binaryOf("\xed\xa0\x80\xff\xc0"))
}

// bytewise is a text of which each byte is a fragment.
func bytewise(s string) (frames []sent) {
	for i := range len(s) {
		frames = append(frames, next(s[i:i+1]))
	}
	frames[0].op = opText
	return final(frames)
}

func repeat(s string, n int) string { return string(slices.Repeat([]byte(s), n)) }

// broken are bytes that are no text, and the index of the first by which that is known (RFC 3629, 3 and 4).
var broken = []struct {
	name, bytes string
	at          int
}{
	{"a continuation byte, first", "\x80", 0},
	{"a continuation byte, last", "\xbf", 0},
	{"continuation bytes", "\x80\xbf\x80", 0},
	{"C0", "\xc0\x80", 0},
	{"C1", "\xc1\xbf", 0},
	{"F5", "\xf5\x80\x80\x80", 0},
	{"F8 of five bytes", "\xf8\x88\x80\x80\x80", 0},
	{"FC of six bytes", "\xfc\x84\x80\x80\x80\x80", 0},
	{"FE", "\xfe", 0},
	{"FF", "\xff", 0},
	{"NUL in two bytes", "\xc0\x80", 0},
	{"a slash in three bytes", "\xe0\x80\xaf", 1},
	{"a slash in four bytes", "\xf0\x80\x80\xaf", 1},
	{"U+07FF in three bytes", "\xe0\x9f\xbf", 1},
	{"U+FFFF in four bytes", "\xf0\x8f\xbf\xbf", 1},
	{"the first surrogate", "\xed\xa0\x80", 1},
	{"the last surrogate", "\xed\xbf\xbf", 1},
	{"two surrogates", "\xed\xa0\xbd\xed\xb8\x80", 1},
	{"U+110000", "\xf4\x90\x80\x80", 1},
	{"two bytes, then ASCII", "\xc3a", 1},
	{"three bytes, one missing", "\xe2\x82a", 2},
	{"three bytes, two missing", "\xe2a", 1},
	{"four bytes, one missing", "\xf0\x9f\x98a", 3},
	{"four bytes, two missing", "\xf0\x9fa", 2},
	{"four bytes, begun anew", "\xf0\x9f\x98\xf0\x9f\x98\x80", 3},
	{"UTF-16", "\xff\xfea\x00", 0},
	{"Latin 1", "\xfcber", 0},
}

func (s *suite) invalidText() {
	s.about("8.1 not UTF-8")
	for _, b := range broken {
		s.wrongAt(b.at, b.name, invalidPayload, these(text(b.bytes)))
		s.wrongAt(b.at+8, b.name+" behind text", invalidPayload, these(text("good ж "+b.bytes+" and more")))
		s.wrongAt(b.at, b.name+" in the second fragment", invalidPayload, these(text("good").fragment(), last(b.bytes+"and more")))
		s.wrongAt(0, b.name+" in fragments", invalidPayload, bytewise("ж" + b.bytes)[:3+b.at])
	}
	s.wrongAt(4, "in the middle of a frame that does not come whole", invalidPayload, these(text("good\xff").announced(60_000)))
	s.wrongAt(4, "in a fragment, and no end", invalidPayload, these(text("good\xff").fragment()))
	s.wrongAt(0, "behind a ping in a character", invalidPayload, these(text("\xe2\x82").fragment(), ping("p"), last("\xe2")), pongOf("p"))
	s.wrongAt(0, "in the second message", invalidPayload, these(text("\xe2\x82").fragment(), last("\xac"), text("\xac")), textOf("€"))
	for _, c := range []string{"ж", "€", "😀"} {
		for n := 1; n < len(c); n++ {
			s.wrong(fmt.Sprintf("%d of %d bytes", n, len(c)), invalidPayload, these(text("a"+c[:n])))
			s.wrong(fmt.Sprintf("%d of %d bytes in fragments", n, len(c)), invalidPayload, bytewise("a"+c[:n]))
			s.wrong(fmt.Sprintf("%d of %d bytes, and an empty fragment", n, len(c)), invalidPayload, these(text(c[:n]).fragment(), last("")))
		}
	}
}
