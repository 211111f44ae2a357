package protocol

import (
	"errors"
	"strings"
	"testing"
)

func TestParseItem(t *testing.T) {
	f := func(text, problem string, offset int) {
		t.Helper()
		_, _, err := ParseItem([]byte(text))
		var syntax *SyntaxError
		switch {
		case problem == "" && err != nil:
			t.Errorf("%q: %v", text, err)
		case problem != "" && (!errors.As(err, &syntax) || syntax.Offset != offset || !strings.Contains(err.Error(), problem)):
			t.Errorf("%q: %v, want offset %d: %s", text, err, offset, problem)
		}
	}
	f(privateA, "", 0)
	f(both, "", 0)
	f(alone, "", 0)
	f(signed, "", 0)
	f("", "the private id has 0 digits", 0)
	f(privateA[1:], "the private id has 31 digits", 31)
	f(privateA+"0", "the private id has 33 digits", 32)
	f("A"+privateA[1:], "character 1: \"A\" in the private id: hex digits must be lower case", 0)
	f(privateA[:31]+"g", "not a hex digit", 31)
	f(privateA+":", "the public id has 0 digits", 33)
	f(privateA+":"+publicA[1:]+"."+signatureA, "the public id has 31 digits", 64)
	f(both+":"+publicA, "does not belong", 65)
	f(both+".", "the signature has 0 digits", 66)
	f(both+"."+signatureA+" ", "not a hex digit", 66+40)
	f(privateA+"."+strings.Repeat("0", 129), "the signature has 129 digits", 33+128)
	f(alone+"."+signatureA, "does not belong", 33+40)
}

// FuzzParseItem: what is explained is what AppendItems refuses.
func FuzzParseItem(f *testing.F) {
	for _, text := range []string{"", privateA, both, alone, signed, signed + ".", strings.ToUpper(alone), both + ":" + publicA} {
		f.Add([]byte(text))
	}
	s := newTestSigner(f)
	f.Fuzz(func(t *testing.T, text []byte) {
		it, signature, err := ParseItem(text)
		if err != nil {
			var syntax *SyntaxError
			if !errors.As(err, &syntax) || syntax.Offset > len(text) {
				t.Fatalf("%q: %v", text, err)
			}
		}
		_, ok := AppendItems(nil, text, TrustNone, s)
		if want := err == nil && s.ValidItem(&it, signature); ok != want {
			t.Fatalf("%q: %v, and AppendItems says %v", text, err, ok)
		}
	})
}
