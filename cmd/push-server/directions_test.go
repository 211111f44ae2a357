package main

import (
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
)

// TestDirections keeps the arrows between packages pointing one way: what a package may use, directly or not, of this project and of
// the libraries that do input and output.
func TestDirections(t *testing.T) {
	t.Parallel()
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
		receipt    = "push-server/engine/receipt"
		recorder   = "push-server/engine/recorder"
		view       = "push-server/engine/view"
		feed       = "push-server/engine/feed"
		roster     = "push-server/engine/roster"
		probe      = "push-server/engine/probe"
		handover   = "push-server/engine/handover"
		adopt      = "push-server/engine/adopt"
		quantum    = "push-server/engine/quantum"
		ratelimit  = "push-server/engine/ratelimit"
		realip     = "push-server/poll/realip"
		proxyproto = "push-server/protocol/proxyproto"
		gnet       = "github.com/panjf2000/gnet/v2"
		fasthttp   = "github.com/valyala/fasthttp"
		rueidis    = "github.com/redis/rueidis"
	)
	f := func(pattern string, allowed ...string) { usesOnly(t, pattern, allowed) }
	f(protocol)
	f(testclient, protocol)
	f(poll, protocol, realip, fasthttp)
	f(realip)
	f(proxyproto, protocol)
	f("push-server/redisbus", protocol, outage, rueidis)
	for _, alone := range []string{accept, budget, latency, batch, intern, quantum, ratelimit} {
		f(alone)
	}
	f(outage)
	f(probe, protocol)
	f(roster, outage)
	for _, ofProtocol := range []string{receipt, recorder, view, channels, closed} {
		f(ofProtocol, protocol)
	}
	f(feed, protocol, budget, outage)
	f(handover, protocol)
	f(adopt, gnet)
	f("push-server/engine/membus", protocol)
	leaves := []string{
		accept, adopt, batch, budget, channels, closed, feed, handover, intern, latency, outage, probe, quantum, ratelimit, receipt, recorder, roster, view,
		protocol, proxyproto, poll, realip, fasthttp, gnet,
	}
	f(engine, leaves...)
	f("push-server/engine/ops", append(leaves, engine)...)
	f("push-server/configs", protocol)
	f("push-server/bench/...", protocol)
}

// guardedLibraries do input and output.
var guardedLibraries = []string{"github.com/panjf2000/gnet/v2", "github.com/valyala/fasthttp", "github.com/redis/rueidis", "github.com/spf13/cobra"}

// usesOnly looks at the packages of a pattern.
func usesOnly(t *testing.T, pattern string, allowed []string) {
	t.Helper()
	folder, all := strings.CutSuffix(pattern, "...")
	found := false
	for pkg, deps := range dependencies(t) {
		if pkg != pattern && !(all && strings.HasPrefix(pkg+"/", folder)) {
			continue
		}
		found = true
		for _, dep := range deps {
			inside := all && strings.HasPrefix(dep+"/", folder)
			guarded := strings.HasPrefix(dep, "push-server/") || slices.Contains(guardedLibraries, dep)
			if guarded && !inside && !slices.Contains(allowed, dep) {
				t.Errorf("%s uses %s", pkg, dep)
			}
		}
	}
	if !found {
		t.Errorf("there is no package %s", pattern)
	}
}

// dependencies are all packages of the project with what they use, directly or not.
func dependencies(t *testing.T) map[string][]string {
	t.Helper()
	listing.Do(func() {
		all := make(map[string][]string)
		for _, line := range list(t, "-f", `{{.ImportPath}},{{join .Deps ","}}`, "push-server/...") {
			parts := strings.Split(line, ",")
			all[parts[0]] = parts[1:]
		}
		listed = all
	})
	return listed
}

var (
	listing sync.Once
	listed  map[string][]string
)

// TestTestclientIsForTests: nothing that is shipped contains the clients of the tests.
func TestTestclientIsForTests(t *testing.T) {
	const testclient = "push-server/protocol/testclient"
	for _, pkg := range []string{"push-server/cmd/push-server", "push-server/cmd/push-bench"} {
		if slices.Contains(dependencies(t)[pkg], testclient) {
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
