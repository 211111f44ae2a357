package load

import (
	"bytes"
	"errors"
	"strconv"
)

var errResponse = errors.New("load: the server sent what is no HTTP reply")

// response is an HTTP reply. Its slices are valid until the bytes that it was parsed from change.
type response struct {
	status int
	head   []byte
	body   []byte
	close  bool // the connection ends after it
	joined []byte
}

// parseResponse reads a reply from the beginning of b; n is how many bytes it took, 0 when it is not complete.
func parseResponse(b []byte, r *response) (n int, err error) {
	end := bytes.Index(b, crlf2)
	if end < 0 {
		return 0, nil
	}
	if end < 12 || string(b[:7]) != "HTTP/1." {
		return 0, errResponse
	}
	r.status, err = strconv.Atoi(string(b[9:12]))
	if err != nil {
		return 0, errResponse
	}
	r.head = b[:end+2]
	r.close = bytes.EqualFold(r.header("Connection"), []byte("close"))
	n, err = r.readBody(b[end+4:])
	if n < 0 || err != nil {
		return 0, err
	}
	return end + 4 + n, nil
}

// readBody finds the body; -1: not complete.
func (r *response) readBody(b []byte) (int, error) {
	r.body = nil
	if r.status == 304 || r.status == 204 || r.status < 200 {
		return 0, nil
	}
	if v := r.header("Content-Length"); v != nil {
		size, err := strconv.Atoi(string(v))
		if err != nil || size < 0 {
			return 0, errResponse
		}
		if len(b) < size {
			return -1, nil
		}
		r.body = b[:size]
		return size, nil
	}
	if bytes.EqualFold(r.header("Transfer-Encoding"), []byte("chunked")) {
		return r.readChunks(b)
	}
	return 0, nil
}

// readChunks joins the chunks in a buffer of r.
func (r *response) readChunks(b []byte) (int, error) {
	pos := 0
	r.joined = r.joined[:0]
	for {
		eol := bytes.Index(b[pos:], crlf)
		if eol < 0 {
			return -1, nil
		}
		n, err := strconv.ParseUint(string(b[pos:pos+eol]), 16, 24)
		if err != nil {
			return 0, errResponse
		}
		pos += eol + 2
		end := pos + int(n)
		if len(b) < end+2 {
			return -1, nil
		}
		r.joined = append(r.joined, b[pos:end]...)
		pos = end + 2
		if n == 0 {
			r.body = r.joined
			return pos, nil
		}
	}
}

// header finds a header by its name as servers write it, and then without regard to case.
func (r *response) header(name string) []byte {
	for line := range bytes.SplitSeq(r.head, crlf) {
		if len(line) > len(name) && line[len(name)] == ':' && equalFold(line[:len(name)], name) {
			return bytes.TrimSpace(line[len(name)+1:])
		}
	}
	return nil
}

func equalFold(b []byte, s string) bool {
	for i := range b {
		if b[i]|0x20 != s[i]|0x20 {
			return false
		}
	}
	return true
}

var (
	crlf  = []byte("\r\n")
	crlf2 = []byte("\r\n\r\n")
)
