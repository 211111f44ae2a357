package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What a shell asks for when somebody presses the key is answered.
func TestCompletion(t *testing.T) {
	f := func(want string, args ...string) {
		t.Helper()
		out, _, err := execute(t, append([]string{"__complete"}, args...)...)
		if err != nil || !regexp.MustCompile(`(?m)^`+want).MatchString(out) {
			t.Errorf("%v: %v\n%s", args, err, out)
		}
	}
	const files, noFiles, folders = ":0\n", ":4\n", ":16\n"
	f("subscribe\t", "sub")
	f(noFiles, "sub")
	f("--expect\t", "subscribe", "--ex")
	f(files, "check", "--config", "")
	f(noFiles, "check", "")
	f(noFiles, "")
	f(folders, "man", "")
	f("zsh\t", "completion", "")
}

// The scripts are ones that the shells understand, if they are there.
func TestCompletionScripts(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		script, _, err := execute(t, "completion", shell)
		if err != nil || !strings.Contains(script, "__complete") {
			t.Fatalf("%s: %v\n%s", shell, err, script)
		}
		program, err := exec.LookPath(shell)
		if err != nil {
			continue
		}
		cmd := exec.CommandContext(t.Context(), program, "-n")
		cmd.Stdin = strings.NewReader(script)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", shell, err, out)
		}
	}
	for _, args := range [][]string{{"completion", "powershell"}, {"completion", "bash", "x"}} {
		if _, _, err := execute(t, args...); exitCode(err) != exitUsage {
			t.Errorf("%v: %v", args, err)
		}
	}
}

// Every command has a man page, with its examples, and made twice they are the same.
func TestManPages(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "1795461412")
	dir, again := filepath.Join(t.TempDir(), "man1"), t.TempDir()
	for _, d := range []string{dir, again} {
		if _, _, err := execute(t, "man", d); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"", "-channel", "-check", "-completion", "-health", "-man", "-publish", "-stat", "-subscribe", "-version"} {
		file := "push-server" + name + ".1"
		page, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		if same, err := os.ReadFile(filepath.Join(again, file)); err != nil || string(same) != string(page) {
			t.Errorf("%s differs: %v", file, err)
		}
		if text := string(page); !strings.Contains(text, "Nov 2026") || name != "-version" && !strings.Contains(text, "push-server "+strings.TrimPrefix(name, "-")) {
			t.Errorf("%s:\n%s", file, text)
		}
	}
	if _, _, err := execute(t, "man"); exitCode(err) != exitUsage {
		t.Error(err)
	}
	if _, _, err := execute(t, "man", "/dev/null/man1"); exitCode(err) != exitFailure {
		t.Error(err)
	}
}
