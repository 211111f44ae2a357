package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"push-server/protocol/testclient"
)

// TestOperate does what an operator does with a fresh installation.
func TestOperate(t *testing.T) {
	o := newOperator(t, "REDIS_SOCK="+startRedis(t).Addr())
	if out := o.run(0, "configs"); strings.Count(out, ".json written") != 8 {
		t.Errorf("configs printed\n%s", out)
	}
	if out := o.run(0, "configs"); out != "" {
		t.Errorf("configs without a change printed\n%s", out)
	}
	o.run(3, "status")
	o.run(0, "start")
	before := o.pids()
	if out := o.run(0, "status"); strings.Count(out, " runs, process ") != 8 || len(before) != 8 {
		t.Errorf("eight should run:\n%s", out)
	}
	o.deliver()

	o.run(0, "start")
	o.run(0, "restart", "sub", o.subs[3])
	o.onlyNew(before, "sub-"+o.subs[3])

	before = o.pids()
	if out := o.run(0, "upgrade", "sub", o.subs[1]); out != "sub-"+o.subs[1]+" goes on in a new process\n" {
		t.Errorf("upgrade printed\n%s", out)
	}
	o.onlyNew(before, "sub-"+o.subs[1])
	o.deliver()

	// What somebody has changed by hand is set right.
	before = o.pids()
	o.write(o.config("pub-"+o.pubs[1]), "{}")
	o.run(0, "reset")
	o.onlyNew(before, "pub-"+o.pubs[1])

	// What would not start again is left alone.
	before = o.pids()
	o.write(o.config("sub-"+o.subs[0]), `{"servers": 1}`)
	if out := o.run(1, "restart", "sub", o.subs[0]); !strings.Contains(out, "check --config "+o.config("sub-"+o.subs[0])) {
		t.Errorf("a mangled configuration gives\n%s", out)
	}
	o.onlyNew(before)
	o.run(0, "configs", "sub", o.subs[0])

	o.run(0, "reload")
	o.onlyNew(before)
	o.deliver()

	o.run(0, "stop", "pub")
	o.run(3, "status", "pub", o.pubs[0])
	o.run(0, "status", "sub", o.subs[5])
	o.run(0, "stop")
	if pids := o.pids(); len(pids) > 0 {
		t.Errorf("left: %v", pids)
	}
}

// A restart puts another process in the place of each, and whoever is connected does not notice, but for what takes a stop.
func TestRestartHandsOver(t *testing.T) {
	o := newOperator(t, "REDIS_SOCK="+startRedis(t).Addr())
	name, pub := "sub-"+o.subs[3], "pub-"+o.pubs[0]
	o.run(0, "configs")
	o.run(0, "start", "sub", o.subs[3])
	o.run(0, "start", "pub", o.pubs[0])
	c, ch := o.client(o.subs[3])
	before := o.pids()
	o.run(0, "restart", "sub", o.subs[3])
	o.run(0, "restart", "pub", o.pubs[0])
	o.renewed(before, name, pub)
	o.tell(ch, "hello")
	if got := c.Bodies(1); got[0] != "hello" {
		t.Errorf("got %q after a restart", got)
	}
	before = o.pids()
	o.run(0, "restart", "--drop", "sub", o.subs[3])
	o.renewed(before, name)
	if f := c.Frame(); f.Header.OpCode != ws.OpClose {
		t.Errorf("got %+v, want to be dropped", f.Header)
	}

	// What takes a stop is refused; reset does it all the same.
	before = o.pids()
	o.write(o.config(name), strings.ReplaceAll(o.read(o.config(name)), "127.0.0.1", "127.0.0.2"))
	if out := o.run(1, "restart", "sub", o.subs[3]); !strings.Contains(out, "restart --drop") || !strings.Contains(out, "hostname") {
		t.Errorf("another address gives\n%s", out)
	}
	o.renewed(before)
	o.set("WS_HOST=127.0.0.2")
	if out := o.run(0, "reset", "sub", o.subs[3]); !strings.Contains(out, "started") {
		t.Errorf("reset printed\n%s", out)
	}
	o.set("WS_HOST=127.0.0.1")
	before = o.pids()
	o.run(0, "reset", "sub", o.subs[3])
	o.renewed(before, name)
}

// client listens at a port to a channel of its own.
func (o *operator) client(port string) (*testclient.Client, testclient.Channel) {
	o.t.Helper()
	ch := testclient.NewChannel(o.key())
	return testclient.Subscribe(o.t, "127.0.0.1:"+port, subPath+testclient.Query(false, "", ch.Signed())), ch
}

// tell publishes to a channel.
func (o *operator) tell(ch testclient.Channel, body string) {
	o.t.Helper()
	backend := testclient.NewHTTP(false)
	reply, err := backend.PublishText(o.t.Context(), "http://127.0.0.1:"+o.pubs[0]+pubPath, body, 60, ch.Private)
	if err != nil || reply.Status != 200 {
		o.t.Fatalf("answered %v, %v", reply, err)
	}
}

