package poll

import "math"

// bodyScanner finds the end of a request body in a stream of bytes. It judges line ends: a bare LF, which the reader of the body takes
// for one behind trailers, is none to others, so that they would disagree where the next request begins (RFC 9112, 2.2 lets a recipient
// take it in heads only). What else is no proper chunk is for that reader to refuse.
type bodyScanner struct {
	state bodyState
	left  int64 // bytes of a body or a chunk still to come
	size  int64 // of the chunk whose size line is read
	text  bool  // the line under way is not empty
	cr    bool  // its last byte was CR
}

type bodyState uint8

const (
	bodyNone      bodyState = iota // between requests
	bodyPlain                      // left bytes
	bodyChunkSize                  // hex digits
	bodyExtension                  // the rest of the size line
	bodyChunk                      // left bytes
	bodyChunkEnd                   // the line end behind them
	bodyTrailer                    // lines up to an empty one
	bodyBroken                     // cannot go on
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

// broken says that the body is none, and where it ends is not known.
func (s *bodyScanner) broken() bool { return s.state == bodyBroken }

// scan says how many bytes of b belong to the body.
func (s *bodyScanner) scan(b []byte) (n int) {
	for n < len(b) && s.inside() && !s.broken() {
		n += s.step(b[n:])
	}
	return n
}

// step consumes at least one byte of b, which has one, but for a digit that is none.
func (s *bodyScanner) step(b []byte) int {
	switch s.state {
	case bodyChunkSize:
		return s.stepSize(b)
	case bodyPlain, bodyChunk:
		return s.stepBytes(b)
	}
	n, end := s.stepLine(b)
	if end {
		s.endLine()
		s.text = false
	}
	return n
}

// stepLine consumes b up to the end of the line, and says whether that is in b.
func (s *bodyScanner) stepLine(b []byte) (n int, end bool) {
	for i, c := range b {
		if s.cr != (c == '\n') {
			s.state = bodyBroken
			return i, false
		}
		if s.cr {
			s.cr = false
			return i + 1, true
		}
		s.cr = c == '\r'
		s.text = s.text || !s.cr
	}
	return len(b), false
}

func (s *bodyScanner) endLine() {
	switch {
	case s.state == bodyExtension:
		s.endSizeLine()
	case s.state == bodyChunkEnd && s.text:
		s.state = bodyBroken
	case s.state == bodyChunkEnd:
		s.state = bodyChunkSize
	case !s.text:
		s.state = bodyNone // behind the trailers
	}
}

func (s *bodyScanner) stepSize(b []byte) int {
	digit := hexDigit(b[0])
	if digit < 0 {
		s.state = bodyExtension
		return 0
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
	s.state, s.left, s.size = bodyChunk, s.size, 0
}

func (s *bodyScanner) stepBytes(b []byte) int {
	n := min(int64(len(b)), s.left)
	s.left -= n
	if s.left > 0 {
		return int(n)
	}
	if s.state == bodyChunk {
		s.state = bodyChunkEnd
	} else {
		s.state = bodyNone
	}
	return int(n)
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
