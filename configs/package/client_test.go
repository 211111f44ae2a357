package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// portal is the vendor's client on a machine, with a WebSocket and, once more, with long polls.
type portal struct {
	m       *machine
	program string // with %s for the rest of a command
	channel string
	sent    int
}

// openPortal connects both clients to the server that a program with its configuration belongs to.
func (m *machine) openPortal(program string) *portal {
	m.t.Helper()
	p := &portal{m: m, program: program}
	text := p.run("channel")
	find := func(expr string) string {
		found := regexp.MustCompile(expr).FindStringSubmatch(text)
		if found == nil {
			m.t.Fatalf("%s is not in\n%s", expr, text)
		}
		return found[1]
	}
	p.channel = find(`private id +(\S+)`)
	socket, poll, publish := find(`websocat '([^?]+)`), find(`curl -s '([^?]+)`), find(`'(http[^'?]+/pub/)\?`)
	begin, end := time.Now().Add(-time.Hour).Format(time.RFC3339), time.Now().Add(12*time.Hour).Format(time.RFC3339)
	var orders strings.Builder
	for _, name := range []string{"websocket", "poll"} {
		config := map[string]any{
			"api":      map[string]any{"revision_web": 19, "revision_mobile": 3},
			"channels": map[string]any{"private": map[string]any{"id": find(`CHANNEL_ID +(\S+)`), "start": begin, "end": end, "type": "private"}},
			"publicChannels": map[string]any{"1": map[string]any{
				"user_id": 1, "public_id": find(`public id +(\S+)`), "signature": find(`public signature +(\S+)`), "start": begin, "end": end,
			}},
			"server": map[string]any{
				"version": 4, "server_enabled": true, "mode": "personal", "config_timestamp": 0, "long_polling": poll, "publish_enabled": true,
				"websocket": socket, "websocket_enabled": name == "websocket", "publish": strings.Replace(publish, "/pub/", "/rest/", 1),
			},
		}
		if err := json.NewEncoder(&orders).Encode(map[string]any{"start": name, "user": 1, "config": config}); err != nil {
			m.t.Fatal(err)
		}
	}
	m.run("mkdir -p /tmp/portal; ln -sfn " + clientModules(m.t) + " /tmp/portal/node_modules")
	scripts, err := filepath.Glob(clientSource + "/*.mjs")
	if err != nil {
		m.t.Fatal(err)
	}
	for _, script := range scripts {
		text, err := os.ReadFile(script)
		if err != nil {
			m.t.Fatal(err)
		}
		m.run("cat >/tmp/portal/" + filepath.Base(script) + " <<'END'\n" + string(text) + "\nEND")
	}
	m.run("cat >/tmp/portal/orders <<'END'\n" + orders.String() + "END\ncd /tmp/portal; (tail -n +1 -f orders | setsid node client.mjs >events 2>&1) >/dev/null 2>&1 &")
	m.await(`[ $(grep -c '"status":"online"' /tmp/portal/events) = 2 ] || { cat /tmp/portal/events; false; }`)
	return p
}

func (p *portal) run(command string) string {
	p.m.t.Helper()
	return p.m.await(fmt.Sprintf(p.program, command))
}

// hears has a back end and one of the clients say something, which both clients have to get.
func (p *portal) hears() {
	p.m.t.Helper()
	p.sent++
	both := func(from string) {
		p.m.t.Helper()
		p.m.await(fmt.Sprintf(`[ $(grep -c '"command":"from-%s-%d"' /tmp/portal/events) = 2 ] || { cat /tmp/portal/events; false; }`, from, p.sent))
	}
	p.run(fmt.Sprintf(`publish --expiry 1m %s '{"module_id":"test","command":"from-server-%d","params":{},"extra":{}}'`, p.channel, p.sent))
	both("server") // after a restart, a client says nothing before it is back
	p.m.run(fmt.Sprintf(`echo '{"send":"websocket","users":[1],"command":"from-client-%d","params":{},"expiry":60}' >>/tmp/portal/orders`, p.sent))
	both("client")
	if out, _ := p.m.try("grep complaint /tmp/portal/events"); out != "" {
		p.m.t.Errorf("a client complains: %s", out)
	}
}

// stayed sees that the client with a WebSocket has come online so many times by now: once is all the time.
func (p *portal) stayed(times int) {
	p.m.t.Helper()
	p.m.run(fmt.Sprintf(`[ $(grep -c '"client":"websocket","status":"online"' /tmp/portal/events) = %d ] || { cat /tmp/portal/events; false; }`, times))
}

const clientSource = "../../cmd/push-server/testdata/client"

// clientModules is where the vendor's client is installed, shared with the tests of cmd/push-server.
func clientModules(t *testing.T) string {
	t.Helper()
	lock, err := os.ReadFile(filepath.Join(clientSource, "package-lock.json"))
	if err != nil {
		t.Fatal(err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cache, "push-server-test", fmt.Sprintf("client-%x", sha256.Sum256(lock))[:24])
	if _, err := os.Stat(filepath.Join(dir, "node_modules")); err == nil {
		return filepath.Join(dir, "node_modules")
	}
	fresh := dir + ".new"
	defer os.RemoveAll(fresh)
	if err := os.CopyFS(fresh, os.DirFS(clientSource)); err != nil {
		t.Fatal(err)
	}
	install := exec.CommandContext(t.Context(), "npm", "ci", "--no-audit", "--no-fund")
	install.Dir = fresh
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("npm ci: %v\n%s", err, out)
	}
	if err := os.Rename(fresh, dir); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "node_modules")
}
