package feed

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/gobwas/ws"

	"push-server/protocol"
)

// Entry is a publication on its way to sessions. Everybody who holds it shares it, and the frames that are built of it: it never
// changes, but for frames, each of which is built once, when the first session needs it.
type Entry struct {
	Publication *protocol.Publication // nil only inside this package: an echo

	highest protocol.MessageID // the greatest id, or counter that an echo showed, up to and including this entry
	seq     uint64             // place in the window
	expires time.Duration      // when it leaves history, on the feed's clock; 0: it is not there
	arrived time.Duration      // when the bus brought it, on the feed's clock; 0: it was read from history
	prev    []uint64           // per receiver: the entry before this one with the same hash, 0: none
	prevBuf [2]uint64
	echo    *echo // of an echo
	frames  [Dialects]frameSlot
}

// entryBlock makes entries side by side, which is an allocation less for each publication. They leave the window side by side, too; but a
// block lives as long as one of its entries, so those of large bodies are made one by one.
type entryBlock struct{ free []Entry }

const (
	entriesPerBlock = 64
	largeBody       = 4 << 10
)

func (b *entryBlock) next(p *protocol.Publication) *Entry {
	if p.Size() > largeBody {
		return new(Entry)
	}
	if len(b.free) == 0 {
		b.free = make([]Entry, entriesPerBlock)
	}
	e := &b.free[0]
	b.free = b.free[1:]
	return e
}

// echo is what an entry without a publication says.
type echo struct {
	number    uint64
	repair    uint64             // the last repair that was closed
	accounted protocol.MessageID // nothing up to here is missing
	proof     *Entry             // goes to the subscribers of Options.Probe; nil: there is none
}

// Arrived is when the bus brought e, on the clock of Reader.Now; ok is false if e was read from history.
func (e *Entry) Arrived() (at time.Duration, ok bool) { return e.arrived, e.arrived > 0 }

// replayable says whether history would have e at now.
func (e *Entry) replayable(now time.Duration) bool { return e.expires > now }

// size is what e takes in memory at most: its body, and a frame of it in each dialect.
func (e *Entry) size() int {
	switch {
	case e.Publication != nil:
		return sizeOf(e.Publication)
	case e.echo.proof != nil:
		return entryOverhead + sizeOf(e.echo.proof.Publication)
	}
	return entryOverhead
}

func sizeOf(p *protocol.Publication) int {
	return entryOverhead + (1+usualDialects)*(p.Size()+frameOverhead) + len(p.Receivers)*receiverSize
}

const (
	entryOverhead = 320 // an entry and a publication without their bytes, so that many small ones are bounded, too
	frameOverhead = 128 // what framing adds to a body
	receiverSize  = 56
)

// Dialects is the number of ways in which a publication can be framed; usualDialects of them are at work at the same time.
const (
	Dialects      = 4 // those of the product, and one of tests
	usualDialects = 2
)

// Encoding is how publications look in one dialect.
type Encoding struct {
	Slot   int // the place of its frames in an entry, below Dialects, for this encoding alone
	OpCode ws.OpCode
	Append func(dst []byte, p *protocol.Publication) []byte
}

// Frame is a publication as it goes to every session of one dialect: a WebSocket frame, and inside it what a poll gets. It is
// immutable and shared by all loops; the garbage collector takes it when the window and the last writer let go.
type Frame struct {
	Bytes   []byte
	payload int // where the payload begins
}

// Payload is what the frame carries.
func (f Frame) Payload() []byte { return f.Bytes[f.payload:] }

// frameSlot is the place of a frame in its entry.
type frameSlot struct {
	bytes   []byte
	payload atomic.Int32 // of frame when bytes are there; before, slotEmpty or slotTaken
}

const (
	slotEmpty = 0
	slotTaken = -1
)

// maxFrameHeader is the longest header of an unmasked frame (RFC 6455, 5.2).
const maxFrameHeader = 10

// Frames is memory for the frames that a loop builds: what stands side by side in the window does so here. A block is filled once
// and lives as long as one of its frames. The zero value is ready; it belongs to one goroutine.
type Frames struct{ free []byte }

const (
	frameBlock = 32 << 10 // the largest size that Go allocates without a system of its own for it
	// frameExtra is the room for what a frame has besides the body. Should it not be enough, the frame gets memory of its own.
	frameExtra = maxFrameHeader + 192
)

// Of returns the frame of e, built when the first session needs it. Two loops may build it at once; one of them keeps it.
func (b *Frames) Of(e *Entry, enc *Encoding) Frame {
	slot := &e.frames[enc.Slot]
	if at := slot.payload.Load(); at > 0 {
		return Frame{slot.bytes, int(at)}
	}
	f := b.build(e.Publication, enc)
	if slot.payload.CompareAndSwap(slotEmpty, slotTaken) {
		slot.bytes = f.Bytes
		slot.payload.Store(int32(f.payload))
	}
	return f
}

func (b *Frames) build(p *protocol.Publication, enc *Encoding) Frame {
	room := len(p.Body) + frameExtra
	if room > frameBlock/4 {
		return buildFrame(make([]byte, 0, room), p, enc)
	}
	if room > len(b.free) {
		b.free = make([]byte, frameBlock)
	}
	f := buildFrame(b.free[:0], p, enc)
	f.Bytes = slices.Clip(f.Bytes)
	b.free = b.free[min(len(b.free), f.end()):]
	return f
}

// NewFrame is a frame of its own, for one session.
func NewFrame(op ws.OpCode, payload []byte) Frame {
	b := protocol.AppendFrameHeader(make([]byte, 0, maxFrameHeader+len(payload)), op, len(payload))
	return Frame{Bytes: append(b, payload...), payload: len(b)}
}

// buildFrame appends a frame to dst, which is empty.
func buildFrame(dst []byte, p *protocol.Publication, enc *Encoding) Frame {
	dst = append(dst, make([]byte, maxFrameHeader)...)
	dst = enc.Append(dst, p)
	var head [maxFrameHeader]byte
	h := protocol.AppendFrameHeader(head[:0], enc.OpCode, len(dst)-maxFrameHeader)
	start := maxFrameHeader - len(h)
	copy(dst[start:], h)
	return Frame{Bytes: dst[start:], payload: len(h)}
}

// end is where the frame ends behind the begin of what it was appended to.
func (f *Frame) end() int { return maxFrameHeader - f.payload + len(f.Bytes) }
