package replay

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// The kinds of protobuf fields that the protocol uses.
const (
	kindMessage = iota
	kindString
	kindBytes
	kindBool
	kindUint32
	kindFixed32
	kindEnum
)

// A field is one field of the schema.
type field struct {
	name string
	num  uint64
	kind int
	typ  string // the message type, for kindMessage
}

// schema holds the message types by name.
var schema = map[string][]field{
	"RequestBatch":            {{"requests", 1, kindMessage, "Request"}},
	"Request":                 {{"incomingMessages", 1, kindMessage, "IncomingMessagesRequest"}, {"channelStats", 2, kindMessage, "ChannelStatsRequest"}, {"serverStats", 3, kindMessage, "ServerStatsRequest"}, {"registration", 4, kindMessage, "RegisterRequest"}},
	"IncomingMessagesRequest": {{"messages", 1, kindMessage, "IncomingMessage"}},
	"IncomingMessage":         {{"receivers", 1, kindMessage, "Receiver"}, {"sender", 2, kindMessage, "Sender"}, {"body", 3, kindString, ""}, {"expiry", 4, kindUint32, ""}, {"type", 5, kindString, ""}},
	"Receiver":                {{"id", 1, kindBytes, ""}, {"isPrivate", 2, kindBool, ""}, {"signature", 3, kindBytes, ""}},
	"Sender":                  {{"type", 1, kindEnum, ""}, {"id", 2, kindBytes, ""}},
	"ChannelStatsRequest":     {{"channels", 1, kindMessage, "Receiver"}},
	"ServerStatsRequest":      {},
	"RegisterRequest":         {{"verificationQuery", 1, kindString, ""}, {"host", 2, kindString, ""}},

	"ResponseBatch":            {{"responses", 1, kindMessage, "Response"}},
	"Response":                 {{"outgoingMessages", 1, kindMessage, "OutgoingMessagesResponse"}, {"channelStats", 2, kindMessage, "ChannelStatsResponse"}, {"serverStats", 3, kindMessage, "JsonResponse"}, {"json", 4, kindString, ""}},
	"OutgoingMessagesResponse": {{"messages", 1, kindMessage, "OutgoingMessage"}},
	"OutgoingMessage":          {{"id", 1, kindBytes, ""}, {"body", 2, kindString, ""}, {"expiry", 3, kindUint32, ""}, {"created", 4, kindFixed32, ""}, {"sender", 5, kindMessage, "Sender"}},
	"ChannelStatsResponse":     {{"channels", 1, kindMessage, "ChannelStats"}},
	"ChannelStats":             {{"id", 1, kindBytes, ""}, {"isPrivate", 2, kindBool, ""}, {"isOnline", 3, kindBool, ""}},
	"JsonResponse":             {{"json", 1, kindString, ""}},

	"NotificationBatch": {{"notifications", 1, kindMessage, "Notification"}},
	"Notification":      {{"ipcMessages", 1, kindMessage, "IPCMessages"}},
	"IPCMessages":       {{"messages", 1, kindMessage, "IPCMessage"}},
	"IPCMessage":        {{"receivers", 1, kindMessage, "Receiver"}, {"outgoingMessageId", 2, kindBytes, ""}, {"outgoingMessage", 3, kindMessage, "OutgoingMessage"}},
}

var senderTypes = []string{"UNKNOWN", "CLIENT", "BACKEND"}

// A node is a value in a message: the text of a scalar (bytes in hex), or
// the fields of a nested message, in the order in which they stand.
type node struct {
	field  field
	value  string
	fields []node
}

func findField(typ string, match func(field) bool) (field, bool) {
	i := slices.IndexFunc(schema[typ], match)
	if i < 0 {
		return field{}, false
	}
	return schema[typ][i], true
}

