package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"push-server/protocol/testclient"
	"push-server/redisbus/redistest"
)

// A portal runs real clients, those of the vendor's SDK, in one process of Node.
type portal struct {
	t      *testing.T
	in     *installation
	orders io.Writer
	shared testclient.Channel
	users  []*user
	events map[string]chan event
	mids   int
}

// A user is one of the portal, with a client whose way to the server can be cut.
type user struct {
	name      string
	id        int
	channel   testclient.Channel
	version   int
	websocket bool
	relay     *testclient.Relay
}

// An event is what a client tells.
type event struct {
	Client    string
	Status    string
	From      string
	Command   string
	Params    map[string]any
	Extra     map[string]any
	Complaint string
}

// TestPortalClients drives the vendor's client in all of its modes.
func TestPortalClients(t *testing.T) {
	onEachBus(t, func(t *testing.T, redis *redistest.Server) {
		p := openPortal(t, install(t, "default", redis, 1))
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

// body is what PHP puts into a publication.
func (p *portal) body(command string) string {
	p.mids++
	now := time.Now()
	return fmt.Sprintf(`{"module_id":"test","command":%q,"params":{"n":%d,"text":"\u0437\u0434\u0440\u0430\u0432"},"extra":{"server_time":%q,"server_time_unix":%d.5,"server_name":"portal.example","revision_web":19,"revision_mobile":3}}`,
		command, p.mids, now.Format(time.RFC3339), now.Unix())
}

func (p *portal) publishText(backend *testclient.HTTP, expiry int, command string, to testclient.Channel) {
	p.t.Helper()
	reply, err := backend.PublishText(p.t.Context(), p.in.pubURL(), p.body(command), expiry, to.Private)
	if err != nil || reply.Status != 200 || len(reply.Body) > 0 {
		p.t.Fatalf("publication answered %d %q, %v", reply.Status, reply.Body, err)
	}
}

func (p *portal) publishBatch(backend *testclient.HTTP, expiry uint32, command string, to testclient.Channel) {
	p.t.Helper()
	reply, err := backend.Request(p.t.Context(), p.in.pubURL(), testclient.AppendPublish(nil, testclient.Publication{
		Receivers: []testclient.Receiver{to.PrivateReceiver()}, Body: p.body(command), Expiry: expiry,
	}))
	if err != nil || reply.Status != 200 || len(reply.Body) > 0 {
		p.t.Fatalf("publication answered %d %q, %v", reply.Status, reply.Body, err)
	}
}

// expect waits for the next message of the user, which has to be that one.
func (p *portal) expect(u *user, from, command string) event {
	p.t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case e := <-p.events[u.name]:
			switch {
			case e.Complaint != "":
				p.t.Fatalf("%s complains: %s", u.name, e.Complaint)
			case e.Status != "":
			case e.From != from || e.Command != command:
				p.t.Fatalf("%s got %s from %s, want %s from %s", u.name, e.Command, e.From, command, from)
			default:
				return e
			}
		case <-deadline:
			p.t.Fatalf("%s did not get %s", u.name, command)
		}
	}
}

// openPortal starts Node.
func openPortal(t *testing.T, in *installation) *portal {
	t.Helper()
	dir := t.TempDir()
	script, err := os.ReadFile(filepath.Join("testdata", "client", "client.mjs"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "client.mjs"), script, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(installedModules(t), filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	p := &portal{t: t, in: in, shared: testclient.NewChannel(testKey), events: map[string]chan event{}}
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
	t.Cleanup(p.closeRelays)
	p.listen(stdout)
	return p
}

// listen sorts events by client. Clients have to be added before.
func (p *portal) listen(stdout io.Reader) {
	for _, version := range []int{3, 4, 5} {
		p.events[fmt.Sprintf("websocket-%d", version)] = make(chan event, 1000)
		p.events[fmt.Sprintf("poll-%d", version)] = make(chan event, 1000)
	}
	go func() {
		lines := bufio.NewScanner(stdout)
		for lines.Scan() {
			var e event
			if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
				e = event{Complaint: err.Error()}
			}
			if queue := p.events[e.Client]; queue != nil {
				queue <- e
			}
		}
	}()
}

func (p *portal) closeRelays() {
	for _, u := range p.users {
		u.relay.Close()
	}
}

func (p *portal) addUser(name string, version int, websocket bool) {
	p.t.Helper()
	relay, err := testclient.NewRelay(p.in.subs[0])
	if err != nil {
		p.t.Fatal(err)
	}
	p.users = append(p.users, &user{
		name: name, id: len(p.users) + 1, version: version, websocket: websocket,
		channel: testclient.NewChannel(testKey), relay: relay,
	})
}

func (p *portal) order(order map[string]any) {
	p.t.Helper()
	if err := json.NewEncoder(p.orders).Encode(order); err != nil {
		p.t.Fatal(err)
	}
}

// start gives the client the configuration that a portal would.
func (p *portal) start(u *user) {
	p.t.Helper()
	begin, end := time.Now().Add(-time.Hour).Format(time.RFC3339), time.Now().Add(12*time.Hour).Format(time.RFC3339)
	signed := u.channel.Signed()
	if u.version < 4 {
		signed = u.channel.Alone()
	}
	public := map[string]any{}
	for _, other := range p.users {
		public[strconv.Itoa(other.id)] = map[string]any{
			"user_id": other.id, "public_id": other.channel.Public,
			"signature": hex.EncodeToString(other.channel.PublicReceiver().Signature), "start": begin, "end": end,
		}
	}
	config := map[string]any{
		"api": map[string]any{"revision_web": 19, "revision_mobile": 3},
		"channels": map[string]any{
			"shared":  map[string]any{"id": p.shared.Alone(), "start": begin, "end": end, "type": "shared"},
			"private": map[string]any{"id": signed, "start": begin, "end": end, "type": "private"},
		},
		"publicChannels": public,
		"server": map[string]any{
			"version": u.version, "server_enabled": true, "mode": "personal", "config_timestamp": 0,
			"long_polling": "http://" + u.relay.Addr() + subPath, "websocket_enabled": u.websocket,
			"websocket": "ws://" + u.relay.Addr() + subPath, "publish_enabled": true, "publish": "http://" + p.in.pub + restPath,
		},
	}
	if u.version == 5 {
		expires := time.Now().Add(time.Hour).Unix()
		config["jwt"] = testclient.Token(testKey, expires, u.id, p.shared.Private)
		config["exp"] = expires
	}
	p.order(map[string]any{"start": u.name, "user": u.id, "config": config})
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
