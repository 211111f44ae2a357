package testclient

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"encoding/hex"
	"net/url"
	"strings"

	"push-server/protocol"
)

// A Channel is what a portal hands out to one user: 32 hex digits for what is
// private, 32 for what others may write to. Public may be empty.
type Channel struct {
	Private, Public string
	key             string
}

// NewChannel invents a channel of the portal with this security key.
func NewChannel(key string) Channel {
	return Channel{randomID(), randomID(), key}
}

// ChannelOf is the channel that the server knows as item.
func ChannelOf(key string, item protocol.Item) Channel {
	c := Channel{Private: hex.EncodeToString(item.Private[:]), key: key}
	if item.HasPublic {
		c.Public = hex.EncodeToString(item.Public[:])
	}
	return c
}

func randomID() string {
	b := make([]byte, 16)
	rand.Read(b)
	return hex.EncodeToString(b)
}

// Sign gives the SHA-1 signature of text with the key of the portal.
func (c Channel) Sign(text string) []byte {
	mac := hmac.New(sha1.New, []byte(c.key))
	mac.Write([]byte(text))
	return mac.Sum(nil)
}

// Signed is what the owner says in CHANNEL_ID: priv:pub.signature, or
// priv.signature if there is no public id.
func (c Channel) Signed() string {
	if c.Public == "" {
		return c.Alone()
	}
	item := c.Private + ":" + c.Public
	return item + "." + hex.EncodeToString(c.Sign(item))
}

// Alone is the private id by itself: priv.signature.
func (c Channel) Alone() string {
	return c.Private + "." + hex.EncodeToString(c.Sign(c.Private))
}

// Item is the channel as the server knows it.
func (c Channel) Item() protocol.Item {
	item := protocol.Item{Private: [16]byte(decodeHex(c.Private)), HasPublic: c.Public != ""}
	if item.HasPublic {
		item.Public = [16]byte(decodeHex(c.Public))
	}
	return item
}

// PrivateReceiver is the channel as the back end names it in a publication.
func (c Channel) PrivateReceiver() Receiver {
	return Receiver{ID: decodeHex(c.Private), Private: true}
}

// PublicReceiver is the channel as another client names it.
func (c Channel) PublicReceiver() Receiver {
	return Receiver{ID: decodeHex(c.Public), Signature: c.Sign("public:" + c.Public)}
}

func decodeHex(digits string) []byte {
	b, err := hex.DecodeString(digits)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return b
}

// Query is the query of a subscriber: its signed channels, the mode, and the
// last id that it has seen, if any.
func Query(binary bool, mid string, signed ...string) string {
	query := "?CHANNEL_ID=" + url.QueryEscape(strings.Join(signed, "/"))
	if binary {
		query += "&binaryMode=true"
	}
	if mid != "" {
		query += "&mid=" + mid
	}
	return query + "&revision=19"
}
