package result

import (
	"bytes"
	"strings"
	"testing"
)

// inTurn is a file in which two servers were measured in turn, the machine being twice as slow each time.
func inTurn(ours, others []float64) *File {
	f := new(File)
	for rep := range ours {
		for _, r := range []Run{{Target: "ours", Metrics: map[string]float64{"cpuPerConnect": ours[rep]}}, {Target: "other", Metrics: map[string]float64{"cpuPerConnect": others[rep]}}} {
			r.Scenario, r.N, r.Rep = "connect", 10, rep
			r.Metrics["connectsPerSecond"] = 1000 / r.Metrics["cpuPerConnect"]
			f.Runs = append(f.Runs, r)
		}
	}
	return f
}

// What is compared are runs that followed each other, so that a machine that slows down meanwhile changes nothing.
func TestRatiosAreThoseOfEachRepetition(t *testing.T) {
	f := func(file *File, want ...string) {
		t.Helper()
		var out bytes.Buffer
		if err := WriteRatios(&out, file, "ours", "other"); err != nil {
			t.Fatal(err)
		}
		for _, w := range want {
			if !strings.Contains(out.String(), w) {
				t.Errorf("%s\nwant %q", out.String(), w)
			}
		}
	}
	f(inTurn([]float64{9, 18, 36}, []float64{10, 20, 40}), "0.900 (0.900 to 0.900) better", "1.111 (1.111 to 1.111) better")
	f(inTurn([]float64{11, 24, 40}, []float64{10, 20, 32}), "1.200 (1.100 to 1.250) worse")
	f(inTurn([]float64{11, 18, 36}, []float64{10, 20, 40}), "0.900 (0.900 to 1.100) ~")
	f(inTurn([]float64{5, 5}, []float64{10, 10}), "0.500 (0.500 to 0.500) ~")
	failed := inTurn([]float64{9, 18, 1000}, []float64{10, 20, 40})
	failed.Runs[4].Failed = "3 lost"
	f(failed, "0.900 (0.900 to 0.900) ~")
}
