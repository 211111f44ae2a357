package handover

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"push-server/protocol"
)

// Session is a connection, written down. Words stand for states and the like, so that numbers may change; what is not there is zero.
type Session struct {
	State    string `json:"state"`
	Reason   string `json:"reason,omitempty"` // why it is going to end
	Shut     bool   `json:"shut,omitempty"`   // our side is shut down
	Listener int    `json:"listener"`         // in the order of the Offer
	Timer    string `json:"timer,omitempty"`
	Left     int64  `json:"left,omitempty"` // until it runs out, milliseconds

	Opened int64  `json:"opened"` // seconds since the service began
	Sent   uint32 `json:"sent,omitempty"`
	Addr   Addr   `json:"addr"`           // of the other end
	Peer   []byte `json:"peer,omitempty"` // the client, as proxies name it

	Saved *float64 `json:"saved,omitempty"` // that its client may publish and ask at once; nil: it has not begun to
	Place *Place   `json:"place,omitempty"` // that it takes of its address; nil: none

	Input  []byte `json:"input,omitempty"`  // that is not complete
	Output []byte `json:"output,omitempty"` // that the peer has not taken

	Request
}

// Place is that of a connection among those of its address.
type Place struct {
	Addr    []byte `json:"addr"`
	Request bool   `json:"request,omitempty"` // for the request under way only
}

// Addr is an address of TCP.
type Addr struct {
	IP   []byte `json:"ip,omitempty"`
	Port int    `json:"port,omitempty"`
	Zone string `json:"zone,omitempty"`
}

// Request is what belongs to the request or the subscription under way.
type Request struct {
	Skip      uint32                  `json:"skip,omitempty"`
	Transport string                  `json:"transport,omitempty"`
	Agent     []byte                  `json:"agent,omitempty"` // what the client calls itself
	Dialect   string                  `json:"dialect,omitempty"`
	User      uint64                  `json:"user,omitempty"`
	Expires   int64                   `json:"expires,omitempty"` // of its token, Unix seconds
	Named     int                     `json:"named,omitempty"`   // channels that the request has named; others follow
	Channels  []byte                  `json:"channels,omitempty"`
	Since     uint64                  `json:"since,omitempty"`
	Mid       ID                      `json:"mid,omitempty"`
	Acked     ID                      `json:"acked,omitempty"` // the greatest that its client said it has, of version 5
	Acks      uint32                  `json:"acks,omitempty"`  // how many it did
	Forwarded []byte                  `json:"forwarded,omitempty"`
	Asks      []string                `json:"asks,omitempty"`
	Key       uint8                   `json:"key,omitempty"`
	Pulses    uint8                   `json:"pulses,omitempty"`
	Faults    uint8                   `json:"faults,omitempty"`
	Assembly  *protocol.AssemblyState `json:"assembly,omitempty"`
	Replay    *Replay                 `json:"replay,omitempty"`
}

// Replay is one under way. It begins again where it was.
type Replay struct {
	First   ID       `json:"first,omitempty"` // what the client knew when it came
	Mid     ID       `json:"mid,omitempty"`   // and what it knows now
	Parts   int      `json:"parts,omitempty"`
	Pending [][]byte `json:"pending,omitempty"` // publications kept for it, each as processes tell each other of it
}

// ID is a protocol.MessageID; nil: there is none.
type ID []byte

// IDOf writes id down.
func IDOf(id protocol.MessageID) ID {
	if id.IsZero() {
		return nil
	}
	return id[:]
}

// MessageID is what was written down.
func (i ID) MessageID() (id protocol.MessageID) {
	copy(id[:], i)
	return id
}

const idSize = len(protocol.MessageID{})

// AppendID appends id to a list.
func AppendID(dst []byte, id protocol.MessageID) []byte { return append(dst, id[:]...) }

// IDs reads a list, which it sorts.
func IDs(b []byte) ([]protocol.MessageID, error) {
	if len(b)%idSize != 0 {
		return nil, fmt.Errorf("handover: a list of ids has %d bytes", len(b))
	}
	ids := make([]protocol.MessageID, 0, len(b)/idSize)
	for ; len(b) > 0; b = b[idSize:] {
		ids = append(ids, protocol.MessageID(b[:idSize]))
	}
	if !slices.IsSortedFunc(ids, protocol.MessageID.Compare) { // ids of Node come late
		slices.SortFunc(ids, protocol.MessageID.Compare)
	}
	return ids, nil
}

const addressSize = 16 + 8

// AppendAddress appends an address, and how long it takes until it has saved up all that it may, to a list.
func AppendAddress(dst []byte, addr netip.Addr, left time.Duration) []byte {
	b := addr.As16()
	return binary.BigEndian.AppendUint64(append(dst, b[:]...), uint64(max(left, 0)))
}

// Addresses reads a list.
func Addresses(b []byte, f func(addr netip.Addr, left time.Duration)) error {
	if len(b)%addressSize != 0 {
		return fmt.Errorf("handover: a list of addresses has %d bytes", len(b))
	}
	for ; len(b) > 0; b = b[addressSize:] {
		f(netip.AddrFrom16([16]byte(b)), time.Duration(binary.BigEndian.Uint64(b[16:])))
	}
	return nil
}

const channelSize = 17

// AppendChannel appends ch to a list.
func AppendChannel(dst []byte, ch protocol.ChannelID) []byte {
	private := byte(0)
	if ch.Private {
		private = 1
	}
	return append(append(dst, private), ch.Bytes[:]...)
}

// Channels reads a list.
func Channels(b []byte) ([]protocol.ChannelID, error) {
	if len(b)%channelSize != 0 {
		return nil, fmt.Errorf("handover: a list of channels has %d bytes", len(b))
	}
	chs := make([]protocol.ChannelID, 0, len(b)/channelSize)
	for ; len(b) > 0; b = b[channelSize:] {
		chs = append(chs, protocol.ChannelID{Private: b[0] == 1, Bytes: [16]byte(b[1:])})
	}
	return chs, nil
}
