package engine

import (
	"time"

	"github.com/gobwas/ws"

	"push-server/engine/feed"
	"push-server/protocol"
)

// The dialects in which sessions get their messages.
var (
	dialectText = feed.Encoding{Slot: 0, OpCode: ws.OpText, Append: func(dst []byte, p *protocol.Publication) []byte {
		return protocol.AppendText(dst, p, time.Now().UnixMilli())
	}}
	dialectProtobuf = feed.Encoding{Slot: 1, OpCode: ws.OpBinary, Append: func(dst []byte, p *protocol.Publication) []byte {
		return protocol.AppendResponse(dst, []*protocol.Publication{p})
	}}
)
