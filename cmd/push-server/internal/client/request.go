package client

import "google.golang.org/protobuf/encoding/protowire"

// A Receiver is a channel that a publication is for.
type Receiver struct {
	ID        []byte
	Private   bool
	Signature []byte
}

// A Publication is one message of a request.
type Publication struct {
	Receivers []Receiver
	Body      string
	Expiry    uint32 // seconds
}

// AppendPublish appends a RequestBatch that publishes.
func AppendPublish(dst []byte, publications ...Publication) []byte {
	var messages []byte
	for _, p := range publications {
		messages = appendField(messages, 1, appendPublication(nil, p))
	}
	return appendField(dst, 1, appendField(nil, 1, messages))
}

// AppendChannelStats appends a RequestBatch that asks who is online.
func AppendChannelStats(dst []byte, channels ...Receiver) []byte {
	var list []byte
	for _, c := range channels {
		list = appendField(list, 1, appendReceiver(nil, c))
	}
	return appendField(dst, 1, appendField(nil, 2, list))
}

// AppendCommand appends a RequestBatch with an empty command of that number.
func AppendCommand(dst []byte, number protowire.Number) []byte {
	return appendField(dst, 1, appendField(nil, number, nil))
}

func appendPublication(dst []byte, p Publication) []byte {
	for _, r := range p.Receivers {
		dst = appendField(dst, 1, appendReceiver(nil, r))
	}
	dst = appendField(dst, 3, []byte(p.Body))
	dst = protowire.AppendTag(dst, 4, protowire.VarintType)
	return protowire.AppendVarint(dst, uint64(p.Expiry))
}

func appendReceiver(dst []byte, r Receiver) []byte {
	dst = appendField(dst, 1, r.ID)
	if r.Private {
		dst = protowire.AppendTag(dst, 2, protowire.VarintType)
		dst = protowire.AppendVarint(dst, 1)
	}
	if r.Signature != nil {
		dst = appendField(dst, 3, r.Signature)
	}
	return dst
}

func appendField(dst []byte, number protowire.Number, value []byte) []byte {
	dst = protowire.AppendTag(dst, number, protowire.BytesType)
	return protowire.AppendBytes(dst, value)
}
