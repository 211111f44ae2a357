package poll

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"sort"
	"strings"
	"testing"
	"time"

	"push-server/protocol"
)

// reply is a reply in the form in which tests compare it: status, header lines in order of their names without Date, body.
func reply(t *testing.T, b []byte, method string) string {
	t.Helper()
	r := bufio.NewReader(bytes.NewReader(b))
	text := readReply(t, r, method)
	if rest, err := io.ReadAll(r); err != nil || len(rest) > 0 {
		t.Errorf("%q is left behind the reply, %v", rest, err)
	}
	return text
}

func readReply(t testing.TB, r *bufio.Reader, method string) string {
	t.Helper()
	res, err := http.ReadResponse(r, &http.Request{Method: method})
	if err != nil {
		t.Fatalf("reading a reply: %v", err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("reading the body of a reply: %v", err)
	}
	if date := res.Header.Get("Date"); date != "" {
		if _, err := time.Parse(http.TimeFormat, date); err != nil {
			t.Error(err)
		}
	}
	if len(res.TransferEncoding) > 0 {
		t.Errorf("Transfer-Encoding: %v", res.TransferEncoding)
	}
	res.Header.Del("Date")
	res.Header.Del("Content-Length")
	if res.Close {
		res.Header.Set("Connection", "close")
	}
	var lines []string
	for name, values := range res.Header {
		for _, v := range values {
			lines = append(lines, name+": "+v)
		}
	}
	sort.Strings(lines)
	return strings.Join(append([]string{res.Status}, append(lines, string(body))...), "\n")
}

const (
	anyOriginLine = "\nAccess-Control-Allow-Origin: *"
	exposeLine    = "\nAccess-Control-Expose-Headers: Last-Message-Id"
	plainLine     = "\nContent-Type: text/plain"
	binaryLine    = "\nContent-Type: application/octet-stream"
	closeLine     = "\nConnection: close"
	expiresLine   = "\nExpires: Thu, 01 Jan 1973 11:11:01 GMT"
)

func TestReplies(t *testing.T) {
	f := func(b []byte, want string) {
		t.Helper()
		if got := reply(t, b, http.MethodGet); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	}
	var stay ReplyOptions
	old, last := ReplyOptions{HTTP10: true}, ReplyOptions{Close: true}
	mid, _ := protocol.ParseMessageID([]byte("17954614120000000000000225"))

	f(append(AppendPollReplyHead(nil, stay, false, 3), "abc"...), "200 OK"+anyOriginLine+plainLine+"\nabc")
	f(append(AppendPollReplyHead(nil, stay, true, 3), "abc"...), "200 OK"+anyOriginLine+binaryLine+"\nabc")
	f(append(AppendPollReplyHead(nil, old, false, 3), "abc"...), "200 OK"+anyOriginLine+closeLine+plainLine+"\nabc")
	f(append(AppendPollReplyHead(nil, last, false, 3), "abc"...), "200 OK"+anyOriginLine+closeLine+plainLine+"\nabc")

	f(AppendPollTimeout(nil, stay, mid), "304 Not Modified"+anyOriginLine+exposeLine+plainLine+expiresLine+
		"\nLast-Message-Id: 17954614120000000000000225\n")
	f(AppendPollTimeout(nil, stay, protocol.MessageID{}), "304 Not Modified"+anyOriginLine+exposeLine+plainLine+expiresLine+
		"\nLast-Message-Id: \n")
	f(AppendPollTimeout(nil, old, mid), "304 Not Modified"+anyOriginLine+exposeLine+closeLine+plainLine+expiresLine+
		"\nLast-Message-Id: 17954614120000000000000225\n")

	f(AppendPollError(nil, stay, protocol.ErrWrongChannel),
		"400 Bad Request"+anyOriginLine+exposeLine+plainLine+"\n4010: Wrong Channel Id.")
	f(AppendPollError(nil, last, protocol.ErrHistory),
		"400 Bad Request"+anyOriginLine+exposeLine+closeLine+plainLine+"\n4011: Couldn't get last messages.")
	f(AppendPollError(nil, stay, protocol.ErrTooManyConnections),
		"429 Too Many Requests"+anyOriginLine+exposeLine+plainLine+"\n4029: Too many connections")

	f(AppendNotFound(nil, stay, false), "404 Not Found"+anyOriginLine+plainLine+"\n")
	f(AppendNotFound(nil, old, false), "404 Not Found"+anyOriginLine+closeLine+plainLine+"\n")
	f(AppendOptions(nil, stay), "200 OK\nAccess-Control-Allow-Headers: If-Modified-Since, If-None-Match"+
		"\nAccess-Control-Allow-Methods: POST, GET, DELETE, OPTIONS"+anyOriginLine+plainLine+"\n")
	f(AppendUnavailable(nil), "503 Service Unavailable"+anyOriginLine+closeLine+plainLine+"\nRetry-After: 5\n")
	f(AppendNoHost(nil), "400 Bad Request"+closeLine+"\n")
}

func TestNotFoundToHead(t *testing.T) {
	if got, want := reply(t, AppendNotFound(nil, ReplyOptions{}, true), http.MethodHead),
		"404 Not Found"+anyOriginLine+plainLine+"\n"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestBareReplies(t *testing.T) {
	f := func(b []byte, want string) {
		t.Helper()
		if string(b) != want {
			t.Errorf("%q, want %q", b, want)
		}
	}
	f(AppendBadRequest([]byte("x")), "xHTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
	f(AppendRequestTimeout(nil), "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n")
}
