package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"push-server/protocol/testclient"
)

// window is that of a server, for its operator.
type window struct {
	t      *testing.T
	base   string
	config config
}

// openWindow starts a server with a window. options are further ones of push.operators.
func openWindow(t *testing.T, options map[string]any) *window {
	t.Helper()
	c := standalone(t)
	addr := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	c.option("metrics", addr)
	if options != nil {
		c.option("operators", options)
	}
	p := start(t, c)
	p.waitListening(addr)
	return &window{t, "http://" + addr, c}
}

// ask answers status and body.
func (w *window) ask(method, path, body string, header ...string) (status int, text string) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.base+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// channel makes one.
func (w *window) channel() (id string) {
	w.t.Helper()
	status, text := w.ask("POST", "/tester/channel", "{}")
	var made struct{ ID string }
	if err := json.Unmarshal([]byte(text), &made); err != nil || status != http.StatusOK {
		w.t.Fatal(status, text, err)
	}
	return made.ID
}

func (w *window) publish(id, text string) (status int, answer string) {
	w.t.Helper()
	body, err := json.Marshal(map[string]string{"id": id, "text": text})
	if err != nil {
		w.t.Fatal(err)
	}
	return w.ask("POST", "/tester/publish", string(body))
}

// listen follows a channel; what comes is sent as "event data".
func (w *window) listen(id, transport, framing, mid string) <-chan string {
	w.t.Helper()
	query := url.Values{"id": {id}, "transport": {transport}, "framing": {framing}, "mid": {mid}}
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, w.base+"/tester/listen?"+query.Encode(), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		w.t.Fatal(resp.Status)
	}
	events := make(chan string, 100)
	done := make(chan struct{})
	go func() {
		defer close(done)
		event := ""
		for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
			if name, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
				event = name
			} else if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				events <- event + " " + data
			}
		}
	}()
	w.t.Cleanup(func() {
		resp.Body.Close()
		<-done
	})
	return events
}

// next is the next message of a stream.
func (w *window) next(events <-chan string) (m struct {
	Mid, Text string
	N         int
	Delay     *float64
}) {
	w.t.Helper()
	for {
		event := testclient.AwaitFrom(w.t, "a message", events)
		if data, ok := strings.CutPrefix(event, "message "); ok {
			if err := json.Unmarshal([]byte(data), &m); err != nil {
				w.t.Fatal(err)
			}
			return m
		}
	}
}

const fromTheBeginning = "00000000000000000000000000"

// Whoever sends himself a message gets it by every transport, with its delay, and again when he asks for that.
func TestTesterDelivers(t *testing.T) {
	w := openWindow(t, nil)
	id := w.channel()
	streams := map[string]<-chan string{}
	for _, transport := range []string{"websocket", "poll"} {
		for _, framing := range []string{"text", "protobuf"} {
			events := w.listen(id, transport, framing, fromTheBeginning)
			streams[transport+" "+framing] = events
			if state := testclient.AwaitFrom(t, "listening", events); !strings.Contains(state, `"listening":true`) {
				t.Error(state)
			}
		}
	}
	mids := map[string]bool{}
	for n, text := range []string{"a", "\"\u2028#!NGINXNME!#<b>"} {
		if status, answer := w.publish(id, text); status != http.StatusOK || !strings.Contains(answer, `"stored":true`) {
			t.Fatal(status, answer)
		}
		for how, events := range streams {
			m := w.next(events)
			if m.Text != text || m.N != n+1 || m.Delay == nil || *m.Delay <= 0 {
				t.Errorf("%s brings %+v, want %q", how, m, text)
			}
			mids[m.Mid] = true
		}
	}
	if len(mids) != 2 {
		t.Errorf("two messages have the ids %v", mids)
	}
	first := w.next(w.listen(id, "websocket", "text", fromTheBeginning))
	if m := w.next(w.listen(id, "poll", "protobuf", first.Mid)); m.N != 2 {
		t.Errorf("behind the first message is %+v", m)
	}
}

