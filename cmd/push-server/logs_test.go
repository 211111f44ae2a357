package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"push-server/protocol/testclient"
	"push-server/redisbus/redistest"
)

// logged is a configuration with log files in dir.
func logged(t *testing.T, dir string, debug map[string]any) config {
	t.Helper()
	c := standalone(t)
	debug["folderName"] = dir
	c["debug"] = debug
	return c
}

// logFile waits until a file of today has these lines, and none more. A line may be a regular expression.
func logFile(t *testing.T, dir, name string, lines ...string) {
	t.Helper()
	name = strings.ReplaceAll(name, "DATE", time.Now().Format("2006-01-02"))
	pattern := "^"
	for _, line := range lines {
		pattern += `\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} ` + line + "\n"
	}
	want := regexp.MustCompile(pattern + "$")
	testclient.AwaitNil(t, name, func() error {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err == nil && !want.Match(text) {
			err = fmt.Errorf("got\n%s\nwant\n%s", text, pattern)
		}
		return err
	})
}

// post sends what is not a request, from behind a proxy if there is one.
func post(t *testing.T, url, forwarded string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader("nonsense"))
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true
	if forwarded != "" {
		req.Header.Set("X-Forwarded-For", forwarded)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusBadRequest {
		t.Error(resp.Status)
	}
}

func TestLogFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "logs")
	c := logged(t, dir, map[string]any{"testConnectionKey": "secret"})
	p := start(t, c)
	logFile(t, dir, "info.log",
		fmt.Sprintf("subscribers listening at http://%s PID: %d", c.addr("sub"), p.cmd.Process.Pid),
		fmt.Sprintf("publishers listening at http://%s PID: %d", c.addr("pub"), p.cmd.Process.Pid))
	for _, name := range []string{"error.DATE.log", "system-error.DATE.log", "debug.DATE.log"} {
		logFile(t, dir, name)
	}
	url := "http://" + c.addr("pub") + pubPath + "?binaryMode=true"
	post(t, url, "")
	post(t, url+"&testKey=secret", "")
	post(t, url, "10.0.0.1, 10.0.0.2")
	post(t, url, "10.0.0.1, 10.0.0.2")
	ch := testclient.NewChannel(c["security"].(map[string]any)["key"].(string))
	socket, err := testclient.Dial(t.Context(), c.addr("sub"), subPath+testclient.Query(true, "", ch.Signed()))
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	frame := ws.MaskFrameInPlace(ws.NewBinaryFrame([]byte("nonsense, too")))
	if err := ws.WriteFrame(socket, frame); err != nil {
		t.Fatal(err)
	}
	var end *testclient.CloseError
	if _, err := socket.Receive(); !errors.As(err, &end) || end.Code != 4013 {
		t.Error(err)
	}
	socket.Close()
	refused := []string{
		`4013: Wrong Request Data\. ::ffff:127\.0\.0\.1`,
		`4013: Wrong Request Data\. 10\.0\.0\.1, 10\.0\.0\.2`,
	}
	logFile(t, dir, "error.DATE.log", refused...)
	if code := p.signal(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d", code)
	}
	logFile(t, dir, "error.DATE.log", append(refused,
		`4013: Wrong Request Data\. 10\.0\.0\.1, 10\.0\.0\.2 \(1 more in 1m0s\)`,
		`4013: Wrong Request Data\. ::ffff:127\.0\.0\.1 \(1 more in 1m0s\)`)...)
	logFile(t, dir, "system-error.DATE.log")
}

// logrotate renames files and sends a signal.
func TestLogFilesAreOpenedAgain(t *testing.T) {
	dir := t.TempDir()
	c := logged(t, dir, map[string]any{})
	p := start(t, c)
	url := "http://" + c.addr("pub") + pubPath + "?binaryMode=true"
	f := func(sig syscall.Signal, forwarded string) {
		t.Helper()
		post(t, url, forwarded)
		line := `4013: Wrong Request Data\. ` + forwarded
		logFile(t, dir, "error.DATE.log", line)
		name := filepath.Join(dir, "error."+time.Now().Format("2006-01-02")+".log")
		if err := os.Rename(name, filepath.Join(dir, "old-"+forwarded)); err != nil {
			t.Fatal(err)
		}
		if err := p.cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		logFile(t, dir, "error.DATE.log")
	}
	f(syscall.SIGUSR1, "first")
	f(syscall.SIGHUP, "second")
	f(syscall.SIGUSR1, "third")
}

