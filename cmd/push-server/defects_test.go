package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"push-server/protocol/testclient"
)

// What the Node server does badly and nobody depends on is done better here. More of it stands in the conversations under
// differs-allowed, and in protocol/README.md.

// withPush is one process on memory with some keys of the section push, and of limits.
func withPush(t *testing.T, push, limits map[string]any) *installation {
	t.Helper()
	c := recordedConfig(t, "single", "")
	if push != nil {
		c["push"] = push
	}
	if limits != nil {
		c["limits"] = limits
	}
	in := &installation{}
	in.add(t, c)
	in.waitDelivering(t)
	return in
}

// Between a ping and its pong, messages are delivered.
func TestMessagesBetweenPingAndPong(t *testing.T) {
	in := withPush(t, map[string]any{"pingInterval": "1s"}, nil)
	ch := testclient.NewChannel(testKey)
	socket := dialSubscriber(t, in.subs[0], testclient.Query(false, "", ch.Alone()))
	f := func(want ws.OpCode) ws.Frame {
		t.Helper()
		frame, err := socket.Frame() // answers nothing
		if err != nil || frame.Header.OpCode != want {
			t.Fatalf("got %v %q, %v; want opcode %v", frame.Header.OpCode, frame.Payload, err, want)
		}
		return frame
	}
	if ping := f(ws.OpPing); string(ping.Payload) != "ws ping" {
		t.Errorf("ping with %q", ping.Payload)
	}
	publishText(t, in, `{"in":"between"}`, 0, ch.Private)
	if text := f(ws.OpText); !strings.Contains(string(text.Payload), `"text":{"in":"between"}`) {
		t.Errorf("got %q", text.Payload)
	}
}

// askFrom asks from an address of this machine, and says that it is another.
func askFrom(t *testing.T, from, method, url, body string) (*http.Response, string) {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	caller := http.Client{
		Timeout: patience, Transport: &http.Transport{DialContext: dialer.DialContext, TLSClientConfig: trusting, DisableKeepAlives: true},
	}
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Forwarded-For", "127.0.0.1") // is not believed
	resp, err := caller.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	reply, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Errorf("%s from %s: %v", url, from, err)
	}
	return resp, string(reply)
}

// Statistics are for those who are named, on every kind of port.
func TestStatisticsForSome(t *testing.T) {
	f := func(url, from string, want int) {
		t.Helper()
		resp, body := askFrom(t, from, http.MethodGet, url, "")
		if resp.StatusCode != want || want == http.StatusForbidden && len(body) > 0 || resp.Header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%s from %s: %s %q", url, from, resp.Status, body)
		}
	}
	dir := t.TempDir()
	writeCertificate(t, dir, "push.example")
	for scheme, c := range map[string]config{"http": standalone(t), "https": encrypted(t, dir)} {
		c.listeners()[0]["routes"].(map[string]any)["stat"] = statPath
		c.option("statAllow", []any{"10.0.0.0/8", "127.0.0.1"})
		start(t, c)
		for _, route := range []string{"sub", "pub"} {
			url := scheme + "://" + c.addr(route) + statPath
			f(url, "127.0.0.1", http.StatusOK)
			f(url, "127.0.0.2", http.StatusForbidden)
			f(url+"?binaryMode=true", "127.0.0.2", http.StatusForbidden)
		}
	}
}

// Publishing may be bounded to some addresses, on every kind of port, whatever the length of a body. An answer to a long one arrives.
func TestPublishingForSome(t *testing.T) {
	f := func(url, from string, body, want int) {
		t.Helper()
		if resp, _ := askFrom(t, from, http.MethodPost, url, strings.Repeat("x", body)); resp.StatusCode != want {
			t.Errorf("%d bytes to %s from %s: %s", body, url, from, resp.Status)
		}
	}
	c := standalone(t)
	c.listeners()[0]["routes"].(map[string]any)["pub"] = pubPath
	c.option("pubAllow", []any{"10.0.0.0/8", "127.0.0.1"})
	start(t, c)
	for _, route := range []string{"sub", "pub"} {
		url := "http://" + c.addr(route) + pubPath + "?CHANNEL_ID=" + exampleChannel
		for _, body := range []int{0, 10, 100_000} {
			f(url, "127.0.0.1", body, http.StatusOK)
			f(url, "127.0.0.2", body, http.StatusForbidden)
		}
	}
}

