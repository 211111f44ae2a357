package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"push-server/protocol/testclient"
	"push-server/redisbus/redistest"
)

// tokenWindow is the operator's window of a server, looked at with its token.
type tokenWindow struct{ addr, token string }

func (w tokenWindow) look(ctx context.Context, path string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+w.addr+path, nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("Authorization", "Bearer "+w.token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, page)
	}
	return string(page), err
}

// find waits for the connection that listens to a channel, and returns its id.
func (w tokenWindow) find(t *testing.T, ch testclient.Channel) (id string) {
	t.Helper()
	testclient.AwaitNil(t, "the connection is found by its channel", func() error {
		page, err := w.look(t.Context(), "/connections?search="+ch.Private)
		if m := regexp.MustCompile(`"id":"([0-9-]+)"`).FindStringSubmatch(page); m != nil {
			id = m[1]
		} else if err == nil {
			err = fmt.Errorf("not in %s", page)
		}
		return err
	})
	return id
}

// follow returns what is streamed about a connection until it ends.
func (w tokenWindow) follow(t *testing.T, id string) <-chan string {
	followed := make(chan string, 1)
	go func() {
		page, _ := w.look(t.Context(), "/connections/"+id+"/follow")
		followed <- page
	}()
	return followed
}

// Operators see nothing that opens channels, and nothing of what is said: neither the key, a signature, a channel id, the token nor a body
// is in anything that the window shows, or in the log.
func TestOperatorsSeeNoSecrets(t *testing.T) {
	t.Parallel()
	const said = "what-only-the-client-may-read"
	c := standalone(t)
	w := tokenWindow{fmt.Sprintf("127.0.0.1:%d", freePort(t)), "token-of-operators-0123"}
	c.option("metrics", w.addr)
	c.option("logLevel", "debug")
	c.option("maxBuffered", 1000)
	c.option("acceptTimeout", "10s") // a busy machine is no reason for a 202
	c.option("operators", map[string]any{"token": w.token})
	p := start(t, c)
	key := c["security"].(map[string]any)["key"].(string)
	quick, slow := testclient.NewChannel(key), testclient.NewChannel(key)
	socket := openSocket(t, c, quick)
	openSocket(t, c, slow)
	id := w.find(t, quick)
	followed := w.follow(t, id)
	backend := testclient.NewHTTP(false)
	publish := func(body, to string) {
		if reply, err := backend.PublishText(t.Context(), "http://"+c.addr("pub")+pubPath, body, 60, to); err != nil || reply.Status != 200 {
			t.Fatal(reply.Status, err)
		}
	}
	testclient.Await(t, "messages are sent, and a slow reader is closed", func() bool {
		publish(`{"text":"`+said+`"}`, quick.Private)
		publish(`"`+said+strings.Repeat("x", 200<<10)+`"`, slow.Private)
		return strings.Contains(p.log.String(), "read too slowly")
	})
	pages := make(map[string]string)
	for path, want := range map[string]string{
		"/warnings": "read too slowly", "/config": `"security.key","value":"***"`, "/connections": id, "/overview": `"delivered"`,
		"/metrics": "push_delivery_seconds_bucket", "/readyz": "ready", "/healthz": "", "/debug/pprof/cmdline": "", "/debug/pprof/heap?debug=1": "heap profile",
		"/connections/" + id + "/events": `"kind":"message"`, "/connections?search=" + quick.Signed(): id,
	} {
		page, err := w.look(t.Context(), path)
		if err != nil || !strings.Contains(page, want) {
			t.Errorf("%s: %v, %s", path, err, page)
		}
		pages[path] = page
	}
	socket.Close()
	select {
	case pages["/follow"] = <-followed:
	case <-time.After(patience):
		t.Fatal("the viewer is not told of the end")
	}
	if !strings.Contains(pages["/follow"], `"kind":"message"`) {
		t.Error(pages["/follow"])
	}
	pages["/closes"], _ = w.look(t.Context(), "/closes?search="+slow.Private)
	if !strings.Contains(pages["/closes"], `"reason":"slow_reader"`) {
		t.Error(pages["/closes"])
	}
	pages["log"] = p.log.String()
	findSecrets(t, pages, []testclient.Channel{quick, slow}, key, w.token, said)
}

