package testclient

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/gobwas/ws"
)

// serve accepts connections one after the other and gives each to the next of conversations.
func serve(t *testing.T, conversations ...func(conn net.Conn, in *bufio.Reader)) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for _, converse := range conversations {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer conn.Close()
				converse(conn, bufio.NewReader(conn))
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		running.Wait()
	})
	return ln.Addr().String()
}

const (
	message1 = `#!NGINXNMS!#{"mid":"17954638490000000000000001","text":{"n":1}}#!NGINXNME!#`
	message2 = `#!NGINXNMS!#{"mid":"17954638490000000000000002","text":{"n":2}}#!NGINXNME!#`
)

func head(in *bufio.Reader) *http.Request {
	r, err := http.ReadRequest(in)
	if err != nil {
		return &http.Request{}
	}
	return r
}

// switched answers a handshake, with what may follow at once in the same segment.
func switched(conn net.Conn, in *bufio.Reader, more ...ws.Frame) {
	head(in)
	reply := "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
	for _, f := range more {
		reply += string(ws.MustCompileFrame(f))
	}
	io.WriteString(conn, reply)
}

func TestPollsOnOneConnection(t *testing.T) {
	addr := serve(t, func(conn net.Conn, in *bufio.Reader) {
		fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nX-Asked: %s\r\nContent-Length: %d\r\n\r\n%s", head(in).URL, len(message1), message1)
		head(in)
		io.WriteString(conn, "HTTP/1.1 304 Not Modified\r\nLast-Message-Id: 17\r\n\r\n")
		head(in)
		io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	})
	c := Open(t, addr)
	reply := c.Poll("/sub/?x")
	ms, err := reply.Messages()
	if err != nil || len(ms) != 1 || ms[0].Body != `{"n":1}` || reply.Status != 200 || reply.Header.Get("X-Asked") != "/sub/?x" {
		t.Errorf("%v %v, %v", reply, ms, err)
	}
	reply = c.Poll("/sub/")
	if ms, err := reply.Messages(); err != nil || ms != nil || reply.String() != "304 Not Modified" || reply.Header.Get("Last-Message-Id") != "17" {
		t.Errorf("%v %v, %v", reply, ms, err)
	}
	if _, err := c.Poll("/sub/").Messages(); !errors.Is(err, ErrFraming) {
		t.Errorf("an empty 200: %v", err)
	}
}

// TestReceive: messages that came with the handshake, a ping that is answered, several in a frame, the end.
func TestReceive(t *testing.T) {
	pong := make(chan string, 1)
	addr := serve(t, func(conn net.Conn, in *bufio.Reader) {
		switched(conn, in, ws.NewTextFrame([]byte(message1)), ws.NewPingFrame([]byte("?")))
		f, err := ws.ReadFrame(in)
		pong <- fmt.Sprintf("%d %s %v", f.Header.OpCode, ws.UnmaskFrame(f).Payload, err)
		ws.WriteFrame(conn, ws.NewTextFrame([]byte(message1+message2)))
		ws.WriteFrame(conn, ws.NewBinaryFrame(nil))
		ws.WriteFrame(conn, ws.NewCloseFrame(ws.NewCloseFrameBody(4010, "wrong")))
	})
	c, err := Dial(t.Context(), addr, "/sub/"+Query(false, "", a.Signed()))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	want := func(n int, wantErr error) {
		t.Helper()
		ms, err := c.Within(Patience).Receive()
		if len(ms) != n || !errors.Is(err, wantErr) {
			t.Errorf("got %v, %v; want %d, %v", ms, err, n, wantErr)
		}
	}
	want(1, nil)
	want(2, nil)
	if got := AwaitFrom(t, "the pong", pong); got != "10 ? <nil>" {
		t.Errorf("pong %s", got)
	}
	want(0, ErrFraming) // protobuf, though text was asked for
	var end *CloseError
	if _, err := c.Receive(); !errors.As(err, &end) || *end != (CloseError{4010, "wrong"}) {
		t.Errorf("at the end: %v", err)
	}
}

// TestEnd: with a close frame, without one, by reset.
func TestEnd(t *testing.T) {
	f := func(want int, converse func(conn net.Conn, in *bufio.Reader)) {
		t.Helper()
		c := Open(t, serve(t, func(conn net.Conn, in *bufio.Reader) {
			switched(conn, in)
			converse(conn, in)
		}))
		c.Upgrade("/sub/")
		if got := c.End(); got != want {
			t.Errorf("%d, want %d", got, want)
		}
	}
	f(1001, func(conn net.Conn, in *bufio.Reader) {
		ws.WriteFrame(conn, ws.NewTextFrame([]byte(message1)))
		ws.WriteFrame(conn, ws.NewPingFrame(nil))
		ws.WriteFrame(conn, ws.NewCloseFrame(ws.NewCloseFrameBody(1001, "")))
		ws.ReadFrame(in)
	})
	f(0, func(conn net.Conn, _ *bufio.Reader) { ws.WriteFrame(conn, ws.NewPingFrame(nil)) })
	f(0, func(conn net.Conn, _ *bufio.Reader) { conn.(*net.TCPConn).SetLinger(0) })
}

func TestSubscribe(t *testing.T) {
	addr := serve(t, func(conn net.Conn, in *bufio.Reader) {
		switched(conn, in, ws.NewPingFrame(nil))
		f, _ := ws.ReadFrame(in)
		ws.WriteFrame(conn, ws.NewPongFrame(ws.UnmaskFrame(f).Payload))
		for _, m := range []string{message1, message2} {
			ws.WriteFrame(conn, ws.NewTextFrame([]byte(m)))
		}
	})
	if got := Subscribe(t, addr, "/sub/").Bodies(2); got[0] != `{"n":1}` || got[1] != `{"n":2}` {
		t.Errorf("got %q", got)
	}
}

// TestRefusedHandshake: refused, or accepted by somebody who has not read the key.
func TestRefusedHandshake(t *testing.T) {
	f := func(reply, want string) {
		t.Helper()
		addr := serve(t, func(conn net.Conn, in *bufio.Reader) {
			head(in)
			io.WriteString(conn, reply)
		})
		if _, err := Dial(t.Context(), addr, "/sub/"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	f("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nfull", "503 Service Unavailable full")
	f("HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: x\r\n\r\n", "Sec-WebSocket-Accept: x")
	f("", "EOF")
}

func TestPublish(t *testing.T) {
	addr := serve(t, func(conn net.Conn, in *bufio.Reader) {
		r := head(in)
		body, _ := io.ReadAll(r.Body)
		asked := fmt.Sprintf("%s %s %s expiry=%s", r.Method, r.URL, body, r.Header.Get("Message-Expiry"))
		fmt.Fprintf(conn, "HTTP/1.1 202 Accepted\r\nContent-Length: %d\r\n\r\n%s", len(asked), asked)
	})
	backend := NewHTTP(false)
	defer backend.Close()
	reply, err := backend.PublishText(context.Background(), "http://"+addr+"/pub/", `{}`, 60, a.Private, b.Private)
	want := "POST /pub/?CHANNEL_ID=" + a.Private + "/" + b.Private + " {} expiry=60"
	if err != nil || reply.Status != 202 || string(reply.Body) != want {
		t.Errorf("%v %s, %v", reply, reply.Body, err)
	}
}
