package protocol

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strconv"
	"time"

	"github.com/bytedance/sonic"
)

// Token is what a portal of version 5 says of a user in a JWT (RFC 7519) instead of signed channel ids.
type Token struct {
	User     uint64     // 0: a guest
	Channels [][16]byte // what it may listen to besides its own messages
	Expires  int64      // Unix seconds
}

// TokenFault is why a token is refused. It is a metric label.
type TokenFault string

// The faults, in the order in which they are looked for.
const (
	TokenFine      TokenFault = ""
	TokenMalformed TokenFault = "malformed" // not three segments of base64url with JSON objects in them
	TokenAlgorithm TokenFault = "algorithm" // another one than HS256
	TokenSignature TokenFault = "signature" // that of no key
	TokenExpired   TokenFault = "expired"
	TokenEarly     TokenFault = "early" // issued in the future
	TokenUser      TokenFault = "user"  // sub is no user id
	TokenEmpty     TokenFault = "empty" // neither a user nor a channel
)

// TokenFaults are all faults.
var TokenFaults = [...]TokenFault{TokenMalformed, TokenAlgorithm, TokenSignature, TokenExpired, TokenEarly, TokenUser, TokenEmpty}

const (
	maxToken         = 4096 // bytes; those of PHP have some 300
	maxTokenChannels = 16
	// maxUser bounds user ids: a browser knows no greater whole numbers.
	maxUser = 1<<53 - 1
	// clockSkew is how far the clock of the portal may be away, in seconds.
	clockSkew = 60
)

// TokenReader checks tokens with a list of keys. It is not safe for concurrent use: each loop or goroutine has one of its own.
type TokenReader struct {
	signer *Signer
	claims []byte // scratch
}

// NewTokenReader makes a reader of tokens that are signed with one of keys, none of which is empty or changes.
func NewTokenReader(keys ...[]byte) *TokenReader {
	return &TokenReader{signer: newSigner(sha256.New, keys)}
}

// Used is the key of the last token that was right, counted from 0.
func (r *TokenReader) Used() int { return r.signer.Used() }

var tokenEncoding = base64.RawURLEncoding.Strict()

// Read checks a token as it came in the query, percent-decoded, at the Unix time now, and reads it into t, whose Channels are used again.
// After a fault t is not to be used. The key is never told from the others by time, nor is a part of the signature.
func (r *TokenReader) Read(t *Token, text []byte, now int64) TokenFault {
	head, rest, ok := bytes.Cut(text, dot)
	body, signature, more := bytes.Cut(rest, dot)
	if !ok || !more || len(text) > maxToken || bytes.IndexByte(signature, '.') >= 0 {
		return TokenMalformed
	}
	if fault := r.checkHeader(head); fault != TokenFine {
		return fault
	}
	if !r.signed(text[:len(head)+1+len(body)], signature) {
		return TokenSignature
	}
	if r.claims, ok = decodeSegment(r.claims, body); !ok {
		return TokenMalformed
	}
	return t.readClaims(r.claims, now)
}

var dot = []byte(".")

func decodeSegment(dst, segment []byte) ([]byte, bool) {
	dst, err := tokenEncoding.AppendDecode(dst[:0], segment)
	return dst, err == nil
}

func (r *TokenReader) checkHeader(segment []byte) TokenFault {
	var ok bool
	var header struct {
		Algorithm string `json:"alg"`
	}
	if r.claims, ok = decodeSegment(r.claims, segment); !ok || !isObject(r.claims) || sonic.ConfigStd.Unmarshal(r.claims, &header) != nil {
		return TokenMalformed
	}
	if header.Algorithm != "HS256" {
		return TokenAlgorithm
	}
	return TokenFine
}

// signed says whether signature, in base64url, is that of one of the keys.
func (r *TokenReader) signed(message, signature []byte) bool {
	var given [sha256.Size]byte
	if len(signature) != tokenEncoding.EncodedLen(len(given)) {
		return false
	}
	if _, err := tokenEncoding.Decode(given[:], signature); err != nil {
		return false
	}
	return r.signer.valid(message, given[:])
}

