package engine

import (
	"os"
	"strings"
	"testing"
)

// docs/errors.md explains every reason that metrics count.
func TestPageHasAllCloseReasons(t *testing.T) {
	page, err := os.ReadFile("../docs/errors.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "\n| reason | why |\n")
	for reason := CloseNone + 1; reason < closeReasons; reason++ {
		if !strings.Contains(table, "`"+reason.String()+"`") {
			t.Errorf("%s is missing", reason)
		}
	}
}
