package testclient

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// The types of senders.
const (
	SenderClient  = 1
	SenderBackend = 2
)

// A Message is a publication as a subscriber gets it.
type Message struct {
	ID     string // 26 digits
	Body   string
	Sender uint64 // binary mode only
	From   string // public id of a client, in hex; binary mode only
	Raw    string // all of it as it came: what stands between the marks, or the OutgoingMessage
}

// Bodies are the bodies of ms.
func Bodies(ms []Message) (bodies []string) {
	for _, m := range ms {
		bodies = append(bodies, m.Body)
	}
	return bodies
}

// ErrFraming is wrapped by the errors of Parse and of what reads from a
// server: it has sent what no client understands.
var ErrFraming = errors.New("testclient: bad framing")

// Parse reads the messages of one frame or body.
func Parse(b []byte, binary bool) ([]Message, error) {
	if binary {
		return parseBinary(b)
	}
	return parseText(string(b))
}

func parseText(text string) ([]Message, error) {
	var out []Message
	for text != "" {
		framed, rest, ok := strings.Cut(text, "#!NGINXNME!#")
		framed, prefixed := strings.CutPrefix(framed, "#!NGINXNMS!#")
		if !ok || !prefixed {
			return nil, fmt.Errorf("%w: %.100q", ErrFraming, text)
		}
		m, err := parseTextMessage(framed)
		if err != nil {
			return nil, fmt.Errorf("%w: %w: %.100q", ErrFraming, err, framed)
		}
		out = append(out, m)
		text = rest
	}
	return out, nil
}

// parseTextMessage reads what stands between two marks. A body that is not
// JSON stands there all the same, as the last value.
func parseTextMessage(framed string) (Message, error) {
	var message struct {
		Mid  string
		Text json.RawMessage
	}
	if err := json.Unmarshal([]byte(framed), &message); err == nil {
		return Message{ID: message.Mid, Body: string(message.Text), Raw: framed}, nil
	}
	head, body, ok := strings.Cut(framed, `,"text":`)
	if !ok || !strings.HasSuffix(body, "}") {
		return Message{}, errors.New("no text")
	}
	err := json.Unmarshal([]byte(head+"}"), &message)
	return Message{ID: message.Mid, Body: strings.TrimSuffix(body, "}"), Raw: framed}, err
}

// parseBinary reads the messages of a ResponseBatch. Other responses are
// passed over.
func parseBinary(b []byte) (out []Message, err error) {
	err = fields(b, func(response field) error {
		return nested(response.value, 1, func(messages []byte) error {
			return nested(messages, 1, func(message []byte) error {
				m, err := parseOutgoing(message)
				out = append(out, m)
				return err
			})
		})
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// parseOutgoing reads an OutgoingMessage.
func parseOutgoing(b []byte) (Message, error) {
	m, hasSender := Message{Raw: string(b)}, false
	err := fields(b, func(x field) error {
		switch x.number {
		case 1:
			m.ID = hex.EncodeToString(x.value)
		case 2:
			m.Body = string(x.value)
		case 5:
			hasSender = true
			return m.parseSender(x.value)
		}
		return nil
	})
	if err == nil && !hasSender {
		err = fmt.Errorf("%w: message %s has no sender", ErrFraming, m.ID)
	}
	return m, err
}

func (m *Message) parseSender(b []byte) error {
	return fields(b, func(x field) error {
		switch x.number {
		case 1:
			m.Sender = x.scalar
		case 2:
			m.From = hex.EncodeToString(x.value)
		}
		return nil
	})
}
