package configs

import (
	"os"
	"strings"
	"testing"
)

func TestPageHasTheTableOfKeys(t *testing.T) {
	page, err := os.ReadFile("../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	if table := string(AppendTable(nil)); !strings.Contains(string(page), "\n"+table+"\n") {
		t.Errorf("the table of docs/configuration.md has to be this one:\n%s", table)
	}
}

func TestDurationsOfTheTable(t *testing.T) {
	f := func(key, want string) {
		t.Helper()
		o := byKey[key]
		if got := o.text(o.of(Default())); got != want {
			t.Errorf("%s: got %s, want %s", key, got, want)
		}
	}
	f("push.pollTimeout", "`\"40s\"`")
	f("push.pingInterval", "`\"2m\"`")
	f("push.acceptTimeout", "`\"300ms\"`")
	f("storage.statTLLMsec", "60000")
}