// onlyNew checks that services with these names have other processes now, and that the others run on.
func (o *operator) onlyNew(before map[string]int, names ...string) {
	o.t.Helper()
	o.run(0, "status")
	o.renewed(before, names...)
}

// renewed is onlyNew where not all services run.
func (o *operator) renewed(before map[string]int, names ...string) {
	o.t.Helper()
	for name, pid := range o.pids() {
		if renewed := before[name] != pid; renewed != strings.Contains(strings.Join(names, " "), name) {
			o.t.Errorf("%s: process %d, before %d", name, pid, before[name])
		}
	}
}

func (o *operator) write(name, text string) {
	o.t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o640); err != nil {
		o.t.Fatal(err)
	}
}

// TestEightServicesOfNode serves the files of a BitrixVM as they are, by a process for each and by one for all.
func TestEightServicesOfNode(t *testing.T) {
	o := newOperator(t, "REDIS_SOCK="+startRedis(t).Addr())
	o.useTemplatesOfNode()
	o.run(0, "configs")
	o.run(0, "start")
	o.deliver()

	o.set("ONE_PROCESS=1")
	o.run(0, "restart")
	if pids := o.pids(); len(pids) != 1 || pids["push-server"] == 0 {
		t.Errorf("%v run, want one", pids)
	}
	o.deliver()
	o.run(2, "restart", "sub")

	o.set("ONE_PROCESS=0")
	o.run(0, "restart")
	if pids := o.pids(); len(pids) != 8 {
		t.Errorf("%v run, want eight", pids)
	}
}

// TestTakingOverFromNode restarts a service whose process is that of the Node server.
func TestTakingOverFromNode(t *testing.T) {
	o := newOperator(t, "REDIS_SOCK="+startRedis(t).Addr())
	o.useTemplatesOfNode()
	o.run(0, "configs")
	name := "sub-" + o.subs[2]
	script := o.path("server.js")
	o.write(script, "require('net').createServer().listen("+o.subs[2]+", '127.0.0.1')")
	node := exec.Command("node", script, "--config", o.config(name))
	node.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := node.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		node.Wait()
		close(ended)
	}()
	if err := os.MkdirAll(o.path("run"), 0o755); err != nil {
		t.Fatal(err)
	}
	o.write(o.path("run/"+name+".pid"), fmt.Sprintln(node.Process.Pid))
	o.run(0, "status", "sub", o.subs[2])
	testclient.AwaitNil(t, "Node listens", func() error {
		conn, err := net.Dial("tcp", "127.0.0.1:"+o.subs[2])
		if err == nil {
			conn.Close()
		}
		return err
	})
	o.run(0, "restart", "sub", o.subs[2])
	<-ended
	if pid := o.pids()[name]; pid == node.Process.Pid || pid == 0 {
		t.Errorf("process %d runs", pid)
	}
}

func TestOperatingMistakes(t *testing.T) {
	o := newOperator(t)
	f := func(code int, want string, args ...string) {
		t.Helper()
		if out := o.run(code, args...); !strings.Contains(out, want) {
			t.Errorf("%q: got %q, want %q", args, out, want)
		}
	}
	f(2, "systemd_start")
	f(0, "systemd_start", "help")
	f(2, "unknown verb", "begin")
	f(2, "no service is sub 1", "start", "sub", "1")
	f(2, "no service is both all", "status", "both")
	f(1, "is missing", "start", "pub", o.pubs[0])
	o.run(0, "configs", "pub")
	l, err := net.Listen("tcp", "127.0.0.1:"+o.pubs[0])
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f(1, "address already in use", "start", "pub", o.pubs[0])
}

