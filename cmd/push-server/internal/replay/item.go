package replay

import (
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// An item is one thing that a subscriber receives. A frame or body may hold
// several, and a server may spread them over frames as it likes.
type item struct {
	message  *message
	response []node // a Response other than messages
	text     string // text without framing
}

// A message is a delivered publication in either framing.
type message struct {
	mid, body string
	binary    bool
	expiry    string
	sender    string // BACKEND, or CLIENT:<public id>
}

func (it item) String() string {
	switch {
	case it.message != nil:
		return "message " + it.message.String()
	case it.response != nil:
		return "response " + oneLine(it.response)
	}
	return "text " + it.text
}

// String writes the message as it stands in a conversation.
func (m *message) String() string {
	s := "mid=" + m.mid
	if m.binary {
		s += " expiry=" + m.expiry + " sender=" + m.sender
	}
	return s + " " + escape(m.body)
}

// parseItems splits what came in one frame or body.
func parseItems(b []byte, binary bool) ([]item, error) {
	if binary {
		return parseBinaryItems(b)
	}
	return parseTextItems(string(b))
}

// textMessage is the framing of a message in text mode, as clients read it.
var textMessage = regexp.MustCompile(`(?s)^#!NGINXNMS!#\{"id":([0-9]+),"mid":"([0-9]{26})","channel":"-","tag":"[0-9]{3}","time":"` +
	classes["date"] + `","text":(.*?)\}#!NGINXNME!#`)

func parseTextItems(text string) ([]item, error) {
	var items []item
	for text != "" {
		m := textMessage.FindStringSubmatch(text)
		if m == nil {
			return append(items, item{text: text}), nil
		}
		id, _ := strconv.ParseInt(m[2][10:], 10, 64)
		if m[1] != strconv.FormatInt(id, 10) {
			return nil, fmt.Errorf("id %s is not the end of mid %s", m[1], m[2])
		}
		items = append(items, item{message: &message{mid: m[2], body: m[3]}})
		text = text[len(m[0]):]
	}
	return items, nil
}

func parseBinaryItems(b []byte) ([]item, error) {
	batch, err := decode("ResponseBatch", b)
	if err != nil {
		return nil, fmt.Errorf("ResponseBatch does not decode: %w: %x", err, b)
	}
	var items []item
	for _, resp := range batch {
		if len(resp.fields) != 1 || resp.fields[0].field.name != "outgoingMessages" {
			items = append(items, item{response: resp.fields})
			continue
		}
		for _, m := range resp.fields[0].fields {
			msg, err := makeMessage(m.fields)
			if err != nil {
				return nil, err
			}
			items = append(items, item{message: msg})
		}
	}
	return items, nil
}

// makeMessage reads an OutgoingMessage. Clients lose a whole frame when a
// message has no sender, so its absence is an error.
func makeMessage(fields []node) (*message, error) {
	m := &message{binary: true, expiry: "0"}
	for _, f := range fields {
		switch f.field.name {
		case "id":
			m.mid = f.value
		case "body":
			m.body = f.value
		case "expiry":
			m.expiry = f.value
		case "sender":
			m.sender = senderText(f.fields)
		}
	}
	if m.sender == "" {
		return nil, errors.New("message without sender: " + oneLine(fields))
	}
	return m, nil
}

func senderText(fields []node) string {
	text := senderTypes[0]
	for _, f := range fields {
		if f.field.name == "type" {
			text = f.value
		} else if f.value != "" {
			text += ":" + f.value
		}
	}
	return text
}

// matchMessage compares the item with "mid=... expiry=... sender=... BODY",
// where expiry and sender may be left out. In binary mode a sender that is
// left out means BACKEND.
func (it item) matchMessage(pattern string, v vars) error {
	if it.message == nil {
		return fmt.Errorf("want message %s\ngot  %s", pattern, it)
	}
	attrs, body := splitMessage(pattern)
	if it.message.binary && attrs["sender"] == "" {
		attrs["sender"] = "BACKEND"
	}
	body, err := unescape(body)
	if err != nil {
		return err
	}
	diffs := []error{v.match(attrs["mid"], it.message.mid)}
	if want, ok := attrs["expiry"]; ok {
		diffs = append(diffs, v.match(want, it.message.expiry))
	}
	if want, ok := attrs["sender"]; ok {
		diffs = append(diffs, v.match(want, it.message.sender))
	}
	diffs = append(diffs, v.match(body, it.message.body))
	if err := errors.Join(diffs...); err != nil {
		return fmt.Errorf("message\n%w", err)
	}
	return nil
}

// splitMessage separates the leading name=value words from the body.
func splitMessage(pattern string) (attrs map[string]string, body string) {
	attrs = map[string]string{"mid": "${:mid}"}
	for {
		word, rest, _ := strings.Cut(pattern, " ")
		name, value, ok := strings.Cut(word, "=")
		if !ok || name != "mid" && name != "expiry" && name != "sender" {
			return attrs, pattern
		}
		attrs[name] = value
		pattern = rest
	}
}

// matchHex compares bytes with hex digits, in which blanks do not count.
func matchHex(pattern string, got []byte, v vars) error {
	pattern = strings.Join(strings.Fields(pattern), "")
	return v.match(pattern, hex.EncodeToString(got))
}
