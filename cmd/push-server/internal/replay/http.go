package replay

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A header is one line of an HTTP head.
type header struct{ name, value string }

// A response is an HTTP response as it came.
type response struct {
	status  string
	headers []header
	body    []byte
}

// relevant reports whether clients can be affected by this header. Of these
// a response must hold exactly the expected ones.
func relevant(name string) bool {
	name = strings.ToLower(name)
	switch name {
	case "content-type", "content-encoding", "last-message-id", "expires", "upgrade", "location", "set-cookie", "allow":
		return true
	}
	return strings.HasPrefix(name, "access-control-") || strings.HasPrefix(name, "sec-websocket-")
}

// readResponse reads one response with its body.
func readResponse(c *conn, deadline time.Time) (*response, error) {
	resp := &response{}
	status, err := c.takeLine(deadline)
	if err != nil {
		return nil, err
	}
	resp.status = status
	for {
		line, err := c.takeLine(deadline)
		if err != nil {
			return nil, fmt.Errorf("behind %q: %w", status, err)
		}
		if line == "" {
			break
		}
		name, value, _ := strings.Cut(line, ":")
		resp.headers = append(resp.headers, header{name, strings.TrimSpace(value)})
	}
	resp.body, err = readBody(c, resp, deadline)
	return resp, err
}

// takeLine reads up to CRLF.
func (c *conn) takeLine(deadline time.Time) (string, error) {
	end := 0
	err := c.wait(deadline, func(unread []byte) bool {
		end = strings.Index(string(unread), "\r\n")
		return end >= 0
	})
	if err != nil {
		if left := c.unread(); len(left) > 0 {
			err = fmt.Errorf("%w; before it came %s", err, preview(left))
		}
		return "", err
	}
	return string(c.consume(end + 2)[:end]), nil
}

// readBody reads the body in the way that the headers announce.
func readBody(c *conn, resp *response, deadline time.Time) ([]byte, error) {
	code := resp.code()
	length := resp.get("Content-Length")
	switch {
	case c.head, code < "200", code == "204", code == "304":
		return nil, nil
	case strings.EqualFold(resp.get("Transfer-Encoding"), "chunked"):
		return readChunks(c, deadline)
	case length != "":
		n, err := strconv.Atoi(length)
		if err != nil {
			return nil, err
		}
		return c.take(n, deadline)
	}
	return c.takeRest(deadline)
}

func readChunks(c *conn, deadline time.Time) ([]byte, error) {
	var body []byte
	for {
		line, err := c.takeLine(deadline)
		if err != nil {
			return nil, err
		}
		size, err := strconv.ParseInt(line, 16, 32)
		if err != nil {
			return nil, err
		}
		chunk, err := c.take(int(size)+2, deadline)
		if err != nil {
			return nil, err
		}
		if size == 0 {
			return body, nil
		}
		body = append(body, chunk[:size]...)
	}
}

// code is the three digits of the status line.
func (r *response) code() string {
	_, rest, _ := strings.Cut(r.status, " ")
	code, _, _ := strings.Cut(rest, " ")
	return code
}

func (r *response) get(name string) string {
	for _, h := range r.headers {
		if strings.EqualFold(h.name, name) {
			return h.value
		}
	}
	return ""
}

// parseHead reads the expected response up to the blank line; the parts
// behind it describe the body.
func parseHead(parts []Part) (want *response, body []Part) {
	want = &response{status: parts[0].Text}
	for i, part := range parts[1:] {
		if part.Text == "" {
			return want, parts[i+2:]
		}
		name, value, _ := strings.Cut(part.Text, ":")
		want.headers = append(want.headers, header{name, strings.TrimSpace(value)})
	}
	return want, nil
}

// compareResponse reports every difference between the expected response
// and the one that came.
func compareResponse(parts []Part, got *response, v vars) error {
	want, body := parseHead(parts)
	diffs := []error{v.match(want.code(), got.code()), compareHeaders(want.headers, got.headers, v)}
	if len(body) > 0 || len(got.body) > 0 {
		diffs = append(diffs, compareBody(body, got, v))
	}
	return errors.Join(diffs...)
}

// compareHeaders wants the same relevant headers, in any order.
func compareHeaders(want, got []header, v vars) error {
	var diffs []error
	left := slices.DeleteFunc(slices.Clone(got), func(h header) bool { return !relevant(h.name) })
	for _, h := range want {
		if !relevant(h.name) {
			continue
		}
		i := slices.IndexFunc(left, func(g header) bool { return strings.EqualFold(g.name, h.name) })
		if i < 0 {
			diffs = append(diffs, fmt.Errorf("want %s\ngot  no such header", h))
			continue
		}
		if err := v.match(h.value, left[i].value); err != nil {
			diffs = append(diffs, fmt.Errorf("header %s\n%w", h.name, err))
		}
		left = slices.Delete(left, i, i+1)
	}
	for _, h := range left {
		diffs = append(diffs, fmt.Errorf("want no such header\ngot  %s", h))
	}
	return errors.Join(diffs...)
}

func (h header) String() string { return h.name + ": " + h.value }

// compareBody matches the body with the parts that describe it.
func compareBody(parts []Part, got *response, v vars) error {
	if len(parts) == 0 {
		return fmt.Errorf("want an empty body\ngot  %s", preview(got.body))
	}
	switch kind := parts[0].Kind; kind {
	case "message":
		return compareMessages(parts, got, v)
	case "proto":
		return compareProtoText("ResponseBatch", parts[0].Text, got.body, v)
	case "json", "jsoneach":
		return compareJSON(parts[0].Text, got.body, kind == "jsoneach", v)
	}
	var want strings.Builder
	for _, part := range parts {
		text, err := unescape(part.Text)
		if err != nil {
			return err
		}
		want.WriteString(text)
	}
	if parts[0].Kind == "hex" {
		return matchHex(want.String(), got.body, v)
	}
	if err := v.match(want.String(), string(got.body)); err != nil {
		return fmt.Errorf("body\n%w", err)
	}
	return nil
}

// compareMessages matches a body of messages with one part for each.
func compareMessages(parts []Part, got *response, v vars) error {
	items, err := parseItems(got.body, got.get("Content-Type") == "application/octet-stream")
	if err != nil {
		return err
	}
	var diffs []error
	for i := range max(len(parts), len(items)) {
		switch {
		case i >= len(parts):
			diffs = append(diffs, fmt.Errorf("want no more messages\ngot  %s", items[i]))
		case i >= len(items):
			diffs = append(diffs, fmt.Errorf("want message %s\ngot  no more messages", parts[i].Text))
		default:
			diffs = append(diffs, items[i].matchMessage(parts[i].Text, v))
		}
	}
	return errors.Join(diffs...)
}

// compareProtoText decodes b and matches it with a readable message.
func compareProtoText(typ, text string, b []byte, v vars) error {
	want, err := parseProto(typ, text)
	if err != nil {
		return err
	}
	got, err := decode(typ, b)
	if err != nil {
		return fmt.Errorf("%s does not decode: %w: %x", typ, err, b)
	}
	return compareProto(typ, want, got, v)
}
