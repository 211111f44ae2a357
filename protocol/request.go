package protocol

import (
	"bytes"
	"math"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// requestSchema follows requests (1) to the commands: incomingMessages (1) with messages (1), which have receivers (1) and a
// sender (2); channelStats (2) with channels (1); serverStats (3) and registration (4).
var requestSchema = schema{1: {1: {1: {1: {}, 2: {}}}, 2: {1: {}}, 3: {}, 4: {}}}

// Command is what a request asks for.
type Command uint8

// The numbers are those of the protobuf schema.
const (
	CommandNone         Command = 0
	CommandPublish      Command = 1
	CommandChannelStats Command = 2
	CommandServerStats  Command = 3
	CommandRegister     Command = 4
)

// Request is what a RequestBatch asks for: the first Request in it, the others are ignored. After Parse the caller calls
// Allowed, and then the method of the command. The zero value is ready for use, and reuse.
type Request struct {
	Command Command
	content []byte // of the command; aliases what was parsed
}

// Limits bounds what one request may ask for.
type Limits struct {
	MaxPayload  int // bytes of a request
	MaxMessages int // publications of a request
	MaxChannels int // receivers of a publication, or channels of a question
	// Guarded is set where clients may not publish what browsers obey the portal in.
	Guarded bool
}

// Origin is who sent a request.
type Origin struct {
	// Trusted is a back end. It needs neither public id nor signatures.
	Trusted bool
	// PublicID is the public id of a client, under which it publishes; nil if it has none.
	PublicID []byte
	// Signer checks the receivers of a client.
	Signer *Signer
}

// Parse reads a RequestBatch. It keeps slices of b, which must not change until the request is done with. It answers
// ErrWrongRequest if any part of b cannot be decoded, or if there is no command.
func (r *Request) Parse(b []byte) *Error {
	*r = Request{}
	if !requestSchema.valid(b) {
		return ErrWrongRequest
	}
	for f := range fields(b) {
		if f.isBytes(1) {
			r.readCommand(f.bytes)
			break
		}
	}
	if r.Command == CommandNone {
		return ErrWrongRequest
	}
	return nil
}

// readCommand reads a valid Request, of which the last command counts.
func (r *Request) readCommand(b []byte) {
	for f := range fields(b) {
		if f.kind == protowire.BytesType && f.number <= protowire.Number(CommandRegister) {
			r.Command, r.content = Command(f.number), f.bytes
		}
	}
}

// Allowed says whether the origin may ask for the command at all.
func (r *Request) Allowed(o *Origin) *Error {
	switch {
	case !o.Trusted && r.Command != CommandPublish && r.Command != CommandChannelStats:
		return ErrNotAllowed
	case r.Command == CommandRegister:
		return ErrWrongCommand
	}
	return nil
}

// Publications is what CommandPublish wants to be published, in order, or the first reason why nothing of it may be. The
// publications are new and alias neither the request nor the origin; ID and Created are left to the bus. Each names a
// channel once.
func (r *Request) Publications(o *Origin, lim *Limits) ([]*Publication, *Error) {
	r.mustBe(CommandPublish)
	n := countBytes(r.content, 1)
	if n > lim.MaxMessages {
		return nil, ErrTooManyMessages
	}
	sender := o.sender()
	ps := make([]*Publication, 0, n)
	for f := range fields(r.content) {
		if !f.isBytes(1) {
			continue
		}
		n, err := countChannels(f.bytes, lim)
		if err != nil {
			return nil, err
		}
		p := newPublication(n)
		if err := o.readReceivers(f.bytes, p); err != nil {
			return nil, err
		}
		if len(p.Receivers) > 0 {
			p.Sender = sender
			p.readIncoming(f.bytes)
			if lim.Guarded && !o.Trusted {
				if err := p.guard(); err != nil {
					return nil, err
				}
			}
			ps = append(ps, p)
		}
	}
	return ps, nil
}

// Channels is what CommandChannelStats asks for, in order and as often as it does, or the first reason why it may not. The
// ids do not alias the request.
func (r *Request) Channels(o *Origin, lim *Limits) ([]ChannelStat, *Error) {
	r.mustBe(CommandChannelStats)
	n, err := countChannels(r.content, lim)
	if err != nil {
		return nil, err
	}
	stats := make([]ChannelStat, 0, n)
	for f := range fields(r.content) {
		if !f.isBytes(1) {
			continue
		}
		a := readAddressee(f.bytes)
		if err := o.check(&a); err != nil {
			return nil, err
		}
		stats = append(stats, ChannelStat{ID: bytes.Clone(a.id), Private: a.private})
	}
	return stats, nil
}

func (r *Request) mustBe(c Command) {
	if r.Command != c {
		panic("BUG: content of another command")
	}
}

func (o *Origin) sender() Sender {
	if o.Trusted {
		return Sender{Type: SenderBackend}
	}
	return Sender{Type: SenderClient, ID: bytes.Clone(o.PublicID)}
}

// check says whether the origin may name this channel.
func (o *Origin) check(a *addressee) *Error {
	switch {
	case o.Trusted && len(a.id) != len(ChannelID{}.Bytes):
		return ErrInvalidChannel
	case o.Trusted:
		return nil
	case a.private:
		return ErrPrivateChannel
	case !o.Signer.ValidPublic(a.id, a.signature):
		return ErrSignature
	}
	return nil
}

// countChannels counts the channels (1) of a valid IncomingMessage or ChannelStatsRequest.
func countChannels(b []byte, lim *Limits) (int, *Error) {
	n := countBytes(b, 1)
	switch {
	case n == 0:
		return 0, ErrNoChannels
	case n > lim.MaxChannels:
		return 0, ErrTooManyChannels
	}
	return n, nil
}

// readReceivers reads the receivers of a valid IncomingMessage into p, which has room for them. A client may name ids of any
// length, if they are signed; those that do not have 16 bytes are nobody's, and are left out.
func (o *Origin) readReceivers(b []byte, p *Publication) *Error {
	rs := receiversOf(p)
	for f := range fields(b) {
		if !f.isBytes(1) {
			continue
		}
		a := readAddressee(f.bytes)
		if err := o.check(&a); err != nil {
			return err
		}
		if c, ok := channelID(a.id, a.private); ok {
			rs.add(Receiver{Channel: c, Signature: o.keep(a.signature)})
		}
	}
	return nil
}

// keep copies the signature of a client; those of a back end mean nothing.
func (o *Origin) keep(signature []byte) []byte {
	if o.Trusted {
		return nil
	}
	return bytes.Clone(signature)
}

// readIncoming reads a valid IncomingMessage without its receivers. The sender in it is not believed.
func (p *Publication) readIncoming(b []byte) {
	for f := range fields(b) {
		switch {
		case f.isBytes(3):
			p.Body = f.bytes
		case f.isVarint(4):
			p.Expiry = uint32(f.scalar)
		case f.isBytes(5):
			p.Type = messageType(f.bytes)
		}
	}
	p.Body = cloneText(p.Body)
}

// maxType is the length of the longest type of a message that is counted under its own name.
const maxType = 32

// messageType is a type as it was sent, or nothing if it is not made of the characters that types are made of.
func messageType(s []byte) string {
	if len(s) > maxType {
		return ""
	}
	for _, c := range s {
		if !isAlphanumeric(c) && c != '_' && c != '*' && c != '-' {
			return ""
		}
	}
	return string(s)
}

// TextPublication is what a back end publishes by a list of ids and a body: to the private channel of each item, and to the
// public one if it has any. Each channel is named once. It copies the body and corrects it where it is not UTF-8. ID and
// Created are left to the bus.
func TextPublication(items []Item, body []byte, expiry uint32) *Publication {
	p := newPublication(countItems(items))
	rs := receiversOf(p)
	var scratch [2]ChannelID
	for _, it := range items {
		for _, c := range it.AppendChannels(scratch[:0]) {
			rs.add(Receiver{Channel: c})
		}
	}
	p.Body = cloneText(body)
	p.Expiry = expiry
	p.Sender.Type = SenderBackend
	return p
}

// countItems counts the channels of the items.
func countItems(items []Item) int {
	n := len(items)
	for i := range items {
		if items[i].HasPublic {
			n++
		}
	}
	return n
}

// ParseExpiry reads the header Message-Expiry: the whole number at its beginning, in seconds. What is not a positive number
// is 0; the largest is math.MaxUint32.
func ParseExpiry(header []byte) uint32 {
	digits := bytes.TrimPrefix(bytes.TrimLeft(header, " \t"), []byte("+"))
	seconds := uint64(0)
	for _, c := range digits {
		if c < '0' || c > '9' || seconds > math.MaxUint32 {
			break
		}
		seconds = seconds*10 + uint64(c-'0')
	}
	return uint32(min(seconds, math.MaxUint32))
}

// manyReceivers is how many are gathered before looking one up in a map is cheaper than in the list.
const manyReceivers = 32

// receivers gathers the receivers of a publication, each channel once.
type receivers struct {
	publication *Publication
	seen        map[ChannelID]struct{} // nil if there are few
}

// receiversOf begins to gather the receivers of p, for as many as it has room.
func receiversOf(p *Publication) receivers {
	rs := receivers{publication: p}
	if n := cap(p.Receivers); n > manyReceivers {
		rs.seen = make(map[ChannelID]struct{}, n)
	}
	return rs
}

func (rs *receivers) add(r Receiver) {
	if rs.has(r.Channel) {
		return
	}
	rs.publication.Receivers = append(rs.publication.Receivers, r)
	if rs.seen != nil {
		rs.seen[r.Channel] = struct{}{}
	}
}

func (rs *receivers) has(c ChannelID) bool {
	if rs.seen != nil {
		_, ok := rs.seen[c]
		return ok
	}
	return slices.ContainsFunc(rs.publication.Receivers, func(r Receiver) bool { return r.Channel == c })
}
