package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"push-server/protocol/testclient"
)

// with is the command line of a service under another configuration, which counts from then on.
func (s *service) with(change func(c config)) []string {
	s.t.Helper()
	change(s.config)
	return append([]string{"--exec", executable(s.t), "--"}, writeConfigs(s.t, s.config)...)
}

// hearLive is hear for those with a WebSocket.
func (a *audience) hearLive() {
	a.s.t.Helper()
	for i, c := range a.live {
		if got := c.Bodies(1); len(got) != 1 || got[0] != fmt.Sprint(a.sent) {
			a.s.t.Fatalf("client %d got %q, want %d\n%s", i, got, a.sent, a.s.log())
		}
	}
}

// Another configuration comes with the next process: other numbers, another port, other keys. Whoever is there stays, under keys that are
// none any more, too.
func TestUpgradeToAnotherConfiguration(t *testing.T) {
	t.Parallel()
	const nextKey = "the-key-of-tomorrow-0123456789"
	s := startService(t, func(c config) { c.option("loops", 2) })
	a := s.audience(10)
	upgrade := func(change func(c config)) {
		t.Helper()
		a.publish()
		a.hear()
		if err := s.upgrade(s.with(change)...); err != nil {
			t.Fatalf("%v\n%s", err, s.log())
		}
	}
	another := map[string]any{"port": freePort(t), "hostname": "127.0.0.1", "routes": map[string]any{"sub": subPath}}
	listeners := s.config["servers"]
	upgrade(func(c config) {
		c.option("loops", 3)
		c.option("pollTimeout", "30s")
		c["limits"] = map[string]any{"maxPayload": 2 << 20}
		c["servers"] = append([]any{another}, c["servers"].([]any)...)
	})
	a.live = append(a.live, testclient.Subscribe(t, fmt.Sprintf("127.0.0.1:%v", another["port"]), subPath+testclient.Query(false, "", a.ch.Signed())))
	upgrade(func(c config) {
		c.option("loops", 1)
		c["security"] = map[string]any{"key": []string{nextKey, testKey}}
	})
	upgrade(func(c config) { c["security"] = map[string]any{"key": nextKey} })
	a.publish()
	a.hearLive()
	for _, c := range a.polls {
		if reply := c.Reply("GET"); reply.Status != http.StatusOK || !strings.Contains(string(reply.Body), fmt.Sprint(a.sent)) {
			t.Fatalf("a poll got %v\n%s", reply, s.log())
		}
		c.Close()
	}
	a.ch = testclient.ChannelOf(nextKey, a.ch.Item())
	a.live = append(a.live, testclient.Subscribe(t, s.config.addr("sub"), subPath+testclient.Query(false, "", a.ch.Signed())))

	err := s.upgrade(s.with(func(c config) { c["servers"] = listeners })...) // clients are connected to the other one
	if err == nil || !strings.Contains(err.Error(), "needs a restart, or an upgrade with --drop: servers[0].port") {
		t.Fatalf("got %v", err)
	}
	a.publish()
	a.hearLive()
}

// With --drop anything may change: who connects is served by one process or the other, who is connected is told to come back.
func TestUpgradeDrops(t *testing.T) {
	t.Parallel()
	s := startService(t, nil)
	a := s.audience(4)
	a.publish()
	a.hear()
	toMemory := s.with(func(c config) {
		c["storage"] = map[string]any{"type": "memory"}
		delete(c, "clusterMode")
	})
	if err := s.upgrade(toMemory...); err == nil || !strings.Contains(err.Error(), "needs a restart, or an upgrade with --drop:") ||
		!strings.Contains(err.Error(), "storage.type: redis → memory") {
		t.Fatalf("got %v", err)
	}
	a.publish()
	a.hear()
	if err := s.upgrade(append([]string{"--drop"}, toMemory...)...); err != nil {
		t.Fatalf("%v\n%s", err, s.log())
	}
	for _, c := range a.live {
		if code := c.End(); code != 1001 {
			t.Errorf("close code %d", code)
		}
	}
	for _, c := range a.polls {
		if reply := c.Reply("GET"); reply.Status != http.StatusNotModified { // it has got nothing
			t.Errorf("a poll got %v", reply)
		}
	}
	c := testclient.Subscribe(t, s.config.addr("sub"), subPath+testclient.Query(false, "", a.ch.Signed()))
	again := testclient.NewHTTP(false)
	t.Cleanup(again.Close)
	reply, err := again.PublishText(context.Background(), "http://"+s.config.addr("pub")+pubPath, "hello", 60, a.ch.Private)
	if err != nil || reply.Status != http.StatusOK {
		t.Fatalf("%v, %v\n%s", reply, err, s.log())
	}
	if got := c.Bodies(1); got[0] != "hello" {
		t.Errorf("got %q", got)
	}
}
