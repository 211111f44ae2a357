package configs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// filled is a shipped template with the values of the settings file.
func filled(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("bitrixvm", name))
	if err != nil {
		t.Fatal(err)
	}
	return strings.NewReplacer(
		"__PORT__", "8010", "__WS_HOST__", "127.0.0.1", "__IP_LIST__", `"127.0.0.1", "10.0.0.0/24"`,
		"__PUBPATH__", "/bitrix/pub/", "__SUBWSPATH__", "/bitrix/subws/", "__RESTPATH__", "/bitrix/rest/",
		"__REDIS_SOCK__", "/var/run/redis/redis.sock", "__SECURITY_KEY__", strings.Repeat("aB1", 40), "__VAR_DIR__", "/var/log/push-server",
	).Replace(string(text))
}

func TestTemplates(t *testing.T) {
	f := func(name string, publish bool) {
		t.Helper()
		c, problems := parse(name, []byte(filled(t, name)))
		if !Valid(problems) || strings.Contains(lines(problems), "unknown key") || strings.Contains(lines(problems), "misspelt") {
			t.Error(lines(problems))
		}
		if c.PublishMode != publish || !c.ClusterMode || c.Storage.MessageTTL != 24*time.Hour || c.Servers[0].Address != "127.0.0.1:8010" {
			t.Errorf("%s: %+v", name, c)
		}
	}
	f("push-server-sub-__PORT__.json", false)
	f("push-server-pub-__PORT__.json", true)
}

func TestTemplatesOfAFolderAreNotRead(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"push-server-sub-__PORT__.json", "push-server-sub-8010.json"} {
		text := `{"servers": [], "port": __PORT__}`
		if !isTemplate(name) {
			text = filled(t, "push-server-sub-__PORT__.json")
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	all, problems := Load(dir)
	if !Valid(problems) || len(all) != 1 {
		t.Errorf("%d read: %s", len(all), lines(problems))
	}
}
