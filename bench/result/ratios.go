package result

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// Ratio is a metric of one server against that of another, of runs that followed each other: what the machine did meanwhile is in both.
type Ratio struct {
	Scenario     string
	N            int
	Metric       Metric
	Ours, Others Spread
	Spread       // of the ratios of the repetitions
}

// Certain says whether all of at least three repetitions agree on who is better.
func (r *Ratio) Certain() bool { return r.Count >= 3 && (r.Max < 1 || r.Min > 1) }

// Ratios compares the runs of two servers, repetition by repetition. Those that failed, and metrics that one of them lacks, are left out.
func Ratios(f *File, ours, other string) (ratios []Ratio) {
	for _, k := range f.Keys() {
		if k.Target != ours {
			continue
		}
		theirs := f.Of(Key{k.Scenario, other, k.N})
		for _, m := range Metrics {
			if m.Name == Noise {
				continue
			}
			var a, b, quotients []float64
			for _, our := range f.Of(k) {
				for _, their := range theirs {
					x, has := our.Metrics[m.Name]
					y := their.Metrics[m.Name]
					if our.Rep == their.Rep && has && y != 0 {
						a, b, quotients = append(a, x), append(b, y), append(quotients, x/y)
					}
				}
			}
			if len(quotients) > 0 {
				ratios = append(ratios, Ratio{k.Scenario, k.N, m, SpreadOf(a), SpreadOf(b), SpreadOf(quotients)})
			}
		}
	}
	return ratios
}

// WriteRatios prints ratios as a table.
func WriteRatios(w io.Writer, f *File, ours, other string) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "scenario\tn\tmetric\t%s\t%s\tratio\t\n", ours, other)
	for _, r := range Ratios(f, ours, other) {
		fmt.Fprintf(t, "%s\t%d\t%s\t%s\t%s\t%.3f (%.3f to %.3f)%s\t\n", r.Scenario, r.N, r.Metric.Name, r.Ours, r.Others, r.Median, r.Min, r.Max, r.verdict())
	}
	return t.Flush()
}

func (r *Ratio) verdict() string {
	switch {
	case !r.Certain():
		return " ~"
	case r.Metric.More == (r.Median > 1):
		return " better"
	}
	return " worse"
}
