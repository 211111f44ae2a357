package load

import "testing"

func TestReplies(t *testing.T) {
	f := func(in string, status int, body string, ends bool) {
		t.Helper()
		var r response
		for cut := range len(in) { // a reply that is not complete is not an error
			if n, err := parseResponse([]byte(in[:cut]), &r); n != 0 || err != nil {
				t.Fatalf("%q: %d %v", in[:cut], n, err)
			}
		}
		n, err := parseResponse([]byte(in+"HTTP/1.1 200"), &r)
		if n != len(in) || err != nil || r.status != status || string(r.body) != body || r.close != ends {
			t.Errorf("%q: %d of %d bytes, %v, %+v", in, n, len(in), err, r)
		}
	}
	f("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, "hello", false)
	f("HTTP/1.1 200 OK\r\ncontent-length: 0\r\nConnection: close\r\n\r\n", 200, "", true)
	f("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n", 200, "abc0123456789", false)
	f("HTTP/1.1 304 Not Modified\r\nLast-Message-Id: \r\n\r\n", 304, "", false)
	f("HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\nno", 400, "no", false)
}

func TestNoReplies(t *testing.T) {
	f := func(in string) {
		t.Helper()
		var r response
		if _, err := parseResponse([]byte(in), &r); err == nil {
			t.Errorf("%q passed", in)
		}
	}
	f("nonsense\r\n\r\n")
	f("HTTP/1.1 abc\r\n\r\n")
	f("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n")
	f("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n")
}

func TestHeaderLookup(t *testing.T) {
	r := response{head: []byte("HTTP/1.1 304 Not Modified\r\nLAST-message-id:  123 \r\nX: y\r\n")}
	if got := r.header("Last-Message-Id"); string(got) != "123" {
		t.Errorf("%q", got)
	}
	if got := r.header("Last"); got != nil {
		t.Errorf("%q", got)
	}
}