// A poll ends in time, whatever else comes over its connection, and is answered once.
func TestPollEndsInTime(t *testing.T) {
	in := withPush(t, map[string]any{"pollTimeout": "1s"}, nil)
	ch := testclient.NewChannel(testKey)
	conn, err := net.Dial("tcp", in.subs[0])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	fmt.Fprintf(conn, "GET %s%s HTTP/1.1\r\nHost: x\r\n\r\n", subPath, testclient.Query(false, "", ch.Alone()))
	stop := make(chan struct{})
	defer close(stop)
	go func() { // a byte now and then, of the next request
		tick := time.NewTicker(300 * time.Millisecond)
		defer tick.Stop()
		for _, b := range []byte(strings.Repeat("\r\n", 100)) {
			select {
			case <-stop:
				return
			case <-tick.C:
				conn.Write([]byte{b})
			}
		}
	}()
	reader := bufio.NewReader(conn)
	line, err := reader.ReadString('\n')
	if err != nil || line != "HTTP/1.1 304 Not Modified\r\n" {
		t.Errorf("%q %v", line, err)
	}
}

// Without Redis, too, polls end in time, and questions are answered.
func TestAnswersWithoutRedis(t *testing.T) {
	redis := startRedis(t)
	in := installOn(t, redis, func(c config) { c.option("pollTimeout", "1s") })
	in.waitDelivering(t)
	redis.Kill()
	ch := testclient.NewChannel(testKey)
	ask := testclient.NewHTTP(false)
	f := func(url string, status int, body, mid string) {
		t.Helper()
		reply, err := ask.Poll(t.Context(), url)
		got := reply.Header.Get("Last-Message-Id")
		if err != nil || reply.Status != status || string(reply.Body) != body || mid != "" && got != mid {
			t.Errorf("%.60s: %d %s %q %v", url, reply.Status, reply.Body, got, err)
		}
	}
	const mid = "17954614120000000000000126"
	f("http://"+in.subs[0]+subPath+testclient.Query(false, mid, ch.Signed()), 304, "", mid)
	f("http://"+in.subs[0]+subPath+testclient.Query(true, "", ch.Signed()), 304, "", "")
	f(in.pubURL()+"?CHANNEL_ID="+ch.Private, 200, `{"infos":[]}`, "")
	f("http://"+in.pub+statPath, 200, "[]", "")
}

// A limit of one connection means one: the new one stays, and gets its messages.
func TestOneConnectionPerChannel(t *testing.T) {
	for _, limit := range []int{0, 1} {
		in := withPush(t, nil, map[string]any{"maxConnPerChannel": limit})
		ch := testclient.NewChannel(testKey)
		first := dialSubscriber(t, in.subs[0], testclient.Query(false, "", ch.Signed()))
		waitOnline(t, in, ch)
		second := dialSubscriber(t, in.subs[0], testclient.Query(false, "", ch.Signed()))
		_, err := first.Receive()
		if closed := (&testclient.CloseError{}); !errors.As(err, &closed) || closed.Code != 4029 {
			t.Errorf("limit %d: the first connection: %v", limit, err)
		}
		publishText(t, in, `{"limit":1}`, 0, ch.Private)
		if got, err := receive(second, 1); err != nil || got[0].Body != `{"limit":1}` {
			t.Errorf("limit %d: the second connection got %v, %v", limit, got, err)
		}
	}
}

// Whoever was sent a close frame does nothing any more.
func TestNothingIsDoneAfterAClose(t *testing.T) {
	in := withPush(t, nil, nil)
	sender, receiver := testclient.NewChannel(testKey), testclient.NewChannel(testKey)
	listening := dialSubscriber(t, in.subs[0], testclient.Query(true, "", receiver.Signed()))
	socket := dialSubscriber(t, in.subs[0], testclient.Query(true, "", sender.Signed()))
	good := testclient.AppendPublish(nil, testclient.Publication{Receivers: []testclient.Receiver{receiver.PublicReceiver()}, Body: `{"after":"close"}`})
	frames := append(frameOf(t, []byte("nonsense")), frameOf(t, good)...)
	if _, err := socket.Conn.Write(frames); err != nil {
		t.Fatal(err)
	}
	_, err := socket.Receive()
	if closed := (&testclient.CloseError{}); !errors.As(err, &closed) || closed.Code != 4013 {
		t.Errorf("nonsense: %v", err)
	}
	publishText(t, in, `{"next":1}`, 0, receiver.Private)
	if got, err := receive(listening, 1); err != nil || got[0].Body != `{"next":1}` {
		t.Errorf("got %v, %v", got, err)
	}
}

