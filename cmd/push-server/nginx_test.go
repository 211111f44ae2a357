package main

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"push-server/protocol/testclient"
)

// A site is an nginx with the layout of a BitrixVM before two servers for subscribers and two for publications.
type site struct {
	installation        // as it is seen through nginx
	old          string // the port of old clients
}

// openSite gives polls that time, so that one that gets nothing ends soon.
func openSite(t *testing.T, pollTimeout time.Duration) *site {
	t.Helper()
	redis := startRedis(t)
	behind := &installation{redis: redis}
	addrs := map[string]string{}
	for _, name := range []string{"SUB1", "SUB2", "PUB1", "PUB2"} {
		c := recordedConfig(t, "default-"+strings.ToLower(name[:3]), socketOf(redis))
		c["processUniqueId"] = name
		c.option("pollTimeout", pollTimeout.String())
		behind.add(t, c)
		addrs[name] = c.addr("sub") + c.addr("pub")
	}
	behind.waitDelivering(t)
	for _, name := range []string{"WEB", "BACKEND", "OLD"} {
		addrs[name] = fmt.Sprintf("127.0.0.1:%d", freePort(t))
	}
	startNginx(t, addrs)
	return &site{installation{subs: []string{addrs["WEB"]}, pub: addrs["BACKEND"]}, addrs["OLD"]}
}

