package protocol

import (
	"bytes"
)

// MessageID orders publications: 26 decimal digits, one per nibble. The first ten are the start date of the counter (Unix
// seconds), the other sixteen the counter. Byte order is numeric order. The zero value is below every id.
type MessageID [13]byte

// SenderType says who published.
type SenderType uint8

// The numbers are those of the protobuf schema.
const (
	SenderUnknown SenderType = 0
	SenderClient  SenderType = 1
	SenderBackend SenderType = 2
)

// Sender is who published: a back end, or a client known by the public id of its connection.
type Sender struct {
	Type SenderType
	ID   []byte // public id of a client, nil for a back end
}

// Receiver is one addressee of a publication.
type Receiver struct {
	Channel ChannelID
	// Signature is what a client's request carried for this receiver. It travels on the bus as it came. nil from a back end.
	Signature []byte
}

// Publication is one message and its receivers. After it was handed to a bus it is shared between goroutines and never
// modified; before, its creator owns it. A publication read from history names only the receivers it was looked up for.
type Publication struct {
	ID        MessageID // given by the bus
	Receivers []Receiver
	Body      []byte // UTF-8; mostly JSON, never checked
	Expiry    uint32 // seconds that it stays in history; 0: not stored
	Created   uint32 // Unix seconds; given by the bus
	Sender    Sender
	Type      string // for statistics only; neither stored nor delivered
	// Extra is what version 5 sends beside the body, a JSON object {"user_params":…,"dictionary":…}; nil: nothing. Body has the dictionary
	// in its params already, for clients of other versions.
	Extra  []byte
	Stray  bool // its id is of another counter than that of the bus: it says nothing about positions
	Unkept bool // the bus has given it to those who are connected, and could not keep it for each of its receivers
}

// Size is how many bytes of text p carries: what bounds on memory count.
func (p *Publication) Size() int { return len(p.Body) + len(p.Extra) }

// usualReceivers is how many receivers most publications have at most: the private and the public channel of a user.
const usualReceivers = 2

// newPublication makes a publication with room for n receivers. A few are in one piece with it, because allocations are most of
// what a publication costs until it is written to a socket.
func newPublication(n int) *Publication {
	if n > usualReceivers {
		return &Publication{Receivers: make([]Receiver, 0, n)}
	}
	whole := &struct {
		Publication
		room [usualReceivers]Receiver
	}{}
	whole.Receivers = whole.room[:0:n]
	return &whole.Publication
}

// Compare orders ids: -1, 0 or +1.
func (id MessageID) Compare(other MessageID) int { return bytes.Compare(id[:], other[:]) }

// IsZero says whether id is the zero value, which no publication has.
func (id MessageID) IsZero() bool { return id == MessageID{} }

// MakeMessageID composes an id of a start date (up to ten digits) and a counter (up to sixteen digits).
func MakeMessageID(startdate, counter uint64) (id MessageID) {
	for i := 4; i >= 0; i-- {
		id[i] = byte(startdate%10) | byte(startdate/10%10)<<4
		startdate /= 100
	}
	for i := 12; i >= 5; i-- {
		id[i] = byte(counter%10) | byte(counter/10%10)<<4
		counter /= 100
	}
	return id
}

// Startdate is the number in the first ten digits.
func (id MessageID) Startdate() (n uint64) {
	for _, b := range id[:5] {
		n = n*100 + uint64(b>>4)*10 + uint64(b&15)
	}
	return n
}

// Counter is the number in the last sixteen digits.
func (id MessageID) Counter() (n uint64) {
	for _, b := range id[5:] {
		n = n*100 + uint64(b>>4)*10 + uint64(b&15)
	}
	return n
}

// AppendDigits appends the 26 digits.
func (id MessageID) AppendDigits(dst []byte) []byte {
	for _, b := range id {
		dst = append(dst, '0'+b>>4, '0'+b&15)
	}
	return dst
}

// String is the 26 digits, for logs and tests.
func (id MessageID) String() string { return string(id.AppendDigits(nil)) }

// ParseMessageID reads the parameter mid: exactly 26 ASCII digits.
func ParseMessageID(s []byte) (id MessageID, ok bool) {
	if len(s) != 2*len(id) {
		return id, false
	}
	for i := range id {
		hi, lo := s[2*i]-'0', s[2*i+1]-'0'
		if hi > 9 || lo > 9 {
			return MessageID{}, false
		}
		id[i] = hi<<4 | lo
	}
	return id, true
}

// MessageIDFromBytes reads an id as it stands in protobuf and in Redis: 13 bytes, each nibble a decimal digit.
func MessageIDFromBytes(b []byte) (id MessageID, ok bool) {
	if len(b) != len(id) {
		return id, false
	}
	for _, c := range b {
		if c>>4 > 9 || c&15 > 9 {
			return MessageID{}, false
		}
	}
	return MessageID(b), true
}
