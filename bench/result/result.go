// Package result holds what the harness has measured: the file format, medians and ranges, the targets, and the comparison of two
// files.
package result

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"push-server/bench/load"
	"push-server/bench/proc"
)

// Run is one scenario against one freshly started server.
type Run struct {
	Scenario string        `json:"scenario"`
	Target   string        `json:"target"`
	N        int           `json:"n"` // connections
	Rep      int           `json:"rep"`
	Started  time.Time     `json:"started"`
	Elapsed  time.Duration `json:"elapsed"`
	// Metrics are named and explained in metrics.go.
	Metrics   map[string]float64     `json:"metrics,omitempty"`
	Latency   map[string]Percentiles `json:"latency,omitempty"`
	Series    map[string][]Point     `json:"series,omitempty"`
	Integrity load.Integrity         `json:"integrity"`
	Troubles  map[string]int64       `json:"troubles,omitempty"`
	// Failed says why the run does not count; "" if it does. A run in which a message was lost, doubled, reordered, damaged or
	// misrouted has failed.
	Failed string `json:"failed,omitempty"`
}

// Point is a value over time (seconds since the start of the run) or over the number of connections.
type Point struct {
	X float64 `json:"x"`
	Y float64 `json:"y"`
}

// Percentiles are a distribution in ms.
type Percentiles struct {
	Count int64   `json:"count"`
	Mean  float64 `json:"mean"`
	P50   float64 `json:"p50"`
	P90   float64 `json:"p90"`
	P99   float64 `json:"p99"`
	P999  float64 `json:"p999"`
	Max   float64 `json:"max"`
	// Curve has the latency (Y) at percentiles (X), for plotting.
	Curve []Point `json:"curve,omitempty"`
}

var curvePercentiles = []float64{1, 10, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 99.95, 99.99, 99.999, 100}

// Describe takes the percentiles of l.
func Describe(l *load.Latency) Percentiles {
	p := Percentiles{
		Count: l.Count(), Mean: l.MeanMillis(),
		P50: l.Millis(50), P90: l.Millis(90), P99: l.Millis(99), P999: l.Millis(99.9), Max: l.Millis(100),
	}
	for _, x := range curvePercentiles {
		if x < 100 && float64(p.Count)*(100-x)/100 < 1 {
			continue // the sample is too small to say
		}
		p.Curve = append(p.Curve, Point{x, l.Millis(x)})
	}
	return p
}

// File is a set of runs on one machine.
type File struct {
	Revision string       `json:"revision"` // of the source, with + when it was changed
	Date     time.Time    `json:"date"`
	Command  string       `json:"command"`
	Machine  proc.Machine `json:"machine"`
	Runs     []Run        `json:"runs"`
}

// Name is the name of the file: <date>-<revision>.json.
func (f *File) Name() string {
	return fmt.Sprintf("%s-%s.json", f.Date.UTC().Format("2006-01-02"), f.Revision)
}

// Write writes the file to a folder, which is made if need be, and returns its path.
func (f *File) Write(folder string) (string, error) {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", fmt.Errorf("result: %w", err)
	}
	b, err := json.MarshalIndent(f, "", "\t")
	if err != nil {
		return "", fmt.Errorf("result: %w", err)
	}
	path := filepath.Join(folder, f.Name())
	if err := os.WriteFile(path, append(b, '\n'), 0o644); err != nil {
		return "", fmt.Errorf("result: %w", err)
	}
	return path, nil
}

// Read reads a file.
func Read(path string) (*File, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("result: %w", err)
	}
	f := new(File)
	if err := json.Unmarshal(b, f); err != nil {
		return nil, fmt.Errorf("result: %s: %w", path, err)
	}
	return f, nil
}

// Failed are the runs that do not count.
func (f *File) Failed() (runs []Run) {
	for _, r := range f.Runs {
		if r.Failed != "" {
			runs = append(runs, r)
		}
	}
	return runs
}

// Key names what repetitions have in common.
type Key struct {
	Scenario, Target string
	N                int
}

// Keys are those of all runs that count, in the order of their first run.
func (f *File) Keys() (keys []Key) {
	for _, r := range f.Runs {
		if k := r.Key(); r.Failed == "" && !slices.Contains(keys, k) {
			keys = append(keys, k)
		}
	}
	return keys
}

// Key is that of a run.
func (r *Run) Key() Key { return Key{r.Scenario, r.Target, r.N} }

// Of are the runs of a key that count.
func (f *File) Of(k Key) (runs []Run) {
	for _, r := range f.Runs {
		if r.Key() == k && r.Failed == "" {
			runs = append(runs, r)
		}
	}
	return runs
}