func TestTraffic(t *testing.T) {
	dir := t.TempDir()
	c := logged(t, dir, map[string]any{"ip": []any{"", "10.0.0."}, "trustProxy": true})
	p := start(t, c)
	url := "http://" + c.addr("pub") + pubPath + "?binaryMode=true"
	post(t, url, "")
	post(t, url, "10.0.0.7")
	f := debugFile{t: t, dir: dir, process: p}
	f.ip = `10\.0\.0\.7`
	f.add(1, `\[TCP-CONNECTION\] TIME IP`, `\[POST\] /bitrix/pub/\?binaryMode=true IP`, `\[FINISHED\] \d+ms 400 IP`, `\[CLOSED\] \d+ms 400 IP`)
	post(t, url, "10.1.0.7")
	post(t, url+"&x=1", "192.168.1.1, 10.0.0.8")
	f.ip = `192\.168\.1\.1, 10\.0\.0\.8`
	f.add(2, `\[TCP-CONNECTION\] TIME IP`, `\[POST\] /bitrix/pub/\?binaryMode=true&x=1 IP`, `\[FINISHED\] \d+ms 400 IP`, `\[CLOSED\] \d+ms 400 IP`)
}

func TestTrafficOfASubscriber(t *testing.T) {
	dir := t.TempDir()
	c := logged(t, dir, map[string]any{"ip": []any{"::ffff:127.0.0.1"}})
	p := start(t, c)
	ch := testclient.NewChannel(c["security"].(map[string]any)["key"].(string))
	socket, err := testclient.Dial(t.Context(), c.addr("sub"), subPath+testclient.Query(false, "", ch.Signed()))
	if err != nil {
		t.Fatal(err)
	}
	socket.Close()
	f := debugFile{t: t, dir: dir, process: p, ip: `::ffff:127\.0\.0\.1`}
	f.add(1,
		`\[TCP-CONNECTION\] TIME IP`,
		`\[GET-UPGRADE\] /bitrix/subws/\?CHANNEL_ID=[0-9a-f]{32}(:|%3A)[0-9a-f]{32}\.\*\S* IP`,
		`\[WS-CONNECTION\] /bitrix/subws/\S+ IP`,
		`\[WS-CLOSED\] 1006  \d+ms IP`)
}

// A debugFile is what the debug file of a process has to have so far.
type debugFile struct {
	t       *testing.T
	dir     string
	process *process
	window  string // for operators
	ip      string // of the client, as a regular expression
	lines   []string
}

// add waits until the file has these lines of the request with that number behind those that it had. They are regular expressions, in
// which TIME, BUFFER and IP stand for what these words say.
func (f *debugFile) add(request int, lines ...string) {
	f.t.Helper()
	words := strings.NewReplacer("TIME", `\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}`,
		"BUFFER", `\{"type":"Buffer","data":\[\d{1,3}(,\d{1,3}){12}\]\}`, "IP", f.ip)
	for _, line := range lines {
		f.lines = append(f.lines, fmt.Sprintf(`%dT%08d `, f.process.cmd.Process.Pid, request)+words.Replace(line))
	}
	logFile(f.t, f.dir, "debug.DATE.log", f.lines...)
}

// reply is the end of the lines of a request that was answered.
func reply(lines ...string) []string {
	return append(lines, `\[FINISHED\] \d+ms 200 IP`, `\[CLOSED\] \d+ms 200 IP`)
}

