package testclient

import (
	"io"
	"net"
	"testing"
)

// TestRelay cuts a connection, and holds the next one until it is joined again.
func TestRelay(t *testing.T) {
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	go func() {
		for {
			conn, err := server.Accept()
			if err != nil {
				return
			}
			go io.Copy(conn, conn)
		}
	}()
	relay, err := NewRelay(server.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer relay.Close()

	first := dialTCP(t, relay.Addr())
	echo(t, first)
	relay.Cut()
	if _, err := first.Read(make([]byte, 1)); err == nil {
		t.Error("connection lives on behind Cut")
	}
	second := dialTCP(t, relay.Addr())
	if _, err := second.Write([]byte("a")); err != nil {
		t.Fatal(err)
	}
	relay.Join()
	if _, err := io.ReadFull(second, make([]byte, 1)); err != nil {
		t.Error(err)
	}
}

func dialTCP(t *testing.T, addr string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func echo(t *testing.T, conn net.Conn) {
	t.Helper()
	if _, err := conn.Write([]byte("a")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
}
