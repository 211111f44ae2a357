package bench

import (
	"bytes"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"push-server/bench/fakepush"
	"push-server/bench/load"
	"push-server/bench/result"
	"push-server/bench/target"
)

// runOnFake runs a scenario against a fake in this process.
func runOnFake(t *testing.T, name string, p Params, faults func(int) fakepush.Fault) result.Run {
	t.Helper()
	server, err := fakepush.Start(faults)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	p.Patience = 300 * time.Millisecond
	s, err := FindScenario(name)
	if err != nil {
		t.Fatal(err)
	}
	o := target.Options{
		Kind: target.External, ExternalPID: []int{os.Getpid()},
		External: load.Target{
			Subscribe: []string{server.Addr()}, Publish: []string{server.Addr()}, SubPath: "/sub/", PubPath: "/pub/", Key: "key",
		},
	}
	var lines bytes.Buffer
	r := &Runner{
		Fleet: load.FleetOptions{Command: []string{os.Args[0]}, Env: []string{workerEnv + "=1"}, PerWorker: 150, Log: os.Stderr},
		Lines: &lines,
	}
	runs, err := r.Run(t.Context(), []Job{{Scenario: s, Target: o, Params: p}})
	if err != nil || len(runs) != 1 {
		t.Fatalf("%d runs, %v", len(runs), err)
	}
	var line result.Run
	if err := json.Unmarshal(lines.Bytes(), &line); err != nil || line.Scenario != name {
		t.Errorf("line %q: %v", lines.String(), err)
	}
	return runs[0]
}

func TestScenariosMeasure(t *testing.T) {
	f := func(name string, p Params, metrics ...string) {
		t.Run(name, func(t *testing.T) {
			p.Time = 300 * time.Millisecond
			r := runOnFake(t, name, p, nil)
			if r.Failed != "" {
				t.Fatal(r.Failed)
			}
			if r.Integrity.Deliveries == 0 || r.N != p.N {
				t.Errorf("%+v", r)
			}
			for _, m := range metrics {
				if _, ok := r.Metrics[m]; !ok {
					t.Errorf("no %s in %v", m, r.Metrics)
				}
			}
			for m := range r.Metrics {
				if _, ok := result.Find(m); !ok {
					t.Errorf("metric %s is not explained", m)
				}
			}
		})
	}
	f("unique", Params{N: 20, Rate: 200}, "publishesPerSecond", "cpuPerPublish", "openP99")
	f("fanout", Params{N: 20, Rounds: 2}, "deliveriesPerSecond", "cpuPerMillion", "rateOfFloor", "burstDeliveriesPerSecond", "steadyP99")
	f("poll", Params{N: 20, Rate: 100}, "cpuPerAnswer", "pollP99", "answersPerSecond")
	f("channels", Params{N: 1000, Rounds: 1}, "publishGrowth", "deliveryGrowth")
	f("replay", Params{N: 200}, "replaySeconds", "cpuPerReturn")
	f("storm", Params{N: 100}, "cpuPerMissed")
	f("storm-own", Params{N: 100}, "cpuPerMissed")
	f("mixed", Params{N: 200, Rate: 200}, "mixedP99", "cpuPercent")
}

func TestRunWithLostMessageFails(t *testing.T) {
	r := runOnFake(t, "poll", Params{N: 5, Rate: 100, Time: 300 * time.Millisecond}, func(n int) fakepush.Fault {
		if n == 9 {
			return fakepush.Damage
		}
		return fakepush.None
	})
	if r.Integrity.Damaged != 1 || !strings.Contains(r.Failed, "1 damaged") {
		t.Errorf("%+v %s", r.Integrity, r.Failed)
	}
}

func TestServerThatDoesNotStartIsAFailedRun(t *testing.T) {
	r := &Runner{Fleet: load.FleetOptions{}}
	runs, err := r.Run(t.Context(), []Job{{Scenario: unique, Target: target.Options{Kind: target.PushServerMemory, Binary: "/does/not/exist"}}})
	if err != nil || len(runs) != 1 || runs[0].Failed == "" {
		t.Errorf("%+v %v", runs, err)
	}
}

func TestSuites(t *testing.T) {
	names := func(jobs []Job) (names []string) {
		for _, j := range jobs {
			names = append(names, j.Scenario.Name)
		}
		return names
	}
	o := target.Options{Kind: target.PushServer}
	if got := names(Quick(o)); len(got) != len(Scenarios) {
		t.Errorf("quick: %v", got)
	}
	full := Full(o, []target.Options{{Kind: target.Node}, {Kind: target.Nchan}})
	for _, j := range full {
		if !j.Scenario.Can(j.Target.Kind) {
			t.Errorf("%s on %s", j.Scenario.Name, j.Target.Kind)
		}
	}
	count := func(scenario, label string) (n int) {
		for _, j := range full {
			if j.Scenario.Name == scenario && j.Target.Label() == label && j.Params.N == 0 {
				n++
			}
		}
		return n
	}
	if count("unique", target.PushServer) != 5 || count("unique", "push-server, json-rpc") != 3 || count("unique", target.Node) != 3 || count("replay", target.Nchan) != 0 || count("soak", target.Node) != 0 {
		t.Errorf("full: %v", names(full))
	}
	if last := full[len(full)-1]; last.Params.N != 100_000 || last.Target.Processes < 6 {
		t.Errorf("%+v", last)
	}
}

func TestPortalPlanCoversEveryUserOnce(t *testing.T) {
	f := func(n int) {
		t.Helper()
		p := portal(Params{N: n})
		users := make([]int, n)
		for _, g := range p.Groups {
			for u := g.First; u < g.First+g.Count; u++ {
				users[u]++
			}
		}
		if slices.Min(users) != 1 || slices.Max(users) != 1 {
			t.Errorf("%d users: %+v", n, p.Groups)
		}
	}
	f(10)
	f(100)
	f(10_000)
}
