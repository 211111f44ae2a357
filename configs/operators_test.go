package configs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// window is what is said about a section push with these keys.
func window(t *testing.T, push string) (*Config, string) {
	t.Helper()
	c, problems := parse("f.json", []byte(`{"security":{"key":"0123456789abcdef"},"servers":[{"port":1,"hostname":"127.0.0.1","routes":{"sub":"/s"}}],"push":{`+push+`}}`))
	var text []string
	for _, p := range problems {
		text = append(text, p.String())
	}
	return c, strings.Join(text, "\n")
}

func TestWindowThatIsOpenTooFar(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	f := func(push, want string) {
		t.Helper()
		if _, got := window(t, push); want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", push, got, want)
		}
	}
	const long = "0123456789abcdefghij"
	f(`"metrics":"127.0.0.1:9100"`, "")
	f(`"metrics":"[::1]:9100"`, "")
	f(`"metrics":"localhost:9100"`, "")
	f(`"metrics":":9100"`, "push.metrics: warning: :9100 is no loopback address and there is no token")
	f(`"metrics":"10.0.0.1:9100"`, "is no loopback address and there is no token")
	f(`"metrics":"10.0.0.1:9100","operators":{"token":"`+long+`"}`, "")
	f(`"metrics":"10.0.0.1:9100","operators":{"tokenFile":"`+write("good", long+"\n")+`"}`, "")
	f(`"metrics":"10.0.0.1:9100","operators":{"token":"short"}`, "push.operators.token: warning: has 5 characters")
	f(`"metrics":"127.0.0.1:9100","operators":{"tokenFile":"`+filepath.Join(dir, "none")+`"}`, "push.operators.tokenFile: error: open")
	f(`"metrics":"127.0.0.1:9100","operators":{"tokenFile":"`+write("empty", "\n")+`"}`, "is not a file with one line")
	f(`"metrics":"127.0.0.1:9100","operators":{"token":"a","tokenFile":"b"}`, "is there beside push.operators.token")
	f(`"operators":{"tokn":"a"}`, "did you mean push.operators.token?")
	f(`"operator":{"token":"a"}`, "did you mean push.operators?")
}

func TestProfilesAreForLoopback(t *testing.T) {
	t.Parallel()
	f := func(push string, want bool) {
		t.Helper()
		if c, _ := window(t, push); c.ServesProfiles() != want {
			t.Errorf("%s: %v", push, !want)
		}
	}
	f(`"metrics":"127.0.0.1:9100"`, true)
	f(`"metrics":":9100"`, false)
	f(`"metrics":":9100","operators":{"profiles":true}`, true)
	f(`"metrics":"127.0.0.1:9100","operators":{"profiles":false}`, false)
}
