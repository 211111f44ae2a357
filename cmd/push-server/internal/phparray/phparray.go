// Package phparray reads the array that a PHP file returns, as settings files do. It runs nothing: what is not written out, such as a call,
// a variable or a constant, is Unknown.
package phparray

import (
	"errors"
	"fmt"
	"strings"
)

// Unknown is a value that only PHP can tell.
type Unknown struct{}

// Value is a string, an int64, a float64, a bool, nil, an Array or Unknown, with the line where it stands.
type Value struct {
	Line int
	Of   any
}

// Array is an array of PHP. Elements without a key have their number.
type Array map[string]Value

// Get follows keys through arrays. ok is false where there is nothing.
func (v Value) Get(keys ...string) (Value, bool) {
	for _, key := range keys {
		a, isArray := v.Of.(Array)
		inner, ok := a[key]
		if !isArray || !ok {
			return Value{}, false
		}
		v = inner
	}
	return v, true
}

// maxDepth bounds how deep arrays may be nested.
const maxDepth = 100

// Parse reads the first array that text returns.
func Parse(text string) (Value, error) {
	r := &reader{text: text, line: 1}
	if !r.open() {
		return Value{}, errors.New("there is no <?php")
	}
	for {
		r.space()
		switch word := r.word(); {
		case word == "return":
			v, err := r.value(0)
			if err != nil {
				return Value{}, fmt.Errorf("line %d: %w", r.line, err)
			}
			if _, ok := v.Of.(Array); !ok {
				return Value{}, fmt.Errorf("line %d: what is returned is not an array that is written out", v.Line)
			}
			return v, nil
		case r.end():
			return Value{}, errors.New("no array is returned")
		case word == "":
			if err := r.skip(); err != nil {
				return Value{}, fmt.Errorf("line %d: %w", r.line, err)
			}
		}
	}
}

type reader struct {
	text string // what is left
	line int
}

func (r *reader) end() bool { return r.text == "" }

func (r *reader) take(n int) string {
	taken := r.text[:n]
	r.line += strings.Count(taken, "\n")
	r.text = r.text[n:]
	return taken
}

func (r *reader) open() bool {
	i := strings.Index(r.text, "<?php")
	if i < 0 {
		return false
	}
	r.take(i + len("<?php"))
	return true
}

// space takes white space and comments.
func (r *reader) space() {
	for {
		r.take(len(r.text) - len(strings.TrimLeft(r.text, " \t\r\n")))
		switch {
		case strings.HasPrefix(r.text, "//"), strings.HasPrefix(r.text, "#") && !strings.HasPrefix(r.text, "#["):
			i := strings.IndexByte(r.text, '\n')
			if i < 0 {
				i = len(r.text)
			}
			r.take(i)
		case strings.HasPrefix(r.text, "/*"):
			i := strings.Index(r.text[2:], "*/")
			if i < 0 {
				r.take(len(r.text))
				return
			}
			r.take(i + 4)
		default:
			return
		}
	}
}

func (r *reader) sign(sign string) bool {
	r.space()
	if !strings.HasPrefix(r.text, sign) {
		return false
	}
	r.take(len(sign))
	return true
}

func isWord(c byte) bool {
	return c == '_' || c == '\\' || c >= 0x80 || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

func (r *reader) word() string {
	n := 0
	for n < len(r.text) && isWord(r.text[n]) {
		n++
	}
	return r.take(n)
}

// skip takes one thing that is not looked at: a text, brackets with all between them, or a sign.
func (r *reader) skip() error {
	switch c := r.text[0]; c {
	case '\'', '"':
		_, err := r.quoted()
		return err
	case '(', '[', '{':
		closing := map[byte]byte{'(': ')', '[': ']', '{': '}'}[c]
		r.take(1)
		for {
			r.space()
			switch {
			case r.end():
				return fmt.Errorf("%c is missing", closing)
			case r.text[0] == closing:
				r.take(1)
				return nil
			case r.text[0] == ')' || r.text[0] == ']' || r.text[0] == '}':
				return fmt.Errorf("%c instead of %c", r.text[0], closing)
			}
			if r.word() != "" {
				continue
			}
			if err := r.skip(); err != nil {
				return err
			}
		}
	}
	if strings.HasPrefix(r.text, "<<<") {
		return errors.New("a heredoc cannot be read")
	}
	r.take(1)
	return nil
}
