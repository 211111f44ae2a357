package engine

import (
	"time"

	"github.com/gobwas/ws"

	"push-server/engine/feed"
	"push-server/protocol"
)

// The dialects of versions 3 and 4.
func init() {
	dialectTable[dialectText] = dialect{
		label: "text",
		Encoding: feed.Encoding{Slot: int(dialectText), OpCode: ws.OpText, Append: func(dst []byte, p *protocol.Publication) []byte {
			return protocol.AppendText(dst, p, time.Now().UnixMilli())
		}},
	}
	dialectTable[dialectProtobuf] = dialect{
		label: "protobuf", binary: true, hear: (*loop).hearRequest,
		Encoding: feed.Encoding{Slot: int(dialectProtobuf), OpCode: ws.OpBinary, Append: func(dst []byte, p *protocol.Publication) []byte {
			return protocol.AppendResponse(dst, []*protocol.Publication{p})
		}},
	}
}
