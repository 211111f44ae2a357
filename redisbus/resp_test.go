package redisbus

import (
	"bytes"
	"errors"
	"net"
	"strconv"
	"strings"
	"testing"

	"push-server/protocol"
)

const samplePush = "*4\r\n$8\r\npmessage\r\n$12\r\npushserver:*\r\n$12\r\npushserver:1\r\n$5\r\na\r\nbc\r\n"

func TestParseReply(t *testing.T) {
	f := func(in string, kind byte, words ...string) {
		t.Helper()
		r, n, err := parseReply([]byte(in + "+next"))
		if err != nil || n != len(in) || r.kind != kind {
			t.Fatalf("%q: kind %c, %d bytes, %v", in, r.kind, n, err)
		}
		for i := range r.words {
			if i < len(words) && string(r.words[i]) != words[i] || i >= len(words) && r.words[i] != nil {
				t.Errorf("%q: word %d is %q", in, i, r.words[i])
			}
		}
		for i := range in {
			if _, _, err := parseReply([]byte(in[:i])); !errors.Is(err, protocol.ErrShort) {
				t.Fatalf("%q: %v", in[:i], err)
			}
		}
	}
	f("+OK\r\n", '+', "OK")
	f("-NOAUTH a password\r\n", '-', "NOAUTH a password")
	f(":12\r\n", ':', "12")
	f("$0\r\n\r\n", '$', "")
	f("$3\r\n\r\n.\r\n", '$', "\r\n.")
	f("*0\r\n", '*')
	f("*3\r\n$10\r\npsubscribe\r\n$1\r\n*\r\n:1\r\n", '*', "psubscribe", "*", "1")
	f(samplePush, '*', "pmessage", "pushserver:*", "pushserver:1", "a\r\nbc")
}

func TestParseReplyRefuses(t *testing.T) {
	f := func(in string) {
		t.Helper()
		if _, _, err := parseReply([]byte(in)); !errors.Is(err, errReply) {
			t.Errorf("%q: %v", in, err)
		}
	}
	f("\n")
	f("\r\n")
	f("+OK\n")
	f("!3\r\n")
	f("$-1\r\n")
	f("$\r\n")
	f("$1x\r\n")
	f("$99999999999999999999\r\n")
	f("$536870913\r\n")
	f("*-1\r\n")
	f("*5\r\n")
	f("*1\r\n*0\r\n")
	f("*1\r\n_\r\n")
	f(strings.Repeat("x", maxLine+1))
}

// Whatever comes, a part of it is either not enough or says the same as the whole.
func FuzzParseReply(f *testing.F) {
	f.Add([]byte(samplePush), 20)
	f.Add([]byte("*3\r\n$10\r\npsubscribe\r\n$1\r\n*\r\n:1\r\n"), 3)
	f.Add([]byte("-ERR\r\n"), 1)
	f.Fuzz(func(t *testing.T, b []byte, cut int) {
		r, n, err := parseReply(b)
		if n > len(b) || err == nil && n == 0 {
			t.Fatalf("%d of %d bytes", n, len(b))
		}
		part, m, partErr := parseReply(b[:max(0, min(cut, len(b)))])
		if errors.Is(partErr, protocol.ErrShort) {
			return
		}
		if m != n || (partErr == nil) != (err == nil) || part.kind != r.kind && err == nil {
			t.Fatalf("%d bytes, %v; a part: %d bytes, %v", n, err, m, partErr)
		}
		for i := range r.words {
			if err == nil && !bytes.Equal(r.words[i], part.words[i]) {
				t.Fatalf("%q, a part: %q", r.words[i], part.words[i])
			}
		}
	})
}

// Replies of all sizes, in pieces of all sizes, and none of them is overwritten by what comes later.
func TestListenerReads(t *testing.T) {
	ours, theirs := net.Pipe()
	l := &listener{conn: ours}
	defer l.close()
	sizes := []int{0, 1, 300, blockSize - minRead, blockSize, 3 * blockSize, 7, 400, 400}
	go func() {
		defer theirs.Close()
		var sent []byte
		for i, size := range sizes {
			sent = append(sent, bulk(i, size)...)
		}
		for piece := 1; len(sent) > 0; piece = 3*piece%10_007 + 1 {
			n := min(piece, len(sent))
			if _, err := theirs.Write(sent[:n]); err != nil {
				t.Error(err)
				return
			}
			sent = sent[n:]
		}
	}()
	var got [][]byte
	for range sizes {
		r, err := l.next()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, r.words[0])
	}
	for i, size := range sizes {
		if len(got[i]) != size || len(bytes.Trim(got[i], string(rune('a'+i)))) > 0 {
			t.Errorf("reply %d was changed, or has another length: %d", i, len(got[i]))
		}
	}
	if _, err := l.next(); err == nil {
		t.Error("the end is not told")
	}
}

// bulk is a word of one letter, again and again.
func bulk(letter, size int) string {
	return "$" + strconv.Itoa(size) + "\r\n" + strings.Repeat(string(rune('a'+letter)), size) + "\r\n"
}
