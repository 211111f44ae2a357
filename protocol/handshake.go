package protocol

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"net/http"
	"strconv"
)

// maxSubprotocols bounds the comparison of each offered subprotocol with all others. Real clients offer none.
const maxSubprotocols = 32

// acceptGUID is what RFC 6455, 1.3 adds to the key of the client.
const acceptGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

// keyLen is the length of a Sec-WebSocket-Key: 16 bytes in base64.
const keyLen = 24

// Handshake is what a request for a WebSocket says. The slices are raw header values, those of several lines of one name joined by
// commas; nil stands for an absent header.
type Handshake struct {
	Method       []byte
	Upgrade      []byte
	Key          []byte
	Version      []byte
	Subprotocols []byte
	PathOK       bool // the path is that of the subscribers
}

// HandshakeRefusal is the answer to a handshake that fails.
type HandshakeRefusal struct {
	Status int
	Text   string
}

var (
	refusedMethod       = &HandshakeRefusal{http.StatusMethodNotAllowed, "Invalid HTTP method"}
	refusedUpgrade      = &HandshakeRefusal{http.StatusBadRequest, "Invalid Upgrade header"}
	refusedKey          = &HandshakeRefusal{http.StatusBadRequest, "Missing or invalid Sec-WebSocket-Key header"}
	refusedVersion      = &HandshakeRefusal{http.StatusBadRequest, "Missing or invalid Sec-WebSocket-Version header"}
	refusedLater        = &HandshakeRefusal{Status: http.StatusUpgradeRequired}
	refusedPath         = &HandshakeRefusal{http.StatusBadRequest, "Bad Request"}
	refusedSubprotocols = &HandshakeRefusal{http.StatusBadRequest, "Invalid Sec-WebSocket-Protocol header"}
)

// RefusedOrigin is for pages whose scripts may not open a WebSocket (RFC 6455, 4.2.2: an Origin that is not acceptable gets 403).
var RefusedOrigin = &HandshakeRefusal{http.StatusForbidden, "Origin is not allowed"}

// IsUpgrade says whether a request asks for another protocol: Connection contains the token "upgrade", and there is an Upgrade
// header (not nil). Proxies add Upgrade alone to ordinary requests.
func IsUpgrade(connection, upgrade []byte) bool {
	if upgrade == nil {
		return false
	}
	for len(connection) > 0 {
		var token []byte
		if token, connection = NextElement(connection); bytes.EqualFold(token, tokenUpgrade) {
			return true
		}
	}
	return false
}

// NextElement takes the next element from the value of a header that is a list. The element is empty at the end: "A recipient MUST parse
// and ignore a reasonable number of empty list elements" (RFC 9110, 5.6.1.2). Quoted strings with commas are none of our lists'.
func NextElement(list []byte) (element, rest []byte) {
	for len(list) > 0 {
		element, list, _ = bytes.Cut(list, comma)
		if element = bytes.Trim(element, " \t"); len(element) > 0 {
			return element, list
		}
	}
	return nil, nil
}

// only is the element of a list of one, or else nil.
func only(list []byte) []byte {
	first, rest := NextElement(list)
	if second, _ := NextElement(rest); len(second) > 0 {
		return nil
	}
	return first
}

var (
	comma          = []byte(",")
	tokenUpgrade   = []byte("upgrade")
	tokenWebSocket = []byte("websocket")
	base64Padding  = []byte("==")
)

// Check answers nil if the handshake is to be accepted. It does not look at the channels: who names wrong ones is refused
// after the handshake, by a close frame, because clients only then read why.
func (h *Handshake) Check() *HandshakeRefusal {
	switch {
	case string(h.Method) != http.MethodGet:
		return refusedMethod
	case !bytes.EqualFold(only(h.Upgrade), tokenWebSocket):
		return refusedUpgrade
	case !isKey(h.Key): // two keys are none: the header "MUST NOT appear more than once" (RFC 6455, 11.3.1)
		return refusedKey
	case isLaterVersion(only(h.Version)):
		return refusedLater
	case !isVersion(only(h.Version)):
		return refusedVersion
	case !h.PathOK:
		return refusedPath
	case h.Subprotocols != nil && !isSubprotocols(h.Subprotocols):
		return refusedSubprotocols
	}
	return nil
}

