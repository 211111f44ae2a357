// Package recorder is the flight recorder of an event loop: its last events, always on, so that it can be said afterwards what happened on
// a connection. An event has sizes and ids, never a byte of what was said.
package recorder

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	"push-server/protocol"
)

// Kind is what has happened. Each is one row of the table below.
type Kind uint8

// The kinds. What Bytes and Detail of an event mean stands beside them.
const (
	Opened     Kind = iota // the connection has come
	Request                // bytes of a head
	Subscribed             // detail: channels
	Replay                 // what came after an id was asked for
	Message                // bytes, detail: messages in them, the id of the last
	Reply                  // bytes, detail: status
	Frame                  // bytes of a frame from the client, detail: its opcode
	Ping                   // ours
	CloseFrame             // ours, detail: its code
	Buffered               // bytes that the socket did not take
	Closed                 // detail: why
	kinds
)

// row is what a kind looks like to operators.
type row struct {
	name, direction string
	often           bool   // has a ring of its own, so that a broadcast does not displace everything else
	note            string // how detail is shown; "": not at all
}

var table = [kinds]row{
	Opened:     {name: "open"},
	Request:    {name: "request", direction: "in"},
	Subscribed: {name: "subscribed", note: "%d channels"},
	Replay:     {name: "replay", direction: "in"},
	Message:    {name: "message", direction: "out", often: true, note: "%d messages"},
	Reply:      {name: "reply", direction: "out", note: "status %d"},
	Frame:      {name: "frame", direction: "in", note: "opcode %d"},
	Ping:       {name: "ping", direction: "out"},
	CloseFrame: {name: "close-frame", direction: "out", note: "code %d"},
	Buffered:   {name: "buffered", direction: "out"},
	Closed:     {name: "closed"},
}

// Event is one event of a connection.
type Event struct {
	Time       int64  // Unix, nanoseconds
	Mid        uint64 // see Tail; 0: none
	Place      uint32 // of the connection on its loop
	Generation uint32 // of the place
	Bytes      uint32
	Detail     uint16
	Kind       Kind
}

// Tail is what an event has of an id: its last sixteen digits, one in each nibble.
func Tail(id *protocol.MessageID) uint64 { return binary.BigEndian.Uint64(id[len(id)-8:]) }

// size is the number of events of each ring, a power of two.
const size = 2048

// Recorder has the last events of one loop, whose goroutine owns it. The zero value is ready.
type Recorder struct {
	often, seldom ring
	last          int64 // time of the latest event
}

type ring struct {
	events []Event
	n      uint64 // so far
}

// Add records e in the place of the oldest one. Events of one time get times that tell their order.
func (r *Recorder) Add(e Event) {
	e.Time = max(e.Time, r.last+1)
	r.last = e.Time
	to := &r.seldom
	if table[e.Kind].often {
		to = &r.often
	}
	if to.events == nil {
		to.events = make([]Event, size)
	}
	to.events[to.n%size] = e
	to.n++
}

// Of returns what is left of the events of a connection, oldest first.
func (r *Recorder) Of(place, generation uint32) (all []Event) {
	for _, from := range []*ring{&r.seldom, &r.often} {
		for i := from.n - min(from.n, size); i < from.n; i++ {
			if e := &from.events[i%size]; e.Place == place && e.Generation == generation {
				all = append(all, *e)
			}
		}
	}
	slices.SortFunc(all, func(a, b Event) int { return cmp.Compare(a.Time, b.Time) })
	return all
}

// Line is an event as operators see it.
type Line struct {
	Time      time.Time `json:"time"`
	Direction string    `json:"direction"`
	Kind      string    `json:"kind"`
	Bytes     uint32    `json:"bytes"`
	Mid       string    `json:"mid,omitempty"`
	Note      string    `json:"note"`
}

// Line returns e as operators see it. reason names the detail of Closed.
func (e *Event) Line(reason func(detail uint16) string) Line {
	row := &table[e.Kind]
	l := Line{Time: time.Unix(0, e.Time).UTC(), Direction: row.direction, Kind: row.name, Bytes: e.Bytes}
	if e.Mid != 0 {
		l.Mid = fmt.Sprintf("…%016x", e.Mid)
	}
	switch {
	case e.Kind == Closed:
		l.Note = reason(e.Detail)
	case row.note != "" && (e.Kind != Message || e.Detail > 1):
		l.Note = fmt.Sprintf(row.note, e.Detail)
	}
	return l
}

// Text is events in one line, for the log: how long before the last one each of them was, what it was and its size.
func Text(events []Event, reason func(detail uint16) string) string {
	var b strings.Builder
	for i := range events {
		l := events[i].Line(reason)
		if i > 0 {
			b.WriteString(", ")
		}
		ago := time.Duration(events[len(events)-1].Time - events[i].Time).Round(time.Millisecond)
		fmt.Fprintf(&b, "-%v %s", ago, l.Kind)
		if l.Bytes > 0 {
			fmt.Fprintf(&b, " %dB", l.Bytes)
		}
		if l.Note != "" {
			b.WriteString(" " + l.Note)
		}
	}
	return b.String()
}