// openSocket connects a WebSocket that listens to ch.
func openSocket(t *testing.T, c config, ch testclient.Channel) io.Closer {
	t.Helper()
	socket, err := testclient.Dial(t.Context(), c.addr("sub"), subPath+testclient.Query(false, "", ch.Signed()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	return socket
}

// findSecrets fails the test for each page that has a secret in it.
func findSecrets(t *testing.T, pages map[string]string, chs []testclient.Channel, secrets ...string) {
	t.Helper()
	for _, ch := range chs {
		signed := ch.Signed()
		secrets = append(secrets, ch.Private, ch.Public, signed[strings.LastIndexByte(signed, '.')+1:])
	}
	for path, page := range pages {
		for _, secret := range secrets {
			if strings.Contains(page, secret) {
				t.Errorf("%s shows %s", path, secret)
			}
		}
	}
}

// Nor is anything of that in what commands print, in log files and in lines of JSON, with tokens of version 5, signatures of its back ends
// and a password of Redis besides. Channel ids are in the traffic of those whom debug.ip follows, as with the Node server; without their
// signatures they open nothing.
func TestCommandsAndFilesShowNoSecrets(t *testing.T) {
	t.Parallel()
	const said, password, token = "what-only-the-client-may-read", "password-of-redis-0123", "token-of-operators-0123"
	dir := t.TempDir()
	c := talkative(t, dir, password, token)
	w := serveWhy(t, c)
	key := c["security"].(map[string]any)["key"].(string)
	ch := testclient.NewChannel(key)
	openSocket(t, c, ch)
	jwt := testclient.Token(key, time.Now().Add(time.Hour).Unix(), 17)
	socket, err := testclient.Dial(t.Context(), c.addr("sub"), subPath+"?jsonRpc=true&token="+jwt)
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	if refused, err := testclient.Dial(t.Context(), c.addr("sub"), subPath+"?jsonRpc=true&token="+jwt[:len(jwt)-2]+"xx"); err == nil {
		refused.Close() // and it is logged
	}
	w.publish(t, 200, ch, `"`+said+`"`, 60)
	body := `[{"jsonrpc":"2.0","method":"publish","params":{"userList":[17],"expiry":60,"body":{"text":"` + said + `"}}}]`
	signature := hex.EncodeToString(ch.Sign(body))
	b := &backend5{t, "http://" + c.addr("pub") + pubPath}
	if status, reply := b.callSigned(body, signature); status != 200 || reply != "[]" {
		t.Fatal(status, reply)
	}
	b.callSigned(body+" ", signature) // is refused

	w.want(t, "delivered", ch.Signed(), "")

	pages := make(map[string]string)
	for _, command := range []string{"check", "doctor", "stat", "health", "why --channel " + ch.Signed()} {
		stdout, stderr, _ := execute(t, append(strings.Fields(command), w.args...)...)
		if name, _, _ := strings.Cut(command, " "); len(stdout+stderr) > 0 {
			pages[name] = stdout + stderr
		}
	}
	if len(pages) < 5 {
		t.Errorf("%q", pages)
	}
	window := tokenWindow{c["push"].(map[string]any)["metrics"].(string), token}
	for _, path := range []string{"/connections", "/closes?search=" + ch.Private, "/connections/" + window.find(t, ch) + "/events", "/config", "/warnings", "/debug/pprof/goroutine?debug=2"} {
		page, err := window.look(t.Context(), path)
		if err != nil {
			t.Error(err)
		}
		pages[path] = page
	}
	signed := ch.Signed()
	secrets := []string{key, said, password, token, jwt, jwt[strings.LastIndexByte(jwt, '.')+1:], signature, signed[strings.LastIndexByte(signed, '.')+1:]}
	testclient.Await(t, "the traffic is in the file", func() bool {
		maps.Copy(pages, readFolder(t, dir))
		return strings.Contains(fmt.Sprint(pages), "[WS-CONNECTION]")
	})
	pages["standard error"] = w.process.log.String()
	findSecrets(t, pages, nil, secrets...)
}

// talkative is a server on a Redis with a password that says as much as it can, with log files in dir.
func talkative(t *testing.T, dir, password, token string) config {
	t.Helper()
	_, redis := redistest.StartTCP(t, "--requirepass", password)
	c := standalone(t)
	c["clusterMode"], c["storage"] = true, map[string]any{"type": "redis", "host": "127.0.0.1", "port": redis, "password": password}
	c["debug"] = map[string]any{"folderName": dir, "ip": []any{"127.0.0.1"}}
	c.option("acceptTimeout", "10s")
	c.option("logFormat", "json")
	c.option("logLevel", "debug")
	c.option("metrics", fmt.Sprintf("127.0.0.1:%d", freePort(t)))
	c.option("operators", map[string]any{"token": token})
	return c
}

// readFolder reads the files of a folder, by name.
func readFolder(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	texts := make(map[string]string)
	for _, entry := range entries {
		text, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		texts[entry.Name()] = string(text)
	}
	return texts
}
