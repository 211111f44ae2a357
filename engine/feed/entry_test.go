package feed

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/gobwas/ws"

	"push-server/protocol"
)

var encodings = []*Encoding{
	{Slot: 0, OpCode: ws.OpText, Append: func(dst []byte, p *protocol.Publication) []byte { return protocol.AppendText(dst, p, 1) }},
	{Slot: 1, OpCode: ws.OpBinary, Append: func(dst []byte, p *protocol.Publication) []byte {
		return protocol.AppendResponse(dst, []*protocol.Publication{p})
	}},
}

// Frames that share blocks, and those that are too large to, stay as they were built.
func TestFramesStayAsTheyAre(t *testing.T) {
	var frames Frames
	var entries []*Entry
	for i, size := range []int{0, 1, 100, 126, 300, 70_000, frameBlock / 4, frameBlock / 4, frameBlock / 4, frameBlock / 4, 5} {
		e := &Entry{Publication: &protocol.Publication{Body: []byte(strings.Repeat(string(rune('a'+i)), size))}}
		for _, enc := range encodings {
			frames.Of(e, enc)
		}
		entries = append(entries, e)
	}
	for i, e := range entries {
		for _, enc := range encodings {
			fr := frames.Of(e, enc)
			h, err := ws.ReadHeader(bytes.NewReader(fr.Bytes))
			if err != nil || int(h.Length) != len(fr.Payload()) || !bytes.Contains(fr.Bytes, e.Publication.Body) {
				t.Errorf("frame %d in slot %d: %+v, %v", i, enc.Slot, h, err)
			}
			if enc.Slot == 1 {
				if want := protocol.AppendResponse(nil, []*protocol.Publication{e.Publication}); !bytes.Equal(fr.Payload(), want) {
					t.Errorf("frame %d is %q, want %q", i, fr.Payload(), want)
				}
			}
		}
	}
}

// All loops get the same frame, whoever builds it.
func TestFramesOfSeveralLoops(t *testing.T) {
	loops := make([]Frames, 4)
	for i := range 1000 {
		e := &Entry{Publication: &protocol.Publication{Body: fmt.Append(nil, i)}}
		var wait sync.WaitGroup
		for n := range loops {
			wait.Go(func() {
				for range 2 {
					if fr := loops[n].Of(e, encodings[0]); !bytes.Contains(fr.Payload(), e.Publication.Body) {
						t.Errorf("frame %d is %q", i, fr.Bytes)
					}
				}
			})
		}
		wait.Wait()
	}
}
