package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"push-server/cmd/push-server/internal/client"
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
	eventually(t, name, func() error {
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
	ch := client.NewChannel(c["security"].(map[string]any)["key"].(string))
	socket, err := client.Dial(t.Context(), c.addr("sub"), subPath+client.Query(true, "", ch.Signed()))
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	frame := ws.MaskFrameInPlace(ws.NewBinaryFrame([]byte("nonsense, too")))
	if err := ws.WriteFrame(socket, frame); err != nil {
		t.Fatal(err)
	}
	var end *client.CloseError
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
	post(t, "http://"+c.addr("pub")+pubPath+"?binaryMode=true&x=1", "192.168.1.1, 10.0.0.8")
	post(t, url, "10.1.0.7")
	id := fmt.Sprintf(`%dT0000000`, p.cmd.Process.Pid)
	logFile(t, dir, "debug.DATE.log",
		id+`1 \[POST\] /bitrix/pub/\?binaryMode=true 10\.0\.0\.7`,
		id+`1 \[FINISHED\] \d+ms 400 10\.0\.0\.7`,
		id+`2 \[POST\] /bitrix/pub/\?binaryMode=true&x=1 192\.168\.1\.1, 10\.0\.0\.8`,
		id+`2 \[FINISHED\] \d+ms 400 192\.168\.1\.1, 10\.0\.0\.8`)
}

func TestTrafficOfASubscriber(t *testing.T) {
	dir := t.TempDir()
	c := logged(t, dir, map[string]any{"ip": []any{"::ffff:127.0.0.1"}})
	p := start(t, c)
	ch := client.NewChannel(c["security"].(map[string]any)["key"].(string))
	socket, err := client.Dial(t.Context(), c.addr("sub"), subPath+client.Query(false, "", ch.Signed()))
	if err != nil {
		t.Fatal(err)
	}
	socket.Close()
	id := fmt.Sprintf(`%dT00000001 `, p.cmd.Process.Pid)
	logFile(t, dir, "debug.DATE.log",
		id+`\[GET-UPGRADE\] /bitrix/subws/\?CHANNEL_ID=[0-9a-f]{32}(:|%3A)[0-9a-f]{32}\.\*\S* ::ffff:127\.0\.0\.1`,
		id+`\[WS-CONNECTION\] /bitrix/subws/\S+ ::ffff:127\.0\.0\.1`,
		id+`\[WS-CLOSED\] 1006  \d+ms ::ffff:127\.0\.0\.1`)
}

// Trouble with Redis is a matter for operators.
func TestRedisErrorsAreLogged(t *testing.T) {
	dir := t.TempDir()
	c := logged(t, dir, map[string]any{})
	c["storage"] = map[string]any{"type": "redis", "socket": filepath.Join(dir, "no-redis.sock")}
	c["clusterMode"] = true
	start(t, c)
	eventually(t, "a line about Redis", func() error {
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
