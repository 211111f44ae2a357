package main

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"push-server/protocol/testclient"
	"push-server/redisbus/redistest"
)

// TestPortalSwitchesUnderLoad: while 200 messages a second go to users and channels, a portal switches to version 5 and back. Its clients, by
// WebSocket and poll, are of versions 3, 4 and 5; each is told once to get another configuration, comes back, and most in the other version.
// Nobody misses or doubles anything. With PUSH_TEST_SLOW they are a thousand, for half a minute.
func TestPortalSwitchesUnderLoad(t *testing.T) {
	t.Parallel()
	size := loadSize{channels: 30, webSockets: 240, pollers: 60, publishers: 4, publications: 1 << 30, stay: 400, pause: 70 * time.Millisecond}
	between := 100
	if os.Getenv("PUSH_TEST_SLOW") != "" {
		size.channels, size.webSockets, size.pollers, between = 100, 800, 200, 2000
	}
	redis := redistest.Start(t)
	in := installWith(t, "default", redis, 2, func(c config) { c.option("v5", map[string]any{"enabled": true}) })
	l := newLoad(t, in, size)
	enough := make(chan struct{})
	l.enough, l.toAll = enough, testclient.NewChannel(testKey)
	l.addListeners()
	for i, who := range l.listeners {
		if who.three = !who.five && i%4 == 0; who.five && i%5 > 0 {
			who.five, who.switches = false, true
		}
	}
	listening := l.listen()
	l.waitReady()
	publishing := l.publish()
	backend := testclient.NewHTTP(false)
	for n := range 2 {
		l.awaitMore(between)
		expire := fmt.Sprintf(`{"jsonrpc":"2.0","method":"publish","params":{"channelList":[%q],"expiry":3600,"body":{"expire":%d}}}`, l.toAll.Private, n+1)
		if reply, err := l.call(backend, "["+expire+"]"); err != nil || reply.Status != 200 {
			t.Fatalf("answered %d, %v", reply.Status, err)
		}
		all := int64((n + 1) * len(l.listeners))
		l.await("all are told to get another configuration", func() bool { return l.told.Load() == all })
	}
	l.awaitMore(between)
	close(enough)
	<-publishing
	listening.Wait()
	if err := context.Cause(l.ctx); err != nil {
		t.Error(err)
	}
	l.checkComplete()
	t.Logf("%d publications, %d deliveries, %d returns of clients", l.published.Load(), l.delivered.Load(), l.returns.Load())
}

// await is testclient.Await, which ends with the first error of the load.
func (l *load) await(what string, ok func() bool) {
	l.t.Helper()
	testclient.Await(l.t, what, func() bool {
		if err := context.Cause(l.ctx); err != nil {
			l.t.Fatal(err)
		}
		return ok()
	})
}

// awaitMore waits until so many more publications are accepted.
func (l *load) awaitMore(n int) {
	l.t.Helper()
	goal := l.published.Load() + int64(n)
	l.await("publications", func() bool { return l.published.Load() >= goal })
}
