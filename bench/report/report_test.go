package report

import (
	"bytes"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"push-server/bench/result"
)

// sample has runs of everything, with made-up numbers.
func sample() *result.File {
	f := &result.File{Revision: "abc1234", Date: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC), Command: "push-bench suite full"}
	curve := result.Percentiles{Count: 1000, P50: 1, P99: 2, Curve: []result.Point{{X: 50, Y: 1}, {X: 99, Y: 2}, {X: 100, Y: 9}}}
	series := map[string][]result.Point{
		"memory": {{Y: 1e7}, {X: 100, Y: 2e7}}, "memory over time": {{X: 1, Y: 1e7}, {X: 2, Y: 1e7}}, "descriptors over time": {{X: 1, Y: 9}, {X: 2, Y: 9}},
	}
	for _, target := range []string{"push-server", "node", "nchan"} {
		for _, scenario := range []string{"idle", "idle-poll", "connect", "fanout", "unique", "poll", "replay", "mixed", "soak"} {
			for _, n := range []int{1000, 10_000, 10_000} {
				r := result.Run{Scenario: scenario, Target: target, N: n, Metrics: make(map[string]float64), Series: series}
				for i, m := range result.Metrics {
					r.Metrics[m.Name] = float64(n+i) / 10
				}
				r.Latency = map[string]result.Percentiles{"open": curve, "poll": curve, "steady": curve, "mixed": curve}
				f.Runs = append(f.Runs, r)
			}
		}
	}
	f.Runs = append(f.Runs, result.Run{Scenario: "poll", Target: "node", N: 5, Failed: "3 lost <b>"})
	return f
}

func TestPageNeedsNothingElse(t *testing.T) {
	base := filepath.Join(t.TempDir(), "r")
	if err := Write(sample(), base); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(base + ".html")
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for _, want := range []string{"<svg", "abc1234", "3 lost &lt;b&gt;", "Targets", `id="growth"`, `id="soak-memory"`, `id="latency-open"`, `id="fanout-rate"`} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q on the page", want)
		}
	}
	for _, other := range []string{"src=", "href=\"http", "<script", "@import", "url("} {
		if strings.Contains(text, other) {
			t.Errorf("the page uses %q", other)
		}
	}
}

func TestEveryFigureHasAPicture(t *testing.T) {
	base := filepath.Join(t.TempDir(), "r")
	if err := Write(sample(), base); err != nil {
		t.Fatal(err)
	}
	figs, err := figures(sample())
	if err != nil || len(figs) < 12 {
		t.Fatalf("%d figures, %v", len(figs), err)
	}
	for _, fig := range figs {
		b, err := os.ReadFile(base + "-" + fig.name + ".png")
		if err != nil {
			t.Error(err)
			continue
		}
		if _, err := png.Decode(bytes.NewReader(b)); err != nil {
			t.Errorf("%s: %v", fig.name, err)
		}
	}
}

func TestFileWithoutRunsHasAPage(t *testing.T) {
	if err := Write(&result.File{}, filepath.Join(t.TempDir(), "r")); err != nil {
		t.Error(err)
	}
}

func TestTable(t *testing.T) {
	var b bytes.Buffer
	if err := WriteTable(&b, sample()); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), "| connect: CPU per connect | 10,000 | µs | 1001 ±0% | node | 1001 ±0% | 1.00 ±0% | ≤ 0.30 × | missed |") {
		t.Error(b.String())
	}
}
