package replay

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// command writes a Redis command from its arguments.
func command(args ...string) []byte {
	out := fmt.Appendf(nil, "*%d\r\n", len(args))
	for _, arg := range args {
		out = fmt.Appendf(out, "$%d\r\n%s\r\n", len(arg), arg)
	}
	return out
}

// parseCommand reads a command whose arguments are parted by blanks. They
// are expanded one by one, because raw ids may hold blanks.
func parseCommand(text string, v vars) ([]byte, error) {
	args := strings.Fields(text)
	for i := range args {
		var err error
		if args[i], err = v.expand(args[i]); err != nil {
			return nil, err
		}
	}
	return command(args...), nil
}

// parseStore reads a command whose last argument is a message of the given
// type in readable form, after n plain arguments.
func parseStore(name string, n int, typ, text string, v vars) ([]byte, error) {
	words := strings.SplitN(text, " ", n+1)
	if len(words) != n+1 {
		return nil, fmt.Errorf("%s needs %d arguments and a message", name, n)
	}
	for i := range n {
		var err error
		if words[i], err = v.expand(words[i]); err != nil {
			return nil, err
		}
	}
	fields, err := parseProto(typ, words[n])
	if err != nil {
		return nil, err
	}
	payload, err := encode(fields, v)
	words[n] = string(payload)
	return command(append([]string{name}, words...)...), err
}

// A reply is an answer of Redis: an int64, a []byte, nil, or a []any.
type reply any

// readReply reads one answer.
func readReply(c *conn, deadline time.Time) (reply, error) {
	line, err := c.takeLine(deadline)
	if err != nil {
		return nil, err
	}
	if line == "" {
		return nil, errors.New("empty reply")
	}
	n, _ := strconv.ParseInt(line[1:], 10, 64)
	switch line[0] {
	case ':':
		return n, nil
	case '+', '-':
		return []byte(line[1:]), nil
	case '$':
		if n < 0 {
			return nil, nil
		}
		b, err := c.take(int(n)+2, deadline)
		return b[:max(0, len(b)-2)], err
	case '*':
		list := []any{}
		for range n {
			element, err := readReply(c, deadline)
			if err != nil {
				return nil, err
			}
			list = append(list, element)
		}
		return list, nil
	}
	return nil, fmt.Errorf("reply %q", line)
}

// replyText writes an answer on one line: numbers, texts in quotes (or all
// texts in hex), nil, and [a b] for lists.
func replyText(r reply, inHex bool) string {
	switch r := r.(type) {
	case nil:
		return "nil"
	case []byte:
		if inHex {
			return hex.EncodeToString(r)
		}
		return `"` + escape(string(r)) + `"`
	case []any:
		var words []string
		for _, element := range r {
			words = append(words, replyText(element, inHex))
		}
		return "[" + strings.Join(words, " ") + "]"
	}
	return fmt.Sprint(r)
}

// expectReply compares the next answer of Redis.
func expectReply(c *conn, part Part, v vars, deadline time.Time) error {
	r, err := readReply(c, deadline)
	if err != nil {
		return err
	}
	if part.Kind != "stored" {
		return v.match(part.Text, replyText(r, part.Kind == "hexreply"))
	}
	payload, ok := r.([]byte)
	if !ok {
		return fmt.Errorf("want a stored message\ngot  %s", replyText(r, false))
	}
	return compareProtoText("OutgoingMessage", part.Text, payload, v)
}

// nextNotification reads the next publication that speaks of a channel of
// this conversation, and gives its Redis channel and its payload.
func nextNotification(c *conn, v vars, deadline time.Time) (channel string, payload []byte, err error) {
	for {
		r, err := readReply(c, deadline)
		if err != nil {
			return "", nil, err
		}
		list, ok := r.([]any)
		if !ok || len(list) < 3 {
			return "", nil, fmt.Errorf("want a publication\ngot  %s", replyText(r, false))
		}
		name, _ := list[len(list)-2].([]byte)
		payload, _ := list[len(list)-1].([]byte)
		if v.mentions(payload) {
			return string(name), payload, nil
		}
	}
}

// mentions reports whether b holds the bytes of a channel id.
func (v vars) mentions(b []byte) bool {
	for name, value := range v {
		if !strings.HasSuffix(name, ".priv") && !strings.HasSuffix(name, ".pub") {
			continue
		}
		if id, err := hex.DecodeString(value); err == nil && bytes.Contains(b, id) {
			return true
		}
	}
	return false
}

// expectNotification compares the next publication. The text begins with a
// pattern for the Redis channel.
func expectNotification(c *conn, text string, v vars, deadline time.Time) error {
	wantChannel, wantFields, _ := strings.Cut(text, " ")
	channel, payload, err := nextNotification(c, v, deadline)
	if err != nil {
		return err
	}
	return errors.Join(
		v.match(wantChannel, channel),
		compareProtoText("NotificationBatch", wantFields, payload, v),
	)
}
