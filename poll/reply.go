package poll

import (
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"push-server/protocol"
)

// ReplyOptions is what a reply depends on besides what it says.
type ReplyOptions struct {
	HTTP10 bool // the request was HTTP/1.0: the connection ends behind the reply
	Close  bool // the connection ends behind the reply
}

// The header lines of replies. A browser reads a reply of another origin only if it says so.
const (
	headPlain  = "Content-Type: text/plain\r\n"
	headBinary = "Content-Type: application/octet-stream\r\n"
	headOrigin = "Access-Control-Allow-Origin: *\r\n"
	headExpose = "Access-Control-Expose-Headers: Last-Message-Id\r\n"
	headCORS   = "Access-Control-Allow-Methods: POST, GET, DELETE, OPTIONS\r\n" +
		"Access-Control-Allow-Headers: If-Modified-Since, If-None-Match\r\n"
	headClose = "Connection: close\r\n"

	// headExpires is the mark by which clients know that Last-Message-Id is meant for them.
	headExpires = "Expires: Thu, 01 Jan 1973 11:11:01 GMT\r\n"
)

// AppendPollReplyHead appends the head of a poll's answer. The body of bodyLen bytes, messages in text or binary framing,
// has to follow in the same write: there are clients that read once.
func AppendPollReplyHead(dst []byte, o ReplyOptions, binary bool, bodyLen int) []byte {
	contentType := headPlain
	if binary {
		contentType = headBinary
	}
	dst = append(dst, "HTTP/1.1 200 OK\r\n"+headOrigin...)
	dst = append(dst, contentType...)
	return o.appendEnd(dst, bodyLen)
}

// AppendPollTimeout appends the answer to a poll for which no message came. mid is the position from which the client goes on;
// the zero value leaves it without.
func AppendPollTimeout(dst []byte, o ReplyOptions, mid protocol.MessageID) []byte {
	dst = append(dst, "HTTP/1.1 304 Not Modified\r\n"+headPlain+headOrigin+headExpose+"Last-Message-Id: "...)
	if !mid.IsZero() {
		dst = mid.AppendDigits(dst)
	}
	dst = append(dst, "\r\n"+headExpires...)
	dst = appendDate(dst)
	return append(o.appendConnection(dst), crlf...)
}

// AppendPollError appends the refusal of a poll.
func AppendPollError(dst []byte, o ReplyOptions, e *protocol.Error) []byte {
	dst = appendStatus(dst, e.HTTPStatus())
	dst = append(dst, headPlain+headOrigin+headExpose...)
	var text [128]byte
	body := appendError(text[:0], e)
	return append(o.appendEnd(dst, len(body)), body...)
}

// AppendNotFound appends the answer to what no route takes; head says that the method was HEAD.
func AppendNotFound(dst []byte, o ReplyOptions, head bool) []byte {
	dst = append(dst, "HTTP/1.1 404 Not Found\r\n"+headPlain+headOrigin...)
	if head {
		dst = appendDate(dst)
		return append(o.appendConnection(dst), crlf...)
	}
	return o.appendEnd(dst, 0)
}

// AppendOptions appends the answer to what a browser asks before a request to another origin.
func AppendOptions(dst []byte, o ReplyOptions) []byte {
	dst = append(dst, "HTTP/1.1 200 OK\r\n"+headPlain+headOrigin+headCORS...)
	return o.appendEnd(dst, 0)
}

// AppendBadRequest appends the answer to what is no request. The connection ends.
func AppendBadRequest(dst []byte) []byte { return appendBareReply(dst, http.StatusBadRequest) }

// AppendNoHost appends the answer to a request of HTTP/1.1 that names no Host. The connection ends.
func AppendNoHost(dst []byte) []byte {
	return ReplyOptions{Close: true}.appendEnd(append(dst, "HTTP/1.1 400 Bad Request\r\n"...), 0)
}

// AppendRequestTimeout appends the answer to a request that was not complete in time. The connection ends.
func AppendRequestTimeout(dst []byte) []byte { return appendBareReply(dst, http.StatusRequestTimeout) }

// retryAfter is how long those are asked to stay away who find no room, in seconds.
const retryAfter = "5"

// AppendUnavailable appends the answer to a connection or a request that there is no room for. The connection ends. It is always the
// same, without a Date, which 5xx need not have (RFC 9110, 6.6.1).
func AppendUnavailable(dst []byte) []byte {
	return appendComeAgain(append(dst, headComeAgain+retryAfter...))
}

// AppendComeAgain is AppendUnavailable for somebody who is told when to come again, in whole seconds.
func AppendComeAgain(dst []byte, after time.Duration) []byte {
	seconds := max(1, (after+time.Second-1)/time.Second)
	return appendComeAgain(strconv.AppendInt(append(dst, headComeAgain...), int64(seconds), 10))
}

const headComeAgain = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: "

func appendComeAgain(dst []byte) []byte {
	return append(dst, "\r\n"+headPlain+headOrigin+headClose+"Content-Length: 0\r\n\r\n"...)
}

// appendBareReply is a reply of the library below Node's server: a status and nothing else.
func appendBareReply(dst []byte, status int) []byte {
	return append(appendStatus(dst, status), headClose+"\r\n"...)
}

func appendStatus(dst []byte, status int) []byte {
	dst = append(dst, "HTTP/1.1 "...)
	dst = strconv.AppendInt(dst, int64(status), 10)
	dst = append(dst, ' ')
	dst = append(dst, http.StatusText(status)...)
	return append(dst, crlf...)
}

func appendError(dst []byte, e *protocol.Error) []byte {
	dst = strconv.AppendUint(dst, uint64(e.Code), 10)
	dst = append(dst, ": "...)
	return append(dst, e.Text...)
}

// appendEnd appends what is last in a head with a body of n bytes.
func (o ReplyOptions) appendEnd(dst []byte, n int) []byte {
	dst = append(appendDate(dst), "Content-Length: "...)
	dst = strconv.AppendInt(dst, int64(n), 10)
	dst = append(dst, crlf...)
	return append(o.appendConnection(dst), crlf...)
}

// appendConnection says what happens to the connection where the client cannot know. Staying is the rule of HTTP/1.1.
func (o ReplyOptions) appendConnection(dst []byte) []byte {
	if o.HTTP10 || o.Close {
		return append(dst, headClose...)
	}
	return dst
}

// date is the header line of one second. Formatting it for each reply would cost more than the rest of the head.
type date struct {
	second int64
	line   []byte
}

var lastDate atomic.Pointer[date]

// appendDate appends the header Date, as RFC 9110, 6.6.1 wants of a server with a clock.
func appendDate(dst []byte) []byte {
	now := time.Now()
	d := lastDate.Load()
	if d == nil || d.second != now.Unix() {
		d = &date{second: now.Unix(), line: append(fasthttp.AppendHTTPDate([]byte("Date: "), now), crlf...)}
		lastDate.Store(d)
	}
	return append(dst, d.line...)
}
