package view

import (
	"crypto/sha256"
	"encoding/hex"
	"testing"

	"push-server/protocol"
)

const idText = "0123456789abcdef0123456789abcdef"

func channel(t *testing.T, text string) *protocol.ChannelID {
	t.Helper()
	id, ok := protocol.ParseID([]byte(text))
	if !ok {
		t.Fatal(text)
	}
	return &protocol.ChannelID{Bytes: id}
}

// An operator who has a channel id finds its hash with sha256sum.
func TestHash(t *testing.T) {
	sum := sha256.Sum256([]byte(idText))
	if got := Hash(channel(t, idText)); got != hex.EncodeToString(sum[:])[:8] {
		t.Error(got)
	}
}

func TestID(t *testing.T) {
	f := func(text string, want bool) {
		t.Helper()
		if id, ok := ParseID(text); ok != want || ok && id.String() != text {
			t.Errorf("%q: %v %v", text, id, ok)
		}
	}
	f("0-17-3", true)
	f("4294967295-0-1", true)
	f("", false)
	f("0-17", false)
	f("0-17-3x", false)
	f("0-17-3 ", false)
	f("00-17-3", false)
	f("-1-17-3", false)
	f("0-4294967296-3", false)
	if (ID{1, 5, 9}).Behind(&ID{1, 5, 3}) || !(ID{1, 6, 0}).Behind(&ID{1, 5, 3}) || (ID{0, 9, 9}).Behind(&ID{1, 5, 3}) || !(ID{2, 0, 0}).Behind(&ID{1, 5, 3}) {
		t.Error("the order of a list is not that of loops and places")
	}
}

func TestMatch(t *testing.T) {
	ch := channel(t, idText)
	f := func(search string, want bool) {
		t.Helper()
		m := NewMatch(search)
		if got := m.Channel(ch); got != want || got && !m.LooksAtChannels() {
			t.Errorf("%q: %v", search, got)
		}
	}
	hash := Hash(ch)
	f(hash, true)
	f(hash[:4], true)
	f(hash[:3], false)
	f(hash+"0", false)
	f(idText, true)
	f(" "+idText+"\n", true)
	f(idText[:31], false)
	f("ffffffffffffffffffffffffffffffff:"+idText+".ac0b41487e6d3fe2108fce277cf1a05b8fccff38", true)
	f("ffffffffffffffffffffffffffffffff", false)
	f("", false)
	if m := NewMatch("10.0.0."); !m.Text("10.0.0.17") || m.Text("10.0.1.17") || m.LooksAtChannels() || m.Everything() {
		t.Error("addresses are not found")
	}
}
