package protocol

import (
	"slices"

	"github.com/gobwas/ws"
)

// AssemblyState is an Assembly in a form that can be written down and taken up again by another process.
type AssemblyState struct {
	OpCode  byte    `json:"op"`
	Payload []byte  `json:"payload,omitempty"`
	Length  int     `json:"length,omitempty"`
	Left    int     `json:"left,omitempty"`
	Fin     bool    `json:"fin,omitempty"`
	Mask    [4]byte `json:"mask"`
	At      int     `json:"at,omitempty"`
	Tail    []byte  `json:"tail,omitempty"`
}

// State is what a has of its message; a may be nil.
func (a *Assembly) State() *AssemblyState {
	if a == nil {
		return nil
	}
	return &AssemblyState{
		OpCode: byte(a.opCode), Payload: a.payload, Length: a.length, Left: a.left, Fin: a.fin, Mask: a.mask, At: a.at,
		Tail: slices.Clone(a.text.tail[:a.text.n]),
	}
}

// Assembly goes on with what was written down; s may be nil.
func (s *AssemblyState) Assembly() *Assembly {
	if s == nil {
		return nil
	}
	a := &Assembly{
		opCode: ws.OpCode(s.OpCode), payload: s.Payload, length: s.Length, left: s.Left, fin: s.Fin, mask: s.Mask, at: s.At,
	}
	a.text.n = copy(a.text.tail[:], s.Tail)
	return a
}
