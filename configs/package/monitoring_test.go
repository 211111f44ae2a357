package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/prometheus/prometheus/promql/parser"
)

// TestAlerts: Prometheus takes the rules, and whoever is called at night is told what happened and what to do.
func TestAlerts(t *testing.T) {
	t.Parallel()
	rules := readAlerts(t)
	if n := len(rules); n < 8 || n > 12 {
		t.Errorf("%d alerts", n)
	}
	for _, r := range rules {
		if len(r.Annotations["summary"]) < 10 || len(r.Annotations["description"]) < 60 || r.Labels["severity"] == "" {
			t.Errorf("%s: %+v", r.Alert, r)
		}
	}
}

// TestQueriesOfDashboard: Prometheus understands what the dashboard asks.
func TestQueriesOfDashboard(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../grafana/push-server.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	p, filled := parser.NewParser(parser.Options{}), strings.NewReplacer("$__rate_interval", "1m", "$instance", ".*")
	queries := 0
	for _, panel := range dashboard.Panels {
		for _, target := range panel.Targets {
			queries++
			if _, err := p.ParseExpr(filled.Replace(target.Expr)); err != nil {
				t.Errorf("%s: %s: %v", panel.Title, target.Expr, err)
			}
		}
	}
	if queries < 20 {
		t.Errorf("%d queries", queries)
	}
}

// TestCompose loads the file as docker compose does, and looks whether the files that it mounts are there. Nothing is started.
func TestCompose(t *testing.T) {
	t.Parallel()
	options, err := cli.NewProjectOptions([]string{"../compose/compose.yaml"}, cli.WithEnv([]string{"PUSH_SERVER_VERSION=1.2.3"}))
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(project.Services) != 6 {
		t.Errorf("services: %v", project.ServiceNames())
	}
	for name, service := range project.Services {
		for _, volume := range service.Volumes {
			if volume.Type != "bind" {
				continue
			}
			if _, err := os.Stat(volume.Source); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if strings.HasPrefix(name, "push-") && (service.Image != "push-server:1.2.3" || service.HealthCheck == nil || !service.ReadOnly || len(service.Secrets) != 1) {
			t.Errorf("%s: %+v", name, service)
		}
	}
	if options, err = cli.NewProjectOptions([]string{"../compose/compose.yaml"}); err != nil {
		t.Fatal(err)
	}
	if _, err := options.LoadProject(t.Context()); err == nil || !strings.Contains(err.Error(), "docker load") {
		t.Errorf("without a version: %v", err)
	}
}

// TestNginxOfCompose has nginx look at its file, with addresses in place of the names of containers.
func TestNginxOfCompose(t *testing.T) {
	t.Parallel()
	nginx, err := exec.LookPath("nginx")
	if err != nil {
		if nginx, err = exec.LookPath("/usr/sbin/nginx"); err != nil {
			t.Fatalf("%v; apt-get install nginx", err)
		}
	}
	text, err := os.ReadFile("../compose/nginx.conf")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	whole := "pid nginx.pid; events {} http {\n" + strings.NewReplacer("push-sub:", "127.0.0.1:", "push-pub:", "127.0.0.1:", "listen 80;", "listen 8080;").Replace(string(text)) + "}\n"
	if err := os.WriteFile(filepath.Join(dir, "nginx.conf"), []byte(whole), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(nginx, "-t", "-p", dir, "-e", "stderr", "-c", filepath.Join(dir, "nginx.conf")).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
