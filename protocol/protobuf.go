package protocol

import (
	"google.golang.org/protobuf/encoding/protowire"
)

// AppendOutgoing appends the publication as an OutgoingMessage, the form in which it is sent. Fields with their default are written as
// well, because the clients of old read them without looking whether they are there.
func AppendOutgoing(dst []byte, p *Publication) []byte {
	dst = appendBytes(dst, 1, p.ID[:])
	dst = appendBytes(dst, 2, p.Body)
	dst = appendVarint(dst, 3, uint64(p.Expiry))
	dst = protowire.AppendTag(dst, 4, protowire.Fixed32Type)
	dst = protowire.AppendFixed32(dst, p.Created)
	dst = appendLength(dst, 5, sizeSender(&p.Sender))
	return appendSender(dst, &p.Sender)
}

// appendStored appends the publication as it is stored and brought from process to process: with what no client gets as it is.
func appendStored(dst []byte, p *Publication) []byte {
	dst = AppendOutgoing(dst, p)
	if p.Extra != nil {
		dst = appendBytes(dst, fieldExtra, p.Extra)
	}
	return dst
}

// SizeStored is the length of the publication as it is stored.
func SizeStored(p *Publication) int {
	n := SizeOutgoing(p)
	if p.Extra != nil {
		n += sizeBytes(len(p.Extra))
	}
	return n
}

// fieldExtra is a field that others pass over. Its tag takes one byte, as all of them do.
const fieldExtra = 15

// SizeOutgoing is the length of what AppendOutgoing appends.
func SizeOutgoing(p *Publication) int {
	return sizeBytes(len(p.ID)) + sizeBytes(len(p.Body)) + sizeVarint(uint64(p.Expiry)) + 1 + protowire.SizeFixed32() +
		sizeBytes(sizeSender(&p.Sender))
}

func appendSender(dst []byte, s *Sender) []byte {
	dst = appendVarint(dst, 1, uint64(s.Type))
	if s.ID == nil {
		return dst
	}
	return appendBytes(dst, 2, s.ID)
}

func sizeSender(s *Sender) int {
	n := sizeVarint(uint64(s.Type))
	if s.ID != nil {
		n += sizeBytes(len(s.ID))
	}
	return n
}

// AppendResponse appends a ResponseBatch of one Response with all the publications, in their order.
func AppendResponse(dst []byte, ps []*Publication) []byte {
	n := 0
	for _, p := range ps {
		n += sizeBytes(SizeOutgoing(p))
	}
	dst = appendCommand(dst, 1, n)
	for _, p := range ps {
		dst = appendLength(dst, 1, SizeOutgoing(p))
		dst = AppendOutgoing(dst, p)
	}
	return dst
}

// ChannelStat says of one channel whether it is online: whether somebody is subscribed to it.
type ChannelStat struct {
	ID      []byte // as it was asked for; 16 bytes unless a client has asked
	Private bool
	Online  bool
}

// Channel is the channel, or false if its id does not have 16 bytes: such a channel cannot be online.
func (c *ChannelStat) Channel() (id ChannelID, ok bool) { return channelID(c.ID, c.Private) }

func channelID(id []byte, private bool) (c ChannelID, ok bool) {
	if len(id) != len(c.Bytes) {
		return c, false
	}
	return ChannelID{Bytes: [16]byte(id), Private: private}, true
}

// AppendChannelStats appends the answer to channelStats: a ResponseBatch of one Response.
func AppendChannelStats(dst []byte, stats []ChannelStat) []byte {
	n := 0
	for i := range stats {
		n += sizeBytes(sizeChannelStat(&stats[i]))
	}
	dst = appendCommand(dst, 2, n)
	for i := range stats {
		c := &stats[i]
		dst = appendLength(dst, 1, sizeChannelStat(c))
		dst = appendBytes(dst, 1, c.ID)
		dst = appendBool(dst, 2, c.Private)
		dst = appendBool(dst, 3, c.Online)
	}
	return dst
}

func sizeChannelStat(c *ChannelStat) int { return sizeBytes(len(c.ID)) + 2*sizeVarint(1) }

// AppendServerStats appends the answer to serverStats: a ResponseBatch of one Response with the JSON.
func AppendServerStats(dst, json []byte) []byte {
	dst = appendCommand(dst, 3, sizeBytes(len(json)))
	return appendBytes(dst, 1, json)
}

// appendCommand appends what stands before the n bytes of a command, in a Response in a ResponseBatch.
func appendCommand(dst []byte, number protowire.Number, n int) []byte {
	dst = appendLength(dst, 1, sizeBytes(n))
	return appendLength(dst, number, n)
}

// outgoingSchema: 5 is the sender.
var outgoingSchema = schema{5: {}}

// ParseOutgoing reads an OutgoingMessage into ID, Body, Expiry, Created, Sender and Extra of p. Body, Sender.ID and Extra alias b, except
// that a body that is not UTF-8 is replaced by a corrected copy. A missing sender is a back end. The id must be one.
func ParseOutgoing(b []byte, p *Publication) error {
	if !outgoingSchema.valid(b) || !p.readOutgoing(b) {
		return errMalformed
	}
	return nil
}

// readOutgoing reads a valid OutgoingMessage.
func (p *Publication) readOutgoing(b []byte) (hasID bool) {
	p.Body, p.Expiry, p.Created, p.Sender, p.Extra = nil, 0, 0, Sender{Type: SenderBackend}, nil
	for f := range fields(b) {
		switch {
		case f.isBytes(1):
			p.ID, hasID = MessageIDFromBytes(f.bytes)
		case f.isBytes(2):
			p.Body = f.bytes
		case f.isVarint(3):
			p.Expiry = uint32(f.scalar)
		case f.is(4, protowire.Fixed32Type):
			p.Created = uint32(f.scalar)
		case f.isBytes(5):
			p.Sender = readSender(f.bytes)
		case f.isBytes(fieldExtra):
			p.Extra = f.bytes
		}
	}
	p.Body = validText(p.Body)
	return hasID
}

func readSender(b []byte) (s Sender) {
	for f := range fields(b) {
		switch {
		case f.isVarint(1):
			s.Type = senderType(f.scalar)
		case f.isBytes(2):
			s.ID = f.bytes
		}
	}
	return s
}

func senderType(v uint64) SenderType {
	if v > uint64(SenderBackend) {
		return SenderUnknown
	}
	return SenderType(v)
}

// The field numbers of the schema all fit into a tag of one byte.

func appendBytes(dst []byte, number protowire.Number, b []byte) []byte {
	return append(appendLength(dst, number, len(b)), b...)
}

// appendLength appends what stands before the n bytes of a string or message.
func appendLength(dst []byte, number protowire.Number, n int) []byte {
	dst = protowire.AppendTag(dst, number, protowire.BytesType)
	return protowire.AppendVarint(dst, uint64(n))
}

func appendVarint(dst []byte, number protowire.Number, v uint64) []byte {
	dst = protowire.AppendTag(dst, number, protowire.VarintType)
	return protowire.AppendVarint(dst, v)
}

func appendBool(dst []byte, number protowire.Number, v bool) []byte {
	return appendVarint(dst, number, protowire.EncodeBool(v))
}

func sizeBytes(n int) int { return 1 + protowire.SizeBytes(n) }

func sizeVarint(v uint64) int { return 1 + protowire.SizeVarint(v) }