func frameOf(t *testing.T, payload []byte) []byte {
	t.Helper()
	frame, err := ws.CompileFrame(ws.MaskFrame(ws.NewBinaryFrame(payload)))
	if err != nil {
		t.Fatal(err)
	}
	return frame
}

// Messages of one request arrive in its order, whether they are kept or not.
func TestMixedExpiryKeepsOrder(t *testing.T) {
	in := install(t, "default", startRedis(t), 1)
	ch := testclient.NewChannel(testKey)
	socket := dialSubscriber(t, in.subs[0], testclient.Query(true, "", ch.Signed()))
	waitOnline(t, in, ch)
	var request []testclient.Publication
	for i := range 20 {
		request = append(request, testclient.Publication{Receivers: []testclient.Receiver{ch.PrivateReceiver()}, Body: numbered(i), Expiry: uint32(60 * (i % 2))})
	}
	reply, err := testclient.NewHTTP(false).Request(t.Context(), in.pubURL(), testclient.AppendPublish(nil, request...))
	if err != nil || reply.Status != 200 {
		t.Fatal(reply, err)
	}
	got, err := receive(socket, len(request))
	for i := range got {
		if got[i].Body != numbered(i) {
			t.Errorf("%d: %s", i, got[i].Body)
		}
	}
	if err != nil || len(got) != len(request) {
		t.Error(len(got), err)
	}
}

// With publishMode, too, subscribers of a listener that has their route get live messages.
func TestSubscribersOfAPublisher(t *testing.T) {
	redis := startRedis(t)
	in := install(t, "default", redis, 1)
	c := recordedConfig(t, "default-pub", socketOf(redis))
	c.listeners()[0]["routes"].(map[string]any)["sub"] = subPath
	in.add(t, c)
	in.waitDelivering(t)
}

// Cloud mode is refused, and what it would have been.
func TestCloudModeIsRefused(t *testing.T) {
	p := launch(t, "--config", filepath.Join("testdata", "conversations", "configs", "untrusted.json"))
	const want = "cloudMode: error: cloud mode (one server for many portals, with licences) is not supported (remove trustClients and cloudMode)"
	if code := p.wait(); code != exitFailure || !strings.Contains(p.log.String(), want) {
		t.Errorf("exit code %d\n%s", code, p.log.String())
	}
}

// What Node takes, portals and proxies may send, on either kind of port. Two Host headers alone are refused, and those that are no host
// (RFC 9112, 3.2: "A server MUST").
func TestRequestsThatNodeTakes(t *testing.T) {
	in := withPush(t, nil, nil)
	f := func(request string, status int, body string) {
		t.Helper()
		for _, addr := range []string{in.subs[0], in.pub} {
			if err := checkReply(addr, request, status, body, false); err != nil {
				t.Errorf("%q: %v", request, err)
			}
		}
	}
	ask := "GET " + pubPath + "?CHANNEL_ID=" + testclient.NewChannel(testKey).Private
	f(ask+" HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n", 400, "")
	f(ask+" HTTP/1.1\r\nHost: a b\r\nConnection: close\r\n\r\n", 400, "")
	f(ask+" HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n", 200, `{"infos":[]}`)
	f(ask+" HTTP/1.0\r\n\r\n", 200, `{"infos":[]}`)
	f(ask+" HTTP/1.0\r\nExpect: 100-continue\r\n\r\n", 200, `{"infos":[]}`)
	f("\r\n\r\n"+ask+" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 200, `{"infos":[]}`)
	f(ask+" HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Encoding: gzip\r\n\r\n", 200, `{"infos":[]}`)
	f(ask+" HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 4\r\n\r\nbody", 200, `{"infos":[]}`)
}
