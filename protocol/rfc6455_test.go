package protocol

import (
	"bytes"
	"fmt"
	"iter"
	"slices"
	"testing"

	"github.com/gobwas/ws"

	"push-server/protocol/rfc6455"
)

// endpoint is what a server that echoes makes of frames: nothing but the code of this package decides.
type endpoint struct {
	reader   FrameReader
	assembly *Assembly
	waiting  []byte
	keep     bool // else messages are dropped as they come
	answers  []rfc6455.Frame
	over     bool
}

// hear takes what comes next.
func (e *endpoint) hear(b []byte) {
	e.waiting = append(e.waiting, b...)
	for !e.over {
		m, n, err := e.reader.Next(e.waiting, &e.assembly, rfc6455.MaxPayload, e.keep)
		if err == ErrShort {
			return
		}
		e.waiting = e.waiting[n:]
		if err == nil && m.OpCode == ws.OpClose {
			_, err = ParseClose(m.Payload)
		}
		switch {
		case err != nil:
			e.end(closePayload(err.(*Error).Code))
		case m.OpCode == ws.OpClose:
			e.end(string(m.Payload))
		case m.OpCode == ws.OpPing:
			e.answer(ws.OpPong, string(m.Payload))
		case m.OpCode.IsData() && m.OpCode != ws.OpContinuation:
			e.answer(m.OpCode, string(m.Payload))
		}
	}
}

func (e *endpoint) answer(op ws.OpCode, payload string) {
	e.answers = append(e.answers, rfc6455.Frame{OpCode: byte(op), Payload: payload})
}

func (e *endpoint) end(payload string) {
	e.over = true
	e.answer(ws.OpClose, payload)
}

func closePayload(code uint16) string { return string(AppendClose(nil, code, "")[2:]) }

// What clients send is read as RFC 6455 says, in whatever slices it comes, and what is wrong is known when it shows.
func TestRFC6455(t *testing.T) {
	names := make(map[string]bool)
	for _, c := range rfc6455.Cases() {
		if names[c.String()] {
			t.Errorf("two cases are %q", &c)
		}
		names[c.String()] = true
		f := func(how string, keep bool, slices iter.Seq[[]byte]) {
			t.Helper()
			e := endpoint{keep: keep}
			for b := range slices {
				e.hear(bytes.Clone(b))
			}
			if err := sameAnswers(&c, &e); err != nil {
				t.Errorf("%s, %s, kept %v: %v", &c, how, keep, err)
			}
		}
		for _, keep := range []bool{true, false} {
			f("whole", keep, slices.Values([][]byte{c.Sent}))
			f("byte by byte", keep, slices.Chunk(c.Sent, 1))
			for seed := range uint64(4) {
				f(fmt.Sprint("random slices, seed ", seed), keep, rfc6455.Slices(c.Sent, seed))
			}
		}
		if c.Known >= 0 {
			e := endpoint{keep: true}
			for j, b := range c.Sent[:c.Known+1] {
				if e.over {
					t.Errorf("%s: ends before byte %d, which is the first to be wrong", &c, j)
					break
				}
				e.hear([]byte{b})
			}
			if !e.over {
				t.Errorf("%s: not known at byte %d", &c, c.Known)
			}
		}
	}
	t.Logf("%d cases", len(names))
}

// sameAnswers compares what e has answered with what it has to. What is not kept is answered by nothing.
func sameAnswers(c *rfc6455.Case, e *endpoint) error {
	want := slices.Clone(c.Want)
	for i := range want {
		if !e.keep && ws.OpCode(want[i].OpCode).IsData() {
			want[i].Payload = ""
		}
	}
	if !slices.Equal(e.answers, want) {
		return fmt.Errorf("answers %.200q, want %.200q", e.answers, want)
	}
	if e.over != (c.Known >= 0) {
		return fmt.Errorf("over %v", e.over)
	}
	return nil
}
