package main

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"push-server/protocol/testclient"
	"push-server/redisbus/redistest"
)

// TestEnvironment starts a container that does both from the names of variables that containers of the Node server have.
func TestEnvironment(t *testing.T) {
	t.Run("memory", func(t *testing.T) { serveEnvironment(t, nil) })
	t.Run("Redis", func(t *testing.T) {
		password := "a:b@c/d?e#f%20+="
		_, port := redistest.StartTCP(t, "--requirepass", password)
		serveEnvironment(t, map[string]string{"REDIS_HOST": "127.0.0.1", "REDIS_PORT": fmt.Sprint(port), "REDIS_PASSWORD": password})
	})
}

func serveEnvironment(t *testing.T, env map[string]string) {
	sub, pub := freePort(t), freePort(t)
	key := `strange "key" with \ in it`
	for name, value := range map[string]string{
		"PUSH_SECURITY_KEY": key, "LISTEN_HOSTNAME": "127.0.0.1",
		"PUSH_SUB_MODE": "sub", "PUSH_SUB_PORT": fmt.Sprint(sub), "PUSH_PUB_MODE": "pub", "PUSH_PUB_PORT": fmt.Sprint(pub),
	} {
		t.Setenv(name, value)
	}
	for name, value := range env {
		t.Setenv(name, value)
	}
	p := launch(t)
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
	testclient.StartNginx(t, dir)

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
