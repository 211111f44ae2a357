package engine

import (
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

// maxFrameHeader is the longest header of an unmasked frame (RFC 6455, 5.2).
const maxFrameHeader = 10

// frame returns e in a format, built when the first session needs it. Two loops may build it at once; one of them wins.
func (e *entry) frame(f format) *frame {
	if fr := e.frames[f].Load(); fr != nil {
		return fr
	}
	fr := buildFrame(e.pub, f, time.Now().UnixMilli())
	if e.frames[f].CompareAndSwap(nil, fr) {
		return fr
	}
	return e.frames[f].Load()
}

func buildFrame(p *protocol.Publication, f format, nowMillis int64) *frame {
	buf := make([]byte, maxFrameHeader, maxFrameHeader+len(p.Body)+192)
	op := ws.OpText
	if f == formatBinary {
		op = ws.OpBinary
		buf = protocol.AppendResponse(buf, []*protocol.Publication{p})
	} else {
		buf = protocol.AppendText(buf, p, nowMillis)
	}
	var head [maxFrameHeader]byte
	h := protocol.AppendFrameHeader(head[:0], op, len(buf)-maxFrameHeader)
	start := maxFrameHeader - len(h)
	copy(buf[start:], h)
	return &frame{bytes: buf[start:], payload: len(h)}
}
