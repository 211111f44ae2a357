// Package quantum bounds for how long an event loop does one thing before it serves everything else, without a look at the clock for each
// piece of it.
package quantum

import "time"

// Quantum is the time that work of one kind may take in a turn. Work is done in pieces, and the clock is looked at after some of them, so
// that each kind gets on, however little time there is. It belongs to one goroutine.
type Quantum struct {
	Length time.Duration
	// Look is the number of pieces between two looks at the clock. With 1, and a Length below zero, work is cut behind every piece.
	Look int

	last  time.Time // as of the last look
	begun time.Time
	spent int // pieces
	next  int // look when so many are spent
}

// look is a Look that is not felt in a broadcast: some microseconds each.
const look = 16

// New returns a quantum of a length.
func New(length time.Duration) Quantum { return Quantum{Length: length, Look: look} }

// Start begins a quantum at now.
func (q *Quantum) Start(now time.Time) {
	q.last = now
	q.Begin()
}

// Begin begins the quantum of other work, as of the last look at the clock.
func (q *Quantum) Begin() { q.begun, q.spent, q.next = q.last, 0, q.Look }

// Piece is how many bytes are one piece of work: a copy of them by the kernel takes about as long as the call.
const Piece = 4 << 10

// Spend notes a piece of work on so many bytes.
func (q *Quantum) Spend(bytes int) { q.spent += 1 + bytes/Piece }

// Spent is the number of pieces since the quantum began.
func (q *Quantum) Spent() int { return q.spent }

// Due says that it is time to look at the clock, and call Over.
func (q *Quantum) Due() bool { return q.spent >= q.next }

// Over says whether the quantum is used up at now.
func (q *Quantum) Over(now time.Time) bool {
	q.last, q.next = now, q.spent+q.Look
	return now.Sub(q.begun) > q.Length
}
