package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// inFile runs the server with a configuration that ends it at once, with standard error in a file. With journal it looks as if that were
// systemd's.
func inFile(t *testing.T, isJournal bool, c config) []byte {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd := exec.Command(executable(t), writeConfigs(t, c)...)
	cmd.Env = append(os.Environ(), asServer+"=1")
	if isJournal {
		info, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		stat := info.Sys().(*syscall.Stat_t)
		cmd.Env = append(cmd.Env, fmt.Sprintf("JOURNAL_STREAM=%d:%d", stat.Dev, stat.Ino))
	}
	cmd.Stderr = f
	if err := cmd.Run(); err == nil {
		t.Error("a server whose address for operators is of no use ends in good order")
	}
	text, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// unusable has no key, which is a warning in the log, and an address that cannot be listened at, which is the end.
func unusable(t *testing.T) config {
	t.Helper()
	c := standalone(t)
	delete(c, "security")
	c.option("metrics", "192.0.2.1:1")
	return c
}

// TestPrioritiesForTheJournal: systemd takes a severity from the beginning of a line.
func TestPrioritiesForTheJournal(t *testing.T) {
	t.Parallel()
	text := inFile(t, true, unusable(t))
	for _, want := range []string{"\n<4>time=", "\n<3>push-server: "} {
		if !strings.Contains("\n"+string(text), want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
	if text := inFile(t, false, unusable(t)); bytes.Contains(text, []byte("<4>")) || bytes.Contains(text, []byte("<3>")) {
		t.Errorf("a priority where there is no journal:\n%s", text)
	}
}

func TestLogAsJSON(t *testing.T) {
	t.Parallel()
	c := unusable(t)
	c.option("logFormat", "json")
	found := false
	for line := range bytes.Lines(inFile(t, false, c)) {
		var l struct{ Time, Level, Msg string }
		if json.Unmarshal(line, &l) == nil {
			found = found || l.Level == "WARN" && l.Time != "" && strings.Contains(l.Msg, "security.key is missing")
		}
	}
	if !found {
		t.Error("no warning about the key in JSON")
	}
}
