package protocol

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	readmeTest         = regexp.MustCompile("`(Test[A-Za-z0-9]+)`")
	readmeFile         = regexp.MustCompile(`[a-z][a-z/-]*/[a-z_0-9]+_test\.go`)
	readmeConversation = regexp.MustCompile("`([a-z-]+/[a-z0-9.-]+\\.txt)`")
)

// TestReadmeNamesTests: each row of README.md but the heads names a test, and all tests and conversations that it names exist.
func TestReadmeNamesTests(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "| ") || strings.HasSuffix(line, "| test |\n") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "| \n"), " | ")
		if len(cells) != 4 || cells[3] == "" {
			t.Errorf("%d cells in %s", len(cells), line)
			continue
		}
		checkTests(t, cells[0], cells[3])
	}
}

func checkTests(t *testing.T, row, cell string) {
	t.Helper()
	var sources strings.Builder
	for _, file := range readmeFile.FindAllString(cell, -1) {
		source, err := os.ReadFile(filepath.Join("..", file))
		if err != nil {
			t.Errorf("%s: %v", row, err)
		}
		sources.Write(source)
	}
	for _, name := range readmeTest.FindAllStringSubmatch(cell, -1) {
		if !strings.Contains(sources.String(), "\nfunc "+name[1]+"(") {
			t.Errorf("%s: there is no %s", row, name[1])
		}
	}
	for _, name := range readmeConversation.FindAllStringSubmatch(cell, -1) {
		if _, err := os.Stat(filepath.Join("../cmd/push-server/testdata/conversations", name[1])); err != nil {
			t.Errorf("%s: %v", row, err)
		}
	}
}
