package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"sync"
	"sync/atomic"
	"testing"

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
	var refused atomic.Int64
	for range 400 {
		flood(t, sub, &refused)
	}
	testclient.AwaitNil(t, "connections are refused", func() error {
		if n := refused.Load(); n < 100 {
			return fmt.Errorf("%d of 400", n)
		}
		return nil
	})
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
		flood(t, pub, &refused)
	}
	publish(`"both are"`) // over the connection that is open
}

// flood opens a connection that stays until the end of the test, and counts it if the server closes it before.
func flood(t *testing.T, addr string, closed *atomic.Int64) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	var reading sync.WaitGroup
	reading.Go(func() {
		if _, err := io.Copy(io.Discard, conn); !errors.Is(err, net.ErrClosed) {
			closed.Add(1)
		}
	})
	t.Cleanup(func() {
		conn.Close()
		reading.Wait()
	})
}
