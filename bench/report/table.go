package report

import (
	"fmt"
	"io"

	"push-server/bench/result"
)

// row is a goal and what was reached of it, in words.
type row struct {
	Measure, Unit, Peer, Ours, Others, Ratio, Limit, Verdict string
	N                                                        int
}

// rows are the goals of which something was measured.
func rows(f *result.File) (list []row) {
	for _, o := range result.Outcomes(f) {
		sign := "≤ "
		if o.Metric.More {
			sign = "≥ "
		}
		r := row{
			Measure: o.Scenario + ": " + o.Metric.Title, N: o.N, Unit: o.Metric.Unit, Ours: o.Ours.String(),
			Limit: sign + result.Number(o.Limit), Verdict: string(o.Verdict),
		}
		if o.Server != "push-server" {
			r.Measure += ", in memory"
		}
		if o.Peer != "" {
			r.Peer, r.Others, r.Ratio = o.Peer, o.Others.String(), o.Judged.String()
			r.Limit += " ×"
		}
		list = append(list, r)
	}
	return list
}

// machine says on what f was measured.
func machine(f *result.File) string {
	m := f.Machine
	return fmt.Sprintf("%d cores %s, %.0f GiB, Linux %s, %s", m.Cores, m.CPU, m.MemoryGiB, m.Kernel, m.Go)
}

// WriteTable prints the targets and what was reached, as Markdown.
func WriteTable(w io.Writer, f *result.File) error {
	_, err := fmt.Fprintf(w, "Revision %s, %s, on %s.\n\n"+
		"| measure | connections | unit | ours | other server | its value | ratio | to reach | |\n|---|---|---|---|---|---|---|---|---|\n",
		f.Revision, f.Date.Format("2 January 2006"), machine(f))
	for _, r := range rows(f) {
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %s | %s | %s | %s |\n",
			r.Measure, result.Number(float64(r.N)), r.Unit, r.Ours, r.Peer, r.Others, r.Ratio, r.Limit, r.Verdict)
	}
	return err
}
