package configs

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/mangled/problems.txt anew")

// TestMangledFiles: of files that are damaged in all ways that people and editors know, every problem is named, with the file, the key
// and what to do. testdata/mangled/problems.txt has them as check prints them.
func TestMangledFiles(t *testing.T) {
	const dir, golden = "testdata/mangled", "testdata/mangled/problems.txt"
	_, problems := Load(dir)
	got := strings.ReplaceAll(lines(problems), dir+"/", "") + "\n"
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("see go test ./configs -run MangledFiles -update\n%s", difference(got, string(want)))
	}
	files, err := filepath.Glob(dir + "/*.json")
	if err != nil || len(files) < 30 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		if !strings.Contains(got, filepath.Base(file)+": ") {
			t.Errorf("nothing is found in %s", file)
		}
	}
}

// difference are the lines of only one of both.
func difference(got, want string) string {
	var b strings.Builder
	only := func(sign, one, other string) {
		for line := range strings.Lines(one) {
			if !strings.Contains(other, line) {
				b.WriteString(sign + line)
			}
		}
	}
	only("got  ", got, want)
	only("want ", want, got)
	return b.String()
}

func TestFilesThatAreNoConfigurations(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		file := filepath.Join(t.TempDir(), "f.json")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, problems := Load(file); lines(problems) != file+want {
			t.Errorf("%.100s", lines(problems))
		}
	}
	f(strings.Repeat(" ", 1<<20+1), ": error: has more than 1048576 bytes, so it is no configuration")
	f(`{"limits":`+strings.Repeat("[", 10_001), ": error: not JSON: line 1, column 10010: invalid character '[' exceeded max depth (comments and trailing commas are not allowed)")
	if _, problems := Load("/dev/zero"); len(problems) != 1 {
		t.Error(lines(problems))
	}
	if _, problems := Load(filepath.Dir(os.Args[0]) + "/nothing/f.json"); len(problems) != 1 || problems[0].Text != "no such file or directory" {
		t.Error(lines(problems))
	}
}

func TestPlaceholders(t *testing.T) {
	f := func(s string, want bool) {
		t.Helper()
		if isPlaceholder(s) != want {
			t.Errorf("%q: %v", s, !want)
		}
	}
	f("__PORT__", true)
	f("__SECURITY_KEY__", true)
	f("__", false)
	f("____", false)
	f("__port__", false)
	f("_PORT_", false)
	f("x__PORT__", false)
	f("", false)
}

func TestWhatIsNotUTF8(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		d := decoder{}
		d.encoding([]byte(text))
		if got := lines(d.problems); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	f("{}", "")
	f("\"\ufffd\u00e4\"", "")
	f("{\n \"\xe4\xff\"", "warning: not UTF-8: line 2, column 3: what cannot be read counts as U+FFFD (save it in UTF-8)")
	if _, problems := parse("f.json", bytes.ReplaceAll([]byte(`{"x":"ä"}`), []byte("\xc3"), nil)); !strings.Contains(lines(problems), "not UTF-8") {
		t.Error(lines(problems))
	}
}
