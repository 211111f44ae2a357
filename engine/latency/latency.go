// Package latency measures how long things take: as histograms for Prometheus, and as quantiles of the last seconds for whoever looks now.
package latency

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// Set is what is measured. Its histograms may be used by any goroutine, and allocate nothing.
type Set struct {
	Publish         *Histogram // from the time when a request's publications are accepted until they are stored
	Bus             *Histogram // from one process to all, as probes show it
	Probe           *Histogram // through the bus, an event loop and a session of the process's own
	Turn            *Histogram // of an event loop
	Acknowledgement *Histogram // from the bus until a client of version 5 says that it has it
	Delivery        *Histogram // from the bus to the last socket of a loop: one sample for all that a turn has delivered
}

// New returns an empty Set.
func New() *Set {
	return &Set{
		Publish:         newHistogram("push_publish_seconds", "From the acceptance of publications until they are stored."),
		Bus:             newHistogram("push_bus_probe_seconds", "How long probes of the bus were under way."),
		Probe:           newHistogram("push_probe_seconds", "How long probes took from before the bus to behind a session of each event loop."),
		Turn:            newHistogram("push_turn_seconds", "Turns of the event loops, and the time they took."),
		Acknowledgement: newHistogram("push_acknowledgement_seconds", "From the arrival of a publication on the bus until a client of version 5 says that it has it."),
		Delivery:        newHistogram("push_delivery_seconds", "From the arrival of a publication on the bus until it is written to the last socket of an event loop; sampled."),
	}
}

// Collectors are what Prometheus is shown.
func (s *Set) Collectors() []prometheus.Collector {
	return []prometheus.Collector{s.Publish.all, s.Bus.all, s.Probe.all, s.Turn.all, s.Delivery.all, s.Acknowledgement.all}
}

// bounds of buckets, in seconds.
var bounds = []float64{
	10e-6, 25e-6, 50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 250e-3, 500e-3, 1, 2.5, 5, 10, 30,
}

// Histogram counts durations.
type Histogram struct {
	all prometheus.Histogram

	mu     sync.Mutex
	latest snapshot // what quantiles of the last seconds are counted from: one is at least span old
	before snapshot
}

// snapshot is a Histogram at a time.
type snapshot struct {
	at     time.Time
	counts []uint64 // by bucket, each with those below
	total  uint64
}

// span is the least time that Recent is about, but for the first seconds.
const span = 10 * time.Second

func newHistogram(name, help string) *Histogram {
	return &Histogram{all: prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: bounds})}
}

// Observe counts d.
func (h *Histogram) Observe(d time.Duration) { h.all.Observe(d.Seconds()) }

// Quantiles describe what was observed in some time, in seconds.
type Quantiles struct {
	Count uint64  `json:"count"`
	P50   float64 `json:"p50"`
	P99   float64 `json:"p99"`
}

// Recent is about the last span to two spans, if it is asked as often, or else about the time since it was asked.
func (h *Histogram) Recent(now time.Time) Quantiles {
	s := h.read(now)
	h.mu.Lock()
	defer h.mu.Unlock()
	if now.Sub(h.latest.at) >= span {
		h.before, h.latest = h.latest, s
	}
	return s.since(&h.before)
}

func (h *Histogram) read(now time.Time) snapshot {
	var m dto.Metric
	if err := h.all.Write(&m); err != nil {
		panic("BUG: latency: a histogram cannot be read: " + err.Error())
	}
	s := snapshot{at: now, total: m.Histogram.GetSampleCount()}
	for _, b := range m.Histogram.Bucket {
		s.counts = append(s.counts, b.GetCumulativeCount())
	}
	return s
}

// since describes what has come between two snapshots.
func (s *snapshot) since(before *snapshot) Quantiles {
	q := Quantiles{Count: s.total - before.total}
	if q.Count > 0 {
		q.P50, q.P99 = s.quantile(before, 0.50), s.quantile(before, 0.99)
	}
	return q
}

// quantile takes the values of a bucket for evenly spread.
func (s *snapshot) quantile(before *snapshot, share float64) float64 {
	rank := share * float64(s.total-before.total)
	below, lower := 0.0, 0.0
	for i, upper := range bounds {
		n := float64(s.counts[i])
		if before.counts != nil {
			n -= float64(before.counts[i])
		}
		if n >= rank && n > below {
			return lower + (upper-lower)*(rank-below)/(n-below)
		}
		below, lower = n, upper
	}
	return lower
}
