package replay

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// The readable form of a message is "name: value" for scalars and
// "name { ... }" for nested messages. Text stands in quotes, bytes in hex,
// and "name*3" repeats a field three times.

// tokens splits the readable form. Quoted text keeps its first quote as a
// mark, so that '5' and 5 can be told apart from punctuation.
func tokens(text string) ([]string, error) {
	var out []string
	for {
		text = strings.TrimLeft(text, " \t\n")
		if text == "" {
			return out, nil
		}
		n, err := tokenLength(text)
		if err != nil {
			return nil, err
		}
		out = append(out, text[:n])
		text = text[n:]
	}
}

// tokenLength measures the token at the start of text.
func tokenLength(text string) (int, error) {
	switch text[0] {
	case '{', '}':
		return 1, nil
	case '\'', '"':
		for i := 1; i < len(text); i++ {
			if text[i] == '\\' {
				i++
			} else if text[i] == text[0] {
				return i + 1, nil
			}
		}
		return 0, fmt.Errorf("quote is not closed: %s", text)
	}
	i := 0
	for i < len(text) && !strings.ContainsRune(" \t\n{}", rune(text[i])) {
		if strings.HasPrefix(text[i:], "${") {
			if end := strings.IndexByte(text[i:], '}'); end > 0 {
				i += end
			}
		}
		i++
	}
	return i, nil
}

// braceDepth counts the braces that are open at the end of text. A quote
// that is still open counts as well.
func braceDepth(text string) int {
	list, err := tokens(text)
	if err != nil {
		return 1
	}
	depth := 0
	for _, token := range list {
		switch token {
		case "{":
			depth++
		case "}":
			depth--
		}
	}
	return depth
}

// parseProto reads the readable form of a message of the given type.
func parseProto(typ, text string) ([]node, error) {
	list, err := tokens(text)
	if err != nil {
		return nil, err
	}
	fields, rest, err := parseFields(typ, list)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("unexpected %q", rest[0])
	}
	return fields, err
}

// parseFields reads fields up to a closing brace, which it leaves.
func parseFields(typ string, list []string) (fields []node, rest []string, err error) {
	for len(list) > 0 && list[0] != "}" {
		name, times, err := parseName(list[0])
		if err != nil {
			return nil, nil, err
		}
		f, ok := findField(typ, func(f field) bool { return f.name == name })
		if !ok {
			return nil, nil, fmt.Errorf("%s has no field %q", typ, name)
		}
		var n node
		if n, list, err = parseValue(f, list[1:]); err != nil {
			return nil, nil, err
		}
		fields = append(fields, slices.Repeat([]node{n}, times)...)
	}
	return fields, list, nil
}

// parseName splits "name*3:" into its name and count.
func parseName(token string) (name string, times int, err error) {
	name, count, repeated := strings.Cut(strings.TrimSuffix(token, ":"), "*")
	if !repeated {
		return name, 1, nil
	}
	times, err = strconv.Atoi(count)
	return name, times, err
}

// parseValue reads what stands behind the name of a field.
func parseValue(f field, list []string) (n node, rest []string, err error) {
	n.field = f
	if len(list) == 0 {
		return n, nil, fmt.Errorf("%s has no value", f.name)
	}
	if f.kind != kindMessage {
		n.value, err = unquote(list[0])
		return n, list[1:], err
	}
	if list[0] != "{" {
		return n, nil, fmt.Errorf("%s needs { }", f.name)
	}
	n.fields, rest, err = parseFields(f.typ, list[1:])
	if err == nil && len(rest) == 0 {
		err = fmt.Errorf("%s is not closed", f.name)
	}
	if err != nil {
		return n, nil, err
	}
	return n, rest[1:], nil
}

// unquote removes quotes and escapes; a bare token stays as it is.
func unquote(token string) (string, error) {
	if token[0] != '\'' && token[0] != '"' {
		return token, nil
	}
	inner := strings.ReplaceAll(token[1:len(token)-1], `\`+token[:1], token[:1])
	return unescape(inner)
}
