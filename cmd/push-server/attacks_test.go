package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"push-server/protocol/testclient"
	"push-server/redisbus/redistest"
)

const megabyte = 1 << 20

// What strangers can do to the memory of a process is bounded, at the numbers at which it once was not.
func TestAttacks(t *testing.T) {
	if raced {
		t.Skip("the race detector has memory of its own")
	}
	slow := os.Getenv("PUSH_TEST_SLOW") != ""
	f := func(name string, quick bool, attack func(t *testing.T)) {
		t.Run(name, func(t *testing.T) {
			if !quick && !slow {
				t.Skip("make test-attacks runs it")
			}
			attack(t)
		})
	}
	f("bodies that are announced", true, attackByAnnouncing)
	f("polls that are far behind", false, func(t *testing.T) { attackByPolling(t, true) })
	f("polls that are far behind and do not read", false, func(t *testing.T) { attackByPolling(t, false) })
	f("publications while a gap is closed", false, attackInGap)
	for _, kind := range []string{"text", "protobuf", "refused"} {
		f("unread input of WebSockets, "+kind, false, func(t *testing.T) { attackByInput(t, kind) })
	}
	f("output that is not read", false, attackByNotReading)
	f("fragments under assembly", false, attackByFragments)
	f("a client that publishes", false, attackByPublishing)
}

// attackers are n connections on which something is said.
func attackers(t *testing.T, addr string, n int, say func(i int, conn net.Conn)) (leave func()) {
	t.Helper()
	var conns []net.Conn
	var all sync.WaitGroup
	places := make(chan struct{}, 32)
	for i := range n {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
		places <- struct{}{}
		all.Go(func() {
			conn.SetWriteDeadline(time.Now().Add(patience))
			say(i, conn)
			<-places
		})
	}
	all.Wait()
	leave = func() {
		for _, conn := range conns {
			conn.Close()
		}
	}
	t.Cleanup(leave)
	return leave
}

// hold lets an attack last, since it costs what it costs at some moment of it.
func hold(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
	}
}

func attackByAnnouncing(t *testing.T) {
	in := install(t, "single", nil, 1)
	s := besiege(t, in, in.procs[0], true)
	leave := attackers(t, in.subs[0], 1000, func(i int, conn net.Conn) {
		path := []string{pubPath, restPath, "/nothing"}[i%3]
		fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffff0\r\nx", path)
	})
	hold(t, 2*time.Second)
	s.end(leave)
}

func attackByPolling(t *testing.T, reads bool) {
	redis := redistest.Start(t)
	in := &installation{redis: redis}
	in.add(t, recordedConfig(t, "default-pub", socketOf(redis)))
	ch := testclient.NewChannel(testKey)
	for range 200 {
		publishLarge(t, in, ch)
	}
	in.add(t, recordedConfig(t, "default-sub", socketOf(redis)))
	in.waitDelivering(t)
	s := besiege(t, in, in.procs[1], true)
	var bytes atomic.Int64
	target := subPath + testclient.Query(false, "00000000000000000000000000", ch.Signed())
	leave := attackers(t, in.subs[0], 15, func(_ int, conn net.Conn) {
		fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", target)
		if reads {
			n, _ := io.Copy(io.Discard, conn)
			bytes.Add(n)
		}
	})
	if !reads {
		hold(t, 3*time.Second)
	} else if bytes.Load() < 15*megabyte/2 {
		t.Errorf("the polls got %d bytes", bytes.Load())
	}
	s.end(leave)
}

func attackInGap(t *testing.T) {
	redis := redistest.Start(t)
	proxy := redis.Proxy(t)
	in := &installation{redis: redis}
	in.add(t, recordedConfig(t, "default-pub", socketOf(redis)))
	in.add(t, recordedConfig(t, "default-sub", proxy.Addr()))
	in.waitDelivering(t)
	ch := testclient.NewChannel(testKey)
	dialSubscriber(t, in.subs[0], testclient.Query(true, "", ch.Signed()))
	s := besiege(t, in, in.procs[1], false)
	proxy.HoldAnswer("PTTL") // of the repair
	redis.KillPubSub()
	proxy.AwaitHeld(t)
	for range 125 {
		publishLarge(t, in, ch)
	}
	proxy.Release()
	testclient.Await(t, "the end of the gap", func() bool { return strings.Contains(in.procs[1].log.String(), "gap closed") })
	s.end(func() {})
}

