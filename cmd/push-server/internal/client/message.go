package client

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
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
}

// ErrFraming is wrapped by the errors of ParseText and ParseBinary.
var ErrFraming = errors.New("client: bad framing")

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
		var message struct {
			Mid  string
			Text json.RawMessage
		}
		if err := json.Unmarshal([]byte(framed), &message); err != nil {
			return nil, fmt.Errorf("%w: %w: %.100q", ErrFraming, err, framed)
		}
		out = append(out, Message{ID: message.Mid, Body: string(message.Text)})
		text = rest
	}
	return out, nil
}

// parseBinary reads the messages of a ResponseBatch. Other responses are
// passed over.
func parseBinary(b []byte) (out []Message, err error) {
	err = fields(b, func(number protowire.Number, response []byte, _ uint64) error {
		return nested(response, 1, func(messages []byte) error {
			return nested(messages, 1, func(message []byte) error {
				m, err := parseMessage(message)
				out = append(out, m)
				return err
			})
		})
	})
	return out, err
}

// parseMessage reads an OutgoingMessage.
func parseMessage(b []byte) (m Message, err error) {
	hasSender := false
	err = fields(b, func(number protowire.Number, value []byte, _ uint64) error {
		switch number {
		case 1:
			m.ID = hex.EncodeToString(value)
		case 2:
			m.Body = string(value)
		case 5:
			hasSender = true
			return m.parseSender(value)
		}
		return nil
	})
	if err == nil && !hasSender {
		err = fmt.Errorf("%w: message %s has no sender", ErrFraming, m.ID)
	}
	return m, err
}

func (m *Message) parseSender(b []byte) error {
	return fields(b, func(number protowire.Number, value []byte, scalar uint64) error {
		switch number {
		case 1:
			m.Sender = scalar
		case 2:
			m.From = hex.EncodeToString(value)
		}
		return nil
	})
}

// nested calls f with each field of that number.
func nested(b []byte, number protowire.Number, f func([]byte) error) error {
	return fields(b, func(n protowire.Number, value []byte, _ uint64) error {
		if n != number {
			return nil
		}
		return f(value)
	})
}

// fields calls f with each field of a protobuf message: the bytes of a text
// or message, or the value of a scalar.
func fields(b []byte, f func(number protowire.Number, value []byte, scalar uint64) error) error {
	for len(b) > 0 {
		number, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return fmt.Errorf("%w: %w", ErrFraming, protowire.ParseError(n))
		}
		b = b[n:]
		value, scalar, n := fieldValue(number, typ, b)
		if n < 0 {
			return fmt.Errorf("%w: %w", ErrFraming, protowire.ParseError(n))
		}
		if err := f(number, value, scalar); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

func fieldValue(number protowire.Number, typ protowire.Type, b []byte) (value []byte, scalar uint64, n int) {
	switch typ {
	case protowire.BytesType:
		value, n = protowire.ConsumeBytes(b)
	case protowire.VarintType:
		scalar, n = protowire.ConsumeVarint(b)
	default:
		n = protowire.ConsumeFieldValue(number, typ, b)
	}
	return value, scalar, n
}
