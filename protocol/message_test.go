package protocol

import (
	"strings"
	"testing"
)

func TestParseMessageID(t *testing.T) {
	f := func(in string, ok bool) {
		t.Helper()
		id, got := ParseMessageID([]byte(in))
		if got != ok {
			t.Fatalf("ParseMessageID(%q) = %v, want %v", in, got, ok)
		}
		if ok && id.String() != in {
			t.Fatalf("%q became %q", in, id)
		}
		if !ok && !id.IsZero() {
			t.Fatalf("ParseMessageID(%q) left %s behind", in, id)
		}
	}
	f("17954614120000000000000126", true)
	f(strings.Repeat("0", 26), true)
	f(strings.Repeat("9", 26), true)
	f("", false)
	f("1795461412000000000000012", false)
	f("179546141200000000000001260", false)
	f("1795461412000000000000012a", false)
	f("1795461412000000000000012:", false)
	f("1795461412000000000000012/", false)
	f("+7954614120000000000000126", false)
	f("17954614120000000000000 26", false)
	f("1795461412000000000000012\xff", false)
}

func TestMessageIDParts(t *testing.T) {
	f := func(startdate, counter uint64, want string) {
		t.Helper()
		id := MakeMessageID(startdate, counter)
		if id.String() != want || id.Startdate() != startdate || id.Counter() != counter {
			t.Fatalf("%d and %d became %s, %d and %d", startdate, counter, id, id.Startdate(), id.Counter())
		}
		back, ok := MessageIDFromBytes(id[:])
		if !ok || back != id {
			t.Fatalf("%s is refused as bytes", id)
		}
	}
	f(0, 0, strings.Repeat("0", 26))
	f(1795461412, 126, "17954614120000000000000126")
	f(9999999999, 9999999999999999, strings.Repeat("9", 26))
	f(1, 1234567890123456, "00000000011234567890123456")
}

func TestMessageIDFromBytes(t *testing.T) {
	f := func(in string, ok bool) {
		t.Helper()
		if _, got := MessageIDFromBytes(unhex(t, in)); got != ok {
			t.Fatalf("%s: got %v", in, got)
		}
	}
	f("17954638490000000000000001", true)
	f("", false)
	f("179546384900000000000000", false)
	f("1795463849000000000000000100", false)
	f("1795463849000000000000000a", false)
	f("a7954638490000000000000001", false)
}

func TestMessageIDOrder(t *testing.T) {
	ids := []MessageID{{}, MakeMessageID(1, 9), MakeMessageID(1, 10), MakeMessageID(1, 100), MakeMessageID(2, 1)}
	for i, a := range ids {
		for j, b := range ids {
			want := 0
			switch {
			case i < j:
				want = -1
			case i > j:
				want = 1
			}
			if got := a.Compare(b); got != want {
				t.Errorf("%s and %s compare as %d", a, b, got)
			}
		}
	}
}