// The window is no way to channels that it has not made.
func TestTesterKnowsItsOwnChannelsOnly(t *testing.T) {
	w := openWindow(t, nil)
	user := testclient.NewChannel(w.config["security"].(map[string]any)["key"].(string))
	for _, id := range []string{"", user.Private, user.Signed(), "../" + w.channel()} {
		if status, answer := w.publish(id, "hello"); status != http.StatusNotFound {
			t.Errorf("%q: %d %s", id, status, answer)
		}
		if status, answer := w.ask("GET", "/tester/listen?transport=poll&id="+url.QueryEscape(id), ""); status != http.StatusNotFound {
			t.Errorf("%q: %d %s", id, status, answer)
		}
	}
}

func TestTesterIsBounded(t *testing.T) {
	w := openWindow(t, nil)
	id := w.channel()
	if status, answer := w.publish(id, strings.Repeat("x", 5000)); status != http.StatusRequestEntityTooLarge {
		t.Error(status, answer)
	}
	if status, answer := w.ask("POST", "/tester/publish", `{"id":"`+strings.Repeat("x", 100_000)); status != http.StatusBadRequest {
		t.Error(status, answer)
	}
	for range 8 {
		w.listen(id, "poll", "text", "")
	}
	if status, answer := w.ask("GET", "/tester/listen?transport=poll&id="+id, ""); status != http.StatusServiceUnavailable {
		t.Error("one listener more:", status, answer)
	}
	refused := func(what string, try func() (int, string)) {
		t.Helper()
		for range 1000 {
			if status, answer := try(); status == http.StatusTooManyRequests {
				return
			} else if status != http.StatusOK {
				t.Fatal(what, status, answer)
			}
		}
		t.Errorf("%s: nothing is refused", what)
	}
	refused("messages", func() (int, string) { return w.publish(id, "x") })
	refused("channels", func() (int, string) { return w.ask("POST", "/tester/channel", "") })
}

// Nobody sends anything through a window that is read-only.
func TestTesterOfAReadOnlyWindow(t *testing.T) {
	w := openWindow(t, map[string]any{"readOnly": true})
	for _, path := range []string{"/tester/channel", "/tester/publish"} {
		if status, answer := w.ask("POST", path, "{}"); status != http.StatusForbidden {
			t.Errorf("%s: %d %s", path, status, answer)
		}
	}
	if status, _ := w.ask("GET", "/", ""); status != http.StatusOK {
		t.Error("the page is not shown:", status)
	}
}

// Nothing that the window says or shows has a secret in it, whoever asks.
func TestWindowKeepsSecrets(t *testing.T) {
	const token = "token-of-the-operators-of-this-test"
	w := openWindow(t, map[string]any{"token": token})
	auth := []string{"Authorization", "Bearer " + token}
	key := w.config["security"].(map[string]any)["key"].(string)
	live := testclient.NewChannel(key)
	testclient.Subscribe(t, w.config.addr("sub"), subPath+testclient.Query(false, "", live.Signed()))
	_, signature, _ := strings.Cut(live.Signed(), ".")
	secrets := map[string]string{"the key": key, "the token": token, "a private id": live.Private, "a signature": signature}
	for _, path := range []string{
		"POST /tester/channel", "GET /", "GET /assets/main.js", "GET /overview", "GET /config", "GET /warnings", "GET /connections", "GET /metrics", "GET /readyz",
	} {
		method, target, _ := strings.Cut(path, " ")
		status, text := w.ask(method, target, "{}", auth...)
		if status != http.StatusOK && status != http.StatusNotFound {
			t.Errorf("%s: %d", path, status)
		}
		for what, secret := range secrets {
			if strings.Contains(text, secret) {
				t.Errorf("%s shows %s", path, what)
			}
		}
	}
	if status, _ := w.ask("GET", "/", ""); status != http.StatusUnauthorized {
		t.Error("the page is shown without the token:", status)
	}
}
