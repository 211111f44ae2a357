package main

import (
	"strings"
	"syscall"
	"testing"
)

// diff says of the server that runs what another configuration would change, and of files, too, whose secrets it compares.
func TestDiff(t *testing.T) {
	t.Parallel()
	r := startReloaded(t, nil)
	same := writeConfigs(t, r.config)
	r.config["limits"] = map[string]any{"maxConnPerChannel": 50, "maxConPerChannel": 5}
	r.config["security"] = map[string]any{"key": "a-key-that-is-another-one-0123456789"}
	r.config.option("pollTimeout", "41s")
	other := writeConfigs(t, r.config)
	f := func(code int, err string, args []string, wants ...string) {
		t.Helper()
		out, log, got := execute(t, append([]string{"diff"}, args...)...)
		if exitCode(got) != code || got == nil && err != "" || got != nil && !strings.Contains(got.Error(), err) {
			t.Errorf("%v: exit code %d, %v, want %d, %s\n%s", args, exitCode(got), got, code, err, log)
		}
		for _, want := range wants {
			if !strings.Contains(out, want) {
				t.Errorf("%v: %q is missing in\n%s", args, want, out)
			}
		}
		if strings.Contains(out+log, "a-key-that-is") {
			t.Errorf("%v: a secret is told:\n%s\n%s", args, out, log)
		}
	}
	against := func(args ...string) []string { return append(args, "--against", r.file) }
	f(exitOK, "", same, "not compared, since they are secrets, which the server at 127.0.0.1:", ": security.key\n", "no key differs from the server at")
	f(exitOK, "", against(same...), "no key differs from "+r.file)
	f(1, "2 keys, 1 with SIGHUP, 1 with an upgrade", other, "takes effect with SIGHUP:\n  limits.maxConnPerChannel: 100 → 50\ntakes effect with an upgrade:\n  push.pollTimeout: 40s → 41s\n",
		"limits.maxConPerChannel: warning: unknown key, has no effect (did you mean limits.maxConnPerChannel?)")
	f(1, "3 keys, 2 with SIGHUP, 1 with an upgrade", against(other...), "  security.key: *** → ***\n")
	r.config["storage"] = map[string]any{"type": "redis"}
	redis := writeConfigs(t, r.config)
	r.config.option("pollTimeout", "42s")
	r.config.option("connectRate", 5)
	r.config["clusterMode"] = true
	f(1, "3 keys, 1 with SIGHUP, 1 with an upgrade, 1 with a restart", append(writeConfigs(t, r.config), "--against", redis[1]),
		"takes effect with SIGHUP:\n  push.connectRate: 0 → 5\n", "takes effect with an upgrade:\n  push.pollTimeout: 41s → 42s\n",
		"needs a restart:\n  clusterMode: false → true\n")
	f(2, "cannot be compared", []string{"--config", writeFile(t, `{"push":{"logLevle":"debug"}}`)}, "push.logLevle: error: unknown key (did you mean push.logLevel?)")
	f(2, "the configuration has errors", append(same, "--against", "no-such-file.json"))
	f(2, "unknown command or argument", append(same, "x"))
	r.signal(syscall.SIGTERM)
	if _, _, err := execute(t, append([]string{"diff"}, same...)...); exitCode(err) == exitOK {
		t.Error("nothing differs from a server that is not there")
	}
}
