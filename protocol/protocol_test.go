package protocol

import (
	"encoding/hex"
	"strings"
	"testing"
)

// The channels and the key of the examples.
const (
	exampleKey = "example-key"

	privateA = "0123456789abcdef0123456789abcdef"
	publicA  = "fedcba9876543210fedcba9876543210"
	privateB = "00112233445566778899aabbccddeeff"
	publicB  = "ffeeddccbbaa99887766554433221100"

	signatureA        = "2641220b15c596ac920d55f203a1b0600c80cd06" // of privateA:publicA
	signaturePrivateA = "acbad8c294ed76e1e705ee2986cf14870f7c12c0"
	signaturePublicB  = "cbe0c27ecb99cb0061b558050a4feb7dc50ed852" // of public:publicB
)

// unhex reads hex with blanks wherever they help to read it.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatalf("bad hex in a test: %v", err)
	}
	return b
}

func mustID(t testing.TB, s string) [16]byte {
	t.Helper()
	id, ok := ParseID([]byte(s))
	if !ok {
		t.Fatalf("bad id in a test: %q", s)
	}
	return id
}

func mustMessageID(t testing.TB, s string) MessageID {
	t.Helper()
	id, ok := ParseMessageID([]byte(s))
	if !ok {
		t.Fatalf("bad message id in a test: %q", s)
	}
	return id
}

func newTestSigner(t testing.TB) *Signer {
	t.Helper()
	s, err := NewSigner("", []byte(exampleKey))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func private(t testing.TB, id string) ChannelID {
	t.Helper()
	return ChannelID{Bytes: mustID(t, id), Private: true}
}

func public(t testing.TB, id string) ChannelID {
	t.Helper()
	return ChannelID{Bytes: mustID(t, id)}
}
