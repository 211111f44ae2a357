package main

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	promiseStarts = regexp.MustCompile(`(?m)^\d+\. `)
	namedTest     = regexp.MustCompile("`(Test[^`/]*)(/[^`]*)?`")
	testFunction  = regexp.MustCompile(`(?m)^func (Test\w+)\(t \*testing\.T\)`)
)

// TestPromises: each promise is proven by tests that exist.
func TestPromises(t *testing.T) {
	text, err := os.ReadFile("../../engine/PROMISES.md")
	if err != nil {
		t.Fatal(err)
	}
	exists := testFunctions(t)
	kinds := make(map[string]bool)
	for _, c := range faults() {
		kinds["/"+strings.ReplaceAll(c.name, " ", "_")] = true
	}
	promises := promiseStarts.Split(string(text), -1)[1:]
	if len(promises) == 0 {
		t.Error("there are no promises")
	}
	broken := make(map[int][]string) // by promise: file and test of each mutant
	for _, m := range slices.Concat(modelMutants, mutants) {
		broken[m.promise] = append(broken[m.promise], fmt.Sprintf("%s: `%s`", path.Base(m.file), m.test))
	}
	for i, promise := range promises {
		_, row, listed := strings.Cut(string(text), fmt.Sprintf("\n| %d | ", i+1))
		row, _, _ = strings.Cut(row, " |\n")
		for _, m := range strings.Split(row, ", ") {
			if !listed || !slices.Contains(broken[i+1], m) {
				t.Errorf("promise %d: the list has a mutant that does not exist: %q", i+1, m)
			}
		}
		tests := namedTest.FindAllStringSubmatch(promise, -1)
		if len(tests) == 0 {
			t.Errorf("promise %d names no test", i+1)
		}
		for _, m := range tests {
			if !exists[m[1]] || m[1] == "TestFaults" && !kinds[m[2]] {
				t.Errorf("promise %d names %s%s, which does not exist", i+1, m[1], m[2])
			}
		}
	}
}

// testFunctions are the names of all tests.
func testFunctions(t *testing.T) map[string]bool {
	t.Helper()
	names := make(map[string]bool)
	err := filepath.WalkDir("../..", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && entry.Name() == "node_modules":
			return fs.SkipDir
		case !strings.HasSuffix(name, "_test.go"):
			return nil
		}
		text, err := os.ReadFile(name)
		for _, m := range testFunction.FindAllSubmatch(text, -1) {
			names[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}
