package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"

	"push-server/protocol/testclient"
)

// A reloaded is a server whose configuration is written again while it runs.
type reloaded struct {
	t      *testing.T
	config config
	file   string
	*process
}

// startReloaded starts configs/standalone.json with a window for operators.
func startReloaded(t *testing.T, change func(c config)) *reloaded {
	t.Helper()
	c := standalone(t)
	c.option("metrics", fmt.Sprintf("127.0.0.1:%d", freePort(t)))
	if change != nil {
		change(c)
	}
	r := &reloaded{t: t, config: c, process: start(t, c)}
	r.file = r.cmd.Args[2]
	testclient.AwaitNil(t, "the server is ready", func() error {
		_, _, err := execute(t, "health", "--config", r.file)
		return err
	})
	return r
}

// write puts text in place of the configuration, has the server read it, and waits until the log has these texts.
func (r *reloaded) write(text string, wants ...string) {
	r.t.Helper()
	seen := len(r.log.String())
	if err := os.WriteFile(r.file, []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
	if err := r.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		r.t.Fatal(err)
	}
	testclient.AwaitNil(r.t, "the configuration is read", func() error {
		log := r.log.String()[seen:]
		for _, want := range wants {
			if !strings.Contains(log, want) {
				return fmt.Errorf("%q is missing in\n%s", want, log)
			}
		}
		return nil
	})
}

// rewrite is write of r.config, in which something has changed.
func (r *reloaded) rewrite(wants ...string) {
	r.t.Helper()
	text, err := json.MarshalIndent(r.config, "", "\t")
	if err != nil {
		r.t.Fatal(err)
	}
	r.write(string(text), wants...)
}

// get is what the window answers.
func (r *reloaded) get(path, token string) (status int, body string) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, "http://"+r.config["push"].(map[string]any)["metrics"].(string)+path, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

// effective is what counts for a key, as the server says.
func (r *reloaded) effective(key, token string) string {
	r.t.Helper()
	_, body := r.get("/config", token)
	var shown struct {
		Options []struct {
			Key   string          `json:"key"`
			Value json.RawMessage `json:"value"`
		} `json:"options"`
	}
	if err := json.Unmarshal([]byte(body), &shown); err != nil {
		r.t.Fatal(err, body)
	}
	for _, o := range shown.Options {
		if o.Key == key {
			return string(o.Value)
		}
	}
	return ""
}

// What may change while the server runs does with SIGHUP, for those who are connected and for those who come; the rest is named. Nobody
// is disconnected.
func TestReload(t *testing.T) {
	t.Parallel()
	r := startReloaded(t, nil)
	oldKey := r.config["security"].(map[string]any)["key"].(string)
	old := testclient.NewChannel(oldKey)
	stat, backend := "http://"+r.config.addr("stat")+statPath, testclient.NewHTTP(false)
	connected := testclient.Subscribe(t, r.config.addr("sub"), subPath+testclient.Query(false, "", old.Signed()))
	f := func(want int) {
		t.Helper()
		reply, err := backend.Poll(t.Context(), stat)
		if err != nil || reply.Status != want {
			t.Errorf("statistics: %v %v, want %d", reply, err, want)
		}
	}
	f(http.StatusOK)

	const next, token = "the-key-of-tomorrow-0123456789", "only-those-who-know-this-may-look"
	r.config["security"].(map[string]any)["key"] = []string{next}
	r.config["limits"] = map[string]any{"maxConnPerChannel": 7}
	r.config.option("statAllow", []string{"192.0.2.1"})
	r.config.option("logLevel", "debug")
	r.config.option("pollTimeout", "41s")
	r.config.option("operators", map[string]any{"token": token})
	r.rewrite(
		`msg="configuration changed" key=security.key from=*** to=***`,
		`msg="configuration changed" key=limits.maxConnPerChannel from=100 to=7`,
		`msg="configuration changed" key=push.statAllow from=[] to="[\"192.0.2.1\"]"`,
		`msg="the configuration has changed, the old value counts until the server is upgraded or restarted" key=push.pollTimeout from=40s to=41s`,
		`msg="configuration read" changed=5 waiting_for_upgrade=1 waiting_for_restart=0`,
	)
	f(http.StatusForbidden)
	if status, _ := r.get("/config", ""); status != http.StatusUnauthorized {
		t.Errorf("the window without a token answers %d", status)
	}
	for key, want := range map[string]string{"limits.maxConnPerChannel": "7", "push.pollTimeout": `"40s"`, "push.logLevel": `"debug"`} {
		if got := r.effective(key, token); got != want {
			t.Errorf("%s is %s, want %s", key, got, want)
		}
	}
	if _, warnings := r.get("/warnings", token); !strings.Contains(warnings, "push.pollTimeout") {
		t.Errorf("operators are not warned: %s", warnings)
	}
	if _, err := backend.PublishText(t.Context(), "http://"+r.config.addr("pub")+pubPath, `"x"`, 60, old.Private); err != nil {
		t.Fatal(err)
	}
	connected.Bodies(1)
	refused := testclient.Open(t, r.config.addr("sub"))
	refused.Upgrade(subPath + testclient.Query(false, "", testclient.NewChannel(oldKey).Signed()))
	if code := refused.End(); code != 4010 {
		t.Errorf("the key that was removed: close code %d", code)
	}
	testclient.Subscribe(t, r.config.addr("sub"), subPath+testclient.Query(false, "", testclient.NewChannel(next).Signed()))
	testclient.Await(t, "lines of the level debug", func() bool {
		backend.PublishText(t.Context(), "http://"+r.config.addr("pub")+pubPath+"?binaryMode=true", "nonsense", 60)
		return strings.Contains(r.log.String(), "level=DEBUG")
	})
	if log := r.log.String(); strings.Contains(log, next) || strings.Contains(log, token) {
		t.Errorf("a secret is in the log:\n%s", log)
	}
}

