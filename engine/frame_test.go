package engine

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/gobwas/ws"

	"push-server/protocol"
)

// Frames that share blocks, and those that are too large to, stay as they were built.
func TestFramesStayAsTheyAre(t *testing.T) {
	l, _, ch := bareLoop(t, 0)
	var entries []*entry
	for i, size := range []int{0, 1, 100, 126, 300, 70_000, frameBlock / 4, frameBlock / 4, frameBlock / 4, frameBlock / 4, 5} {
		e := &entry{pub: publication(strings.Repeat(string(rune('a'+i)), size), 60, ch)}
		for f := range format(formats) {
			l.frame(e, f)
		}
		entries = append(entries, e)
	}
	for i, e := range entries {
		for f := range format(formats) {
			fr := l.frame(e, f)
			h, err := ws.ReadHeader(bytes.NewReader(fr.bytes))
			if err != nil || int(h.Length) != len(fr.bytes)-fr.payload || !bytes.Contains(fr.bytes, e.pub.Body) {
				t.Errorf("frame %d in format %d: %+v, %v", i, f, h, err)
			}
			if f == formatBinary {
				if want := protocol.AppendResponse(nil, []*protocol.Publication{e.pub}); !bytes.Equal(fr.bytes[fr.payload:], want) {
					t.Errorf("frame %d is %q, want %q", i, fr.bytes[fr.payload:], want)
				}
			}
		}
	}
}

// All loops get the same frame, whoever builds it.
func TestFramesOfSeveralLoops(t *testing.T) {
	var loops []*loop
	for range 4 {
		l, _, _ := bareLoop(t, 0)
		loops = append(loops, l)
	}
	for i := range 1000 {
		e := &entry{pub: publication(fmt.Sprint(i), 60, private(newItem()))}
		var wait sync.WaitGroup
		for _, l := range loops {
			wait.Go(func() {
				for range 2 {
					if fr := l.frame(e, formatText); !bytes.Contains(fr.bytes[fr.payload:], e.pub.Body) {
						t.Errorf("frame %d is %q", i, fr.bytes)
					}
				}
			})
		}
		wait.Wait()
	}
}
