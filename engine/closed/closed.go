// Package closed remembers the connections that ended last, for operators who ask afterwards why a client did not get something.
package closed

import (
	"slices"
	"sync"
	"time"

	"push-server/protocol"
)

// What is kept: so many connections, of each so many channels, and of its address so many bytes. All of it is at most 1.5 MB.
const (
	size        = 4096
	maxChannels = 4
	maxAddress  = 64
)

// End is a connection that has ended while it listened to channels.
type End struct {
	Time      time.Time
	Reason    string
	Transport string
	Address   string             // as in log lines
	Last      protocol.MessageID // that was handed to it, and perhaps not read; of a poll, the one that its client has said

	channels [maxChannels][16]byte // private or public, the first ones
	count    uint8                 // of channels
}

// Listen adds a channel of the connection, if there is room.
func (e *End) Listen(ch protocol.ChannelID) {
	if e.count < maxChannels {
		e.channels[e.count] = ch.Bytes
		e.count++
	}
}

// Ring keeps the latest ends. Its methods may be called from any goroutine.
type Ring struct {
	mu    sync.Mutex
	since time.Time
	ends  []End
	next  int // to be written over, once there are size
}

// NewRing keeps none yet.
func NewRing(now time.Time) *Ring { return &Ring{since: now} }

// Add keeps e in the place of the oldest one.
func (r *Ring) Add(e End) {
	e.Address = e.Address[:min(len(e.Address), maxAddress)]
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.ends) < size {
		r.ends = append(r.ends, e)
		return
	}
	r.since = r.ends[r.next].Time
	r.ends[r.next] = e
	r.next = (r.next + 1) % size
}

// Find returns the latest ends of connections that listened to a channel, newest first, and since when all are known.
func (r *Ring) Find(channel [16]byte, limit int) (found []End, since time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.ends {
		e := &r.ends[(r.next+len(r.ends)-1-i)%len(r.ends)]
		if len(found) < limit && slices.Contains(e.channels[:e.count], channel) {
			found = append(found, *e)
		}
	}
	return found, r.since
}
