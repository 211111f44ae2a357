package rfc9112

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"push-server/protocol/testclient"
)

// Mark is the header by which a request that nginx has passed on is known: nobody else knows its values, which are 32 hex digits each.
const Mark = "X-Forwarded-For"

// configuration keeps connections to the server, as a busy site does: what is smuggled into one is answered to somebody else.
const configuration = `
daemon off; master_process off; pid nginx.pid; error_log stderr crit;
events { worker_connections 512; }
http {
	access_log off;
	client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
	large_client_header_buffers 4 32k; client_header_timeout 5s; client_body_timeout 5s; lingering_timeout 1s; proxy_read_timeout 5s;
	ignore_invalid_headers off; underscores_in_headers on; merge_slashes off;
	upstream push { server %s; keepalive 4; }
	server {
		listen unix:%s;
		location / {
			proxy_pass http://push; proxy_http_version 1.1; proxy_request_buffering %s; proxy_ignore_client_abort on;
			proxy_set_header Connection ""; proxy_set_header ` + Mark + ` $request_id;
		}
	}
}
`

// StartNginx starts an nginx in front of the server at addr, which passes on all that it takes: headers with names that it thinks invalid,
// too. Buffered, it reads a body whole before it asks the server. It returns the path of its socket.
func StartNginx(t *testing.T, addr string, buffered bool) (socket string) {
	t.Helper()
	folder := t.TempDir()
	buffering := "off"
	if buffered {
		buffering = "on"
	}
	socket = filepath.Join(folder, "socket")
	if err := os.WriteFile(filepath.Join(folder, "nginx.conf"), fmt.Appendf(nil, configuration, addr, socket, buffering), 0o600); err != nil {
		t.Fatal(err)
	}
	testclient.StartNginx(t, folder)
	testclient.AwaitNil(t, "nginx", func() error {
		conn, err := net.Dial("unix", socket)
		if err == nil {
			conn.Close()
		}
		return err
	})
	return socket
}

// SendAll sends streams of n seeds through nginx, each on a connection of its own, and waits for the end of each.
func SendAll(t *testing.T, socket string, n uint64, targets []string) {
	t.Helper()
	var next atomic.Uint64
	var senders sync.WaitGroup
	for range 4 {
		senders.Go(func() {
			for seed := next.Add(1); seed <= n; seed = next.Add(1) {
				if err := send(socket, Stream(seed, targets)); err != nil {
					t.Errorf("seed %d: %v", seed, err)
				}
			}
		})
	}
	senders.Wait()
}

// send waits until nginx has ended the connection, or has answered all: what it waits for does not come.
func send(socket string, b []byte) error {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(testclient.Patience)); err != nil {
		return err
	}
	_, _ = conn.Write(b)                  // nginx may be done with it before it has all
	_ = conn.(*net.UnixConn).CloseWrite() // so that it does not wait for more
	if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	return nil
}
