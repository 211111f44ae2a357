package terminal

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"push-server/protocol"
	"push-server/protocol/pb"
)

// Message is a publication as a subscriber gets it.
type Message struct {
	ID   protocol.MessageID
	Body []byte

	// Only protobuf has these.
	Created time.Time
	Sender  string // "client" or "backend"
	From    string // public id of a client, in hex
}

// errFraming says that a server has sent what no client understands.
var errFraming = errors.New("what came is no message of a push server: is this the address of a route sub?")

// parse reads the messages of one frame or reply.
func parse(b []byte, protobuf bool) ([]Message, error) {
	if protobuf {
		return parseProtobuf(b)
	}
	return parseText(b)
}

func parseProtobuf(b []byte) (messages []Message, err error) {
	var batch pb.ResponseBatch
	if err := proto.Unmarshal(b, &batch); err != nil {
		return nil, errFraming
	}
	for _, response := range batch.GetResponses() {
		for _, m := range response.GetOutgoingMessages().GetMessages() {
			id, ok := protocol.MessageIDFromBytes(m.GetId())
			if !ok {
				return nil, errFraming
			}
			out := Message{ID: id, Body: []byte(m.GetBody()), From: hex.EncodeToString(m.GetSender().GetId())}
			if m.GetCreated() != 0 {
				out.Created = time.Unix(int64(m.GetCreated()), 0).UTC()
			}
			if sender := m.GetSender().GetType(); sender != pb.SenderType_UNKNOWN {
				out.Sender = strings.ToLower(sender.String())
			}
			messages = append(messages, out)
		}
	}
	return messages, nil
}

// The marks around each message in text framing.
const (
	textBegin = "#!NGINXNMS!#"
	textEnd   = "#!NGINXNME!#"
)

func parseText(b []byte) (messages []Message, err error) {
	for len(bytes.TrimSpace(b)) > 0 {
		framed, rest, ok := bytes.Cut(b, []byte(textEnd))
		framed, begun := bytes.CutPrefix(framed, []byte(textBegin))
		if !ok || !begun {
			return nil, errFraming
		}
		m, err := parseFramed(framed)
		if err != nil {
			return nil, err
		}
		messages, b = append(messages, m), rest
	}
	return messages, nil
}

// parseFramed reads what stands between two marks. The body is the last value and stands there as it was published, JSON or not.
func parseFramed(framed []byte) (m Message, err error) {
	head, body, ok := bytes.Cut(framed, []byte(`,"text":`))
	body, closed := bytes.CutSuffix(body, []byte("}"))
	var fields struct{ Mid string }
	if !ok || !closed || json.Unmarshal(append(bytes.Clone(head), '}'), &fields) != nil {
		return m, errFraming
	}
	if m.ID, ok = protocol.ParseMessageID([]byte(fields.Mid)); !ok {
		return m, errFraming
	}
	m.Body = body
	return m, nil
}

// Line is the message for people: its id and the body, in one line whatever is in it.
func (m *Message) Line() string { return m.ID.String() + " " + oneLine(m.Body) }

// oneLine keeps what could move the cursor of a terminal, or worse, from getting there.
func oneLine(body []byte) string {
	var compact bytes.Buffer
	if json.Compact(&compact, body) == nil {
		body = compact.Bytes()
	}
	if utf8.Valid(body) && bytes.IndexFunc(body, func(r rune) bool { return !unicode.IsPrint(r) }) < 0 {
		return string(body)
	}
	return strconv.QuoteToGraphic(string(body))
}

// JSON is the message for scripts. A body that is not JSON is a string.
func (m *Message) JSON() string {
	body := json.RawMessage(m.Body)
	if !json.Valid(body) {
		body, _ = json.Marshal(string(m.Body)) // a string can always be encoded
	}
	created := ""
	if !m.Created.IsZero() {
		created = m.Created.Format(time.RFC3339)
	}
	text, err := json.Marshal(struct {
		Mid     string          `json:"mid"`
		Created string          `json:"created,omitempty"`
		Sender  string          `json:"sender,omitempty"`
		From    string          `json:"from,omitempty"`
		Body    json.RawMessage `json:"body"`
	}{m.ID.String(), created, m.Sender, m.From, body})
	if err != nil {
		panic(fmt.Sprintf("BUG: a message cannot be encoded: %v", err))
	}
	return string(text)
}
