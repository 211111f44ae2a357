package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"push-server/protocol/testclient"
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
		"/metrics": "push_delivery_seconds_bucket", "/connections/" + id + "/events": `"kind":"message"`, "/connections?search=" + quick.Signed(): id,
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
