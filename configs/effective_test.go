package configs

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
)

func TestEffectiveHasNoSecrets(t *testing.T) {
	t.Parallel()
	c, problems := parse("f.json", []byte(`{
		"servers": [{"port": 8010, "hostname": "127.0.0.1", "routes": {"sub": "/s"}}],
		"storage": {"socket": "redis://someone:hush-1@10.0.0.1:6379/2?sentinel_password=hush-2&addr=10.0.0.2:1", "sentinelPassword": "hush-3://", "onlineTTL": 60},
		"security": {"key": "hush-4-and-more-than-sixteen"},
		"debug": {"testConnectionKey": "hush-5"},
		"push": {"metrics": ":1", "operators": {"token": "hush-6@?and-more-than-sixteen"}, "pollTimeout": "30s", "statAllow": ["10.0.0.1"]}
	}`))
	if c == nil {
		t.Fatal(problems)
	}
	text, err := json.Marshal(c.Effective())
	if err != nil {
		t.Fatal(err)
	}
	if found := regexp.MustCompile(`hush|someone`).FindAllString(string(text), -1); found != nil {
		t.Errorf("%q in %s", found, text)
	}
	values := make(map[string]Value)
	for _, v := range c.Effective() {
		values[v.Key] = v
	}
	f := func(key string, want any, given bool) {
		t.Helper()
		v := values[key]
		if list, ok := v.Value.([]string); ok {
			v.Value = strings.Join(list, " ")
		}
		if v.Value != want || v.Given != given {
			t.Errorf("%s: %v %v", key, v.Value, v.Given)
		}
	}
	f("servers[0].port", 8010, true)
	f("servers[0].routes.pub", "", false)
	f("storage.socket", "redis://***@10.0.0.1:6379/2?addr=10.0.0.2:1&sentinel_password=***", true)
	f("storage.password", "", false)
	f("storage.sentinelPassword", Masked, true)
	f("storage.onlineTTL", int64(60), true)
	f("security.key", Masked, true)
	f("debug.testConnectionKey", Masked, true)
	f("push.operators.token", Masked, true)
	f("push.pollTimeout", "30s", true)
	f("push.pingInterval", "2m", false)
	f("push.statAllow", "10.0.0.1", true)
	if _, ok := values["servers[0].ssl.key"]; ok {
		t.Error("a listener without TLS has a file with a key")
	}
}

// A key whose name sounds like a secret is one, or is known to be none.
func TestSecretsAreKnown(t *testing.T) {
	t.Parallel()
	none := map[string]bool{"servers[].ssl.key": true, "storage.tls.key": true, "push.operators.tokenFile": true}
	for i := range options {
		o := &options[i]
		if regexp.MustCompile(`(?i)key|password|token|secret`).MatchString(last(o.key)) && o.doc != "" && !o.secret() && !none[o.key] {
			t.Errorf("%s would be shown", o.key)
		}
	}
}