func attackByInput(t *testing.T, kind string) {
	in := install(t, "single", nil, 1)
	s := besiege(t, in, in.procs[0], true)
	frame := append(maskedHeader(0x82, megabyte), bytes.Repeat([]byte("x"), megabyte-1)...)
	leave := attackers(t, in.subs[0], 150, func(_ int, conn net.Conn) {
		query := testclient.Query(kind == "protobuf", "", testclient.NewChannel(testKey).Signed())
		if kind == "refused" {
			query = "?CHANNEL_ID=wrong"
		}
		sayUpgrade(conn, query)
		conn.Write(frame) // may be cut off
	})
	hold(t, 2*time.Second)
	s.end(leave)
}

func attackByFragments(t *testing.T) {
	in := install(t, "single", nil, 1)
	s := besiege(t, in, in.procs[0], true)
	fragment := append(maskedHeader(0x02, megabyte-1), make([]byte, megabyte-1)...)
	leave := attackers(t, in.subs[0], 300, func(_ int, conn net.Conn) {
		sayUpgrade(conn, testclient.Query(true, "", testclient.NewChannel(testKey).Signed()))
		conn.Write(fragment) // may be cut off
	})
	hold(t, 2*time.Second)
	s.end(leave)
}

func attackByNotReading(t *testing.T) {
	c := recordedConfig(t, "single", "")
	c["limits"] = map[string]any{"maxConnPerChannel": 1000}
	in := &installation{}
	in.add(t, c)
	in.waitDelivering(t)
	s := besiege(t, in, in.procs[0], true)
	ch := testclient.NewChannel(testKey)
	leave := attackers(t, in.subs[0], 400, func(_ int, conn net.Conn) {
		sayUpgrade(conn, testclient.Query(true, "", ch.Signed()))
	})
	for range 4 {
		publishLarge(t, in, ch)
	}
	hold(t, 2*time.Second)
	s.end(leave)
}

func attackByPublishing(t *testing.T) {
	in := install(t, "single", redistest.Start(t), 1)
	s := besiege(t, in, in.procs[0], true)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	ch := testclient.NewChannel(testKey)
	var batch []testclient.Publication
	for range maxOfEach {
		batch = append(batch, testclient.Publication{Receivers: []testclient.Receiver{ch.PublicReceiver()}, Body: numbered(1), Expiry: 60})
	}
	request := testclient.AppendPublish(nil, batch...)
	sent := 0
	for ctx.Err() == nil {
		socket := dialSubscriber(t, in.subs[0], testclient.Query(true, "", ch.Signed()))
		context.AfterFunc(ctx, func() { socket.Close() })
		go io.Copy(io.Discard, socket)
		for socket.Send(request) == nil {
			sent++
		}
	}
	t.Logf("%d requests of %d publications", sent, maxOfEach)
	s.end(func() {})
}

// publishLarge publishes almost a megabyte, which may take a slow store a while.
func publishLarge(t *testing.T, in *installation, ch testclient.Channel) {
	t.Helper()
	reply, err := testclient.NewHTTP(false).PublishText(t.Context(), in.pubURL(), `"`+strings.Repeat("x", megabyte-100)+`"`, 600, ch.Private)
	if err != nil || reply.Status != 200 && reply.Status != 202 {
		t.Fatalf("publication: %d %v", reply.Status, err)
	}
}

// sayUpgrade makes conn a WebSocket; its answer is not looked at.
func sayUpgrade(conn net.Conn, query string) {
	fmt.Fprintf(conn, "GET %s%s HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", subPath, query)
}

// maskedHeader begins a frame of n bytes, more than 65,535, of which the payload follows; the mask is zero.
func maskedHeader(first byte, n int) []byte {
	return []byte{first, 0xff, 0, 0, 0, 0, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n), 0, 0, 0, 0}
}
