package configs

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// byteOrderMark is what some editors put in front of UTF-8.
var byteOrderMark = []byte("\xef\xbb\xbf")

// remedy says what to do about a file that is not JSON. Most are none for one of a few reasons.
func remedy(text []byte, err error) string {
	message := err.Error()
	switch {
	case len(bytes.TrimSpace(text)) == 0:
		return "the file is empty"
	case bytes.HasPrefix(text, []byte("\xff\xfe")), bytes.HasPrefix(text, []byte("\xfe\xff")):
		return "the file is in UTF-16, save it in UTF-8"
	case strings.Contains(message, "unexpected end"):
		return "the file ends too early"
	case strings.Contains(message, "'_'") && bytes.Contains(text, []byte("__")):
		return unfilled
	case strings.Contains(message, `'\''`):
		return "write double quotes"
	case strings.Contains(message, "after top-level value"):
		return "a file holds one object"
	case strings.Contains(message, `'"' after`):
		return "a comma is missing before it"
	}
	return "comments and trailing commas are not allowed"
}

// unfilled is what to do about a template.
const unfilled = "this is a template, which push-server-multi configs fills in"

// isPlaceholder knows what stands in templates for a value.
func isPlaceholder(s string) bool {
	name := strings.TrimSuffix(strings.TrimPrefix(s, "__"), "__")
	return len(name) > 0 && len(name) == len(s)-4 && strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_") == ""
}

// encoding warns of bytes that are not UTF-8: they are lost, and of a key that has some no signature is right.
func (d *decoder) encoding(text []byte) {
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRune(text[i:])
		if r == utf8.RuneError && size == 1 {
			d.warn("", "save it in UTF-8", "not UTF-8: %s: what cannot be read counts as U+FFFD", place(text, i))
			return
		}
		i += size
	}
}