// encode writes the fields as protobuf, with the placeholders in the values
// resolved.
func encode(fields []node, v vars) ([]byte, error) {
	var out []byte
	for _, n := range fields {
		var err error
		if out, err = n.append(out, v); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (n node) append(out []byte, v vars) ([]byte, error) {
	if n.field.kind == kindMessage {
		inner, err := encode(n.fields, v)
		return appendBytes(out, n.field.num, inner), err
	}
	value, err := v.expand(n.value)
	if err != nil {
		return nil, err
	}
	switch n.field.kind {
	case kindString:
		return appendBytes(out, n.field.num, []byte(value)), nil
	case kindBytes:
		raw, err := hex.DecodeString(value)
		return appendBytes(out, n.field.num, raw), err
	}
	number, err := parseNumber(n.field.kind, value)
	if n.field.kind == kindFixed32 {
		out = binary.AppendUvarint(out, n.field.num<<3|5)
		return binary.LittleEndian.AppendUint32(out, uint32(number)), err
	}
	out = binary.AppendUvarint(out, n.field.num<<3)
	return binary.AppendUvarint(out, number), err
}

func appendBytes(out []byte, num uint64, b []byte) []byte {
	out = binary.AppendUvarint(out, num<<3|2)
	out = binary.AppendUvarint(out, uint64(len(b)))
	return append(out, b...)
}

func parseNumber(kind int, value string) (uint64, error) {
	if kind == kindBool {
		b, err := strconv.ParseBool(value)
		if b {
			return 1, err
		}
		return 0, err
	}
	if i := slices.Index(senderTypes, value); kind == kindEnum && i >= 0 {
		return uint64(i), nil
	}
	return strconv.ParseUint(value, 10, 64)
}

var errTruncated = errors.New("protobuf is cut off")

// decode reads a message of the given type.
func decode(typ string, b []byte) ([]node, error) {
	var fields []node
	for len(b) > 0 {
		key, n := binary.Uvarint(b)
		if n <= 0 {
			return nil, errTruncated
		}
		value, raw, rest, err := decodeValue(key&7, b[n:])
		if err != nil {
			return nil, err
		}
		b = rest
		f, ok := findField(typ, func(f field) bool { return f.num == key>>3 })
		if !ok {
			return nil, fmt.Errorf("%s has no field %d", typ, key>>3)
		}
		decoded, err := makeNode(f, value, raw)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
		fields = append(fields, decoded)
	}
	return fields, nil
}

// decodeValue splits off one value of the given wire type.
func decodeValue(wire uint64, b []byte) (value uint64, raw, rest []byte, err error) {
	switch wire {
	case 0, 2:
		var n int
		if value, n = binary.Uvarint(b); n <= 0 {
			return 0, nil, nil, errTruncated
		}
		b = b[n:]
		if wire == 0 {
			return value, nil, b, nil
		}
		if value > uint64(len(b)) {
			return 0, nil, nil, errTruncated
		}
		return 0, b[:value], b[value:], nil
	case 5:
		if len(b) < 4 {
			return 0, nil, nil, errTruncated
		}
		return uint64(binary.LittleEndian.Uint32(b)), nil, b[4:], nil
	}
	return 0, nil, nil, fmt.Errorf("wire type %d is not used by this protocol", wire)
}

func makeNode(f field, value uint64, raw []byte) (n node, err error) {
	n.field = f
	switch f.kind {
	case kindMessage:
		n.fields, err = decode(f.typ, raw)
	case kindString:
		n.value = string(raw)
	case kindBytes:
		n.value = hex.EncodeToString(raw)
	case kindBool:
		n.value = strconv.FormatBool(value != 0)
	case kindEnum:
		n.value = strconv.FormatUint(value, 10)
		if value < uint64(len(senderTypes)) {
			n.value = senderTypes[value]
		}
	default:
		n.value = strconv.FormatUint(value, 10)
	}
	return n, err
}

// isDefault reports whether leaving the field out means the same.
func (n node) isDefault() bool {
	switch n.field.kind {
	case kindMessage:
		return false
	case kindEnum:
		return n.value == senderTypes[0]
	}
	return n.value == "" || n.value == "0" || n.value == "false"
}

// compareProto matches the expected fields, whose values are patterns, with
// the actual ones. A field that holds its default equals one that is absent.
func compareProto(path string, want, got []node, v vars) error {
	want = slices.DeleteFunc(slices.Clone(want), node.isDefault)
	got = slices.DeleteFunc(slices.Clone(got), node.isDefault)
	for i := range max(len(want), len(got)) {
		if i >= len(want) {
			return fmt.Errorf("want no more fields in %s\ngot  %s", path, oneLine(got[i:]))
		}
		if i >= len(got) || got[i].field.num != want[i].field.num {
			return fmt.Errorf("want %s in %s\ngot  %s", oneLine(want[i:]), path, oneLine(got[min(i, len(got)):]))
		}
		if err := compareNode(path+"."+want[i].field.name, want[i], got[i], v); err != nil {
			return err
		}
	}
	return nil
}

func compareNode(path string, want, got node, v vars) error {
	if want.field.kind == kindMessage {
		return compareProto(path, want.fields, got.fields, v)
	}
	if err := v.match(want.value, got.value); err != nil {
		return fmt.Errorf("%s\n%w", path, err)
	}
	return nil
}

// format writes fields in the readable form, one per line.
func format(fields []node, indent string) string {
	var out strings.Builder
	for _, n := range fields {
		switch {
		case n.field.kind == kindMessage && len(n.fields) == 0:
			fmt.Fprintf(&out, "%s%s {}\n", indent, n.field.name)
		case n.field.kind == kindMessage:
			fmt.Fprintf(&out, "%s%s {\n%s%s}\n", indent, n.field.name, format(n.fields, indent+"\t"), indent)
		default:
			fmt.Fprintf(&out, "%s%s: %s\n", indent, n.field.name, n.text())
		}
	}
	return out.String()
}

// text writes a scalar in the readable form.
func (n node) text() string {
	if n.field.kind == kindString {
		return "'" + strings.ReplaceAll(escape(n.value), "'", `\'`) + "'"
	}
	if n.value == "" {
		return "''"
	}
	return n.value
}

func oneLine(fields []node) string {
	if len(fields) == 0 {
		return "nothing"
	}
	return strings.Join(strings.Fields(format(fields, "")), " ")
}
