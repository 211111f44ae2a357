package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"push-server/protocol/testclient"
)

// execute runs the program in this process until it ends.
func execute(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, log bytes.Buffer
	err = run(t.Context(), args, &out, &log)
	return out.String(), log.String(), err
}

func writeFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "push.json")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// standalone is configs/standalone.json on free ports, without a window for operators.
func standalone(t *testing.T) config {
	t.Helper()
	text, err := os.ReadFile("../../configs/standalone.json")
	if err != nil {
		t.Fatal(err)
	}
	var c config
	if err := json.Unmarshal(text, &c); err != nil {
		t.Fatal(err)
	}
	for _, listener := range c.listeners() {
		listener["port"] = freePort(t)
	}
	delete(c["push"].(map[string]any), "metrics")
	return c
}

func TestExitCodes(t *testing.T) {
	bad := writeFile(t, `{"servers":[{"port":70000}]}`)
	good := writeConfigs(t, standalone(t))
	f := func(want int, args ...string) {
		t.Helper()
		if _, _, err := execute(t, args...); exitCode(err) != want {
			t.Errorf("%v: exit code %d, want %d: %v", args, exitCode(err), want, err)
		}
	}
	f(exitOK, "help")
	f(exitOK, "--help")
	f(exitOK, "version")
	f(exitOK, append([]string{"check"}, good...)...)
	f(exitOK, "check", "--config=../../configs/standalone.json")
	f(exitFailure, "check", "--config", bad)
	f(exitFailure, "check", "--config", "no-such-file.json")
	f(exitFailure, "--config", bad)
	f(exitFailure, "channel", "--config", bad)
	f(exitUsage)
	f(exitUsage, "check")
	f(exitUsage, "--config")
	f(exitUsage, "--confg", bad)
	f(exitUsage, "serve")
	f(exitOK, "serve", "--help")
	f(exitUsage, "--help", "serve")
	f(exitUsage, "check", "file.json", "--help")
	f(exitOK, "help", "serve")
	f(exitOK, "help", "check")
	f(exitOK, "check", "--help")
	f(exitUsage, "check", "file.json")
}

func TestUnknownCommandsHaveANearestName(t *testing.T) {
	for _, args := range [][]string{{"chek"}, {"chek", "--help"}, {"help", "chek"}} {
		out, _, err := execute(t, args...)
		if err == nil || !strings.Contains(err.Error(), `"chek" (did you mean check?)`) || out != "" {
			t.Errorf("%v: %v\n%s", args, err, out)
		}
	}
}

func TestCheckPrintsEveryProblem(t *testing.T) {
	file := writeFile(t, `{"servers":[{"port":70000}],"storage":{"messageTLL":5},"push":{"loop":1},"security":{"key":"secret"}}`)
	out, _, err := execute(t, "check", "--config", file)
	if err == nil || err.Error() != "2 errors, 2 warnings" {
		t.Error(err)
	}
	for _, key := range []string{"servers[0].port: error", "storage.messageTLL: warning", "push.loop: error", "security.key: warning"} {
		if !strings.Contains(out, file+": "+key) {
			t.Errorf("%s is missing in\n%s", key, out)
		}
	}
	if strings.Contains(out, "secret") {
		t.Error("the key is printed")
	}
}

func TestCheckSaysWhatWouldBeServed(t *testing.T) {
	out, _, err := execute(t, "check", "--config", "../../configs/standalone.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"subscribers listening at http://127.0.0.1:8010 PID:",
		"ws://127.0.0.1:8010/bitrix/subws/",
		"http://127.0.0.1:9010/bitrix/pub/",
		"../../configs/standalone.json: no error, 0 warnings",
	} {
		if !strings.Contains(out, line) {
			t.Errorf("%q is missing in\n%s", line, out)
		}
	}
}

func TestChannelIsSigned(t *testing.T) {
	out, _, err := execute(t, "channel", "--config", "../../configs/standalone.json")
	if err != nil {
		t.Fatal(err)
	}
	id := regexp.MustCompile(`(?m)^CHANNEL_ID +([0-9a-f]{32}):[0-9a-f]{32}\.[0-9a-f]{40}$`).FindStringSubmatch(out)
	if id == nil {
		t.Fatal(out)
	}
	if want := fmt.Sprintf("'http://127.0.0.1:9010/bitrix/pub/?CHANNEL_ID=%s'\n", id[1]); !strings.Contains(out, want) {
		t.Errorf("%s is missing in\n%s", want, out)
	}
}

