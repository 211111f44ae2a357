package configs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// environmentOf reads NAME=value pairs as an environment.
func environmentOf(pairs ...string) (c *Config, problems []Problem, ok bool) {
	return Environment(func(name string) (string, bool) {
		for _, pair := range pairs {
			if value, found := strings.CutPrefix(pair, name+"="); found {
				return value, true
			}
		}
		return "", false
	})
}

// TestEnvironment has the defaults of the image whose variables are used.
func TestEnvironment(t *testing.T) {
	f := func(want func(c *Config) bool, pairs ...string) {
		t.Helper()
		c, problems, ok := environmentOf(append(pairs, "SECURITY_KEY=one that nobody can guess")...)
		if !ok || len(problems) > 0 {
			t.Fatalf("%q: %v\n%s", pairs, ok, lines(problems))
		}
		if !want(c) {
			t.Errorf("%q: %+v", pairs, c)
		}
	}
	serves := func(path string, port int, redis string) func(c *Config) bool {
		return func(c *Config) bool {
			r := c.Servers[0].Routes
			return len(c.Servers) == 1 && r.Pub+r.Sub == path && c.Servers[0].Port == port && c.Storage.Host == redis && c.ClusterMode &&
				c.PublishMode == (r.Pub != "") && c.Push.DrainTimeout == 8*time.Second
		}
	}
	f(serves("/bitrix/pub/", 8010, "redis"), "MODE=pub")
	f(serves("/bitrix/subws/", 8010, "redis"), "MODE=sub")
	f(serves("/bitrix/pub/", 8800, "db"), "MODE=pub", "LISTEN_PORT=8800", "REDIS_HOST=db")
	f(serves("/bitrix/pub/", 9010, "db"), "PUSH_PUB_MODE=pub", "REDIS_HOST=db")
	f(serves("/x/", 8011, "db"), "PUSH_SUB_MODE=sub", "REDIS_HOST=db", "PUSH_SUB_PORT=8011", "SUB_URI=/x/")
	for _, yes := range []string{"1", "true", "yes", "on", "TRUE"} {
		f(serves("/bitrix/subws/", 8010, "db"), "PUSH_SUB_MODE="+yes, "REDIS_HOST=db")
	}
	f(func(c *Config) bool { return c.Storage.Host == "db" && c.Storage.Port == 6380 },
		"PUSH_SUB_MODE=sub", "REDIS_HOST=db", "REDIS_PORT=tcp://172.17.0.2:6380")
	f(func(c *Config) bool { return c.Storage.Host == "172.17.0.2" && c.Storage.Port == 6380 },
		"PUSH_SUB_MODE=sub", "REDIS_PORT=tcp://172.17.0.2:6380")
	f(func(c *Config) bool {
		return c.Storage.User == "u" && c.Storage.Password == "p:@%/" && c.Storage.TLS.On
	},
		"PUSH_SUB_MODE=sub", "REDIS_HOST=db", "REDIS_USER=u", "REDIS_PASSWORD=p:@%/", "REDIS_TLS=1")
	f(func(c *Config) bool { return c.Storage.Password == "" && !c.Storage.TLS.On },
		"PUSH_SUB_MODE=sub", "REDIS_HOST=db", "REDIS_PASSWORD=", "REDIS_TLS=0")
	f(func(c *Config) bool {
		return len(c.Servers) == 2 && c.Storage.Type == StorageMemory && !c.ClusterMode && !c.PublishMode && c.Servers[1].Routes.Rest == "/r/"
	}, "PUSH_SUB_MODE=sub", "PUSH_PUB_MODE=pub", "REST_URI=/r/")
	f(func(c *Config) bool {
		return c.Push.Metrics == "127.0.0.1:9100" && c.Push.LogLevel == "debug" && c.Push.LogFormat == LogJSON
	}, "PUSH_SUB_MODE=1", "PUSH_PUB_MODE=1", "PUSH_METRICS=127.0.0.1:9100", "PUSH_LOG_LEVEL=debug", "PUSH_LOG_FORMAT=json")
	if _, _, ok := environmentOf("SECURITY_KEY=x", "REDIS_HOST=db"); ok {
		t.Error("nothing says what to serve")
	}
}