func startNginx(t *testing.T, addrs map[string]string) {
	t.Helper()
	prefix := t.TempDir()
	for _, name := range []string{"nginx.conf", "subscriber.conf"} {
		text, err := os.ReadFile(filepath.Join("testdata", "nginx", name))
		if err != nil {
			t.Fatal(err)
		}
		for name, addr := range addrs {
			text = bytes.ReplaceAll(text, []byte(name+";"), []byte(addr+";"))
			text = bytes.ReplaceAll(text, []byte(name+" default"), []byte(addr+" default"))
		}
		if err := os.WriteFile(filepath.Join(prefix, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	testclient.StartNginx(t, prefix)
	testclient.AwaitNil(t, "nginx accepts connections", func() error {
		conn, err := net.Dial("tcp", addrs["WEB"])
		if err == nil {
			conn.Close()
		}
		return err
	})
}

// TestNginx takes every way through nginx that a portal uses.
func TestNginx(t *testing.T) {
	s := openSite(t, 3*time.Second)
	t.Run("WebSocket", s.webSocket)
	t.Run("poll", s.poll)
	t.Run("empty poll", s.emptyPoll)
	t.Run("client publishes", s.rest)
	t.Run("backend leaves early", s.backendLeaves)
	t.Run("online", s.online)
	t.Run("statistics", s.statistics)
	t.Run("site checker", s.siteChecker)
	t.Run("paths with dots", s.pathsWithDots)
}

// loopback is an address of another network, since ip_hash sends all of one to the same server.
func loopback(network int) net.Addr {
	return &net.TCPAddr{IP: net.IPv4(127, 0, byte(network), 1)}
}

func (s *site) dialFrom(t *testing.T, network int, to string) net.Conn {
	t.Helper()
	conn, err := (&net.Dialer{LocalAddr: loopback(network)}).Dial("tcp", to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	return conn
}

// webSocket connects from networks that end up at either server, and gets what comes in through either.
func (s *site) webSocket(t *testing.T) {
	ch := testclient.NewChannel(testKey)
	var sockets []*follower
	for network := range 8 {
		target := subPath + testclient.Query(network%2 == 0, "", ch.Signed())
		socket, err := testclient.DialFrom(t.Context(), loopback(network), s.subs[0], target)
		if err != nil {
			t.Fatal(err)
		}
		defer socket.Close()
		sockets = append(sockets, followSocket(socket))
	}
	for n := range 8 {
		body := numbered(n + 1)
		request := fmt.Sprintf("POST %s?CHANNEL_ID=%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nMessage-Expiry: 60\r\nContent-Length: %d\r\n\r\n%s",
			pubPath, ch.Private, len(body), body)
		conn := s.dialFrom(t, n, s.pub)
		if _, err := io.WriteString(conn, request); err != nil {
			t.Fatal(err)
		}
		if reply, err := io.ReadAll(conn); err != nil || !bytes.HasPrefix(reply, []byte("HTTP/1.1 200 ")) {
			t.Fatalf("publication answered %q, %v", reply, err)
		}
	}
	for i, socket := range sockets {
		if err := socket.until(numbered(8)); err != nil {
			t.Errorf("client %d: %v", i, err)
		}
	}
}

// poll gets messages by all paths, a long one compressed by nginx.
func (s *site) poll(t *testing.T) {
	backend, poller := testclient.NewHTTP(false), testclient.NewHTTP(true)
	defer poller.Close()
	ch := testclient.NewChannel(testKey)
	body := `{"text":"` + strings.Repeat("a", 5000) + `"}`
	if _, err := backend.PublishText(t.Context(), s.pubURL(), body, 60, ch.Private); err != nil {
		t.Fatal(err)
	}
	f := func(base string, binary bool, origins int) {
		t.Helper()
		reply, err := poller.Poll(t.Context(), base+testclient.Query(binary, strings.Repeat("0", 26), ch.Signed()))
		if err != nil {
			t.Fatal(err)
		}
		messages, err := reply.Messages()
		if err != nil || len(messages) != 1 || messages[0].Body != body {
			t.Errorf("%s: got %v, %v", base, messages, err)
		}
		if got := reply.Header.Values("Access-Control-Allow-Origin"); len(got) != origins || got[0] != "*" {
			t.Errorf("%s: Access-Control-Allow-Origin is %v", base, got)
		}
	}
	f("http://"+s.subs[0]+subPath, false, 1)
	f("http://"+s.subs[0]+subPath, true, 1)
	f("http://"+s.subs[0]+"/bitrix/sub/", false, 1)
	f("http://"+s.subs[0]+"/bitrix/sub/", true, 1)
	f("http://"+s.pub+"/bitrix/sub/", false, 1)
	f("http://"+s.old+"/bitrix/sub/", false, 2) // nginx adds the second one
}

func (s *site) emptyPoll(t *testing.T) {
	poller := testclient.NewHTTP(true)
	defer poller.Close()
	mid := strings.Repeat("9", 26)
	f := func(path string) {
		t.Helper()
		reply, err := poller.Poll(t.Context(), "http://"+s.subs[0]+path+testclient.Query(true, mid, testclient.NewChannel(testKey).Signed()))
		if err := errors.Join(err, checkEmptyAnswer(reply, mid)); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		if got := reply.Header.Get("Access-Control-Expose-Headers"); got != "Last-Message-Id" {
			t.Errorf("%s: Access-Control-Expose-Headers is %q", path, got)
		}
	}
	f(subPath)
	f("/bitrix/sub/")
}

// pathsWithDots is for strangers who reach what is open to all and would be a back end: to nginx these are /bitrix/rest/ and
// /bitrix/subws/, which it passes on as they were sent.
func (s *site) pathsWithDots(t *testing.T) {
	ch := testclient.NewChannel(testKey)
	f := func(method, target, body string, status int) {
		t.Helper()
		conn := s.dialFrom(t, 0, s.subs[0])
		fmt.Fprintf(conn, "%s %s?CHANNEL_ID=%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s",
			method, target, ch.Private, len(body), body)
		if reply, err := io.ReadAll(conn); err != nil || !bytes.HasPrefix(reply, fmt.Appendf(nil, "HTTP/1.1 %d ", status)) {
			t.Errorf("%s %s is answered %.40q, %v", method, target, reply, err)
		}
	}
	f("POST", "/bitrix/pub/../rest/", numbered(1), 400)
	f("POST", "/bitrix/pub/%2e%2e/rest/", numbered(1), 400)
	f("POST", "/bitrix/pub/..%2frest/", numbered(1), 400)
	f("POST", "/bitrix/pub/x/../../rest/", numbered(1), 400)
	f("GET", "/bitrix/subws/../subws/", "", 400)
	f("GET", "/server-stat/../bitrix/subws/", "", 404)
}

func (s *site) rest(t *testing.T) {
	from, to := testclient.NewChannel(testKey), testclient.NewChannel(testKey)
	socket, err := testclient.Dial(t.Context(), s.subs[0], subPath+testclient.Query(true, "", to.Signed()))
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	batch := testclient.AppendPublish(nil, testclient.Publication{Receivers: []testclient.Receiver{to.PublicReceiver()}, Body: numbered(1)})
	reply, err := testclient.NewHTTP(false).Post(t.Context(), "http://"+s.subs[0]+restPath+testclient.Query(false, "", from.Signed()), batch)
	if err != nil || reply.Status != 200 || len(reply.Body) > 0 {
		t.Fatalf("answered %d %s, %v", reply.Status, reply.Body, err)
	}
	if err := followSocket(socket).until(numbered(1)); err != nil {
		t.Error(err)
	}
}

// backendLeaves closes as soon as everything is sent, as PHP does that has no time.
func (s *site) backendLeaves(t *testing.T) {
	ch := testclient.NewChannel(testKey)
	socket, err := testclient.Dial(t.Context(), s.subs[0], subPath+testclient.Query(true, "", ch.Signed()))
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	batch := testclient.AppendPublish(nil, testclient.Publication{Receivers: []testclient.Receiver{ch.PrivateReceiver()}, Body: numbered(1), Expiry: 60})
	conn := s.dialFrom(t, 0, s.pub)
	fmt.Fprintf(conn, "POST %s?binaryMode=true&hostname=x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"+
		"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s", pubPath, len(batch), batch)
	conn.Close()
	if err := followSocket(socket).until(numbered(1)); err != nil {
		t.Error(err)
	}
}

// online asks both ways, the old one with a body behind GET.
func (s *site) online(t *testing.T) {
	ch, away := testclient.NewChannel(testKey), testclient.NewChannel(testKey)
	socket, err := testclient.Dial(t.Context(), s.subs[0], subPath+testclient.Query(true, "", ch.Signed()))
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	waitOnline(t, &s.installation, ch)
	list := ch.Private + "/" + away.Private
	conn := s.dialFrom(t, 0, s.pub)
	fmt.Fprintf(conn, "GET %s?CHANNEL_ID=%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", pubPath, list, len(list), list)
	want := fmt.Sprintf(`{"infos":[{"channel":"%s","subscribers":1}]}`, ch.Private)
	if reply, err := io.ReadAll(conn); err != nil || !bytes.Contains(reply, []byte(want)) {
		t.Errorf("answered %q, %v", reply, err)
	}
	reply, err := testclient.NewHTTP(false).Request(t.Context(), s.pubURL(), testclient.AppendChannelStats(nil, away.PrivateReceiver(), ch.PrivateReceiver()))
	stats := "0a32 1230 0a16 0a10" + away.Private + "1001 1800 0a16 0a10" + ch.Private + "1001 1801"
	if got := hex.EncodeToString(reply.Body); err != nil || got != strings.ReplaceAll(stats, " ", "") {
		t.Errorf("answered %s, %v, want %s", got, err, stats)
	}
}

func (s *site) statistics(t *testing.T) {
	reply, err := testclient.NewHTTP(false).Poll(t.Context(), "http://"+s.pub+"/server-stat/")
	if err != nil || reply.Status != 200 || strings.Count(string(reply.Body), `"processUniqueId"`) != 4 {
		t.Errorf("answered %d %s, %v; want four processes", reply.Status, reply.Body, err)
	}
}

// siteChecker is the test of the portal that operators see: a poll by HTTP/1.0, a publication that is not JSON and not kept,
// and one single read of the answer.
func (s *site) siteChecker(t *testing.T) {
	ch := testclient.NewChannel(testKey)
	conn := s.dialFrom(t, 0, s.subs[0])
	fmt.Fprintf(conn, "GET /bitrix/sub/?CHANNEL_ID=%s HTTP/1.0\r\nHost: x\r\nIf-Modified-Since: %s\r\n\r\n",
		ch.Alone(), time.Now().Format(time.RFC1123Z))
	waitOnline(t, &s.installation, ch)
	text := fmt.Sprintf("%x", md5.Sum([]byte(t.Name())))
	if _, err := testclient.NewHTTP(false).PublishText(t.Context(), s.pubURL(), text, 0, ch.Private); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 4096)
	n, err := conn.Read(answer)
	if err != nil || !bytes.HasPrefix(answer, []byte("HTTP/1.")) || !bytes.Contains(answer[:n], []byte(text)) {
		t.Errorf("the first read gives %q, %v", answer[:n], err)
	}
	conn = s.dialFrom(t, 0, s.pub)
	fmt.Fprintf(conn, "DELETE %s?CHANNEL_ID=%s HTTP/1.0\r\nHost: x\r\n\r\n", pubPath, ch.Private)
	if reply, err := io.ReadAll(conn); err != nil || !bytes.Contains(reply, []byte(" 404 ")) {
		t.Errorf("DELETE is answered %q, %v", reply, err)
	}
}
