package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"push-server/configs"
	"push-server/protocol/testclient"
)

// What the command channel prints to paste does what it says.
func TestChannelSession(t *testing.T) {
	c := standalone(t)
	start(t, c)
	out, _, err := execute(t, append([]string{"channel"}, writeConfigs(t, c)...)...)
	if err != nil {
		t.Fatal(err)
	}
	var commands []string
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, "curl -s ") {
			commands = append(commands, strings.TrimSpace(line))
		}
	}
	if len(commands) != 2 {
		t.Fatalf("%q", commands)
	}
	// The message is stored, so the order does not matter for a client that asks for everything from the beginning.
	listen := strings.TrimSuffix(commands[0], "'") + "&mid=" + strings.Repeat("0", 26) + "'"
	got, err := exec.CommandContext(t.Context(), "bash", "-euc", commands[1]+"\n"+listen).CombinedOutput()
	if err != nil || !strings.Contains(string(got), `"text":{"hello":"world"}`) {
		t.Errorf("%v\n%s", err, got)
	}
}

func TestServePrintsWhatItServes(t *testing.T) {
	c := standalone(t)
	p := start(t, c)
	testclient.AwaitNil(t, "the lines are printed", func() error {
		for _, line := range []string{
			fmt.Sprintf("subscribers listening at http://%s PID: %d\n", c.addr("sub"), p.cmd.Process.Pid),
			fmt.Sprintf("publishers listening at http://%s PID: %d\n", c.addr("pub"), p.cmd.Process.Pid),
			"ws://" + c.addr("sub") + subPath,
			"in the memory of this process",
		} {
			if !strings.Contains(p.log.String(), line) {
				return fmt.Errorf("%q is missing in\n%s", line, p.log.String())
			}
		}
		return nil
	})
}

func TestSecondInstanceIsRefused(t *testing.T) {
	c := standalone(t)
	start(t, c)
	second := launch(t, writeConfigs(t, c)...)
	if code := second.wait(); code != exitFailure || !strings.Contains(second.log.String(), "address already in use") {
		t.Errorf("exit code %d\n%s", code, second.log.String())
	}
	resp, err := http.Get("http://" + c.addr("stat") + statPath)
	if err != nil {
		t.Fatal("the first instance suffers:", err)
	}
	resp.Body.Close()
}

func TestSignalsEndTheServer(t *testing.T) {
	f := func(sig syscall.Signal) {
		t.Helper()
		if code := start(t, standalone(t)).signal(sig); code != 0 {
			t.Errorf("%v: exit code %d", sig, code)
		}
	}
	f(syscall.SIGTERM)
	f(syscall.SIGINT)
}

// Sub and pub configurations of a folder make one process; limits come from the file that has them.
func TestFolderIsServedByOneProcess(t *testing.T) {
	all := standalone(t)
	dir := t.TempDir()
	for i, listener := range all["servers"].([]any) {
		c := config{"servers": []any{listener}, "storage": all["storage"], "security": all["security"]}
		if i == 1 {
			c["limits"] = map[string]any{"maxPayload": 2048, "other": "shown"}
			c["processUniqueId"] = "one"
		}
		text, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.json", i)), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := launch(t, "--config="+dir)
	t.Cleanup(p.finish)
	p.waitListening(all.addr("sub"))
	p.waitListening(all.addr("stat"))
	resp, err := http.Get("http://" + all.addr("stat") + statPath)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	want := `"limits":{"maxPayload":2048,"maxConnPerChannel":100,"maxMessagesPerRequest":100,"maxChannelsPerRequest":100,"other":"shown"}`
	if err != nil || !strings.Contains(string(got), want) || strings.Count(string(got), `"processUniqueId":"one"`) != 1 {
		t.Errorf("%v %s", err, got)
	}
}

func TestMetricsAndHealth(t *testing.T) {
	c := standalone(t)
	addr := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	c.option("metrics", addr)
	start(t, c).waitListening(addr)
	f := func(path, want string) {
		t.Helper()
		testclient.AwaitNil(t, path, func() error {
			resp, err := http.Get("http://" + addr + path)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if !strings.Contains(string(body), want) {
				return fmt.Errorf("%q is missing in %s", want, body)
			}
			return err
		})
	}
	f("/readyz", "ready\n")
	f("/healthz", "ok")
	f("/metrics", "\npush_")
}

func TestServerRunsWithoutAKey(t *testing.T) {
	c := standalone(t)
	delete(c, "security")
	p := start(t, c)
	if log := p.log.String(); !strings.Contains(log, "nobody can subscribe") {
		t.Error(log)
	}
}

func TestStorageTextHidesPasswords(t *testing.T) {
	f := func(s configs.Storage, want string) {
		t.Helper()
		if got := storageText(&s); got != "history and delivery: "+want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	f(configs.Storage{Type: "memory"}, "in the memory of this process")
	f(configs.Storage{Type: "redis", Host: "::1", Port: 6379}, "Redis at [::1]:6379")
	f(configs.Storage{Type: "redis", Host: "redis", Port: 6379, User: "me", Password: "pass", TLS: configs.TLS{On: true}}, "Redis at redis:6379, in TLS")
	f(configs.Storage{Type: "redis", Sentinels: []string{"one", "::1", "two:1"}, MasterName: "portal", SentinelPassword: "pass"},
		"Redis that sentinels at one:26379, [::1]:26379, two:1 call portal")
	f(configs.Storage{Type: "redis", Nodes: []string{"one", "two:1"}, Cluster: "portal", Password: "pass"},
		"Redis Cluster at one:6379, two:1, under keys {portal}…, which Node processes do not know")
	f(configs.Storage{Type: "redis", Socket: "redis://:pass@one:6379?addr=two:1", Cluster: "portal"},
		"Redis Cluster at redis://one:6379?addr=two:1, under keys {portal}…, which Node processes do not know")
	f(configs.Storage{Type: "redis", Socket: "/run/redis.sock"}, "Redis at /run/redis.sock")
	f(configs.Storage{Type: "redis", Socket: "redis://user:pa@ss@host:6379/1"}, "Redis at redis://host:6379/1")
}
