package report

import (
	"fmt"
	"io"

	"push-server/bench/result"
)

// reached is a goal with what the server of this project did.
type reached struct {
	result.Goal
	Metric  result.Metric
	N       int
	Spread  result.Spread
	Verdict result.Verdict
}

// goals finds what was reached of each goal, at the number of connections nearest to that of the goal.
func goals(f *result.File) (list []reached) {
	for _, g := range result.Goals {
		n, ok := nearest(f, g)
		if !ok {
			continue
		}
		s := f.Spread(result.Key{Scenario: g.Scenario, Target: "push-server", N: n}, g.Metric)
		if s.Count == 0 {
			continue
		}
		m, _ := result.Find(g.Metric)
		list = append(list, reached{Goal: g, Metric: m, N: n, Spread: s, Verdict: g.Judge(s.Median)})
	}
	return list
}

func nearest(f *result.File, g result.Goal) (best int, ok bool) {
	distance := func(n int) int { return max(n-g.N, g.N-n) }
	for _, k := range f.Keys() {
		if k.Scenario == g.Scenario && k.Target == "push-server" && (!ok || distance(k.N) < distance(best)) {
			best, ok = k.N, true
		}
	}
	return best, ok
}

// Limits writes must and record of the goal.
func (r reached) Limits() (must, record string) {
	sign := "≤ "
	if r.Metric.More {
		sign = "≥ "
	}
	if r.Must != 0 {
		must = sign + result.Number(r.Must)
	}
	if r.Record != 0 {
		record = sign + result.Number(r.Record)
	}
	return must, record
}

// WriteTable prints the targets and what was reached, as Markdown.
func WriteTable(w io.Writer, f *result.File) error {
	_, err := fmt.Fprintf(w, "| measure | connections | unit | Node 0.4.0 | best of others | must | record | reached | |\n|---|---|---|---|---|---|---|---|---|\n")
	for _, r := range goals(f) {
		if err != nil {
			return err
		}
		must, record := r.Limits()
		_, err = fmt.Fprintf(w, "| %s: %s | %s | %s | %s | %s | %s | %s | **%s** | %s |\n",
			r.Scenario, r.Metric.Title, result.Number(float64(r.N)), r.Metric.Unit, r.Node, r.Best, must, record, r.Spread, r.Verdict)
	}
	return err
}
