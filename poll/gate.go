package poll

import (
	"bytes"
	"math"
	"net/http"
	"strconv"

	"push-server/protocol"
)

// MaxHead is the greatest length of a request head in bytes, from the request line to the blank line.
const MaxHead = 16 << 10

// Refusal is the answer to bytes that are not read as a request: a few literal bytes, behind which the connection ends.
type Refusal struct {
	Status int // 400 or 431; 0: the connection ends without an answer
}

var (
	refusedRequest = &Refusal{Status: http.StatusBadRequest}
	refusedHead    = &Refusal{Status: http.StatusRequestHeaderFieldsTooLarge}
	refusedTunnel  = &Refusal{}
)

// Error says the status, for logs.
func (r *Refusal) Error() string {
	return "poll: request refused with status " + strconv.Itoa(r.Status)
}

// AppendTo appends the answer, which is empty for status 0.
func (r *Refusal) AppendTo(dst []byte) []byte {
	if r.Status == 0 {
		return dst
	}
	return appendBareReply(dst, r.Status)
}

// CheckHead looks at the beginning of a request. skip is the length of empty lines in front of it, to be dropped; n is the
// length of the complete head behind them, with its blank line. The error is protocol.ErrShort while the head is not complete
// (skip holds even then), or a *Refusal. It is strict where two readers of the same bytes could disagree where a request
// ends, and refuses as early as it can; what it lets pass, Reader.Read may still refuse.
func CheckHead(b []byte) (skip, n int, err error) {
	h, err := checkHead(b)
	return h.skip, h.n, err
}

// head is what the gate learns of a request.
type head struct {
	skip int
	n    int
	body int64 // announced length, or chunked

	hasLength bool
	http10    bool
	hasHost   bool
	emptyHost int // index behind "Host:" where nothing follows it; 0 elsewhere
}

// chunked is the length of a body that comes in chunks.
const chunked = -1

func checkHead(b []byte) (h head, err error) {
	if b, err = h.skipEmptyLines(b); err != nil {
		return h, err
	}
	for {
		first := h.n == 0
		line, err := h.nextLine(b)
		switch {
		case err != nil || len(line) == 0:
			return h, err
		case first:
			err = h.checkRequestLine(line)
		default:
			err = h.checkField(line)
		}
		if err != nil {
			return h, err
		}
	}
}

// skipEmptyLines returns what follows them, which can be the beginning of a method. A TLS hello, for one, is not waited for.
func (h *head) skipEmptyLines(b []byte) ([]byte, error) {
	for bytes.HasPrefix(b[h.skip:], crlf) {
		h.skip += len(crlf)
	}
	b = b[h.skip:]
	switch {
	case len(b) == 0 || len(b) == 1 && b[0] == '\r':
		return b, protocol.ErrShort
	case b[0] < 'A' || b[0] > 'Z':
		return b, refusedRequest
	}
	return b, nil
}

// nextLine takes the next line of the head, which begins with b, and returns it without its end.
func (h *head) nextLine(b []byte) ([]byte, error) {
	i := bytes.IndexByte(b[h.n:], '\n')
	switch {
	case i < 0 && h.n == 0 && !mayBeMethod(b):
		return nil, refusedRequest
	case i < 0 && len(b) >= MaxHead, h.n+i >= MaxHead:
		return nil, refusedHead
	case i < 0:
		return nil, protocol.ErrShort
	}
	line := b[h.n : h.n+i]
	h.n += i + 1
	if i == 0 || line[i-1] != '\r' { // RFC 9112, 2.2 lets a server take a bare LF; two readers may not agree
		return nil, refusedRequest
	}
	return line[:i-1], nil
}

func (h *head) checkRequestLine(line []byte) error {
	method, rest, _ := bytes.Cut(line, space)
	target, version, _ := bytes.Cut(rest, space)
	if !isMethod(method) || len(target) == 0 {
		return refusedRequest
	}
	switch string(version) {
	case "HTTP/1.1":
	case "HTTP/1.0":
		h.http10 = true
	default:
		return refusedRequest
	}
	if string(method) == http.MethodConnect {
		return refusedTunnel
	}
	if !validTarget(target) {
		return refusedRequest
	}
	return nil
}

