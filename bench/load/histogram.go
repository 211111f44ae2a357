package load

import (
	"fmt"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

// Histograms count microseconds up to two minutes, with three digits.
const (
	lowestMicros  = 1
	highestMicros = 120_000_000
	digits        = 3
)

// Latency is a distribution of durations.
type Latency struct{ h *hdr.Histogram }

// NewLatency makes an empty distribution.
func NewLatency() *Latency { return &Latency{hdr.New(lowestMicros, highestMicros, digits)} }

// record takes nanoseconds. What is out of range counts as the nearest end: a clock read a moment too early gives less than 0.
func (l *Latency) record(ns int64) {
	if err := l.h.RecordValue(min(max(ns/1000, lowestMicros), highestMicros)); err != nil {
		panic("BUG: latency in range was refused: " + err.Error())
	}
}

// Count is the number of durations recorded.
func (l *Latency) Count() int64 { return l.h.TotalCount() }

// Millis is the duration in ms that the given share of all (0…100) does not exceed.
func (l *Latency) Millis(percentile float64) float64 {
	return float64(l.h.ValueAtPercentile(percentile)) / 1000
}

// MeanMillis is the mean in ms.
func (l *Latency) MeanMillis() float64 { return l.h.Mean() / 1000 }

// Add merges o into l.
func (l *Latency) Add(o *Latency) error {
	if dropped := l.h.Merge(o.h); dropped > 0 {
		return fmt.Errorf("load: %d durations out of range", dropped)
	}
	return nil
}

// MarshalText is the compressed form of HdrHistogram, as other tools read it.
func (l *Latency) MarshalText() ([]byte, error) {
	return l.h.Encode(hdr.V2CompressedEncodingCookieBase)
}

// UnmarshalText reads what MarshalText wrote.
func (l *Latency) UnmarshalText(b []byte) error {
	h, err := hdr.Decode(b)
	if err != nil {
		return fmt.Errorf("load: histogram: %w", err)
	}
	l.h = h
	return nil
}
