package main

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"push-server/protocol/testclient"
	"push-server/redisbus/redistest"
)

// TestEntrypoint starts a container that does both from the names of variables that containers of the Node server have.
func TestEntrypoint(t *testing.T) {
	f := func(code int, want string, env ...string) {
		t.Helper()
		cmd := exec.Command("../../configs/docker/entrypoint.sh")
		cmd.Env = append(os.Environ(), env...)
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != code || !strings.Contains(string(out), want) {
			t.Errorf("%q: got %v %s, want %q", env, err, out, want)
		}
	}
	f(2, "PUSH_SUB_MODE=sub")
	f(2, "PUSH_SECURITY_KEY is empty", "MODE=sub")
	f(2, "REDIS_HOST is empty", "PUSH_PUB_MODE=pub", "SECURITY_KEY=x")
	f(2, "MODE is both", "MODE=both", "SECURITY_KEY=x")
	f(2, "REDIS_PORT is tcp:", "PUSH_SUB_MODE=sub", "SECURITY_KEY=x", "REDIS_HOST=r", "REDIS_PORT=tcp:x")
	f(2, "LISTEN_PORT is 70000", "MODE=pub", "SECURITY_KEY=x", "LISTEN_PORT=70000")

	t.Run("memory", func(t *testing.T) { serveEntrypoint(t, nil) })
	t.Run("Redis", func(t *testing.T) {
		password := "a:b@c/d?e#f%20+="
		_, port := redistest.StartTCP(t, "--requirepass", password)
		serveEntrypoint(t, map[string]string{"REDIS_HOST": "127.0.0.1", "REDIS_PORT": fmt.Sprint(port), "REDIS_PASSWORD": password})
	})
}

