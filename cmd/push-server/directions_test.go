package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// TestDirections keeps the arrows between packages pointing one way: what a package may use, directly or not, of this project and of
// the libraries that do input and output.
func TestDirections(t *testing.T) {
	const (
		protocol   = "push-server/protocol"
		testclient = "push-server/protocol/testclient"
		poll       = "push-server/poll"
		engine     = "push-server/engine"
		accept     = "push-server/engine/accept"
		budget     = "push-server/engine/budget"
		channels   = "push-server/engine/channels"
		closed     = "push-server/engine/closed"
		latency    = "push-server/engine/latency"
		outage     = "push-server/engine/outage"
		batch      = "push-server/engine/batch"
		intern     = "push-server/engine/intern"
		recorder   = "push-server/engine/recorder"
		view       = "push-server/engine/view"
		feed       = "push-server/engine/feed"
		roster     = "push-server/engine/roster"
		probe      = "push-server/engine/probe"
		gnet       = "github.com/panjf2000/gnet/v2"
		fasthttp   = "github.com/valyala/fasthttp"
		rueidis    = "github.com/redis/rueidis"
		cobra      = "github.com/spf13/cobra"
	)
	f := func(pattern string, allowed ...string) {
		t.Helper()
		for _, pkg := range list(t, pattern) {
			for _, dep := range list(t, "-deps", pkg) {
				inside := dep == pkg || strings.HasPrefix(dep, strings.TrimSuffix(pattern, "...")) && strings.HasSuffix(pattern, "...")
				guarded := strings.HasPrefix(dep, "push-server/") || slices.Contains([]string{gnet, fasthttp, rueidis, cobra}, dep)
				if guarded && !inside && !slices.Contains(allowed, dep) {
					t.Errorf("%s uses %s", pkg, dep)
				}
			}
		}
	}
	f(protocol)
	f(testclient, protocol)
	f(poll, protocol, fasthttp)
	f("push-server/redisbus", protocol, outage, rueidis)
	for _, alone := range []string{accept, budget, latency, batch, intern} {
		f(alone)
	}
	f(outage)
	f(probe, protocol)
	f(roster, outage)
	f(recorder, protocol)
	f(view, protocol)
	f(channels, protocol)
	f(closed, protocol)
	f(feed, protocol, budget, outage)
	f("push-server/engine/handover", protocol)
	f("push-server/engine/adopt", gnet)
	f("push-server/engine/membus", protocol)
	f(engine, "push-server/engine/handover", "push-server/engine/adopt", accept, budget, channels, batch, intern, closed, latency, outage, recorder, roster, view, feed, probe, protocol, poll, fasthttp, gnet)
	f("push-server/engine/ops", engine, "push-server/engine/handover", "push-server/engine/adopt", accept, budget, channels, batch, intern, closed, latency, outage, recorder, roster, view, feed, probe, protocol, poll, fasthttp, gnet)
	f("push-server/configs", protocol)
	f("push-server/bench/...", protocol)
}

// TestTestclientIsForTests: nothing that is shipped contains the clients of the tests.
func TestTestclientIsForTests(t *testing.T) {
	const testclient = "push-server/protocol/testclient"
	for _, pkg := range list(t, "push-server/cmd/push-server", "push-server/cmd/push-bench") {
		if slices.Contains(list(t, "-deps", pkg), testclient) {
			t.Errorf("%s contains %s", pkg, testclient)
		}
	}
	for _, dep := range list(t, "-f", "{{range .Imports}}{{.}} {{end}}", testclient) {
		library := strings.Contains(dep, ".") && dep != "github.com/gobwas/ws"
		if library || strings.HasPrefix(dep, "push-server/") && dep != "push-server/protocol" {
			t.Errorf("%s imports %s", testclient, dep)
		}
	}
}

// list runs go list and returns its lines.
func list(t *testing.T, args ...string) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", append([]string{"list"}, args...)...).Output()
	if err != nil {
		t.Fatalf("go list %v: %v", args, err)
	}
	return strings.Fields(string(out))
}
