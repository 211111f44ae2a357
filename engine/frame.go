package engine

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/gobwas/ws"

	"push-server/protocol"
)

// format is how a session wants its messages.
type format uint8

const (
	formatText format = iota
	formatBinary
	formats = 2
)

// frame is a publication as it goes to every session of one format: a WebSocket frame, and inside it what a poll gets.
// It is immutable and shared by all loops; the garbage collector takes it when the window and the last writer let go.
type frame struct {
	bytes   []byte
	payload int // where the payload begins
}

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

// frame returns e in a format, built when the first session needs it. Two loops may build it at once; one of them keeps it.
func (l *loop) frame(e *entry, f format) frame {
	slot := &e.frames[f]
	if at := slot.payload.Load(); at > 0 {
		return frame{slot.bytes, int(at)}
	}
	fr := l.blocks.build(e.pub, f, time.Now().UnixMilli())
	if slot.payload.CompareAndSwap(slotEmpty, slotTaken) {
		slot.bytes = fr.bytes
		slot.payload.Store(int32(fr.payload))
	}
	return fr
}

// frameBlocks is memory for the frames that a loop builds: what stands side by side in the window does so here. A block is filled
// once and lives as long as one of its frames.
type frameBlocks struct{ free []byte }

const (
	frameBlock = 32 << 10 // the largest size that Go allocates without a system of its own for it
	// frameExtra is the room for what a frame has besides the body. Should it not be enough, the frame gets memory of its own.
	frameExtra = maxFrameHeader + 192
)

func (b *frameBlocks) build(p *protocol.Publication, f format, nowMillis int64) frame {
	room := len(p.Body) + frameExtra
	if room > frameBlock/4 {
		return buildFrame(make([]byte, 0, room), p, f, nowMillis)
	}
	if room > len(b.free) {
		b.free = make([]byte, frameBlock)
	}
	fr := buildFrame(b.free[:0], p, f, nowMillis)
	fr.bytes = slices.Clip(fr.bytes)
	b.free = b.free[min(len(b.free), fr.end()):]
	return fr
}

// buildFrame appends a frame to dst, which is empty.
func buildFrame(dst []byte, p *protocol.Publication, f format, nowMillis int64) frame {
	dst = append(dst, make([]byte, maxFrameHeader)...)
	op := ws.OpText
	if f == formatBinary {
		op = ws.OpBinary
		dst = protocol.AppendResponse(dst, []*protocol.Publication{p})
	} else {
		dst = protocol.AppendText(dst, p, nowMillis)
	}
	var head [maxFrameHeader]byte
	h := protocol.AppendFrameHeader(head[:0], op, len(dst)-maxFrameHeader)
	start := maxFrameHeader - len(h)
	copy(dst[start:], h)
	return frame{bytes: dst[start:], payload: len(h)}
}

// end is where the frame ends behind the begin of what it was appended to.
func (fr *frame) end() int { return maxFrameHeader - fr.payload + len(fr.bytes) }
