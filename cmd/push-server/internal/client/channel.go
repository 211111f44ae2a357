// Package client holds the small clients with which the tests drive a push
// server: a subscriber by WebSocket, a subscriber by long poll, and a backend
// that publishes. They share no code with the server, so that a mistake in
// its encoders is not repeated in its tests.
package client

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"encoding/hex"
	"net/url"
	"strings"
)

// A Channel is what a portal hands out to one user: 32 hex digits for what
// is private, 32 for what others may write to.
type Channel struct {
	Private, Public string
	key             string
}

// NewChannel invents a channel of the portal with this security key.
func NewChannel(key string) Channel {
	return Channel{randomID(), randomID(), key}
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

// Signed is what the owner says in CHANNEL_ID: priv:pub.signature.
func (c Channel) Signed() string {
	item := c.Private + ":" + c.Public
	return item + "." + hex.EncodeToString(c.Sign(item))
}

// Alone is the private id by itself: priv.signature.
func (c Channel) Alone() string {
	return c.Private + "." + hex.EncodeToString(c.Sign(c.Private))
}

// PrivateReceiver is the channel as the backend names it in a publication.
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
		panic("client: " + err.Error())
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
