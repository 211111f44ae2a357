package poll

import (
	"bytes"
	"math"
)

// bodyScanner finds the end of a request body in a stream of bytes. It does not judge: what is no proper chunk is for the
// reader of the body to refuse.
type bodyScanner struct {
	state bodyState
	left  int64 // bytes of a body or a chunk still to come
	size  int64 // of the chunk whose size line is read
	text  bool  // the trailer line under way is not empty
}

type bodyState uint8

const (
	bodyNone      bodyState = iota // between requests
	bodyPlain                      // left bytes
	bodyChunkSize                  // hex digits
	bodyExtension                  // the rest of the size line
	bodyChunk                      // left bytes, the line end behind the chunk among them
	bodyTrailer                    // lines up to an empty one
)

// start begins a body of length bytes, or of chunks.
func (s *bodyScanner) start(length int64) {
	*s = bodyScanner{}
	switch {
	case length == chunked:
		s.state = bodyChunkSize
	case length > 0:
		s.state, s.left = bodyPlain, length
	}
}

// inside says whether the body goes on.
func (s *bodyScanner) inside() bool { return s.state != bodyNone }

// scan says how many bytes of b belong to the body.
func (s *bodyScanner) scan(b []byte) (n int) {
	for n < len(b) && s.inside() {
		n += s.step(b[n:])
	}
	return n
}

// step consumes at least one byte of b, which has one.
func (s *bodyScanner) step(b []byte) int {
	switch s.state {
	case bodyChunkSize:
		return s.stepSize(b)
	case bodyExtension:
		n, end := lineRest(b)
		if end {
			s.endSizeLine()
		}
		return n
	case bodyTrailer:
		n, end := lineRest(b)
		s.text = s.text || len(bytes.Trim(b[:n], "\r\n")) > 0
		if end && !s.text {
			s.state = bodyNone
		}
		s.text = s.text && !end
		return n
	default:
		return s.stepBytes(b)
	}
}

func (s *bodyScanner) stepSize(b []byte) int {
	digit := hexDigit(b[0])
	if digit < 0 {
		s.state = bodyExtension
		return s.step(b)
	}
	if s.size > math.MaxInt64>>8 { // more than any limit on bodies
		s.size = math.MaxInt64 >> 8
	}
	s.size = s.size<<4 | digit
	return 1
}

func (s *bodyScanner) endSizeLine() {
	if s.size == 0 {
		s.state = bodyTrailer
		return
	}
	s.state, s.left, s.size = bodyChunk, s.size+int64(len(crlf)), 0
}

func (s *bodyScanner) stepBytes(b []byte) int {
	n := min(int64(len(b)), s.left)
	s.left -= n
	if s.left > 0 {
		return int(n)
	}
	if s.state == bodyChunk {
		s.state = bodyChunkSize
	} else {
		s.state = bodyNone
	}
	return int(n)
}

// lineRest is the length of b up to the end of the line, and whether that is in b.
func lineRest(b []byte) (n int, end bool) {
	i := bytes.IndexByte(b, '\n')
	if i < 0 {
		return len(b), false
	}
	return i + 1, true
}

func hexDigit(c byte) int64 {
	switch {
	case '0' <= c && c <= '9':
		return int64(c - '0')
	case 'a' <= c && c <= 'f':
		return int64(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int64(c-'A') + 10
	}
	return -1
}
