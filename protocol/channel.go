package protocol

import (
	"bytes"
	"encoding/hex"
)

// idDigits is the length of an id in a list of channels: 16 bytes in lower-case hex.
const idDigits = 32

// Lengths of a signature in a list of channels, in hex digits: from md5 to sha512.
const (
	minSignatureDigits = 32
	maxSignatureDigits = 128
)

// ChannelID names a channel. Private and public ids are two name spaces.
type ChannelID struct {
	Bytes   [16]byte
	Private bool
}

// AppendHex appends the id as 32 lower-case digits.
func (c ChannelID) AppendHex(dst []byte) []byte { return hex.AppendEncode(dst, c.Bytes[:]) }

// ParseID reads exactly 32 lower-case hex digits.
func ParseID(s []byte) (id [16]byte, ok bool) {
	if len(s) != idDigits {
		return id, false
	}
	for i := range id {
		hi, lo := hexValue[s[2*i]], hexValue[s[2*i+1]]
		if hi|lo > 15 {
			return [16]byte{}, false
		}
		id[i] = hi<<4 | lo
	}
	return id, true
}

// Item is one item of the parameter CHANNEL_ID: a private id, and the public id of the same user if it has one.
type Item struct {
	Private, Public [16]byte
	HasPublic       bool
}

// AppendChannels appends the private channel of the item, then its public one if there is any.
func (it Item) AppendChannels(dst []ChannelID) []ChannelID {
	dst = append(dst, ChannelID{Bytes: it.Private, Private: true})
	if it.HasPublic {
		dst = append(dst, ChannelID{Bytes: it.Public})
	}
	return dst
}

// Trust says which items of a list must be signed.
type Trust uint8

const (
	// TrustNone asks for a signature over every item: subscribers and publishing clients.
	TrustNone Trust = iota
	// TrustBackend takes private items as they are, without looking at their signature. Items with a public id must be signed
	// even then.
	TrustBackend
)

// AppendItems parses the parameter CHANNEL_ID, already percent-decoded, and checks the signatures that trust asks for with s.
// One bad item makes the whole list bad; then, and when the list is empty, dst comes back as it was, with false.
// It allocates only to grow dst.
func AppendItems(dst []Item, list []byte, trust Trust, s *Signer) (items []Item, ok bool) {
	items = dst
	for more := true; more; {
		var text []byte
		text, list, more = bytes.Cut(list, slash)
		items = append(items, Item{})
		it := &items[len(items)-1]
		signature, ok := it.parse(text)
		if !ok {
			return dst, false
		}
		if (trust == TrustNone || it.HasPublic) && !s.ValidItem(it, signature) {
			return dst, false
		}
	}
	return items, true
}

var slash = []byte("/")

// parse reads "priv[:pub][.signature]".
func (it *Item) parse(s []byte) (signature []byte, ok bool) {
	if len(s) < idDigits {
		return nil, false
	}
	if it.Private, ok = ParseID(s[:idDigits]); !ok {
		return nil, false
	}
	s = s[idDigits:]
	if len(s) > idDigits && s[0] == ':' {
		if it.Public, ok = ParseID(s[1 : 1+idDigits]); !ok {
			return nil, false
		}
		it.HasPublic = true
		s = s[1+idDigits:]
	}
	if len(s) == 0 {
		return nil, true
	}
	return s[1:], s[0] == '.' && isSignature(s[1:])
}

func isSignature(s []byte) bool {
	if len(s) < minSignatureDigits || len(s) > maxSignatureDigits {
		return false
	}
	for _, c := range s {
		if hexValue[c] > 15 {
			return false
		}
	}
	return true
}

// hexValue maps lower-case hex digits to their value and everything else to 255.
var hexValue = func() (table [256]byte) {
	for i := range table {
		table[i] = 255
	}
	for i, c := range []byte("0123456789abcdef") {
		table[c] = byte(i)
	}
	return table
}()
