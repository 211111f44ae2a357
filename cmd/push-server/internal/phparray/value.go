package phparray

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// value reads an expression, up to what ends it in a list.
func (r *reader) value(depth int) (Value, error) {
	if depth > maxDepth {
		return Value{}, errors.New("arrays are nested too deep")
	}
	r.space()
	line := r.line
	of, err := r.operand(depth)
	if err != nil {
		return Value{}, err
	}
	for r.sign(".") {
		r.space()
		more, err := r.operand(depth)
		if err != nil {
			return Value{}, err
		}
		left, ok1 := of.(string)
		right, ok2 := more.(string)
		if of = left + right; !ok1 || !ok2 {
			of = Unknown{}
		}
	}
	for r.space(); !r.ends(); r.space() { // any other expression
		of = Unknown{}
		if r.word() != "" {
			continue
		}
		if err := r.skip(); err != nil {
			return Value{}, err
		}
	}
	return Value{line, of}, nil
}

func (r *reader) ends() bool {
	return r.end() || strings.IndexByte(",;)]}", r.text[0]) >= 0 || strings.HasPrefix(r.text, "=>") || strings.HasPrefix(r.text, "?>")
}

func (r *reader) operand(depth int) (any, error) {
	if r.end() {
		return nil, errors.New("a value is missing")
	}
	switch c := r.text[0]; {
	case c == '\'' || c == '"':
		return r.quoted()
	case c == '[':
		r.take(1)
		return r.array("]", depth)
	case c == '-' || c >= '0' && c <= '9':
		return r.number(), nil
	case r.ends():
		return nil, errors.New("a value is missing")
	}
	switch word := strings.ToLower(r.word()); word {
	case "array":
		if r.sign("(") {
			return r.array(")", depth)
		}
	case "true":
		return true, nil
	case "false":
		return false, nil
	case "null":
		return nil, nil
	}
	return Unknown{}, nil
}

func (r *reader) number() any {
	n := 1
	for n < len(r.text) && (isWord(r.text[n]) || r.text[n] == '.' && n+1 < len(r.text) && r.text[n+1] >= '0' && r.text[n+1] <= '9') {
		n++
	}
	text := r.take(n)
	if i, err := strconv.ParseInt(text, 0, 64); err == nil {
		return i
	}
	if f, err := strconv.ParseFloat(text, 64); err == nil {
		return f
	}
	return Unknown{}
}

func (r *reader) array(closing string, depth int) (Array, error) {
	a, next := Array{}, 0
	for {
		if r.sign(closing) {
			return a, nil
		}
		v, err := r.value(depth + 1)
		if err != nil {
			return nil, err
		}
		key := strconv.Itoa(next)
		if r.sign("=>") {
			name, known := keyOf(v.Of)
			if v, err = r.value(depth + 1); err != nil {
				return nil, err
			}
			if key = name; !known {
				key = fmt.Sprintf("?%d", len(a)) // nobody asks for it
			}
		}
		if n, err := strconv.Atoi(key); err == nil && n >= next {
			next = n + 1
		}
		a[key] = v
		if !r.sign(",") && !strings.HasPrefix(r.text, closing) {
			return nil, fmt.Errorf("%s or a comma is missing", closing)
		}
	}
}

func keyOf(v any) (key string, known bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case int64:
		return strconv.FormatInt(v, 10), true
	}
	return "", false
}

// quoted reads a text. One in double quotes with a variable in it is Unknown.
func (r *reader) quoted() (any, error) {
	quote := r.text[0]
	var b strings.Builder
	known := true
	for i := 1; i < len(r.text); i++ {
		c := r.text[i]
		switch {
		case c == quote:
			r.take(i + 1)
			if !known {
				return Unknown{}, nil
			}
			return b.String(), nil
		case c == '\\' && i+1 < len(r.text):
			i++
			switch next := r.text[i]; {
			case next == quote || next == '\\':
				b.WriteByte(next)
			case quote == '\'':
				b.WriteByte('\\')
				b.WriteByte(next)
			case next == '$':
				b.WriteByte(next)
			case next == 'n' || next == 't' || next == 'r':
				b.WriteString(map[byte]string{'n': "\n", 't': "\t", 'r': "\r"}[next])
			default:
				known = false // \x41, \u{41} and others
			}
		case c == '$' && quote == '"':
			known = false
		default:
			b.WriteByte(c)
		}
	}
	return nil, fmt.Errorf("a text has no end: %c is missing", quote)
}