func TestChannelNeedsAKey(t *testing.T) {
	file := writeFile(t, `{"servers":[]}`)
	if _, _, err := execute(t, "channel", "--config", file); err == nil || !strings.Contains(err.Error(), "security.key") {
		t.Error(err)
	}
}

func TestChannelWithoutRoutes(t *testing.T) {
	out, _, err := execute(t, "channel", "--config", writeFile(t, `{"servers":[],"security":{"key":"0123456789abcdef"}}`))
	if err != nil || strings.Contains(out, "http") || strings.Count(out, "no listener") != 2 {
		t.Error(err, out)
	}
}

func TestVersion(t *testing.T) {
	out, _, err := execute(t, "version")
	if err != nil || !regexp.MustCompile(`^push-server \S+ \(go.*, linux/.*\)\n$`).MatchString(out) {
		t.Error(out, err)
	}
}

func TestReachable(t *testing.T) {
	f := func(addr, want string) {
		t.Helper()
		if got := reachable(addr); got != want {
			t.Errorf("%s: got %s, want %s", addr, got, want)
		}
	}
	f("127.0.0.1:1", "127.0.0.1:1")
	f(":1", "127.0.0.1:1")
	f("[::]:1", "127.0.0.1:1")
	f("0.0.0.0:1", "127.0.0.1:1")
	f("[::1]:1", "[::1]:1")
}

func TestErrorsOfTheCommandLinePointToHelp(t *testing.T) {
	f := func(want string, args ...string) {
		t.Helper()
		if _, _, err := execute(t, args...); exitCode(err) != exitUsage || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", args, err)
		}
	}
	f("no configuration: give --config FILE, or PUSH_SUB_MODE=sub, PUSH_PUB_MODE=pub or both in the environment; see push-server --help")
	f("(did you mean --config?); see push-server --help", "--confg", "x")
	f("(did you mean --timeout?); see push-server subscribe --help", "subscribe", "--timout", "5s")
	f("(for example 30s); see push-server health --help", "health", "--timeout", "5")
	f("(did you mean check?); see push-server --help", "chek")
	f("a channel id is missing; see push-server publish --help", "publish")
}

// A server that is told to end before it has begun ends.
func TestServeEndsBeforeItBegins(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, command := range [][]string{nil, {"serve"}} {
		var out, log testclient.Log
		if err := run(ctx, append(command, writeConfigs(t, standalone(t))...), &out, &log); err != nil {
			t.Errorf("%v\n%s", err, log.String())
		}
	}
}

// A server that ended has left nothing behind.
func TestServeEndsWithItsContext(t *testing.T) {
	allowed := []goleak.Option{
		goleak.IgnoreCurrent(),
		goleak.IgnoreAnyFunction("github.com/panjf2000/ants/v2.(*goWorker).run.func1"),    // of the pool that gnet's processes share
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"), // sleeps up to ten seconds more
	}
	args := writeConfigs(t, standalone(t))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out, log testclient.Log
	done := make(chan error, 1)
	go func() { done <- run(ctx, args, &out, &log) }()
	testclient.AwaitNil(t, "it serves", func() error {
		if !strings.Contains(out.String(), "publishers listening") {
			return errors.New(log.String())
		}
		return nil
	})
	cancel()
	if err := <-done; err != nil {
		t.Errorf("%v\n%s", err, log.String())
	}
	goleak.VerifyNone(t, allowed...)
}

// Check looks at all files of a folder, however damaged they are.
func TestCheckOfAMangledFolder(t *testing.T) {
	const dir = "../../configs/testdata/mangled"
	out, _, err := execute(t, "check", "--config", dir)
	files, globErr := filepath.Glob(dir + "/*.json")
	if exitCode(err) != exitFailure || globErr != nil || len(files) == 0 {
		t.Errorf("%v, %v", err, globErr)
	}
	for _, file := range files {
		if !strings.Contains(out, file+": ") {
			t.Errorf("nothing about %s", file)
		}
	}
}
