package result

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// Change is how a metric differs between two files.
type Change struct {
	Key
	Metric   Metric
	Old, New Spread
}

// Ratio is the new median over the old one, 0 if there is none.
func (c Change) Ratio() float64 {
	if c.Old.Median == 0 {
		return 0
	}
	return c.New.Median / c.Old.Median
}

// Certain says whether the ranges are apart, each of at least three runs.
func (c Change) Certain() bool {
	return c.Old.Count >= 3 && c.New.Count >= 3 && !c.Old.Overlaps(c.New)
}

// Better says whether the change is an improvement.
func (c Change) Better() bool { return c.Metric.More == (c.New.Median > c.Old.Median) }

// Compare lists the metrics that both files have.
func Compare(old, new *File) (changes []Change) {
	for _, k := range new.Keys() {
		for _, m := range Metrics {
			c := Change{Key: k, Metric: m, Old: old.Spread(k, m.Name), New: new.Spread(k, m.Name)}
			if c.Old.Count > 0 && c.New.Count > 0 {
				changes = append(changes, c)
			}
		}
	}
	return changes
}

// WriteComparison prints changes as a table.
func WriteComparison(w io.Writer, changes []Change) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "scenario\ttarget\tn\tmetric\told\tnew\tchange\t")
	for _, c := range changes {
		fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%s\t%s\t%s\t\n", c.Scenario, c.Target, c.N, c.Metric.Name, c.Old, c.New, c.verdict())
	}
	return t.Flush()
}

func (c Change) verdict() string {
	if c.Ratio() == 0 {
		return ""
	}
	percent := fmt.Sprintf("%+.1f %%", (c.Ratio()-1)*100)
	switch {
	case !c.Certain():
		return percent + " ~"
	case c.Better():
		return percent + " better"
	}
	return percent + " worse"
}

// String is the median with half the range, in percent of it.
func (s Spread) String() string {
	if s.Count < 2 || s.Median == 0 {
		return Number(s.Median)
	}
	return fmt.Sprintf("%s ±%.0f%%", Number(s.Median), (s.Max-s.Min)/2/s.Median*100)
}

// Number writes a value with three digits that count, or whole if it is larger.
func Number(v float64) string {
	switch a := max(v, -v); {
	case a >= 10_000:
		return group(fmt.Sprintf("%.0f", v))
	case a >= 100:
		return fmt.Sprintf("%.0f", v)
	case a >= 10:
		return fmt.Sprintf("%.1f", v)
	case a == 0:
		return "0"
	case a < 0.01:
		return fmt.Sprintf("%.2g", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// group puts a comma between thousands.
func group(digits string) string {
	for i := len(digits) - 3; i > 0 && digits[i-1] != '-'; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
