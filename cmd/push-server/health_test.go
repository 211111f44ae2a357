package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"push-server/protocol/testclient"
	"push-server/redisbus/redistest"
)

// healthy wants an exit code of health, and a text in its line.
func healthy(t *testing.T, want int, text string, args ...string) {
	t.Helper()
	out, log, err := execute(t, append([]string{"health"}, args...)...)
	if line := out + log; exitCode(err) != want || !strings.Contains(fmt.Sprint(line, err), text) || strings.Count(line, "\n") > 1 {
		t.Errorf("exit code %d, want %d and %q: %v\n%s", exitCode(err), want, text, err, line)
	}
}

func TestHealthOfPorts(t *testing.T) {
	c := standalone(t)
	file := writeConfigs(t, c)
	healthy(t, exitFailure, "subscribers, 127.0.0.1:", file...)
	healthy(t, exitFailure, "connection refused", file...)
	start(t, c)
	healthy(t, exitOK, "2 ports answered\n", file...)
	healthy(t, exitUsage, "--config FILE")
	healthy(t, exitFailure, "no listener", "--config", writeFile(t, `{"servers":[],"security":{"key":"0123456789abcdef"}}`))
	healthy(t, exitFailure, "no fixed port", "--config", writeFile(t, `{"servers":[{"routes":{"pub":"/"}}],"security":{"key":"0123456789abcdef"}}`))
}

func TestHealthOverTLS(t *testing.T) {
	dir := t.TempDir()
	writeCertificate(t, dir, "portal.example")
	c := encrypted(t, dir)
	start(t, c)
	healthy(t, exitOK, "2 ports answered\n", writeConfigs(t, c)...)
}

// A server that does not answer is not healthy, and neither is another program at its port.
func TestHealthOfOtherPrograms(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	f := func(addr, text string) {
		t.Helper()
		_, port, _ := net.SplitHostPort(addr)
		c := standalone(t)
		c.listeners()[0]["port"] = port
		healthy(t, exitFailure, text, append(writeConfigs(t, c), "--timeout", "300ms")...)
		c.option("metrics", addr)
		healthy(t, exitFailure, text, append(writeConfigs(t, c), "--timeout", "300ms")...)
	}
	f(silent.Addr().String(), "no answer in time")
	f(other.Listener.Addr().String(), "another program answers there: HTTP status 404")
}

// With push.metrics the answer is that of /readyz, which knows about Redis.
func TestHealthKnowsAboutRedis(t *testing.T) {
	redis := absentRedis(t)
	c := standalone(t)
	c["storage"] = map[string]any{"type": "redis", "socket": redis.Addr()}
	c.option("metrics", fmt.Sprintf("127.0.0.1:%d", freePort(t)))
	file := writeConfigs(t, c)
	healthy(t, exitFailure, "push.metrics, 127.0.0.1:", file...)
	start(t, c)
	healthy(t, exitFailure, "not ready: ", file...)
	redis.Restart()
	testclient.AwaitNil(t, "the server is ready", func() error {
		_, _, err := execute(t, append([]string{"health"}, file...)...)
		return err
	})
	healthy(t, exitOK, "ready, room for ", file...)
}

// Redis answers, and nothing comes over the connection of publications: health says so, and the connection is made anew until something does.
func TestHealthKnowsThatRedisIsSilent(t *testing.T) {
	t.Parallel()
	proxy := redistest.Start(t).Proxy(t)
	c := standalone(t)
	c["storage"] = map[string]any{"type": "redis", "socket": proxy.Addr()}
	window := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	c.option("metrics", window)
	file := writeConfigs(t, c)
	start(t, c)
	says := func(text string) {
		t.Helper()
		testclient.AwaitNil(t, text, func() error {
			if out, _, err := execute(t, append([]string{"health"}, file...)...); !strings.Contains(fmt.Sprint(out, err), text) {
				return fmt.Errorf("health says %s %w", out, err)
			}
			return nil
		})
	}
	says("ready, room for ")
	client := testclient.Subscribe(t, c.addr("sub"), subPath+"?CHANNEL_ID="+exampleSigned)
	proxy.Mute()
	publishBy(t, append(file, "--expiry", "1m", exampleChannel, `"in silence"`)...)
	says("not ready: the bus has been silent for ")
	if n, err := metric(window, "push_bus_rebuilds_total"); err != nil || n == 0 {
		t.Errorf("%d rebuilds, %v", n, err)
	}
	proxy.Unmute()
	if got := client.Bodies(1)[0]; got != `"in silence"` {
		t.Errorf("the client got %s", got)
	}
	says("ready, room for ")
	if n, err := metric(window, "push_probe_seconds_count"); err != nil || n == 0 {
		t.Errorf("%d probes, %v", n, err)
	}
}

func TestStat(t *testing.T) {
	c := standalone(t)
	c["processUniqueId"] = "first\x1b[2J"
	file := writeConfigs(t, c)
	f := func(want int, text string, args ...string) (out string) {
		t.Helper()
		out, log, err := execute(t, append([]string{"stat"}, args...)...)
		if exitCode(err) != want || !strings.Contains(fmt.Sprint(out, log, err), text) {
			t.Errorf("%v: exit code %d: %v\n%s%s", args, exitCode(err), err, out, log)
		}
		return out
	}
	f(exitFailure, "connection refused", file...)
	start(t, c)
	testclient.Subscribe(t, c.addr("sub"), subPath+"?CHANNEL_ID="+exampleSigned)
	publishBy(t, append(file, exampleChannel, "x")...)
	lines := strings.Split(f(exitOK, "", file...), "\n")
	if len(lines) != 3 || !strings.HasPrefix(lines[0], "PROCESS ") || strings.Join(strings.Fields(lines[1])[3:], " ") != "1 0 1 1 0" ||
		!strings.HasPrefix(lines[1], `first\x1b[2J `) {
		t.Errorf("%q", lines)
	}
	var page []processStat
	if err := json.Unmarshal([]byte(f(exitOK, "", append(file, "--json")...)), &page); err != nil || len(page) != 1 || page[0].WebSockets != 1 {
		t.Errorf("%v: %v", err, page)
	}
	f(exitFailure, "no route stat at this address", "--url", "http://"+c.addr("sub")+"/elsewhere/")
	f(exitUsage, "no server")
	c.option("statAllow", []string{"10.0.0.0/8"})
	for _, listener := range c.listeners() {
		listener["port"] = freePort(t)
	}
	start(t, c)
	f(exitFailure, "push.statAllow", writeConfigs(t, c)...)
}

// Several processes have a sum. Names may be numbers.
func TestStatOfSeveral(t *testing.T) {
	page := `[{"pid":2,"date":1000,"processUniqueId":"b","channels":3,"websockets":4,"pollings":5,"daily":{"requests":{"x":1},"messages":{"a":6,"b":7}}},
		{"pid":1,"date":61000,"processUniqueId":1,"channels":3,"websockets":1,"pollings":0}]`
	var out strings.Builder
	if err := printStat(&out, []byte(page), time.UnixMilli(61000)); err != nil {
		t.Fatal(err)
	}
	want := `PROCESS  PID  AGE   WEBSOCKETS  POLLS  CHANNELS  MESSAGES  REQUESTS
1        1    0s    1           0      3         0         0
b        2    1m0s  4           5      3         13        1
all 2               5           5                13        1
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
	for _, page := range []string{"[]", "<html>", "{}"} {
		if printStat(&out, []byte(page), time.Now()) == nil {
			t.Errorf("%s is taken for statistics", page)
		}
	}
}
