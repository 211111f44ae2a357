package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"push-server/bench/result"
)

// call runs the program and returns what it printed.
func call(t *testing.T, args ...string) (stdout string, err error) {
	t.Helper()
	var out, errs bytes.Buffer
	err = run(t.Context(), args, strings.NewReader(""), &out, &errs)
	return out.String(), err
}

func results(t *testing.T, cpu float64) string {
	t.Helper()
	f := &result.File{Revision: "abc", Date: time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)}
	for range 3 {
		for target, value := range map[string]float64{"push-server": cpu, "nchan-redis": 50} {
			f.Runs = append(f.Runs, result.Run{Scenario: "connect", Target: target, N: 10_000, Metrics: map[string]float64{"cpuPerConnect": value}})
		}
	}
	path, err := f.Write(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestListNamesScenariosAndServers(t *testing.T) {
	out, err := call(t, "list")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"idle", "connect", "fanout", "unique", "poll", "replay", "mixed", "soak", "nchan-redis"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %s in\n%s", want, out)
		}
	}
}

func TestResultsAreCompared(t *testing.T) {
	out, err := call(t, "benchcmp", results(t, 40), results(t, 30))
	if err != nil || !strings.Contains(out, "-25.0 % better") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestTableJudges(t *testing.T) {
	out, err := call(t, "table", results(t, 40))
	if err != nil || !strings.Contains(out, "| nchan-redis | 50.0 ±0% | 0.80 ±0% | ≤ 0.95 × | reached |") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestReportIsWrittenBesideTheResults(t *testing.T) {
	path := results(t, 40)
	if _, err := call(t, "report", path); err != nil {
		t.Fatal(err)
	}
	pictures, err := filepath.Glob(strings.TrimSuffix(path, ".json") + "-*.png")
	if err != nil || len(pictures) == 0 {
		t.Errorf("%v %v", pictures, err)
	}
	if _, err := os.Stat(strings.TrimSuffix(path, ".json") + ".html"); err != nil {
		t.Error(err)
	}
}

func TestMistakesAreNamed(t *testing.T) {
	f := func(want string, args ...string) {
		t.Helper()
		if _, err := call(t, args...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", args, err, want)
		}
	}
	f("no scenario", "run", "nonsense")
	f("no kind of server", "run", "idle", "--against", "nodes")
	f("no format", "run", "idle", "--format", "text,xml")
	f("no JSON", "run", "idle", "--config", "{")
	f("invalid argument", "suite", "nonsense")
	f("no such file", "report", "/does/not/exist.json")
	f("not all runs count", "run", "idle", "--n", "1", "--server", "/does/not/exist")
}

func TestWhoIsMeasuredInTurn(t *testing.T) {
	var server serverFlags
	all, err := server.field([]string{"push-server", "push-server-memory"}, []string{"./old", "nchan"})
	if err != nil {
		t.Fatal(err)
	}
	labels := func(rep int) (labels []string) {
		for _, o := range all.inTurn(rep) {
			labels = append(labels, o.Label())
		}
		return labels
	}
	want := []string{"push-server", "push-server-memory", "push-server (./old)", "push-server-memory (./old)", "nchan"}
	if got := labels(0); !slices.Equal(got, want) {
		t.Errorf("first %q", got)
	}
	slices.Reverse(want)
	if got := labels(1); !slices.Equal(got, want) {
		t.Errorf("then %q", got)
	}
	pairs := []pair{
		{"push-server", "push-server (./old)"}, {"push-server-memory", "push-server-memory (./old)"},
		{"push-server", "nchan"}, {"push-server-memory", "nchan"},
	}
	if !slices.Equal(all.pairs, pairs) {
		t.Errorf("compared %q", all.pairs)
	}
}

func TestFormatsAreMeasuredInTurn(t *testing.T) {
	server := serverFlags{formats: []string{"text", "json-rpc", "protobuf"}}
	all, err := server.field([]string{"push-server"}, []string{"./old", "nchan"})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, o := range all.servers {
		got = append(got, o.Label())
	}
	want := []string{
		"push-server, text", "push-server, json-rpc", "push-server",
		"push-server, text (./old)", "push-server, json-rpc (./old)", "push-server (./old)", "nchan",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	for _, p := range []pair{
		{"push-server, json-rpc", "push-server, text"}, {"push-server", "push-server, text"},
		{"push-server, json-rpc", "push-server, json-rpc (./old)"}, {"push-server, json-rpc", "nchan"},
	} {
		if !slices.Contains(all.pairs, p) {
			t.Errorf("%q are not compared, but %q", p, all.pairs)
		}
	}
}

func TestWorkerEndsWithItsInput(t *testing.T) {
	if _, err := call(t, "worker"); err != nil {
		t.Error(err)
	}
}
