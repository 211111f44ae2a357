package fakepush

import (
	"encoding/hex"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// appendResponse appends a Response inside a ResponseBatch; batches may be joined by concatenation.
func appendResponse(dst []byte, m stored) []byte {
	id, err := hex.DecodeString(fmt.Sprintf("%026d", m.id))
	if err != nil {
		panic("BUG: digits are no hex: " + err.Error())
	}
	var b []byte
	b = protowire.AppendTag(b, 1, protowire.BytesType)
	b = protowire.AppendBytes(b, id)
	b = protowire.AppendTag(b, 2, protowire.BytesType)
	b = protowire.AppendBytes(b, m.body)
	for range 3 {
		b = protowire.AppendBytes([]byte{0x0a}, b)
	}
	return append(dst, b...)
}

type message struct {
	receivers [][]byte
	body      []byte
}

func parseRequest(batch []byte) (ms []message) {
	each(batch, func(_ protowire.Number, request []byte) {
		each(request, func(_ protowire.Number, messages []byte) {
			each(messages, func(_ protowire.Number, b []byte) {
				ms = append(ms, parseMessage(b))
			})
		})
	})
	return ms
}

func parseMessage(b []byte) (m message) {
	each(b, func(num protowire.Number, value []byte) {
		switch num {
		case 1:
			each(value, func(num protowire.Number, id []byte) {
				if num == 1 {
					m.receivers = append(m.receivers, id)
				}
			})
		case 3:
			m.body = value
		}
	})
	return m
}

// each visits the length-delimited fields.
func each(b []byte, f func(protowire.Number, []byte)) {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return
		}
		size := protowire.ConsumeFieldValue(num, typ, b[n:])
		if size < 0 {
			return
		}
		if typ == protowire.BytesType {
			value, _ := protowire.ConsumeBytes(b[n:])
			f(num, value)
		}
		b = b[n+size:]
	}
}
