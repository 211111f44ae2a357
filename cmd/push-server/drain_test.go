package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"push-server/protocol/testclient"
)

// drain ends the server in good order, and says so.
func TestDrainCommand(t *testing.T) {
	t.Parallel()
	r := startReloaded(t, nil)
	ch := testclient.NewChannel(r.config["security"].(map[string]any)["key"].(string))
	c := testclient.Subscribe(t, r.config.addr("sub"), subPath+testclient.Query(false, "", ch.Signed()))
	code := make(chan int)
	go func() {
		code <- c.End()
		c.Close()
	}()
	out, _, err := execute(t, "drain", "--config", r.file)
	if err != nil || !strings.HasSuffix(out, "the server has ended: all that was accepted is stored, all connections were told\n") {
		t.Errorf("%v\n%s", err, out)
	}
	if got := <-code; got != 1001 {
		t.Errorf("the WebSocket was closed with %d", got)
	}
	if exit := r.wait(); exit != exitOK {
		t.Errorf("exit code %d", exit)
	}
	if _, _, err := execute(t, "drain", "--config", r.file); exitCode(err) != exitFailure {
		t.Errorf("a server that is not there: %v", err)
	}
}

// What is lost is said, and is the exit code.
func TestDrainCommandSaysWhatIsLost(t *testing.T) {
	t.Parallel()
	redis := startRedis(t)
	r := startReloaded(t, func(c config) {
		c["storage"] = map[string]any{"type": "redis", "socket": redis.Addr()}
		c.option("acceptTimeout", "100ms")
		c.option("drainTimeout", "1s")
	})
	redis.Kill()
	backend := testclient.NewHTTP(false)
	reply, err := backend.PublishText(t.Context(), "http://"+r.config.addr("pub")+pubPath, `"x"`, 60, exampleChannel)
	if err != nil || reply.Status != http.StatusAccepted {
		t.Fatal(reply, err)
	}
	out, _, err := execute(t, "drain", "--config", r.file)
	if exitCode(err) != exitFailure || !strings.Contains(err.Error(), "1 publications are not stored") || !strings.Contains(out, "1 publication accepted and not stored") {
		t.Errorf("%v\n%s", err, out)
	}
	r.wait()
}

// Where nobody may do anything, nobody may end the server.
func TestDrainOfAReadOnlyWindow(t *testing.T) {
	t.Parallel()
	r := startReloaded(t, func(c config) { c.option("operators", map[string]any{"readOnly": true}) })
	if _, _, err := execute(t, "drain", "--config", r.file); exitCode(err) != exitFailure || !strings.Contains(fmt.Sprint(err), "read-only") {
		t.Error(err)
	}
	if status, _ := r.get("/readyz", ""); status != http.StatusOK {
		t.Errorf("the server answers %d", status)
	}
	if _, _, err := execute(t, "drain", "--config", "../../configs/push-server-pub-9010.json"); err == nil || !strings.Contains(err.Error(), "send it SIGTERM") {
		t.Errorf("without a window: %v", err)
	}
}
