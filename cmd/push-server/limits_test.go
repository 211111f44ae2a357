package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"push-server/protocol/testclient"
	"push-server/redisbus/redistest"
)

// The limits of an installation as it is delivered.
const (
	maxPayload = 1 << 20
	maxOfEach  = 100 // messages of a request, and receivers of a message
)

// allRoutes is one process with a port for everything and one for publishing alone.
func allRoutes(t *testing.T, redis *redistest.Server) (in *installation, ports map[string]string) {
	t.Helper()
	c := recordedConfig(t, "default-sub", socketOf(redis))
	routes := map[string]any{"sub": subPath, "pub": pubPath, "rest": restPath, "stat": statPath}
	shared := c.listeners()[0]
	shared["routes"] = routes
	alone := map[string]any{"name": "alone", "port": freePort(t), "hostname": "127.0.0.1", "routes": map[string]any{"pub": pubPath, "rest": restPath}}
	c["servers"] = []any{shared, alone}
	in = &installation{redis: redis}
	in.add(t, c)
	in.waitDelivering(t)
	return in, map[string]string{"shared port": in.subs[0], "publishing port": fmt.Sprintf("127.0.0.1:%v", alone["port"])}
}

// A hundred messages to a hundred channels each are one request. One more of either is none.
func TestLargestRequest(t *testing.T) {
	onEachBus(t, func(t *testing.T, redis *redistest.Server) {
		in, ports := allRoutes(t, redis)
		backend := testclient.NewHTTP(true)
		defer backend.Close()
		ch := testclient.NewChannel(testKey)
		var others []testclient.Receiver
		for range maxOfEach {
			others = append(others, testclient.NewChannel(testKey).PrivateReceiver())
		}
		socket := dialSubscriber(t, in.subs[0], testclient.Query(true, "", ch.Signed()))
		publications := func(n, receivers int) (ps []testclient.Publication) {
			for i := range n {
				to := append([]testclient.Receiver{ch.PrivateReceiver()}, others...)
				ps = append(ps, testclient.Publication{Receivers: to[:receivers], Body: numbered(i), Expiry: 60})
			}
			return ps
		}
		for name, addr := range ports {
			f := func(n, receivers, status int, body string) {
				t.Helper()
				reply, err := backend.Request(t.Context(), "http://"+addr+pubPath, testclient.AppendPublish(nil, publications(n, receivers)...))
				if err != nil || reply.Status != status || string(reply.Body) != body {
					t.Errorf("%s: %d messages to %d channels: %d %s %v", name, n, receivers, reply.Status, reply.Body, err)
				}
			}
			f(maxOfEach+1, 1, 400, "4016: Request exceeded the maximum number of messages.")
			f(1, maxOfEach+1, 400, "4018: Request exceeded the maximum number of channels.")
			f(maxOfEach, maxOfEach, 200, "")
			got, err := receive(socket, maxOfEach)
			if err != nil || len(got) != maxOfEach || got[0].Body != numbered(0) || got[maxOfEach-1].Body != numbered(maxOfEach-1) {
				t.Errorf("%s: got %d messages, %v", name, len(got), err)
			}
		}
	})
}

// The same by WebSocket, which a client's too large request ends.
func TestLargestRequestOfAClient(t *testing.T) {
	in, _ := allRoutes(t, nil)
	ch := testclient.NewChannel(testKey)
	f := func(n, receivers int, want *testclient.CloseError) {
		t.Helper()
		socket := dialSubscriber(t, in.subs[0], testclient.Query(true, "", ch.Signed()))
		p := testclient.Publication{Body: numbered(1)}
		for range receivers {
			p.Receivers = append(p.Receivers, ch.PublicReceiver())
		}
		var all []testclient.Publication
		for range n {
			all = append(all, p)
		}
		if err := socket.Send(testclient.AppendPublish(nil, all...)); err != nil {
			t.Fatal(err)
		}
		_, err := receive(socket, n)
		var closed *testclient.CloseError
		if want == nil && err != nil || want != nil && (!errors.As(err, &closed) || *closed != *want) {
			t.Errorf("%d messages to %d channels: %v", n, receivers, err)
		}
		socket.Close()
	}
	f(maxOfEach, maxOfEach, nil)
	f(maxOfEach+1, 1, &testclient.CloseError{Code: 4016, Reason: "4016: Request exceeded the maximum number of messages."})
	f(1, maxOfEach+1, &testclient.CloseError{Code: 4018, Reason: "4018: Request exceeded the maximum number of channels."})
}

