package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"
)

var (
	usedMetric     = regexp.MustCompile(`\b(?:push|process|go)_[a-z0-9_]+`)
	usedKey        = regexp.MustCompile(`\b(?:push|limits|storage|security|debug)\.[A-Za-z]+(?:\.[A-Za-z]+)*`)
	usedCommand    = regexp.MustCompile(`\bpush-server ([a-z]+) --`)
	exportedMetric = regexp.MustCompile(`(?m)^# TYPE (\S+)`)
)

// TestMonitoringAsksForWhatIsThere: dashboard and alerts name metrics, reasons and kinds that the server has.
func TestMonitoringAsksForWhatIsThere(t *testing.T) {
	t.Parallel()
	c := recordedConfig(t, "single", startRedis(t).Addr())
	window := fmt.Sprint("127.0.0.1:", freePort(t))
	c.option("metrics", window)
	start(t, c)
	page, err := readPage("http://" + window + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	exported := make(map[string]bool)
	for _, m := range exportedMetric.FindAllStringSubmatch(page, -1) {
		exported[m[1]] = true
	}
	for _, file := range []string{"../../configs/prometheus/alerts.yaml", "../../configs/grafana/push-server.json"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		used := usedMetric.FindAllString(string(text), -1)
		if len(used) < 10 {
			t.Errorf("%s uses %d metrics", file, len(used))
		}
		for _, name := range used {
			if !exported[name] {
				t.Errorf("%s: %s is not exported", file, name)
			}
		}
	}
	for _, label := range []string{`push_closes_total{reason="slow_reader"}`, `push_held_bytes{kind="window"}`} {
		if !strings.Contains(page, "\n"+label+" ") {
			t.Errorf("%s is not exported", label)
		}
	}
}

// TestAlertsSayWhatIsThere: keys and commands that alerts name exist.
func TestAlertsSayWhatIsThere(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../configs/prometheus/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	known, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	keys := usedKey.FindAllString(string(text), -1)
	for _, key := range keys {
		if !strings.Contains(string(known), "`"+key+"`") {
			t.Errorf("there is no key %s", key)
		}
	}
	commands := usedCommand.FindAllStringSubmatch(string(text), -1)
	for _, m := range commands {
		if cmd, _, err := rootCommand(io.Discard, io.Discard).Find(m[1:]); err != nil || cmd.Name() != m[1] {
			t.Errorf("there is no command %s: %v", m[0], err)
		}
	}
	if len(keys) < 4 || len(commands) < 3 {
		t.Errorf("%d keys and %d commands are named", len(keys), len(commands))
	}
}

// TestDashboard: Grafana shows every panel, each with a title and in a place of its own.
func TestDashboard(t *testing.T) {
	text, err := os.ReadFile("../../configs/grafana/push-server.json")
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		UID, Title string
		Panels     []struct {
			ID      int
			Type    string
			Title   string
			GridPos struct{ X, Y, W, H int }
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &d); err != nil || d.UID != "push-server" || len(d.Panels) < 15 {
		t.Fatalf("%v %+v", err, d)
	}
	ids, cells := make(map[int]bool), make(map[[2]int]string)
	for _, p := range d.Panels {
		if p.Title == "" || ids[p.ID] || p.Type != "row" && len(p.Targets) == 0 || p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("%+v", p)
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := cells[[2]int{x, y}]; other != "" {
					t.Fatalf("%s lies over %s", p.Title, other)
				}
				cells[[2]int{x, y}] = p.Title
			}
		}
	}
}