func TestEnvironmentProblems(t *testing.T) {
	f := func(want string, pairs ...string) {
		t.Helper()
		_, problems, ok := environmentOf(pairs...)
		if !ok || !strings.Contains(lines(problems), want) {
			t.Errorf("%q: want %q, got %v\n%s", pairs, want, ok, lines(problems))
		}
	}
	both := []string{"PUSH_SUB_MODE=sub", "PUSH_PUB_MODE=pub", "SECURITY_KEY=x"}
	f("environment: PUSH_SECURITY_KEY: error: is empty", "MODE=sub")
	f("environment: REDIS_HOST: error: is empty", "PUSH_PUB_MODE=pub", "SECURITY_KEY=x")
	f("environment: MODE: error: is both", "MODE=both", "SECURITY_KEY=x")
	f("environment: SECURITY_KEY: warning: has 1 characters", both...)
	f("environment: PUSH_SUB_MODE: error: is subs", "PUSH_SUB_MODE=subs")
	f("environment: PUSH_SUB_MODE: error: says that nothing is served", "PUSH_SUB_MODE=0")
	f("environment: REDIS_PORT: error: is tcp:", append(both, "REDIS_HOST=r", "REDIS_PORT=tcp:x")...)
	f("environment: REDIS_PORT: error: is tcp:", append(both, "REDIS_HOST=r", "REDIS_PORT=tcp://x")...)
	f("environment: LISTEN_PORT: error: is 70000", "MODE=pub", "SECURITY_KEY=x", "LISTEN_PORT=70000")
	f(`environment: PUSH_LOG_LEVEL: error: "loud" is not a level`, append(both, "PUSH_LOG_LEVEL=loud")...)
	f(`environment: PUSH_LOG_FORMAT: error: "xml" is not a format`, append(both, "PUSH_LOG_FORMAT=xml")...)
	f("environment: PUSH_METRICS: error:", append(both, "PUSH_METRICS=nowhere")...)
	f("PUSH_CONFIG: error: not JSON", "PUSH_CONFIG={")
	f("environment: PUSH_SUB_MODE: warning: has no effect beside PUSH_CONFIG", `PUSH_CONFIG={"servers": []}`, "PUSH_SUB_MODE=sub")
}

// TestEnvironmentFiles reads secrets from files, as orchestrators provide them.
func TestEnvironmentFiles(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	key, password, config := put("key", "the key that nobody can guess\n"), put("password", " p \r\n"), put("config", `{"servers": [{"port": 8123, "routes": {"sub": "/s/"}}]}`)
	c, problems, ok := environmentOf("PUSH_SUB_MODE=sub", "REDIS_HOST=db", "PUSH_SECURITY_KEY_FILE="+key, "REDIS_PASSWORD_FILE="+password)
	if !ok || len(problems) > 0 || c.Security.Key != "the key that nobody can guess" || c.Storage.Password != " p " {
		t.Errorf("%+v\n%s", c, lines(problems))
	}
	if c, _, ok := environmentOf("PUSH_CONFIG_FILE=" + config); !ok || c == nil || c.Servers[0].Port != 8123 {
		t.Errorf("%+v", c)
	}
	f := func(want string, pairs ...string) {
		t.Helper()
		_, problems, ok := environmentOf(append(pairs, "PUSH_SUB_MODE=sub", "PUSH_PUB_MODE=pub")...)
		if text := lines(problems); !ok || !strings.Contains(text, want) || strings.Contains(text, "the key") {
			t.Errorf("%q: want %q, got %v\n%s", pairs, want, ok, text)
		}
	}
	f("PUSH_SECURITY_KEY: error: is set, and so is PUSH_SECURITY_KEY_FILE", "PUSH_SECURITY_KEY=the key", "PUSH_SECURITY_KEY_FILE="+key)
	f("PUSH_SECURITY_KEY_FILE: error: "+dir+"/absent cannot be read: no such file", "PUSH_SECURITY_KEY_FILE="+dir+"/absent")
	f("SECURITY_KEY_FILE: error: "+dir+"/empty is empty", "SECURITY_KEY_FILE="+put("empty", ""))
	f("PUSH_CONFIG_FILE: error: "+dir+"/absent cannot be read", "PUSH_CONFIG_FILE="+dir+"/absent")
}
