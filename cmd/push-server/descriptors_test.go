package main

import (
	"net"
	"os/exec"
	"testing"
	"time"

	"push-server/protocol/testclient"
)

// TestDescriptorLimit floods both ports of a server that may open 300 descriptors. An accept that fails for want of descriptors would end
// an event loop with all its connections: the server lets nobody in before that, and those who are in stay.
func TestDescriptorLimit(t *testing.T) {
	c := joined(recordedConfig(t, "default-sub", ""), recordedConfig(t, "default-pub", ""))
	args := append([]string{"-c", `ulimit -n 300 && exec "$@"`, "sh", executable(t)}, writeConfigs(t, c)...)
	p := launchAs(t, exec.Command("sh", args...))
	sub, pub := c.addr("sub"), c.addr("pub")
	p.waitListening(sub)
	p.waitListening(pub)
	t.Cleanup(p.finish)

	ch := testclient.NewChannel(testKey)
	socket := dialSubscriber(t, sub, testclient.Query(false, "", ch.Signed()))
	refused := 0
	for range 400 {
		if closedAtOnce(t, sub) {
			refused++
		}
	}
	if refused < 100 {
		t.Errorf("%d of 400 connections were refused", refused)
	}
	backend := testclient.NewHTTP(true)
	defer backend.Close()
	publish := func(body string) {
		t.Helper()
		reply, err := backend.PublishText(t.Context(), "http://"+pub+pubPath, body, 0, ch.Private)
		if err != nil || reply.Status != 200 {
			t.Fatalf("publishing: %d %v", reply.Status, err)
		}
		if got, err := receive(socket, 1); err != nil || got[0].Body != body {
			t.Fatalf("got %v, %v, want %s", got, err, body)
		}
	}
	publish(`"subscribers' port is full"`)
	for range 400 {
		closedAtOnce(t, pub)
	}
	publish(`"both are"`) // over the connection that is open
}

// closedAtOnce opens a connection that stays until the end of the test, and says whether the server closed it.
func closedAtOnce(t *testing.T, addr string) bool {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetReadDeadline(time.Now().Add(5 * time.Millisecond))
	_, err = conn.Read(make([]byte, 1))
	netErr, ok := err.(net.Error)
	return !ok || !netErr.Timeout()
}
