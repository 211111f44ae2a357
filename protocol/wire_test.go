package protocol

import (
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

func TestSchemaValid(t *testing.T) {
	s := schema{1: {2: {}}}
	f := func(in string, want bool) {
		t.Helper()
		if got := s.valid(unhex(t, in)); got != want {
			t.Fatalf("%s: got %v", in, got)
		}
	}
	f("", true)
	f("0a00", true)
	f("0a02 1200", true)
	f("0a03 120108", false) // a message two levels down ends early
	f("1a03 120108", true)  // an unknown field is not looked into
	f("0a03 1a0108", true)  // nor is one that is no message
	f("08ffffffffffffffffff01", true)
	f("08ffffffffffffffffff02", false) // more than 64 bits
	f("0880", false)
	f("0d01020304", true)
	f("0d010203", false)
	f("090102030405060708", true)
	f("09010203", false)
	f("0a", false)
	f("0a7f 0a00", false)
	f("0affffffffffffffff7f00", false)
	f("0b0c", false) // group
	f("0c", false)
	f("0e00", false) // no such wire type
	f("0f00", false)
	f("0000", false) // no field has number 0
	f("fa7f00", true)
	f("80", false)
}

func TestFieldsKeepTheirWireType(t *testing.T) {
	var got []field
	for f := range fields(unhex(t, "08 96 01 0d 01000000 09 0200000000000000 0a 01 61")) {
		got = append(got, f)
	}
	if len(got) != 4 || !got[0].isVarint(1) || !got[1].is(1, protowire.Fixed32Type) || !got[2].is(1, protowire.Fixed64Type) || !got[3].isBytes(1) {
		t.Fatalf("got %+v", got)
	}
	if got[0].scalar != 150 || got[1].scalar != 1 || got[2].scalar != 2 || string(got[3].bytes) != "a" {
		t.Fatalf("got %+v", got)
	}
}

func TestFieldsOfInvalidMessage(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Fatal("reading on behind a malformed field")
		}
	}()
	for range fields([]byte{0x0a}) {
	}
}

// The replacements are those of the encoding standard of browsers, which Node follows.
func TestValidText(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		if got := string(validText([]byte(in))); got != want {
			t.Fatalf("%q became %q, want %q", in, got, want)
		}
		if got := string(cloneText([]byte(in))); got != want {
			t.Fatalf("%q was copied as %q, want %q", in, got, want)
		}
	}
	f("", "")
	f("plain", "plain")
	f("Ж€😀", "Ж€😀")
	f("\ufeffbom stays", "\ufeffbom stays")
	f("\ufffd", "\ufffd")
	f("\"\xff\xc3(\xe2\x82\"", "\"\ufffd\ufffd(\ufffd\"")
	f("\xff\xfe", "\ufffd\ufffd")
	f("\xed\xa0\x80", "\ufffd\ufffd\ufffd") // half of a surrogate pair
	f("\xf0\x80\x80\x41", "\ufffd\ufffd\ufffdA")
	f("\xf1\x80\x80\x41", "\ufffdA")
	f("\xf4\x90\x80\x80", "\ufffd\ufffd\ufffd\ufffd")
	f("\xc0\xaf", "\ufffd\ufffd") // overlong
	f("a\xf0\x9f\x98", "a\ufffd")
	f("\xe2\x82\xe2\x82\xac", "\ufffd€")
}

func TestCloneTextCopies(t *testing.T) {
	in := []byte("text")
	out := cloneText(in)
	in[0] = 'n'
	if string(out) != "text" {
		t.Fatalf("got %q", out)
	}
}
