package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"push-server/protocol/testclient"
)

// What happens to clients is on the page for operators.
func TestWindowForOperators(t *testing.T) {
	c := standalone(t)
	window := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	c.option("metrics", window)
	p := start(t, c)
	look := func(path, want string) error {
		resp, err := http.Get("http://" + window + path)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		page, err := io.ReadAll(resp.Body)
		if err == nil && !strings.Contains(string(page), want) {
			err = fmt.Errorf("%q is missing in\n%s", want, page)
		}
		return err
	}
	testclient.AwaitNil(t, "the server is ready", func() error { return look("/readyz", "ready\n") })
	ch := testclient.NewChannel(c["security"].(map[string]any)["key"].(string))
	w, err := testclient.Dial(t.Context(), c.addr("sub"), subPath+testclient.Query(false, "", ch.Signed()))
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	testclient.AwaitNil(t, "the WebSocket is counted", func() error { return look("/metrics", "push_sessions{transport=\"websocket\"} 1\n") })
	if err := look("/debug/pprof/goroutine?debug=1", "engine.(*loop).run"); err != nil {
		t.Error(err)
	}
	testclient.AwaitNil(t, "the address is printed", func() error {
		if log := p.log.String(); !strings.Contains(log, "for operators: http://"+window) {
			return errors.New(log)
		}
		return nil
	})
}

func TestWindowNeedsItsAddress(t *testing.T) {
	c := standalone(t)
	c.option("metrics", c.addr("sub"))
	if code := launch(t, writeConfigs(t, c)...).wait(); code != exitFailure {
		t.Errorf("exit code %d", code)
	}
}
