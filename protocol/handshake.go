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

// Handshake is what a request for a WebSocket says. The slices are raw header values; nil stands for an absent header.
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
	refusedPath         = &HandshakeRefusal{http.StatusBadRequest, "Bad Request"}
	refusedSubprotocols = &HandshakeRefusal{http.StatusBadRequest, "Invalid Sec-WebSocket-Protocol header"}
)

// IsUpgrade says whether a request asks for another protocol: Connection contains the token "upgrade", and there is an Upgrade
// header (not nil). Proxies add Upgrade alone to ordinary requests.
func IsUpgrade(connection, upgrade []byte) bool {
	if upgrade == nil {
		return false
	}
	for more := true; more; {
		var token []byte
		token, connection, more = bytes.Cut(connection, comma)
		if bytes.EqualFold(bytes.TrimSpace(token), tokenUpgrade) {
			return true
		}
	}
	return false
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
	case !bytes.EqualFold(h.Upgrade, tokenWebSocket):
		return refusedUpgrade
	case !isKey(h.Key):
		return refusedKey
	case string(h.Version) != "13" && string(h.Version) != "8":
		return refusedVersion
	case !h.PathOK:
		return refusedPath
	case h.Subprotocols != nil && !isSubprotocols(h.Subprotocols):
		return refusedSubprotocols
	}
	return nil
}

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
	for name := range bytes.SplitSeq(list, comma) {
		name = bytes.Trim(name, " \t")
		if len(name) == 0 {
			continue // RFC 9110, 5.6.1: a recipient "MUST parse and ignore a reasonable number of empty list elements"
		}
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
		dst = append(dst, "\r\nSec-WebSocket-Protocol: "...)
		dst = append(dst, firstElement(subprotocols)...)
	}
	return append(dst, "\r\n\r\n"...)
}

// firstElement is the first element of a list that is not empty.
func firstElement(list []byte) []byte {
	for name := range bytes.SplitSeq(list, comma) {
		if name = bytes.Trim(name, " \t"); len(name) > 0 {
			return name
		}
	}
	return nil
}

func appendAccept(dst, key []byte) []byte {
	var scratch [keyLen + len(acceptGUID)]byte
	sum := sha1.Sum(append(append(scratch[:0], key...), acceptGUID...))
	return base64.StdEncoding.AppendEncode(dst, sum[:])
}

// AppendHandshakeRefusal appends the complete answer to a handshake that Check has refused. The connection ends behind it.
func AppendHandshakeRefusal(dst []byte, r *HandshakeRefusal) []byte {
	dst = append(dst, "HTTP/1.1 "...)
	dst = strconv.AppendInt(dst, int64(r.Status), 10)
	dst = append(dst, ' ')
	dst = append(dst, http.StatusText(r.Status)...)
	dst = append(dst, "\r\nConnection: close\r\nContent-Type: text/html\r\nContent-Length: "...)
	dst = strconv.AppendInt(dst, int64(len(r.Text)), 10)
	dst = append(dst, "\r\n\r\n"...)
	return append(dst, r.Text...)
}
