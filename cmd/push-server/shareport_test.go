package main

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"push-server/protocol/testclient"
)

// TestSharedPorts runs two processes with the same ports: both get clients, and what is published reaches the clients of both.
func TestSharedPorts(t *testing.T) {
	redis := startRedis(t)
	first, windowOfFirst := sharing(t, nil, socketOf(redis))
	_, windowOfSecond := sharing(t, first, socketOf(redis))
	ch := testclient.NewChannel(testKey)
	var clients []*testclient.Conn
	testclient.AwaitNil(t, "both processes have clients", func() error {
		w, err := testclient.Dial(t.Context(), first.addr("sub"), subPath+testclient.Query(false, "", ch.Signed()))
		if err != nil {
			return err
		}
		t.Cleanup(func() { w.Close() })
		clients = append(clients, w)
		for _, window := range []string{windowOfFirst, windowOfSecond} {
			if n, err := metric(window, `push_sessions{transport="websocket"}`); err != nil || n == 0 {
				return fmt.Errorf("%d clients: %v", n, err)
			}
		}
		return nil
	})
	testclient.AwaitNil(t, "both processes hear Redis", func() error {
		for _, window := range []string{windowOfFirst, windowOfSecond} {
			if n, err := metric(window, "push_ready"); err != nil || n == 0 {
				return fmt.Errorf("not ready: %v", err)
			}
		}
		return nil
	})
	backend := testclient.NewHTTP(false)
	for i := range 4 {
		body := strconv.Itoa(i)
		if _, err := backend.PublishText(t.Context(), "http://"+first.addr("pub")+pubPath, body, 0, ch.Private); err != nil {
			t.Fatal(err)
		}
		for _, w := range clients {
			w.SetReadDeadline(time.Now().Add(patience))
			if got, err := w.Receive(); err != nil || len(got) != 1 || got[0].Body != body {
				t.Fatalf("%q: %+v %v", body, got, err)
			}
		}
	}
}

// sharing starts a process that shares the ports of other, or has ports of its own if that is nil.
func sharing(t *testing.T, other config, redis string) (c config, window string) {
	t.Helper()
	c = standalone(t)
	if other != nil {
		c["servers"] = other["servers"]
	}
	window = fmt.Sprintf("127.0.0.1:%d", freePort(t))
	c.option("metrics", window)
	c.option("sharePort", true)
	c["storage"] = map[string]any{"type": "redis", "socket": redis}
	c["security"] = map[string]any{"key": testKey}
	p := start(t, c)
	p.waitListening(window)
	return c, window
}

// metric is the value of a line of the page for operators.
func metric(window, name string) (int, error) {
	page, err := readPage("http://" + window + "/metrics")
	if err != nil {
		return 0, err
	}
	_, rest, ok := strings.Cut(page, "\n"+name+" ")
	if !ok {
		return 0, fmt.Errorf("no %s", name)
	}
	line, _, _ := strings.Cut(rest, "\n")
	return strconv.Atoi(line)
}

// awaitMetric waits until that line has this value.
func awaitMetric(t *testing.T, window, name string, want int) {
	t.Helper()
	testclient.AwaitNil(t, fmt.Sprint(name, " is ", want), func() error {
		n, err := metric(window, name)
		if err == nil && n != want {
			err = fmt.Errorf("it is %d", n)
		}
		return err
	})
}