func serveEntrypoint(t *testing.T, env map[string]string) {
	dir, sub, pub := t.TempDir(), freePort(t), freePort(t)
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(executable, filepath.Join(dir, "push-server")); err != nil {
		t.Fatal(err)
	}
	key := `strange "key" with \ in it`
	for name, value := range map[string]string{
		asServer: "1", "PATH": dir + ":" + os.Getenv("PATH"), "RUN_DIR": filepath.Join(dir, "run"), "PUSH_SECURITY_KEY": key,
		"PUSH_SUB_MODE": "sub", "PUSH_SUB_PORT": fmt.Sprint(sub), "PUSH_PUB_MODE": "pub", "PUSH_PUB_PORT": fmt.Sprint(pub),
	} {
		t.Setenv(name, value)
	}
	for name, value := range env {
		t.Setenv(name, value)
	}
	p := &process{t: t, cmd: exec.Command("../../configs/docker/entrypoint.sh"), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(p.finish)
	in := &installation{subs: []string{fmt.Sprint("127.0.0.1:", sub)}, pub: fmt.Sprint("127.0.0.1:", pub)}
	p.waitListening(in.subs[0])
	p.waitListening(in.pub)
	ch := testclient.NewChannel(key)
	socket, err := testclient.Dial(t.Context(), in.subs[0], subPath+testclient.Query(true, "", ch.Signed()))
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	if reply, err := testclient.NewHTTP(false).PublishText(t.Context(), in.pubURL(), numbered(1), 60, ch.Private); err != nil || reply.Status != 200 {
		t.Fatalf("answered %d, %v", reply.Status, err)
	}
	if err := followSocket(socket).until(numbered(1)); err != nil {
		t.Error(err)
	}
}

// TestOwnNginx runs the example for those who have an nginx of their own.
func TestOwnNginx(t *testing.T) {
	c := standalone(t)
	start(t, c)
	site, backend := fmt.Sprint("127.0.0.1:", freePort(t)), fmt.Sprint("127.0.0.1:", freePort(t))
	dir := t.TempDir()
	for _, name := range []string{"push-server.conf", "push-server-site.conf"} {
		text, err := os.ReadFile("../../configs/nginx/" + name)
		if err != nil {
			t.Fatal(err)
		}
		text = bytes.ReplaceAll(text, []byte("127.0.0.1:8011"), []byte(c.addr("sub")))
		text = bytes.ReplaceAll(text, []byte("127.0.0.1:8010"), []byte(c.addr("sub")))
		text = bytes.ReplaceAll(text, []byte("127.0.0.1:9010"), []byte(c.addr("pub")))
		text = bytes.ReplaceAll(text, []byte("127.0.0.1:8895"), []byte(backend))
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	nginx := "daemon off; master_process off; pid nginx.pid; error_log stderr; events {} http {\n" +
		"client_body_temp_path b; proxy_temp_path p; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;\n" +
		"include push-server.conf; server { listen " + site + "; access_log off; include push-server-site.conf; } }"
	if err := os.WriteFile(filepath.Join(dir, "nginx.conf"), []byte(nginx), 0o600); err != nil {
		t.Fatal(err)
	}
	runNginx(t, dir)

	ch := testclient.NewChannel(c["security"].(map[string]any)["key"].(string))
	var socket *testclient.Conn
	testclient.AwaitNil(t, "nginx serves", func() (err error) {
		socket, err = testclient.Dial(t.Context(), site, subPath+testclient.Query(false, "", ch.Signed()))
		return err
	})
	defer socket.Close()
	h := testclient.NewHTTP(true)
	defer h.Close()
	if reply, err := h.PublishText(t.Context(), "http://"+backend+pubPath, numbered(1), 60, ch.Private); err != nil || reply.Status != 200 {
		t.Fatalf("answered %d, %v", reply.Status, err)
	}
	if err := followSocket(socket).until(numbered(1)); err != nil {
		t.Error(err)
	}
	for range 2 { // the second over a connection that nginx has kept
		reply, err := h.Poll(t.Context(), "http://"+site+"/bitrix/sub/"+testclient.Query(false, strings.Repeat("0", 26), ch.Signed()))
		if err != nil || !strings.Contains(string(reply.Body), numbered(1)) {
			t.Errorf("poll answered %d %s, %v", reply.Status, reply.Body, err)
		}
	}
	batch := testclient.AppendPublish(nil, testclient.Publication{Receivers: []testclient.Receiver{ch.PublicReceiver()}, Body: numbered(2), Expiry: 60})
	if reply, err := h.Post(t.Context(), "http://"+site+restPath+testclient.Query(false, "", ch.Signed()), batch); err != nil || reply.Status != http.StatusOK {
		t.Errorf("rest answered %d %s, %v", reply.Status, reply.Body, err)
	}
}

// TestEveryInterface is what a listener without a hostname is at, or with one that is not of this machine.
func TestEveryInterface(t *testing.T) {
	for _, hostname := range []string{"", "192.0.2.1"} {
		c := standalone(t)
		for _, listener := range c.listeners() {
			listener["hostname"] = hostname
		}
		start(t, c)
	}
}

// TestEntrypointDefaults looks at the configuration that the script writes, with the defaults of the image whose variables are used.
func TestEntrypointDefaults(t *testing.T) {
	f := func(want []string, env ...string) {
		t.Helper()
		dir := t.TempDir()
		if err := os.Symlink("/bin/true", filepath.Join(dir, "push-server")); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("../../configs/docker/entrypoint.sh")
		cmd.Env = append([]string{"PATH=" + dir + ":" + os.Getenv("PATH"), "RUN_DIR=" + dir, "SECURITY_KEY=x"}, env...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%q: %v %s", env, err, out)
			return
		}
		text, err := os.ReadFile(filepath.Join(dir, "config.json"))
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range want {
			if !strings.Contains(string(text), part) {
				t.Errorf("%q: %s is missing in\n%s", env, part, text)
			}
		}
	}
	f([]string{`"name": "pub"`, `"port": "8010"`, `"host": "redis", "port": "6379"`}, "MODE=pub")
	f([]string{`"name": "sub"`, `"port": "8010"`, `"host": "redis", "port": "6379"`}, "MODE=sub")
	f([]string{`"port": "8800"`, `"host": "db"`}, "MODE=pub", "LISTEN_PORT=8800", "REDIS_HOST=db")
	f([]string{`"name": "pub"`, `"port": "9010"`}, "PUSH_PUB_MODE=pub", "REDIS_HOST=db")
	f([]string{`"host": "db", "port": "6380"`}, "PUSH_SUB_MODE=sub", "REDIS_HOST=db", "REDIS_PORT=tcp://172.17.0.2:6380")
	f([]string{`"host": "172.17.0.2", "port": "6380"`}, "PUSH_SUB_MODE=sub", "REDIS_PORT=tcp://172.17.0.2:6380")
	for _, yes := range []string{"1", "true", "yes", "on", "TRUE"} {
		f([]string{`"name": "sub"`, `"port": "8010"`}, "PUSH_SUB_MODE="+yes, "REDIS_HOST=db")
	}
}