// isLaterVersion knows versions whose clients can come back with 13 when they are told (RFC 6455, 4.4). Those of the drafts before it
// cannot, and get what the Node server says.
func isLaterVersion(v []byte) bool {
	n, err := strconv.ParseUint(string(v), 10, 8)
	return err == nil && n > 13
}

func isVersion(v []byte) bool { return string(v) == "13" || string(v) == "8" }

func isKey(key []byte) bool {
	if len(key) != keyLen || !bytes.HasSuffix(key, base64Padding) {
		return false
	}
	for _, c := range key[:keyLen-len(base64Padding)] {
		if !isAlphanumeric(c) && c != '+' && c != '/' {
			return false
		}
	}
	return true
}

// isSubprotocols wants what RFC 6455, 4.1 does: "non-empty strings" of token characters that "MUST all be unique".
func isSubprotocols(list []byte) bool {
	var seen [maxSubprotocols][]byte
	n := 0
	for name, rest := NextElement(list); len(name) > 0; name, rest = NextElement(rest) {
		if n == maxSubprotocols || !isToken(name) || contains(seen[:n], name) {
			return false
		}
		seen[n] = name
		n++
	}
	return n > 0
}

func contains(names [][]byte, name []byte) bool {
	for _, other := range names {
		if bytes.Equal(other, name) {
			return true
		}
	}
	return false
}

// isToken wants a token of RFC 9110, 5.6.2.
func isToken(s []byte) bool {
	for _, c := range s {
		if !isAlphanumeric(c) && bytes.IndexByte(tokenMarks, c) < 0 {
			return false
		}
	}
	return len(s) > 0
}

var tokenMarks = []byte("!#$%&'*+-.^_`|~")

func isAlphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// AppendSwitchingProtocols appends the answer that accepts the handshake with this key. Of the offered subprotocols, which
// Check has found well-formed, it picks the first.
func AppendSwitchingProtocols(dst, key, subprotocols []byte) []byte {
	dst = append(dst, "HTTP/1.1 101 Switching Protocols\r\n"+
		"Upgrade: websocket\r\n"+
		"Connection: Upgrade\r\n"+
		"Sec-WebSocket-Accept: "...)
	dst = appendAccept(dst, key)
	if subprotocols != nil {
		first, _ := NextElement(subprotocols)
		dst = append(dst, "\r\nSec-WebSocket-Protocol: "...)
		dst = append(dst, first...)
	}
	return append(dst, "\r\n\r\n"...)
}

func appendAccept(dst, key []byte) []byte {
	var scratch [keyLen + len(acceptGUID)]byte
	sum := sha1.Sum(append(append(scratch[:0], key...), acceptGUID...))
	return base64.StdEncoding.AppendEncode(dst, sum[:])
}

// AppendHandshakeRefusal appends the complete answer to a handshake that Check has refused; head says that the method was HEAD. The
// connection ends behind it.
func AppendHandshakeRefusal(dst []byte, r *HandshakeRefusal, head bool) []byte {
	if r == refusedLater { // RFC 6455, 4.2.2: "a |Sec-WebSocket-Version| header field indicating the version(s)"
		return append(dst, "HTTP/1.1 426 Upgrade Required\r\nConnection: close\r\nSec-WebSocket-Version: 13, 8\r\nContent-Length: 0\r\n\r\n"...)
	}
	dst = append(dst, "HTTP/1.1 "...)
	dst = strconv.AppendInt(dst, int64(r.Status), 10)
	dst = append(dst, ' ')
	dst = append(dst, http.StatusText(r.Status)...)
	dst = append(dst, "\r\nConnection: close\r\nContent-Type: text/html\r\nContent-Length: "...)
	dst = strconv.AppendInt(dst, int64(len(r.Text)), 10)
	dst = append(dst, "\r\n\r\n"...)
	if head {
		return dst
	}
	return append(dst, r.Text...)
}
