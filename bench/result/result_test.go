package result

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestSpread(t *testing.T) {
	f := func(want Spread, values ...float64) {
		t.Helper()
		if got := SpreadOf(values); got != want {
			t.Errorf("%v: %+v", values, got)
		}
	}
	f(Spread{})
	f(Spread{5, 5, 5, 1}, 5)
	f(Spread{2, 1, 9, 3}, 9, 1, 2)
	f(Spread{2.5, 1, 9, 4}, 9, 1, 2, 3)
}

func TestNumbers(t *testing.T) {
	f := func(v float64, want string) {
		t.Helper()
		if got := Number(v); got != want {
			t.Errorf("%v: %q, want %q", v, got, want)
		}
	}
	f(1234567, "1,234,567")
	f(-12345, "-12,345")
	f(9999, "9999")
	f(123.4, "123")
	f(12.34, "12.3")
	f(1.234, "1.23")
	f(0.00123, "0.0012")
	f(0, "0")
}

func file(values ...float64) *File {
	f := &File{Revision: "abc", Date: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)}
	for i, v := range values {
		f.Runs = append(f.Runs, Run{Scenario: "connect", Target: "push-server", N: 10, Rep: i, Metrics: map[string]float64{"cpuPerConnect": v}})
	}
	return f
}

func TestFailedRunsDoNotCount(t *testing.T) {
	f := file(1, 2, 300)
	f.Runs[2].Failed = "3 lost"
	if s := f.Spread(Key{"connect", "push-server", 10}, "cpuPerConnect"); s.Max != 2 || s.Count != 2 {
		t.Errorf("%+v", s)
	}
	if len(f.Failed()) != 1 {
		t.Error("the failed run is not listed")
	}
}

func TestComparisonTellsChangeFromChance(t *testing.T) {
	f := func(old, new *File, want string) {
		t.Helper()
		var out bytes.Buffer
		if err := WriteComparison(&out, Compare(old, new)); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(out.String(), want) {
			t.Errorf("%s\nwant %q", out.String(), want)
		}
	}
	f(file(10, 11, 12), file(20, 21, 22), "+90.9 % worse")
	f(file(20, 21, 22), file(10, 11, 12), "-47.6 % better")
	f(file(10, 20, 30), file(15, 25, 35), "+25.0 % ~")
	f(file(10), file(30), "+200.0 % ~")
}

func TestGoals(t *testing.T) {
	for _, g := range Goals {
		if _, ok := Find(g.Metric); !ok || g.Limit == 0 {
			t.Errorf("goal of %s: %s against %q, limit %v", g.Scenario, g.Metric, g.Peer, g.Limit)
		}
	}
	run := func(target string, n int, values map[string]float64) Run {
		return Run{Scenario: "unique", Target: target, N: n, Metrics: values}
	}
	f := &File{Runs: []Run{
		run("push-server", 1000, map[string]float64{"cpuPerPublish": 500}),
		run("push-server", 8000, map[string]float64{"cpuPerPublish": 50, "allocsPerPublish": 11}),
		run("node", 8000, map[string]float64{"cpuPerPublish": 100}),
		run("nchan-redis", 8000, map[string]float64{"cpuPerPublish": 80}),
	}}
	want := map[string]Verdict{"cpuPerPublish node": Reached, "cpuPerPublish nchan-redis": Missed, "allocsPerPublish ": Missed}
	for _, o := range Outcomes(f) {
		name := o.Goal.Metric + " " + o.Peer
		if o.N != 8000 || want[name] != o.Verdict {
			t.Errorf("%s with %d connections: %s", name, o.N, o.Verdict)
		}
		delete(want, name)
	}
	for name := range want {
		t.Errorf("no outcome of %s", name)
	}
}

func TestFileComesBack(t *testing.T) {
	f := file(1, 2)
	path, err := f.Write(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(path, "/2026-11-24-abc.json") {
		t.Error(path)
	}
	g, err := Read(path)
	if err != nil || len(g.Runs) != 2 || g.Runs[1].Metrics["cpuPerConnect"] != 2 {
		t.Errorf("%+v %v", g, err)
	}
}

func TestGatesTellWhatIsBroken(t *testing.T) {
	f := func(metric string, v float64, passes bool) {
		t.Helper()
		runs := &File{Runs: []Run{{Scenario: "fanout", Target: "push-server", Metrics: map[string]float64{metric: v}}}}
		if err := CheckGates(runs, Gates); (err == nil) != passes {
			t.Errorf("%s %v: %v", metric, v, err)
		}
	}
	f("cpuOfFloor", 150, true)
	f("cpuOfFloor", 250, false)
	f("rateOfFloor", 60, true)
	f("rateOfFloor", 30, false)
	f("userPerMillion", 1e9, true)
}
