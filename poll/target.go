package poll

import "bytes"

// plainPath says whether the path of a request target means the same to everybody who reads it. A proxy in front compares the path that
// is left after RFC 3986, 5.2.4, and may pass on the one that was sent: of /bitrix/pub/../rest/ it sees /bitrix/rest/, which is open to
// all, and we would see /bitrix/pub/, where back ends publish without a signature. So a path with a segment "." or "..", or with an
// encoded slash, backslash or NUL, however deep they are encoded, is none that we answer. A raw backslash is the slash of some.
func plainPath(target []byte) bool {
	path, _, _ := bytes.Cut(target, questionMark)
	path, _, _ = bytes.Cut(path, []byte("#"))
	dots, other := 0, false // in the segment under way
	for i := 0; i < len(path); {
		c, n, encoded := decodeByte(path[i:])
		i += n
		switch {
		case encoded && (c == '/' || c == '\\' || c == 0), c == '\\':
			return false
		case c == '/':
			if dots > 0 && dots <= 2 && !other {
				return false
			}
			dots, other = 0, false
		case c == '.':
			dots++
		case c == ';' && !other && dots > 0 && dots <= 2:
			return false // "..;x" is ".." to those who know parameters of segments
		default:
			other = true
		}
	}
	return other || dots == 0 || dots > 2
}

// decodeByte is the first byte that b, which is not empty, stands for, how many bytes that takes, and whether it is percent-encoded.
// "%25" is followed: some decode twice.
func decodeByte(b []byte) (c byte, n int, encoded bool) {
	c, n = b[0], 1
	for c == '%' && len(b) >= n+2 {
		high, low := hexDigit(b[n]), hexDigit(b[n+1])
		if high < 0 || low < 0 {
			break
		}
		c, n, encoded = byte(high<<4|low), n+2, true
	}
	return c, n, encoded
}