// checkField wants "name:value" on one line. Folded lines (RFC 9112, 5.2) begin with a blank, which no name does.
func (h *head) checkField(line []byte) error {
	colon := bytes.IndexByte(line, ':')
	if colon <= 0 || !isToken(line[:colon]) {
		return refusedRequest
	}
	name, value := line[:colon], bytes.Trim(line[colon+1:], " \t")
	switch {
	case len(name) == len(contentLength) && bytes.EqualFold(name, contentLength):
		return h.setLength(value)
	case len(name) == len(transferEncoding) && bytes.EqualFold(name, transferEncoding):
		return h.setChunked(value)
	case len(name) == len(hostName) && bytes.EqualFold(name, hostName):
		return h.setHost(value, h.n-len(line)-len(crlf)+colon+1)
	}
	return nil
}

// setHost takes one Host: RFC 9112, 3.2 wants 400 for "more than one Host header field line or a Host header field with an invalid field
// value". An empty one is valid, and health checks send it. end is where its line has its value.
func (h *head) setHost(value []byte, end int) error {
	if h.hasHost || !validHost(value) {
		return refusedRequest
	}
	h.hasHost = true
	if len(value) == 0 {
		h.emptyHost = end
	}
	return nil
}

func (h *head) setLength(value []byte) error {
	if h.hasLength || h.body == chunked {
		return refusedRequest
	}
	h.hasLength = true
	var ok bool
	h.body, ok = parseLength(value)
	if !ok {
		return refusedRequest
	}
	return nil
}

// setChunked takes "chunked" alone. RFC 9112, 6.1: a length beside it "ought to be handled as an error", and so ought
// chunks of HTTP/1.0.
func (h *head) setChunked(value []byte) error {
	if h.hasLength || h.body == chunked || h.http10 || !bytes.EqualFold(value, codingChunked) {
		return refusedRequest
	}
	h.body = chunked
	return nil
}

// parseLength reads digits and nothing else.
func parseLength(s []byte) (n int64, ok bool) {
	for _, c := range s {
		if c < '0' || c > '9' || n > math.MaxInt64/100 {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, len(s) > 0
}

// maxMethod is the length of the longest method, UNSUBSCRIBE.
const maxMethod = 11

// mayBeMethod says whether b, which holds no complete line, can be the beginning of a request line.
func mayBeMethod(b []byte) bool {
	i := bytes.IndexByte(b, ' ')
	if i < 0 {
		return len(b) <= maxMethod && isToken(b)
	}
	return isMethod(b[:i])
}

// isMethod knows the methods that Node knows, in upper case. Most of them lead to 404, all others to 400.
func isMethod(b []byte) bool {
	switch string(b) {
	case "GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT",
		"COPY", "LOCK", "MKCOL", "MOVE", "PROPFIND", "PROPPATCH", "SEARCH", "UNLOCK", "BIND", "REBIND", "UNBIND", "ACL",
		"REPORT", "MKACTIVITY", "CHECKOUT", "MERGE", "M-SEARCH", "NOTIFY", "SUBSCRIBE", "UNSUBSCRIBE", "PURGE", "MKCALENDAR",
		"LINK", "UNLINK", "SOURCE", "QUERY":
		return true
	}
	return false
}

func isToken(b []byte) bool {
	for _, c := range b {
		if !tokenBytes[c] {
			return false
		}
	}
	return true
}

// tokenBytes are the bytes of a token (RFC 9110, 5.6.2).
var tokenBytes = func() (table [256]bool) {
	for _, c := range []byte("!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") {
		table[c] = true
	}
	return table
}()

var (
	crlf             = []byte("\r\n")
	space            = []byte(" ")
	contentLength    = []byte("Content-Length")
	transferEncoding = []byte("Transfer-Encoding")
	codingChunked    = []byte("chunked")
)