// TestUnitsOfServices is MULTISERVICE: systemd runs what the script has written.
func TestUnitsOfServices(t *testing.T) {
	o := newOperator(t, "MULTISERVICE=1", "NOFILE_LIMITS=512", "MAX_MEMORY=300")
	for _, dir := range []string{"fake", "units"} {
		if err := os.Mkdir(o.path(dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	o.write(o.path("fake/systemctl"), "#!/bin/sh\n[ $1 != show ] || exec echo MainPID=99999999\necho systemctl \"$@\"\n")
	if err := os.Chmod(o.path("fake/systemctl"), 0o755); err != nil {
		t.Fatal(err)
	}
	if out := o.run(0, "configs", "pub"); strings.Count(out, ".service written") != 2 || !strings.HasSuffix(out, "systemctl daemon-reload\n") {
		t.Error(out)
	}
	if out := o.run(0, "configs", "pub"); out != "" {
		t.Error(out)
	}
	unit := "push-server-" + o.pubs[0] + ".service"
	text := o.read(o.path("units/" + unit))
	for _, want := range []string{
		"\nExecStart=" + o.path("usr/local/bin/push-server") + " --config " + o.config("pub-"+o.pubs[0]) + "\n",
		"\nType=notify\n", "\nLimitNOFILE=512\n", "\nEnvironment=GOMEMLIMIT=300MiB\n\n[Install]\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
	if out := o.run(0, "restart", "pub", o.pubs[0]); out != "systemctl reload-or-restart "+unit+"\n" {
		t.Error(out)
	}
	if out := o.run(0, "restart", "--drop", "pub", o.pubs[0]); out != "systemctl restart "+unit+"\n" {
		t.Error(out)
	}
	o.write(o.path("units/"+unit), strings.ReplaceAll(text, " upgrade ", " reload ")) // of a version before
	if out := o.run(0, "restart", "pub", o.pubs[0]); out != "systemctl restart "+unit+"\n" {
		t.Error(out)
	}
	if out := o.run(1, "upgrade", "pub", o.pubs[0]); !strings.Contains(out, "process 99999999 takes no orders") {
		t.Error(out)
	}
}

// TestMakeInstall puts another prefix and user into the files, and leaves alone what the operator has.
func TestMakeInstall(t *testing.T) {
	dir := t.TempDir()
	server := filepath.Join(dir, "server")
	settings := filepath.Join(dir, "etc/default/push-server")
	if err := os.MkdirAll(filepath.Dir(settings), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		server:   "#!/bin/sh\n# mine\n[ $1 != man ] || echo page >$2/push-server.1\necho $@\n",
		settings: "# mine\n",
	} {
		if err := os.WriteFile(name, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.Command("make", "-C", "../..", "install", "DESTDIR="+dir, "PREFIX=/opt/push", "RUN_AS=www-data", "SERVER="+server).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	f := func(name string, want ...string) {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range want {
			if !strings.Contains(string(text), want) {
				t.Errorf("%s has no %q", name, want)
			}
		}
	}
	f("opt/push/bin/push-server", "# mine")
	f("opt/push/bin/push-server-multi", "#!/bin/sh")
	f("opt/push/lib/systemd/system/push-server.service", "\nUser=www-data\n", "\nExecStart=/opt/push/bin/push-server-multi systemd_start\n")
	f("opt/push/lib/systemd/system/push-server-one.service", "\nExecStart=/opt/push/bin/push-server --config /etc/push-server\n", "\nAlias=push-server.service\n")
	f("opt/push/lib/systemd/system/push-server@.service", "/etc/push-server/push-server-%i.json\n")
	f("opt/push/share/push-server/redis.json")
	f("opt/push/share/push-server/push-server-site.conf")
	f("opt/push/share/doc/push-server/MIGRATION.md")
	f("opt/push/share/man/man1/push-server.1", "page")
	f("opt/push/share/bash-completion/completions/push-server", "completion bash")
	f("opt/push/share/zsh/site-functions/_push-server", "completion zsh")
	f("opt/push/share/fish/vendor_completions.d/push-server.fish", "completion fish")
	f("etc/push-server/push-server-sub-__PORT__.json")
	f("etc/push-server/push-server-pub-__PORT__.json")
	f("etc/logrotate.d/push-server", "su www-data www-data")
	f("etc/sysctl.d/90-push-server.conf")
	f("etc/default/push-server", "# mine\n")
}

// TestSystemdHears reads what the server says to systemd.
func TestSystemdHears(t *testing.T) {
	dir, err := os.MkdirTemp("", "notify") // t.TempDir is too long for the name of a socket
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	systemd, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: filepath.Join(dir, "s")})
	if err != nil {
		t.Fatal(err)
	}
	defer systemd.Close()
	t.Setenv("NOTIFY_SOCKET", filepath.Join(dir, "s"))
	t.Setenv("WATCHDOG_USEC", "400000")
	c := standalone(t)
	p := launch(t, writeConfigs(t, c)...)
	// hear waits for a message. Those about life and connections come in between.
	hear := func(want string) {
		t.Helper()
		systemd.SetReadDeadline(time.Now().Add(patience))
		b := make([]byte, 1000)
		for {
			n, err := systemd.Read(b)
			heard := string(b[:n])
			switch {
			case err == nil && strings.HasPrefix(heard, want):
				return
			case err != nil || !strings.HasPrefix(heard, "WATCHDOG=1") && !strings.HasPrefix(heard, "STATUS="):
				t.Fatalf("systemd hears %q, %v, want %q\n%s", heard, err, want, p.log.String())
			}
		}
	}
	hear("READY=1")
	hear("WATCHDOG=1")
	hear("STATUS=serving 0 connections")
	hear("WATCHDOG=1")
	for _, route := range []string{"sub", "pub"} {
		conn, err := net.Dial("tcp", c.addr(route))
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
	}
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	hear("RELOADING=1\nMONOTONIC_USEC=")
	hear("READY=1")
	if code := p.signal(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d", code)
	}
	hear("STOPPING=1")
}
