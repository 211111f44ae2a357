package logfiles

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// throttle keeps repetitions out of a file: a client that does the same wrong thing again and again must not fill the disk.
type throttle struct {
	period time.Duration
	seen   map[string]int // lines of the period under way, and how often each came
	bytes  int            // of seen
	others int            // lines for which there was no room
}

// maxDifferent is the number of different lines of a period.
const maxDifferent = 500

// maxBytes is how much text they may have: with their repetitions, that is 380 MB a day at most for one who varies what he sends.
const maxBytes = 128 << 10

func newThrottle(period time.Duration) *throttle {
	return &throttle{period: period, seen: make(map[string]int)}
}

// passes says whether text is to be written, and counts it.
func (t *throttle) passes(text string) bool {
	n, ok := t.seen[text]
	if !ok && (len(t.seen) == maxDifferent || t.bytes+len(text) > maxBytes) {
		t.others++
		return false
	}
	if !ok {
		t.bytes += len(text)
	}
	t.seen[text] = n + 1
	return !ok
}

// end ends a period: write gets a line for each that came again, and one for all that there was no room for.
func (t *throttle) end(write func(text string)) {
	for _, text := range slices.Sorted(maps.Keys(t.seen)) {
		if n := t.seen[text] - 1; n > 0 {
			write(fmt.Sprintf("%s (%d more in %s)", text, n, t.period))
		}
	}
	if t.others > 0 {
		write(fmt.Sprintf("%d other lines in %s", t.others, t.period))
	}
	clear(t.seen)
	t.bytes, t.others = 0, 0
}
