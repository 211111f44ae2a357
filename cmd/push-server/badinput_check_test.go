package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"push-server/protocol/testclient"
)

func masked(op ws.OpCode, payload string) []byte {
	frame, err := ws.CompileFrame(ws.MaskFrame(ws.NewFrame(op, true, []byte(payload))))
	if err != nil {
		panic(err)
	}
	return frame
}

// checkReply sends the request on a connection of its own, which has to stay, or to end behind the answer.
func checkReply(addr, request string, status int, body string, stays bool) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, request); err != nil {
		return err
	}
	reader := bufio.NewReader(conn)
	if err := readReply(reader, status, body); err != nil {
		return err
	}
	if !stays {
		return expectEnd(reader)
	}
	if _, err := io.WriteString(conn, "GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		return err
	}
	if err := readReply(reader, 404, ""); err != nil {
		return fmt.Errorf("the next request: %w", err)
	}
	return nil
}

func readReply(reader *bufio.Reader, status int, body string) error {
	reply, err := http.ReadResponse(reader, nil)
	if err != nil {
		return fmt.Errorf("want %d %s: %w", status, body, err)
	}
	got, err := io.ReadAll(reply.Body)
	if err != nil || reply.StatusCode != status || string(got) != body {
		return fmt.Errorf("want %d %q, got %d %q %v", status, body, reply.StatusCode, got, err)
	}
	return nil
}

func expectEnd(reader *bufio.Reader) error {
	_, err := reader.ReadByte()
	var timeout net.Error
	if err == nil || errors.As(err, &timeout) && timeout.Timeout() {
		return fmt.Errorf("the connection stays: %v", err)
	}
	return nil
}

// checkClose subscribes, sends a frame, and wants that close frame.
func checkClose(addr, query string, frame []byte, code uint16, reason string) error {
	conn, reader, err := upgrade(addr, subPath+query)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.Write(frame); err != nil {
		return err
	}
	got, err := ws.ReadFrame(reader)
	if err != nil {
		return fmt.Errorf("want close %d: %w", code, err)
	}
	gotCode, gotReason := ws.ParseCloseFrameData(got.Payload)
	if got.Header.OpCode != ws.OpClose || uint16(gotCode) != code || gotReason != reason {
		return fmt.Errorf("want close %d %q, got opcode %d, %d %q", code, reason, got.Header.OpCode, gotCode, gotReason)
	}
	if _, err := conn.Write(masked(ws.OpClose, string(got.Payload))); err != nil {
		return err
	}
	return expectEnd(bufio.NewReader(reader))
}

// upgrade performs the handshake, which even those have to pass who are refused then.
func upgrade(addr, target string) (net.Conn, io.Reader, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, nil, err
	}
	conn.SetDeadline(time.Now().Add(patience))
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", target)
	reader := bufio.NewReader(conn)
	reply, err := http.ReadResponse(reader, nil)
	if err == nil && reply.Header.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		err = fmt.Errorf("the handshake is answered %s", reply.Status)
	}
	if err != nil {
		conn.Close()
	}
	return conn, reader, err
}

// checkEviction opens more connections of a channel than it may have: the oldest have to go.
func checkEviction(t *testing.T, in *installation) {
	ch := testclient.NewChannel(testKey)
	query := testclient.Query(false, "", ch.Signed())
	poller := testclient.NewHTTP(true)
	evicted := make(chan error, 1)
	go func() {
		reply, err := poller.Poll(t.Context(), "http://"+in.subs[0]+subPath+query)
		if err == nil && (reply.Status != 429 || string(reply.Body) != "4029: Too many connections") {
			err = fmt.Errorf("the oldest, a poll, is answered %d %s", reply.Status, reply.Body)
		}
		evicted <- err
	}()
	if err := testclient.Wait("the poll is online", func() error { return notOnline(t, in, ch) }); err != nil {
		t.Error(err)
		return
	}
	var socket []*testclient.Conn
	for range 4 {
		w, err := testclient.Dial(t.Context(), in.subs[0], subPath+query)
		if err != nil {
			t.Error(err)
			return
		}
		defer w.Close()
		socket = append(socket, w)
	}
	if err := <-evicted; err != nil {
		t.Error(err)
	}
	_, err := socket[0].Receive()
	var closed *testclient.CloseError
	if !errors.As(err, &closed) || closed.Code != 4029 || closed.Reason != "4029: Too many connections" {
		t.Errorf("the oldest WebSocket ends with %v", err)
	}
}