// A configuration with an error changes nothing, and each problem is said, in the log and to operators.
func TestBadConfigurationIsRefusedWhole(t *testing.T) {
	t.Parallel()
	r := startReloaded(t, nil)
	f := func(text string, wants ...string) {
		t.Helper()
		r.write(text, append(wants, "the configuration is refused, keeping the old one")...)
		_, warnings := r.get("/warnings", "")
		for _, want := range wants {
			if plain := strings.ReplaceAll(want, `\"`, `"`); !strings.Contains(strings.ReplaceAll(warnings, `\"`, `"`), plain) {
				t.Errorf("operators are not told %q:\n%s", want, warnings)
			}
		}
		if got := r.effective("limits.maxConnPerChannel", ""); got != "100" {
			t.Errorf("maxConnPerChannel is %s", got)
		}
	}
	f("{", "not JSON")
	r.config["limits"] = map[string]any{"maxConnPerChannel": 7, "maxConPerChannel": 8}
	r.config.option("logLevle", "debug")
	r.config.option("clientRate", -1)
	text, err := json.Marshal(r.config)
	if err != nil {
		t.Fatal(err)
	}
	f(string(text), "push.logLevle: error: unknown key (did you mean push.logLevel?)", "push.clientRate: error: -1 is not between", "limits.maxConPerChannel: warning", "2 errors")
	if err := os.Remove(r.file); err != nil {
		t.Fatal(err)
	}
	if err := r.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	testclient.Await(t, "a word about the file that is gone", func() bool { return strings.Contains(r.log.String(), "no such file") })
}

// SIGUSR1, by which logs are rotated, leaves the configuration alone.
func TestOnlySIGHUPReloads(t *testing.T) {
	t.Parallel()
	r := startReloaded(t, func(c config) { c["debug"] = map[string]any{"folderName": t.TempDir()} })
	if err := os.WriteFile(r.file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.cmd.Process.Signal(syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	r.rewrite("configuration read")
	if strings.Contains(r.log.String(), "not JSON") {
		t.Error("SIGUSR1 has the configuration read")
	}
}

// A listener may get other files with its certificate.
func TestOtherCertificateFiles(t *testing.T) {
	t.Parallel()
	first, second := t.TempDir(), t.TempDir()
	writeCertificate(t, first, "first")
	writeCertificate(t, second, "second")
	c := encrypted(t, first)
	p := start(t, c)
	reload(t, p, c, "first")
	for _, listener := range c.listeners() {
		listener["ssl"] = map[string]any{"key": second + "/key.pem", "cert": second + "/cert.pem"}
	}
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p.cmd.Args[2], text, 0o600); err != nil {
		t.Fatal(err)
	}
	reload(t, p, c, "second")
}