// What becomes of a publication and of a question stands in the debug file, whoever sends it and on whatever kind of port.
func TestTrafficOfPublishers(t *testing.T) {
	onEachBus(t, func(t *testing.T, redis *redistest.Server) {
		f, c := startFollowing(t, redis)
		backend := testclient.NewHTTP(false)
		key := c["security"].(map[string]any)["key"].(string)
		ch := testclient.NewChannel(key)
		pub, rest := "http://"+c.addr("pub")+pubPath, "http://"+c.addr("rest")+restPath+testclient.Query(true, "", ch.Signed())
		must := func(_ testclient.Reply, err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		two := testclient.AppendPublish(nil, testclient.Publication{Receivers: []testclient.Receiver{ch.PublicReceiver()}, Body: `{"n":1}`, Expiry: 60},
			testclient.Publication{Receivers: []testclient.Receiver{ch.PublicReceiver()}, Body: `{"n":2}`})
		question := testclient.AppendChannelStats(nil, ch.PublicReceiver())

		must(backend.PublishText(t.Context(), pub, "{}", 60, ch.Private))
		f.add(1, reply(`\[TCP-CONNECTION\] TIME IP`, `\[POST\] /bitrix/pub/\?CHANNEL_ID=[0-9a-f]{32} IP`, `\[MESSAGE-SET\] BUFFER \d+ms IP`)...)
		must(backend.Post(t.Context(), rest, two))
		head := []string{`\[TCP-CONNECTION\] TIME IP`, `\[POST\] /bitrix/rest/\?CHANNEL_ID=\S+\.\*\S* IP`}
		f.add(2, reply(append(head, `\[MESSAGE-SET\] BUFFER \d+ms IP`, `\[MESSAGE-SET\] BUFFER \d+ms IP`)...)...)
		postChunked(t, rest, two)
		f.add(3, reply(append(head, `\[MESSAGE-SET\] BUFFER \d+ms IP`, `\[MESSAGE-SET\] BUFFER \d+ms IP`)...)...)
		must(backend.Post(t.Context(), rest, question))
		f.add(4, reply(append(head, `\[CHANNELS-STATS\] 1 \d+ms IP`, `\[HTTPREQUEST-SEND\] \d+B \{"channelStats":1\} \[\]`)...)...)
		must(backend.Poll(t.Context(), pub+"?CHANNEL_ID="+ch.Private+"/"+ch.Public))
		f.add(5, reply(`\[TCP-CONNECTION\] TIME IP`, `\[GET\] \S+ IP`, `\[CHANNELS-STATS\] 2 \d+ms IP`, `\[HTTPREQUEST-SEND\] \d+B \{"channelStats":1\} \[\]`)...)
		must(backend.Poll(t.Context(), "http://"+c.addr("stat")+statPath))
		f.add(6, reply(`\[TCP-CONNECTION\] TIME IP`, `\[GET\] /server-stat/ IP`, `\[SERVER-STATS\] \d+ms IP`, `\[HTTPREQUEST-SEND\] \d+B \{"serverStats":1\} \[\]`)...)

		asker := testclient.NewChannel(key) // not the one that was published to
		socket, err := testclient.Dial(t.Context(), c.addr("sub"), subPath+testclient.Query(true, "", asker.Signed()))
		if err != nil {
			t.Fatal(err)
		}
		defer socket.Close()
		f.add(7, `\[TCP-CONNECTION\] TIME IP`, `\[GET-UPGRADE\] \S+ IP`, `\[WS-CONNECTION\] \S+ IP`)
		if err := socket.Send(question); err != nil {
			t.Fatal(err)
		}
		f.add(7, `\[CHANNELS-STATS\] 1 \d+ms IP`, `\[WEBSOCKET-SEND\] \d+B \{"channelStats":1\} \[\]`)
		other := testclient.NewChannel(key)
		if err := socket.Send(testclient.AppendPublish(nil, testclient.Publication{Receivers: []testclient.Receiver{other.PublicReceiver()}, Body: "{}"})); err != nil {
			t.Fatal(err)
		}
		f.add(7, `\[MESSAGE-SET\] BUFFER \d+ms IP`)
		socket.Close()
		f.add(7, `\[WS-CLOSED\] 1006  \d+ms IP`)
	})
}

func TestTrafficOfAPoll(t *testing.T) {
	onEachBus(t, func(t *testing.T, redis *redistest.Server) {
		f, c := startFollowing(t, redis)
		backend := testclient.NewHTTP(false)
		ch := testclient.NewChannel(c["security"].(map[string]any)["key"].(string))
		poll := func(want int) {
			t.Helper()
			if reply, err := backend.Poll(t.Context(), "http://"+c.addr("sub")+subPath+testclient.Query(false, "", ch.Signed())); err != nil || reply.Status != want {
				t.Fatal(reply.Status, err)
			}
		}
		end := []string{`\[FINISHED\] \d+ms 304 IP`, `\[CLOSED\] \d+ms 304 IP`}
		poll(http.StatusNotModified)
		f.add(1, append([]string{`\[TCP-CONNECTION\] TIME IP`, `\[GET\] \S+ IP`, `\[MESSAGE-LAST\] none \d+ms IP`}, end...)...)
		if _, err := backend.PublishText(t.Context(), "http://"+c.addr("pub")+pubPath, "{}", 60, ch.Private); err != nil {
			t.Fatal(err)
		}
		f.add(2, reply(`\[TCP-CONNECTION\] TIME IP`, `\[POST\] \S+ IP`, `\[MESSAGE-SET\] BUFFER \d+ms IP`)...)
		awaitMetric(t, f.window, "push_published_total", 1)
		poll(http.StatusNotModified)
		f.add(3, append([]string{`\[TCP-CONNECTION\] TIME IP`, `\[GET\] \S+ IP`, `\[MESSAGE-LAST\] BUFFER \d+ms IP`}, end...)...)
	})
}

func TestTrafficOverTLS(t *testing.T) {
	dir := t.TempDir()
	writeCertificate(t, dir, "push.example")
	c := encrypted(t, dir)
	c["debug"] = map[string]any{"folderName": dir, "ip": []any{"127.0.0.1"}}
	p := start(t, c)
	f := debugFile{t: t, dir: dir, process: p, ip: `::ffff:127\.0\.0\.1`}
	ch := testclient.NewChannel(c["security"].(map[string]any)["key"].(string))
	socket, err := testclient.DialTLS(t.Context(), trusting, c.addr("sub"), subPath+testclient.Query(false, "", ch.Signed()))
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	f.add(1, `\[TCP-CONNECTION\] TIME IP`, `\[TLS-CONNECTION\] TIME IP`, `\[GET-UPGRADE\] \S+ IP`, `\[WS-CONNECTION\] \S+ IP`)
}

// startFollowing starts a server that follows everybody, and waits until it listens to the bus: what was published earlier comes late.
// Clients publish to a port with subscribers, a back end to one without.
func startFollowing(t *testing.T, redis *redistest.Server) (*debugFile, config) {
	t.Helper()
	dir := t.TempDir()
	c := logged(t, dir, map[string]any{"ip": []any{"127.0.0.1"}})
	c.listeners()[0]["routes"].(map[string]any)["rest"] = restPath
	c.option("acceptTimeout", "20s")
	c.option("pollTimeout", "1s")
	window := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	c.option("metrics", window)
	if redis != nil {
		c["storage"] = map[string]any{"type": "redis", "socket": redis.Addr()}
		c["clusterMode"] = true
	}
	p := start(t, c)
	if redis != nil {
		testclient.Await(t, "Redis is listened to", func() bool { return strings.Contains(p.log.String(), "listening to redis") })
	}
	return &debugFile{t: t, dir: dir, process: p, window: window, ip: `::ffff:127\.0\.0\.1`}, c
}

// postChunked sends a body without its length, which on a port with subscribers leaves the event loop.
func postChunked(t *testing.T, url string, body []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, io.MultiReader(bytes.NewReader(body)))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Error(resp.Status)
	}
}

// Trouble with Redis is a matter for operators.
func TestRedisErrorsAreLogged(t *testing.T) {
	dir := t.TempDir()
	c := logged(t, dir, map[string]any{})
	c["storage"] = map[string]any{"type": "redis", "socket": filepath.Join(dir, "no-redis.sock")}
	c["clusterMode"] = true
	start(t, c)
	testclient.AwaitNil(t, "a line about Redis", func() error {
		text, err := os.ReadFile(filepath.Join(dir, "system-error."+time.Now().Format("2006-01-02")+".log"))
		if err == nil && !strings.Contains(string(text), "no-redis.sock") {
			err = fmt.Errorf("got %q", text)
		}
		return err
	})
}

func TestLogFolderMustBeUsable(t *testing.T) {
	file := writeFile(t, "")
	p := launch(t, writeConfigs(t, logged(t, file, map[string]any{}))...)
	if code := p.wait(); code != exitFailure || !strings.Contains(p.log.String(), "debug.folderName: ") {
		t.Errorf("exit code %d\n%s", code, p.log.String())
	}
}
