package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	account "os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"push-server/protocol/testclient"
)

// An operator has an installation made by make install in a folder, with ports of its own, and works with push-server-multi.
type operator struct {
	t          *testing.T
	dir        string
	env        []string
	subs, pubs []string // ports
}

func newOperator(t *testing.T, settings ...string) *operator {
	t.Helper()
	o := &operator{t: t, dir: t.TempDir()}
	o.env = append(os.Environ(), asServer+"=1", "PUSH_SERVER_SETTINGS="+o.path("etc/default/push-server"), "PATH="+o.path("fake")+":"+os.Getenv("PATH"))
	o.install()
	me, err := account.Current()
	if err != nil {
		t.Fatal(err)
	}
	sub, pub := freeBase(t, 6), freeBase(t, 2)
	o.set(append([]string{
		"USER=" + me.Username, "GROUP=",
		"CFG_DIR=" + o.path("etc/push-server"), "VAR_DIR=" + o.path("log"), "RUN_DIR=" + o.path("run"), "UNIT_DIR=" + o.path("units"),
		fmt.Sprint("BASE_SUB=", sub), fmt.Sprint("BASE_PUB=", pub),
	}, settings...)...)
	for id := range 6 {
		o.subs = append(o.subs, fmt.Sprintf("%d%d", sub, id))
	}
	for id := range 2 {
		o.pubs = append(o.pubs, fmt.Sprintf("%d%d", pub, id))
	}
	t.Cleanup(o.leave)
	return o
}

// install puts this test in the place of the server.
func (o *operator) install() {
	o.t.Helper()
	executable, err := os.Executable()
	if err != nil {
		o.t.Fatal(err)
	}
	install := exec.Command("make", "-C", "../..", "install", "DESTDIR="+o.dir, "SERVER="+executable)
	install.Env = append(os.Environ(), asServer+"=1") // it prints its man pages
	out, err := install.CombinedOutput()
	if err != nil {
		o.t.Fatalf("%v\n%s", err, out)
	}
}

// freeBase is a number to which one digit below n is added to make a port that nobody listens on.
func freeBase(t *testing.T, n int) int {
	t.Helper()
	for range 1000 {
		base := 2000 + rand.IntN(1200)
		if !slices.ContainsFunc(ports(base, n), taken) {
			return base
		}
	}
	t.Fatal("no free ports")
	return 0
}

func ports(base, n int) (list []string) {
	for id := range n {
		list = append(list, fmt.Sprintf("%d%d", base, id))
	}
	return list
}

func taken(port string) bool {
	l, err := net.Listen("tcp", ":"+port)
	if err == nil {
		l.Close()
	}
	return err != nil
}

func (o *operator) path(name string) string { return filepath.Join(o.dir, name) }

// set adds lines to the settings; the last one counts.
func (o *operator) set(lines ...string) {
	o.t.Helper()
	f, err := os.OpenFile(o.path("etc/default/push-server"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		o.t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(strings.Join(lines, "\n")); err != nil { // without a final line feed, as some editors do
		o.t.Fatal(err)
	}
	if _, err := f.WriteString("\n"); err != nil {
		o.t.Fatal(err)
	}
}

// run calls push-server-multi and wants that exit code. It returns what was printed.
func (o *operator) run(want int, args ...string) string {
	o.t.Helper()
	cmd := exec.Command(o.path("usr/local/bin/push-server-multi"), args...)
	cmd.Env = o.env
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || cmd.ProcessState.ExitCode() != want {
		o.t.Fatalf("%q: %v, want exit code %d\n%s", args, err, want, out)
	}
	return string(out)
}

// leave stops everything, and fails the test if the logs are alarming.
func (o *operator) leave() {
	o.run(0, "stop")
	logs, err := filepath.Glob(o.path("log/*.log"))
	if err != nil {
		o.t.Error(err)
	}
	for _, name := range logs {
		if text := o.read(name); alarming.MatchString(text) || o.t.Failed() {
			o.t.Errorf("%s:\n%s", name, text)
		}
	}
}

func (o *operator) read(name string) string {
	o.t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		o.t.Fatal(err)
	}
	return string(text)
}

// pids are the process ids in all pid files, by name of the service.
func (o *operator) pids() map[string]int {
	o.t.Helper()
	files, err := filepath.Glob(o.path("run/*.pid"))
	if err != nil {
		o.t.Fatal(err)
	}
	pids := map[string]int{}
	for _, name := range files {
		pid, err := strconv.Atoi(strings.TrimSpace(o.read(name)))
		if err != nil {
			o.t.Fatal(err)
		}
		pids[strings.TrimSuffix(filepath.Base(name), ".pid")] = pid
	}
	return pids
}

func (o *operator) config(name string) string {
	return o.path("etc/push-server/push-server-" + name + ".json")
}

// useTemplatesOfNode puts those in place that come with the Node server. Only the folder of logs is another one: it is fixed there.
func (o *operator) useTemplatesOfNode() {
	o.t.Helper()
	for _, kind := range []string{"sub", "pub"} {
		text := o.read("testdata/bitrixvm/push-server-" + kind + "-__PORT__.json")
		text = strings.ReplaceAll(text, "/var/log/push-server", o.path("log"))
		if err := os.WriteFile(o.config(kind+"-__PORT__"), []byte(text), 0o600); err != nil {
			o.t.Fatal(err)
		}
	}
}

var keyLine = regexp.MustCompile(`(?m)^SECURITY_KEY=([A-Za-z0-9]{128})$`)

// key is what channels are signed with.
func (o *operator) key() string {
	o.t.Helper()
	key := keyLine.FindStringSubmatch(o.read(o.path("etc/default/push-server")))
	if key == nil {
		o.t.Fatal("the settings have no key")
	}
	return key[1]
}

// deliver publishes through each of those ports what a client at each port for subscribers has to get.
func (o *operator) deliver() {
	o.t.Helper()
	key := o.key()
	backend := testclient.NewHTTP(false)
	for i, port := range o.subs {
		ch := testclient.NewChannel(key)
		socket, err := testclient.Dial(o.t.Context(), "127.0.0.1:"+port, subPath+testclient.Query(i%2 == 0, "", ch.Signed()))
		if err != nil {
			o.t.Fatal(err)
		}
		in := &installation{pub: "127.0.0.1:" + o.pubs[i%2]}
		waitOnline(o.t, in, ch)
		for n, pub := range o.pubs {
			reply, err := backend.PublishText(o.t.Context(), "http://127.0.0.1:"+pub+pubPath, numbered(n+1), 60, ch.Private)
			if err != nil || reply.Status != 200 {
				o.t.Fatalf("answered %d, %v", reply.Status, err)
			}
		}
		if err := followSocket(socket).until(numbered(len(o.pubs))); err != nil {
			o.t.Errorf("port %s: %v", port, err)
		}
		socket.Close()
		late := followPolls(o.t.Context(), "127.0.0.1:"+o.subs[5-i], ch)
		late.mid = strings.Repeat("0", 26)
		if err := late.until(numbered(len(o.pubs))); err != nil {
			o.t.Errorf("poll behind port %s: %v", port, err)
		}
	}
}