func isObject(b []byte) bool {
	b = bytes.TrimLeft(b, " \t\r\n")
	return len(b) > 0 && b[0] == '{'
}

func (t *Token) readClaims(b []byte, now int64) TokenFault {
	var claims struct {
		Issued  int64  `json:"iat"`
		Expires int64  `json:"exp"`
		User    string `json:"sub"`
		Chan    string `json:"chan"`
	}
	if !isObject(b) || sonic.ConfigStd.Unmarshal(b, &claims) != nil {
		return TokenMalformed
	}
	switch {
	case now > claims.Expires+clockSkew:
		return TokenExpired
	case claims.Issued > now+clockSkew:
		return TokenEarly
	}
	t.User, t.Expires = 0, claims.Expires
	if claims.User != "" {
		var ok bool
		if t.User, ok = ParseUser([]byte(claims.User)); !ok {
			return TokenUser
		}
	}
	t.Channels = appendTokenChannels(t.Channels[:0], []byte(claims.Chan))
	if t.User == 0 && len(t.Channels) == 0 {
		return TokenEmpty
	}
	return TokenFine
}

// appendTokenChannels appends the ids of a list with commas. What is none is left out, and so is what is too much.
func appendTokenChannels(dst [][16]byte, list []byte) [][16]byte {
	for more := true; more && len(dst) < maxTokenChannels; {
		var text []byte
		text, list, more = bytes.Cut(list, comma)
		if id, ok := ParseID(text); ok {
			dst = append(dst, id)
		}
	}
	return dst
}

// ParseUser reads a user id as PHP writes it: decimal digits without a sign or leading zeros, from 1 to 2^53 - 1.
func ParseUser(s []byte) (id uint64, ok bool) {
	const digits = 16
	if len(s) == 0 || len(s) > digits || s[0] == '0' {
		return 0, false
	}
	id, err := strconv.ParseUint(string(s), 10, 64)
	return id, err == nil && id <= maxUser
}

// AppendItems appends what a connection with this token listens to: messages to the user, and the channels. A guest with two of them has a
// private and a public id; more than one are shared otherwise.
func (t *Token) AppendItems(dst []Item) []Item {
	if t.User != 0 {
		dst = append(dst, Item{Private: UserChannel(t.User).Bytes})
	} else if len(t.Channels) == 2 {
		return append(dst, Item{Private: t.Channels[0], Public: t.Channels[1], HasPublic: true})
	}
	for _, id := range t.Channels {
		dst = append(dst, Item{Private: id})
	}
	return dst
}

// UserChannel is the channel in which messages to a user travel and are stored. Nobody is told its id.
func UserChannel(user uint64) ChannelID { return pseudoChannel("push v5 user\x00\x00", user) }

// StatusChannel is the channel in which it is said that a user comes or goes. Nothing is stored in it.
func StatusChannel(user uint64) ChannelID { return pseudoChannel("push v5 status\x00\x00", user) }

func pseudoChannel(prefix string, user uint64) ChannelID {
	text := strconv.AppendUint([]byte(prefix), user, 10)
	sum := sha256.Sum256(text)
	return ChannelID{Bytes: [16]byte(sum[:16]), Private: true}
}

// SignToken makes a token, as PHP does, for a user who may listen to what is for him.
func SignToken(key []byte, user uint64, issued, expires time.Time) string {
	claims := fmt.Sprintf(`{"iat":%d,"exp":%d,"sub":"%d"}`, issued.Unix(), expires.Unix(), user)
	text := tokenEncoding.EncodeToString([]byte(`{"typ":"JWT","alg":"HS256"}`)) + "." + tokenEncoding.EncodeToString([]byte(claims))
	return text + "." + tokenEncoding.EncodeToString(newSigner(sha256.New, [][]byte{key}).AppendSum(nil, []byte(text)))
}

// ExampleCall is a body with which a back end publishes to a user.
func ExampleCall(user uint64) string {
	return fmt.Sprintf(`[{"jsonrpc":"2.0","method":"publish","params":{"userList":[%d],"expiry":60,"body":{"module_id":"test","command":"hello","params":{}}}}]`, user)
}
