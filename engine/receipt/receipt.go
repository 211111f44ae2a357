// Package receipt keeps what clients of version 5 say that they have: of each connection, and how long the latest messages took.
package receipt

import (
	"time"

	"push-server/protocol"
)

// A Receipt is what a client has said.
type Receipt struct {
	Last  protocol.MessageID // the greatest id
	Count uint32             // messages; never more than were sent
}

// Book has the receipts of the connections of an event loop, by place. It takes room for those alone that have said something, and for places
// before them.
type Book struct{ places []Receipt }

// Of is what the connection at a place has said.
func (b *Book) Of(place uint32) Receipt {
	if place < uint32(len(b.places)) {
		return b.places[place]
	}
	return Receipt{}
}

// Set is for a connection that said r elsewhere; of one that ends, it is nothing.
func (b *Book) Set(place uint32, r Receipt) {
	if place >= uint32(len(b.places)) {
		if r == (Receipt{}) {
			return
		}
		b.places = append(b.places, make([]Receipt, place+1-uint32(len(b.places)))...)
	}
	b.places[place] = r
}

// Add notes that the connection at a place, which was sent so many messages, has the one called id. It returns false if it has said so of
// all of them: then it says what is not true, and only the id counts.
func (b *Book) Add(place uint32, id protocol.MessageID, sent uint32) (counts bool) {
	r := b.Of(place)
	if id.Compare(r.Last) > 0 {
		r.Last = id
	}
	if counts = r.Count < sent; counts {
		r.Count++
	}
	b.Set(place, r)
	return counts
}

// Flights are the latest messages of an event loop, and when they came. The zero value remembers none.
type Flights struct{ slots []flight }

type flight struct {
	id protocol.MessageID
	at time.Duration
}

// remembered is how many there are: as many as are published in some tenths of a second at the highest rates.
const remembered = 1 << 12

// NewFlights makes room.
func NewFlights() Flights { return Flights{make([]flight, remembered)} }

func (f *Flights) slot(id *protocol.MessageID) *flight {
	low := uint(id[len(id)-1]) + 100*uint(id[len(id)-2]) // the digits at the end are counted up
	return &f.slots[low%remembered]
}

// Lacks says whether a message is to be remembered, and is not.
func (f *Flights) Lacks(id *protocol.MessageID) bool { return len(f.slots) > 0 && f.slot(id).id != *id }

// Begin notes when a message came.
func (f *Flights) Begin(id *protocol.MessageID, at time.Duration) {
	if f.Lacks(id) {
		*f.slot(id) = flight{*id, at}
	}
}

// Took is how long ago a message came; ok is false if it is not remembered.
func (f *Flights) Took(id *protocol.MessageID, now time.Duration) (took time.Duration, ok bool) {
	if len(f.slots) == 0 {
		return 0, false
	}
	s := f.slot(id)
	return now - s.at, s.id == *id
}
