package load

import (
	"bytes"
	"encoding/hex"
	"errors"

	"google.golang.org/protobuf/encoding/protowire"
)

var errMessage = errors.New("load: the server sent what is no message")

// visitor gets the messages of a frame or a reply: position is the id as it goes into mid, empty when there is none. Both slices
// are valid during the call.
type visitor interface {
	message(position, body []byte)
}

// visitBinary visits the messages of a ResponseBatch.
func visitBinary(batch []byte, v visitor) error {
	return eachField(batch, 1, func(response []byte) error {
		return eachField(response, 1, func(messages []byte) error {
			return eachField(messages, 1, func(m []byte) error {
				return visitOutgoing(m, v)
			})
		})
	})
}

func visitOutgoing(m []byte, v visitor) error {
	var id, body []byte
	for len(m) > 0 {
		num, typ, n := protowire.ConsumeTag(m)
		if n < 0 {
			return errMessage
		}
		if typ == protowire.BytesType && num <= 2 {
			value, vn := protowire.ConsumeBytes(m[n:])
			if vn < 0 {
				return errMessage
			}
			if num == 1 {
				id = value
			} else {
				body = value
			}
			m = m[n+vn:]
			continue
		}
		vn := protowire.ConsumeFieldValue(num, typ, m[n:])
		if vn < 0 {
			return errMessage
		}
		m = m[n+vn:]
	}
	var digits [64]byte
	v.message(hex.AppendEncode(digits[:0], id), body)
	return nil
}

// eachField calls f for each length-delimited field num of b and passes over all others.
func eachField(b []byte, num protowire.Number, f func([]byte) error) error {
	for len(b) > 0 {
		got, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return errMessage
		}
		vn := protowire.ConsumeFieldValue(got, typ, b[n:])
		if vn < 0 {
			return errMessage
		}
		if got == num && typ == protowire.BytesType {
			value, _ := protowire.ConsumeBytes(b[n:])
			if err := f(value); err != nil {
				return err
			}
		}
		b = b[n+vn:]
	}
	return nil
}

var (
	textStart = []byte("#!NGINXNMS!#")
	textEnd   = []byte("#!NGINXNME!#")
	textMid   = []byte(`"mid":"`)
	textBody  = []byte(`"text":`)
)

// visitText visits the messages of a text frame or reply.
func visitText(b []byte, v visitor) error {
	for len(b) > 0 {
		end := bytes.Index(b, textEnd)
		if end < 0 || !bytes.HasPrefix(b, textStart) {
			return errMessage
		}
		m := b[len(textStart):end]
		b = b[end+len(textEnd):]
		mid := bytes.Index(m, textMid)
		body := bytes.Index(m, textBody)
		if mid < 0 || body < 0 || len(m) < mid+len(textMid)+26 {
			return errMessage
		}
		v.message(m[mid+len(textMid):][:26], m[body+len(textBody):len(m)-1])
	}
	return nil
}

// callStart is what stands before the id of a message of version 5, callEnd behind its body.
var (
	callStart = []byte(`{"jsonrpc":"2.0","method":"incoming.message","params":{"mid":"`)
	callBody  = []byte(`","body":`)
	callEnd   = []byte(`,"sender":{"type":2,"id":""}}}`)
)

// visitCalls visits the messages of a frame or reply of version 5: a call, or an array of them.
func visitCalls(b []byte, v visitor) error {
	b = bytes.TrimSuffix(bytes.TrimPrefix(b, []byte("[")), []byte("]"))
	for len(b) > 0 {
		m, ok := bytes.CutPrefix(b, callStart)
		end := bytes.Index(m, callEnd)
		if !ok || end < 26 || !bytes.HasPrefix(m[26:], callBody) {
			return errMessage
		}
		v.message(m[:26], m[26+len(callBody):end])
		b = bytes.TrimPrefix(m[end+len(callEnd):], []byte(","))
	}
	return nil
}

// appendOutgoing appends a ResponseBatch with one message, as a push server sends it. The floor uses it, so that its frames
// weigh what the server's weigh.
func appendOutgoing(dst, id, body []byte, expiry uint64, created uint32) []byte {
	var m []byte
	m = protowire.AppendTag(m, 1, protowire.BytesType)
	m = protowire.AppendBytes(m, id)
	m = protowire.AppendTag(m, 2, protowire.BytesType)
	m = protowire.AppendBytes(m, body)
	m = protowire.AppendTag(m, 3, protowire.VarintType)
	m = protowire.AppendVarint(m, expiry)
	m = protowire.AppendTag(m, 4, protowire.Fixed32Type)
	m = protowire.AppendFixed32(m, created)
	m = append(m, 0x2a, 2, 8, 2) // sender: the back end
	for range 3 {
		m = protowire.AppendBytes([]byte{1<<3 | byte(protowire.BytesType)}, m)
	}
	return append(dst, m...)
}

// receiver is an addressee of a client's or a back end's protobuf request.
type receiver struct {
	id        channel
	private   bool
	signature []byte
}

// appendRequest appends a RequestBatch that publishes bodies, each to all receivers.
func appendRequest(dst []byte, to []receiver, bodies [][]byte, expiry int) []byte {
	var messages []byte
	for _, body := range bodies {
		messages = protowire.AppendTag(messages, 1, protowire.BytesType)
		messages = protowire.AppendBytes(messages, appendIncoming(nil, to, body, expiry))
	}
	for range 2 {
		messages = protowire.AppendBytes([]byte{1<<3 | byte(protowire.BytesType)}, messages)
	}
	return append(dst, messages...)
}

func appendIncoming(m []byte, to []receiver, body []byte, expiry int) []byte {
	for _, r := range to {
		var f []byte
		f = protowire.AppendTag(f, 1, protowire.BytesType)
		f = protowire.AppendBytes(f, r.id[:])
		if r.private {
			f = append(f, 0x10, 1)
		}
		if r.signature != nil {
			f = protowire.AppendTag(f, 3, protowire.BytesType)
			f = protowire.AppendBytes(f, r.signature)
		}
		m = protowire.AppendTag(m, 1, protowire.BytesType)
		m = protowire.AppendBytes(m, f)
	}
	m = protowire.AppendTag(m, 3, protowire.BytesType)
	m = protowire.AppendBytes(m, body)
	m = protowire.AppendTag(m, 4, protowire.VarintType)
	m = protowire.AppendVarint(m, uint64(expiry))
	m = protowire.AppendTag(m, 5, protowire.BytesType)
	return protowire.AppendString(m, "bench")
}
