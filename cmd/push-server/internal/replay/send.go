package replay

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// send writes the parts of a step at once. ${length} is the number of bytes
// behind the first blank line.
func (p *player) send(step Step) error {
	c, err := p.conn(step.Conn)
	if err != nil {
		return err
	}
	if c.target != "" {
		return p.sendPost(c, step)
	}
	head := step.headLength()
	body, err := p.sendParts(c, step.Parts[head:])
	if err != nil {
		return err
	}
	p.vars["length"] = strconv.Itoa(len(body))
	out, err := p.sendParts(c, step.Parts[:head])
	if err != nil {
		return err
	}
	c.noteRequest(out)
	c.write(append(out, body...))
	return nil
}

// sendPost writes the parts as the body of a POST.
func (p *player) sendPost(c *conn, step Step) error {
	body, err := p.sendParts(c, step.Parts)
	if err != nil {
		return err
	}
	head := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: push.example\r\nContent-Length: %d\r\n\r\n", c.target, len(body))
	c.target = ""
	c.write(append([]byte(head), body...))
	return nil
}

// headLength is the number of parts up to and with the blank line.
func (s *Step) headLength() int {
	for i, part := range s.Parts {
		if part.Kind == "" && part.Text == "" {
			return i + 1
		}
	}
	return len(s.Parts)
}

// noteRequest remembers what the response has to be read with.
func (c *conn) noteRequest(head []byte) {
	line, _, _ := strings.Cut(string(head), "\r\n")
	c.head = strings.HasPrefix(line, "HEAD ")
	if strings.HasPrefix(line, "GET ") {
		c.binary = strings.Contains(line, "binaryMode=true")
	}
}

func (p *player) sendParts(c *conn, parts []Part) ([]byte, error) {
	var out []byte
	for _, part := range parts {
		b, err := p.sendPart(c, part)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", part.Line, err)
		}
		out = append(out, b...)
	}
	return out, nil
}

// sendPart gives the bytes of one part.
func (p *player) sendPart(c *conn, part Part) ([]byte, error) {
	switch part.Kind {
	case "proto", "fragments":
		return p.sendProto(c, part)
	case "command":
		return parseCommand(part.Text, p.vars)
	case "publish":
		return parseStore("PUBLISH", 1, "NotificationBatch", part.Text, p.vars)
	case "store":
		return parseStore("SETEX", 2, "OutgoingMessage", part.Text, p.vars)
	}
	text, err := p.vars.expand(part.Text)
	if err != nil {
		return nil, err
	}
	if part.Kind == "hex" {
		return hex.DecodeString(strings.Join(strings.Fields(text), ""))
	}
	if part.Kind == "frame" {
		f, err := parseFrame(text)
		return f.bytes(), err
	}
	if part.Kind == "close" {
		payload, err := closePayload(text)
		return frame{op: opClose, payload: payload}.bytes(), err
	}
	return sendText(part.Kind, text)
}

// sendText gives the bytes of a part that is made of text with escapes.
func sendText(kind, text string) ([]byte, error) {
	count := 1
	if kind == "repeat" {
		number, rest, _ := strings.Cut(text, " ")
		count, _ = strconv.Atoi(number)
		text = rest
	}
	text, err := unescape(text)
	if err != nil {
		return nil, err
	}
	switch kind {
	case "":
		return []byte(text + "\r\n"), nil
	case "|":
		return []byte(text), nil
	case "repeat":
		return []byte(strings.Repeat(text, count)), nil
	case "text", "ping", "pong":
		return frame{op: opcodes[kind], payload: []byte(text)}.bytes(), nil
	}
	return nil, fmt.Errorf("do not know how to send %q", kind)
}

// sendProto encodes a RequestBatch: as it is in a request, as a frame (or
// several) on a WebSocket.
func (p *player) sendProto(c *conn, part Part) ([]byte, error) {
	text, pieces := part.Text, 1
	if part.Kind == "fragments" {
		number, rest, _ := strings.Cut(text, " ")
		pieces, _ = strconv.Atoi(number)
		text = rest
	}
	fields, err := parseProto("RequestBatch", text)
	if err != nil {
		return nil, err
	}
	payload, err := encode(fields, p.vars)
	if err != nil || !c.ws {
		return payload, err
	}
	return fragment(payload, pieces), nil
}

// fragment cuts a binary message into that many frames.
func fragment(payload []byte, pieces int) []byte {
	var out []byte
	size := len(payload)/pieces + 1
	for i := range pieces {
		part := payload[min(i*size, len(payload)):min((i+1)*size, len(payload))]
		f := frame{op: opContinue, notFinal: i < pieces-1, payload: part}
		if i == 0 {
			f.op = opBinary
		}
		out = append(out, f.bytes()...)
	}
	return out
}
