package feed

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A mutant is a rule taken out of the source. The model has to notice.
type mutant struct{ name, file, rule, without string }

var mutants = []mutant{
	{"the echo of a read", "replay.go", "return r.echo >= q.echo", "return true"},
	{"the lowest hole", "holes.go", "if len(h.open) == 0 {\n\t\treturn highest", "if true {\n\t\treturn highest"},
	{"what is held while a gap is closed", "feed.go", "f.repair.hold(p, f.o.HeldBytes)", "_ = p"},
	{"what a lag has to account for", "lag.go", "if g.since.Compare(r.accounted) < 0 {", "if false {"},
	{"blindness during a repair", "reader.go", "return !r.blind && !r.lag.behind", "return !r.lag.behind"},
	{"the window beside history", "replay.go", "r.readWindow(q, channels) // what", "r.found = r.found[:0] // what"},
}

// TestMutants runs the model without one rule at a time. It is a test of the model: one that cannot fail is worth nothing.
func TestMutants(t *testing.T) {
	if os.Getenv("PUSH_MUTANT") != "" {
		return // inside
	}
	for _, m := range mutants {
		t.Run(strings.ReplaceAll(m.name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			out, err := m.test(t)
			if err == nil || !strings.Contains(out, "--- FAIL: TestModel") {
				t.Errorf("without %s the model does not fail: %v\n%s", m.name, err, out)
			}
		})
	}
}

// test runs the model over the mutated source.
func (m *mutant) test(t *testing.T) (out string, err error) {
	t.Helper()
	source, err := os.ReadFile(m.file)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(string(source), m.rule) != 1 {
		t.Fatalf("%s does not have the rule %q once", m.file, m.rule)
	}
	dir := t.TempDir()
	mutated, overlay := filepath.Join(dir, m.file), filepath.Join(dir, "overlay.json")
	original, err := filepath.Abs(m.file)
	if err != nil {
		t.Fatal(err)
	}
	replaced, err := json.Marshal(map[string]any{"Replace": map[string]string{original: mutated}})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{mutated: []byte(strings.Replace(string(source), m.rule, m.without, 1)), overlay: replaced} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "go", "test", "-vet=off", "-overlay", overlay, "-run", "^TestModel$", "-schedules", "300", ".")
	cmd.Env = append(os.Environ(), "PUSH_MUTANT=1")
	b, err := cmd.CombinedOutput()
	return string(b), err
}