// A body of exactly maxPayload passes, on every port and route; one byte more does not.
func TestLargestBody(t *testing.T) {
	in, ports := allRoutes(t, nil)
	ch := testclient.NewChannel(testKey)
	socket := dialSubscriber(t, in.subs[0], testclient.Query(true, "", ch.Signed()))
	length := func(n int) string { return fmt.Sprintf("Content-Length: %d\r\n\r\n", n) }
	chunk := func(n int) string { return fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n", n) }
	for name, addr := range ports {
		f := func(target, framing, body, end string, delivered int) {
			t.Helper()
			socket.SetReadDeadline(time.Now().Add(patience))
			request := "POST " + target + " HTTP/1.1\r\nHost: x\r\nMessage-Expiry: 60\r\n" + framing + body + end
			if err := checkReply(addr, request, 200, "", name == "publishing port"); err != nil { // the other one ends behind it
				t.Errorf("%s: %d bytes to %.40s: %v", name, len(body), target, err)
				return
			}
			got, err := receive(socket, 1)
			if err != nil || len(got[0].Body) != delivered {
				t.Errorf("%s: %d bytes to %.40s: %v", name, len(body), target, err)
			}
		}
		tooLarge := func(target, framing, body, end string) {
			t.Helper()
			request := "POST " + target + " HTTP/1.1\r\nHost: x\r\n" + framing + body + end
			if err := checkReply(addr, request, 413, "", false); err != nil {
				t.Errorf("%s: %d bytes to %.40s: %v", name, len(body), target, err)
			}
		}
		text := pubPath + "?CHANNEL_ID=" + ch.Private
		rest := restPath + testclient.Query(true, "", ch.Signed())
		body, more := strings.Repeat("x", maxPayload), strings.Repeat("x", maxPayload+1)
		f(text, length(maxPayload), body, "", maxPayload)
		f(text, chunk(maxPayload), body, "\r\n0\r\n\r\n", maxPayload)
		tooLarge(text, length(maxPayload+1), more, "")
		tooLarge(text, chunk(maxPayload+1), more, "\r\n0\r\n\r\n")

		binary := pubPath + "?binaryMode=true"
		batch, inside := batchOf(maxPayload, ch.PrivateReceiver())
		f(binary, length(maxPayload), batch, "", inside)
		batch, inside = batchOf(maxPayload, ch.PublicReceiver())
		f(rest, length(maxPayload), batch, "", inside)
		batch, _ = batchOf(maxPayload+1, ch.PrivateReceiver())
		tooLarge(binary, length(maxPayload+1), batch, "")
		tooLarge(rest, length(maxPayload+1), batch, "")
	}
}

// A message of exactly maxPayload passes as a WebSocket frame; one byte more ends the connection.
func TestLargestFrame(t *testing.T) {
	in, _ := allRoutes(t, nil)
	ch := testclient.NewChannel(testKey)
	socket := dialSubscriber(t, in.subs[0], testclient.Query(true, "", ch.Signed()))
	batch, inside := batchOf(maxPayload, ch.PublicReceiver())
	if err := socket.Send([]byte(batch)); err != nil {
		t.Fatal(err)
	}
	if got, err := receive(socket, 1); err != nil || len(got[0].Body) != inside {
		t.Errorf("%d bytes: %v", len(batch), err)
	}
	batch, _ = batchOf(maxPayload+1, ch.PublicReceiver())
	_ = socket.Send([]byte(batch)) // the server hangs up while it is still being sent
	_, err := socket.Receive()
	var closed *testclient.CloseError
	if !errors.As(err, &closed) || closed.Code != 1009 {
		t.Errorf("%d bytes: %v", len(batch), err)
	}
}

// batchOf is a request of exactly n bytes, and the length of the body in it.
func batchOf(n int, to testclient.Receiver) (batch string, body int) {
	for len(batch) != n {
		body += n - len(batch)
		batch = string(testclient.AppendPublish(nil, testclient.Publication{Receivers: []testclient.Receiver{to}, Body: "{" + strings.Repeat(" ", body-2) + "}", Expiry: 60}))
	}
	return batch, body
}
