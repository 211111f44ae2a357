package main

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"push-server/protocol/testclient"
	"push-server/redisbus/redistest"
)

// TestPortalClients drives the vendor's client in all of its modes.
func TestPortalClients(t *testing.T) {
	onEachBus(t, func(t *testing.T, redis *redistest.Server) {
		p := openPortal(t, install(t, "default", redis, 1), inNode)
		for _, version := range []int{4, 3} {
			p.addUser(fmt.Sprintf("websocket-%d", version), version, true)
			p.addUser(fmt.Sprintf("poll-%d", version), version, false)
		}
		for _, u := range p.users {
			p.start(u)
		}
		for _, u := range p.users {
			waitOnline(t, p.in, u.channel)
		}
		p.publishesToEach()
		p.sendBetween(p.users[0], p.users[1])
		p.sendBetween(p.users[1], p.users[0])
		p.cutAndReturn()
	})
}

// publishesToEach sends as PHP does, in both of its ways, to a user and to all.
func (p *portal) publishesToEach() {
	backend := testclient.NewHTTP(false)
	for _, u := range p.users {
		p.publishBatch(backend, 60, "batch", u.channel)
		p.publishText(backend, 60, "text", u.channel)
		p.expect(u, "server", "batch")
		p.expect(u, "server", "text")
		if u.websocket { // a message that is not kept may come while a client does not poll
			p.publishText(backend, 0, "unkept", u.channel)
			p.expect(u, "server", "unkept")
		}
	}
	p.publishText(backend, 60, "all", p.shared)
	for _, u := range p.users {
		e := p.expect(u, "server", "all")
		if e.Extra["server_name"] != "portal.example" || e.Extra["revision_web"] != 19.0 {
			p.t.Errorf("extra did not come through: %v", e.Extra)
		}
	}
}

// sendBetween lets one client publish to another.
func (p *portal) sendBetween(from, to *user) {
	p.mids++
	p.order(map[string]any{"send": from.name, "users": []int{to.id}, "command": "hello", "params": map[string]any{"n": p.mids}, "expiry": 60})
	e := p.expect(to, "client", "hello")
	sender, _ := e.Extra["sender"].(map[string]any)
	if sender["type"] != 1.0 || sender["id"] != from.channel.Public {
		p.t.Errorf("%s got a message from %v, want client %s", to.name, sender, from.channel.Public)
	}
}

// cutAndReturn publishes while everybody is away, and once more when they are back.
func (p *portal) cutAndReturn() {
	const missed = 24
	backend := testclient.NewHTTP(false)
	for _, u := range p.users {
		u.relay.Cut()
	}
	for i := range missed {
		for _, u := range p.users {
			if i%2 == 0 {
				p.publishBatch(backend, 3600, "missed-"+strconv.Itoa(i), u.channel)
			} else {
				p.publishText(backend, 3600, "missed-"+strconv.Itoa(i), u.channel)
			}
		}
	}
	for _, u := range p.users {
		u.relay.Join()
	}
	for i := range missed {
		for _, u := range p.users {
			p.expect(u, "server", "missed-"+strconv.Itoa(i))
		}
	}
	p.publishText(backend, 3600, "after", p.shared)
	for _, u := range p.users {
		p.expect(u, "server", "after")
	}
}

// inNode runs clients in Node.
func inNode(p *portal) {
	t := p.t
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"client.mjs", "portal.mjs"} {
		script, err := os.ReadFile(filepath.Join("testdata", "client", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), script, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(installedModules(t), filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("node", "client.mjs")
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v; apt-get install nodejs npm", err)
	}
	t.Cleanup(func() {
		stdin.Close()
		cmd.Wait()
	})
	p.orders = stdin
	go func() {
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			p.tell(lines.Bytes())
		}
	}()
}

// installedModules is the node_modules of testdata/client, installed once for each state of its lock file.
func installedModules(t *testing.T) string {
	t.Helper()
	lock, err := os.ReadFile(filepath.Join("testdata", "client", "package-lock.json"))
	if err != nil {
		t.Fatal(err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	modules := filepath.Join(cache, "push-server-test", fmt.Sprintf("client-%x", sha256.Sum256(lock))[:24], "node_modules")
	if _, err := os.Stat(modules); err == nil {
		return modules
	}
	installModules(t, filepath.Dir(modules))
	return modules
}

// installModules installs beside dir first, so that dir is never half there.
func installModules(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	fresh, err := os.MkdirTemp(filepath.Dir(dir), "installing")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(fresh)
	if err := os.CopyFS(fresh, os.DirFS(filepath.Join("testdata", "client"))); err != nil {
		t.Fatal(err)
	}
	install := exec.CommandContext(t.Context(), "npm", "ci", "--no-audit", "--no-fund")
	install.Dir = fresh
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("npm ci: %v\n%s\napt-get install nodejs npm", err, out)
	}
	if err := os.Rename(fresh, dir); err != nil && !os.IsExist(err) {
		t.Logf("another run was faster: %v", err)
	}
}
