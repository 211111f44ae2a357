package configs

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func join(t *testing.T, texts ...string) (*Config, []Problem) {
	t.Helper()
	var all []*Config
	for i, text := range texts {
		c, problems := parse(string(rune('a'+i))+".json", []byte(text))
		if !Valid(problems) {
			t.Fatal(lines(problems))
		}
		all = append(all, c)
	}
	return Join(all)
}

func TestJoinServesAllListeners(t *testing.T) {
	sub := `{"servers":[{"port":1}],"clusterMode":true,"security":{"key":"k"}}`
	pub := `{"servers":[{"port":2},{"port":3}],"publishMode":true,"processUniqueId":"pub","security":{"key":"k"},"limits":{"maxPayload":7,"other":1},"push":{"pollTimeout":"3s"}}`
	c, problems := join(t, sub, pub)
	if len(problems) > 0 {
		t.Fatal(lines(problems))
	}
	if c.ProcessUniqueID != "pub" {
		t.Errorf("is called %q", c.ProcessUniqueID)
	}
	if len(c.Servers) != 3 || c.PublishMode || !c.ClusterMode || c.File != "a.json, b.json" {
		t.Errorf("%+v", c)
	}
	if c.Limits.MaxPayload != 7 || c.Push.PollTimeout != 3*time.Second || !strings.Contains(string(c.LimitsJSON()), `"other":1`) {
		t.Errorf("%+v", c)
	}
	if c, _ := join(t, pub, strings.ReplaceAll(pub, `"pub"`, `"other"`)); !c.PublishMode || c.ProcessUniqueID != "pub" {
		t.Errorf("two publishers are %+v", c)
	}
}

func TestJoinReportsConflicts(t *testing.T) {
	f := func(a, b, want string) {
		t.Helper()
		_, problems := join(t, `{"servers":[],`+a+"}", `{"servers":[],`+b+"}")
		if got := lines(problems); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	f(`"storage":{"port":1}`, `"storage":{"port":2}`, "b.json: storage.port: error: differs from a.json: 2 against 1 (all files of one process must agree)")
	f(`"storage":{"port":6379}`, `"storage":{}`, "")
	f(`"security":{"key":"one"}`, `"security":{"key":"two"}`, "b.json: security.key: error: differs from a.json (all files of one process must agree)")
	f(`"security":{"key":["one","two"]}`, `"security":{"key":"one"}`, "b.json: security.key: error: differs from a.json in the older keys (all files of one process must agree)")
	f(`"storage":{"password":"one"}`, `"storage":{"password":"two"}`, "b.json: storage.password: error: differs from a.json (all files of one process must agree)")
	f(`"storage":{"tls":{}}`, `"storage":{}`, "b.json: storage.tls: error: is only in one of a.json and this file (all files of one process must agree)")
	f(`"limits":{"maxPayload":1}`, `"limits":{"maxPayload":2}`, "b.json: limits.maxPayload: warning: differs from a.json: 2 against 1 (the first counts)")
	f(`"limits":{}`, `"limits":{"maxPayload":2}`, "")
	f(`"processUniqueId":"a"`, `"processUniqueId":"b"`, "")
}

func TestJoinFindsAPortTakenTwice(t *testing.T) {
	one := `{"servers":[{"name":"x","port":1}]}`
	_, problems := join(t, one, one)
	if got := lines(problems); got != "b.json: servers[1].port: error: 1 is also the port of servers[0] (a.json) (give it a port of its own)" {
		t.Error(got)
	}
}

func TestJoinOfNothing(t *testing.T) {
	if c, problems := Join(nil); c != nil || Valid(problems) {
		t.Error(c, problems)
	}
}

// An option of a type that joining does not know would panic in a process with several files only.
func TestEveryOptionCanBeJoined(t *testing.T) {
	a, b := Default(), Default()
	for i := range options {
		if o := &options[i]; o.of != nil && !equal(o.of(a), o.of(b)) {
			t.Error(o.key)
		}
	}
}

// A copy of a file in the folder: the two that clash are named, not all. What editors leave behind is hidden and not read.
func TestTheFilesThatClashAreNamed(t *testing.T) {
	dir := t.TempDir()
	for name, port := range map[string]int{"a.json": 8010, "b.json": 8011, "copy.json": 8010, ".a.json": 8010} {
		text := strings.Replace("{"+minimal+"}", "8010", fmt.Sprint(port), 1)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	all, _ := Load(dir)
	_, problems := Join(all)
	if len(problems) != 1 || problems[0].File != filepath.Join(dir, "copy.json") || !strings.Contains(problems[0].Text, filepath.Join(dir, "a.json")) {
		t.Error(lines(problems))
	}
}
