package redisbus

import (
	"bytes"
	"errors"
	"fmt"

	"push-server/protocol"
)

// reply is what Redis sends at once: a word, or a message of a few words.
type reply struct {
	kind  byte      // '+', '-' (an error), ':' (a number), '$', '*'
	words [4][]byte // of an array up to that many; otherwise the first one. They alias what was parsed
}

var errReply = errors.New("redisbus: Redis sent something unexpected")

// parseReply reads the first reply of b, which has n bytes. The error is protocol.ErrShort if it is not complete. It knows what
// comes over a connection that only subscribes (RESP2): https://redis.io/docs/latest/develop/reference/protocol-spec.
func parseReply(b []byte) (r reply, n int, err error) {
	kind, line, n, err := parseLine(b)
	if err != nil {
		return r, 0, err
	}
	r.kind = kind
	if kind != '*' {
		r.words[0], n, err = parseWord(b, kind, line, n)
		return r, n, err
	}
	count, ok := parseCount(line)
	if !ok || count > len(r.words) {
		return r, 0, fmt.Errorf("%w: an array of length %q", errReply, line)
	}
	for i := range count {
		kind, line, m, err := parseLine(b[n:])
		if err != nil {
			return r, 0, err
		}
		word, m, err := parseWord(b[n:], kind, line, m)
		if err != nil {
			return r, 0, err
		}
		r.words[i] = word
		n += m
	}
	return r, n, nil
}

// maxLine bounds the lines between which the contents stand.
const maxLine = 64 << 10

// parseLine reads the line that begins each element: its kind and what comes behind.
func parseLine(b []byte) (kind byte, line []byte, n int, err error) {
	i := bytes.IndexByte(b, '\n')
	if i < 0 {
		if len(b) > maxLine {
			return 0, nil, 0, fmt.Errorf("%w: a line without an end", errReply)
		}
		return 0, nil, 0, protocol.ErrShort
	}
	if i < 2 || b[i-1] != '\r' {
		return 0, nil, 0, fmt.Errorf("%w: %q", errReply, b[:i])
	}
	return b[0], b[1 : i-1], i + 1, nil
}

// parseWord reads the element at the beginning of b, whose first line has n bytes.
func parseWord(b []byte, kind byte, line []byte, n int) (word []byte, size int, err error) {
	switch kind {
	case '+', '-', ':':
		return line, n, nil
	case '$':
		length, ok := parseCount(line)
		if !ok || length > maxWord {
			break
		}
		end := n + length
		if len(b) < end+len("\r\n") {
			return nil, 0, protocol.ErrShort
		}
		return b[n:end:end], end + len("\r\n"), nil
	}
	return nil, 0, fmt.Errorf("%w: %c%q", errReply, kind, line)
}

// maxWord bounds a word: what Redis takes, and so can send.
const maxWord = 512 << 20

// parseCount reads a length. That of what is not there, -1, is none: Redis does not send it here.
func parseCount(digits []byte) (n int, ok bool) {
	for _, c := range digits {
		if c < '0' || c > '9' || n > maxWord {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, len(digits) > 0
}
