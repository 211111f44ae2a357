package poll

import (
	"bytes"
	"net/netip"
)

// The two kinds of ports read a head with the same parser, but one of them goes on to take it apart as a URI, and refused hosts that the
// other took. The gate decides for both.

// validHost says whether a Host is what RFC 9110, 7.2 lets it be: empty, or a name or address with or without a port. Bytes above ASCII
// are taken as well, as the Node server does: there are clients that write their names so.
func validHost(host []byte) bool {
	if len(host) > 0 && host[0] == '[' {
		end := bytes.IndexByte(host, ']')
		return end > 0 && isIPv6(host[1:end]) && validPort(host[end+1:])
	}
	name, port, hasPort := bytes.Cut(host, colon)
	for i, c := range name {
		if c == '%' && (i+2 >= len(name) || hexDigit(name[i+1]) < 8 || hexDigit(name[i+2]) < 0) { // ASCII need not be encoded
			return false
		}
		if c != '%' && c < 0x80 && !hostBytes[c] {
			return false
		}
	}
	return !hasPort || isDigits(port)
}

func isIPv6(b []byte) bool {
	addr, err := netip.ParseAddr(string(b))
	return err == nil && addr.Is6() && addr.Zone() == ""
}

func validPort(b []byte) bool { return len(b) == 0 || b[0] == ':' && isDigits(b[1:]) }

func isDigits(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

// hostBytes are the ASCII bytes of a name (RFC 3986, 3.2.2: unreserved and sub-delims).
var hostBytes = func() (table [0x80]bool) {
	for _, c := range []byte("-._~!$&'()*+,;=0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") {
		table[c] = true
	}
	return table
}()

// validTarget says whether a request target has a form that a server of our kind is asked in (RFC 9112, 3.2): a path, a URL, or "*".
func validTarget(target []byte) bool {
	for _, c := range target {
		if c <= ' ' || c == 0x7f {
			return false
		}
	}
	switch {
	case target[0] == '/': // "//a://b" is a path to some, and an authority to others
		return !bytes.HasPrefix(target, slashes) || !bytes.Contains(target, schemeEnd)
	case string(target) == "*":
		return true
	}
	scheme, rest, ok := bytes.Cut(target, schemeEnd)
	if !ok || !bytes.EqualFold(scheme, schemeHTTP) && !bytes.EqualFold(scheme, schemeHTTPS) {
		return false
	}
	if end := bytes.IndexAny(rest, "/?#"); end >= 0 {
		rest = rest[:end]
	}
	return len(rest) > 0 && validHost(rest)
}

// appendWithHost appends the request whose head is h, with a Host that a parser takes in place of an empty or missing one.
func (h *head) appendWithHost(dst, request []byte) []byte {
	at, line := h.emptyHost, "-"
	if !h.hasHost {
		at, line = bytes.IndexByte(request, '\n')+1, "Host: -\r\n"
	}
	dst = append(dst, request[:at]...)
	dst = append(dst, line...)
	return append(dst, request[at:]...)
}

var (
	colon       = []byte(":")
	slashes     = []byte("//")
	schemeEnd   = []byte("://")
	schemeHTTP  = []byte("http")
	schemeHTTPS = []byte("https")
	hostName    = []byte("Host")
)
