package configs

import (
	"os"
	"strings"
	"testing"
)

func TestReadmeHasTheTableOfKeys(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	if table := string(AppendTable(nil)); !strings.Contains(string(readme), "\n"+table+"\n") {
		t.Errorf("the table of README.md has to be this one:\n%s", table)
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
