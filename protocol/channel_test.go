package protocol

import (
	"slices"
	"strings"
	"testing"
)

func TestParseID(t *testing.T) {
	f := func(in string, ok bool) {
		t.Helper()
		id, got := ParseID([]byte(in))
		if got != ok {
			t.Fatalf("ParseID(%q) = %v, want %v", in, got, ok)
		}
		if back := string((ChannelID{Bytes: id}).AppendHex(nil)); ok && back != in {
			t.Fatalf("%q became %q", in, back)
		}
		if !ok && id != [16]byte{} {
			t.Fatalf("ParseID(%q) left %x behind", in, id)
		}
	}
	f(privateA, true)
	f(strings.Repeat("0", 32), true)
	f(strings.Repeat("f", 32), true)
	f("", false)
	f(privateA[1:], false)
	f(privateA+"0", false)
	f(strings.ToUpper(privateA), false)
	f(strings.Repeat("0", 31)+"F", false)
	f(strings.Repeat("0", 31)+"g", false)
	f(strings.Repeat("0", 31)+"\xff", false)
	f(" "+strings.Repeat("0", 31), false)
}

// itemsCheck compares what a list is read as; nothing is wanted of a bad one.
func itemsCheck(t *testing.T) func(list string, trust Trust, want ...string) {
	s := newTestSigner(t)
	return func(list string, trust Trust, want ...string) {
		t.Helper()
		items, ok := AppendItems(nil, []byte(list), trust, s)
		if ok != (want != nil) {
			t.Fatalf("%q: ok = %v", list, ok)
		}
		var got []string
		for _, it := range items {
			got = append(got, string(it.appendText(nil)))
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%q: got %q, want %q", list, got, want)
		}
	}
}

const (
	both   = privateA + ":" + publicA
	signed = both + "." + signatureA
	alone  = privateA + "." + signaturePrivateA
)

func TestAppendItems(t *testing.T) {
	f := itemsCheck(t)
	f(signed, TrustNone, both)
	f(alone, TrustNone, privateA)
	f(signed+"/"+alone, TrustNone, both, privateA)
	f(alone+"/"+alone, TrustNone, privateA, privateA)
	f(strings.Repeat(alone+"/", 149)+alone, TrustNone, slices.Repeat([]string{privateA}, 150)...)

	// A back end need not sign private ids, but the pairs.
	f(privateA, TrustBackend, privateA)
	f(privateA+"/"+privateB, TrustBackend, privateA, privateB)
	f(privateA+"."+strings.Repeat("0", 40), TrustBackend, privateA)
	f(privateA+"."+strings.Repeat("0", 128), TrustBackend, privateA)
	f(signed, TrustBackend, both)
	f(both, TrustBackend)
	f(both+"."+signaturePrivateA, TrustBackend)
	f(privateA+"/"+both, TrustBackend)

	// Missing and wrong signatures.
	f(privateA, TrustNone)
	f(both, TrustNone)
	f(privateA+"."+signatureA, TrustNone)
	f(both+"."+signaturePrivateA, TrustNone)
	f(privateB+"."+signaturePrivateA, TrustNone)
	f(alone+"/"+privateB, TrustNone)
	f(privateA+"."+signaturePrivateA[:38], TrustNone)
	f(privateA+"."+signaturePrivateA+"00", TrustNone)
	// The signature that allows to publish to a public id does not open the id as a private one.
	f(publicB+"."+signaturePublicB, TrustNone)
}

func TestAppendItemsForms(t *testing.T) {
	f := itemsCheck(t)
	f("", TrustBackend)
	f("/", TrustBackend)
	f("/"+privateA, TrustBackend)
	f(privateA+"/", TrustBackend)
	f(privateA+"//"+privateA, TrustBackend)
	f(privateA[1:], TrustBackend)
	f(privateA+"0", TrustBackend)
	f(strings.ToUpper(privateA), TrustBackend)
	f(privateA+".", TrustBackend)
	f(privateA+"."+strings.Repeat("0", 31), TrustBackend)
	f(privateA+"."+strings.Repeat("0", 129), TrustBackend)
	f(privateA+"."+strings.Repeat("A", 40), TrustBackend)
	f(privateA+"."+strings.Repeat("0", 40)+"."+strings.Repeat("0", 40), TrustBackend)
	f(privateA+":", TrustBackend)
	f(privateA+":"+publicA[1:], TrustBackend)
	f(privateA+":"+publicA+":"+publicB+"."+signatureA, TrustBackend)
	f(strings.ToUpper(signed), TrustBackend)
	f(privateA+" ", TrustBackend)
	f(privateA+"\n", TrustBackend)
	f(alone+"+", TrustNone)
	f(privateA+"%2F"+privateB, TrustBackend)
}

func TestAppendItemsKeepsWhatWasThere(t *testing.T) {
	s := newTestSigner(t)
	first := Item{Private: mustID(t, privateB)}
	items, ok := AppendItems([]Item{first}, []byte(privateA), TrustBackend, s)
	if !ok || len(items) != 2 || items[0] != first || items[1].Private != mustID(t, privateA) {
		t.Fatalf("got %v, %v", items, ok)
	}
	items, ok = AppendItems(items[:1], []byte(privateA+"/x"), TrustBackend, s)
	if ok || len(items) != 1 || items[0] != first {
		t.Fatalf("a bad list left %v, %v", items, ok)
	}
	// Memory that is used again must not lend its public id to an item without one.
	pair := []byte(privateA + ":" + publicA + "." + signatureA)
	items, _ = AppendItems(items[:0], pair, TrustNone, s)
	items, _ = AppendItems(items[:0], []byte(privateA), TrustBackend, s)
	if items[0].HasPublic {
		t.Fatal("a public id was left over from the last list")
	}
}

func TestItemAppendChannels(t *testing.T) {
	it := Item{Private: mustID(t, privateA), Public: mustID(t, publicA), HasPublic: true}
	want := []ChannelID{private(t, privateA), public(t, publicA)}
	if got := it.AppendChannels(nil); !slices.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	it.HasPublic = false
	if got := it.AppendChannels(nil); !slices.Equal(got, want[:1]) {
		t.Fatalf("got %v, want %v", got, want[:1])
	}
}
