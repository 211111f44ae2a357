package main

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A redisServer is a Redis of the test's own, on a private socket. What it has acknowledged survives kill.
type redisServer struct {
	t   *testing.T
	dir string
	cmd *exec.Cmd
}

func startRedis(t *testing.T) *redisServer {
	t.Helper()
	r := absentRedis(t)
	r.start()
	return r
}

// absentRedis is one that is yet to be started.
func absentRedis(t *testing.T) *redisServer {
	t.Helper()
	dir, err := os.MkdirTemp("", "redis") // t.TempDir is too long for the name of a socket
	if err != nil {
		t.Fatal(err)
	}
	r := &redisServer{t: t, dir: dir}
	t.Cleanup(func() {
		r.kill()
		os.RemoveAll(dir)
	})
	return r
}

// path is the socket; none for the memory bus.
func (r *redisServer) path() string {
	if r == nil {
		return ""
	}
	return filepath.Join(r.dir, "redis.sock")
}

func (r *redisServer) start() {
	r.t.Helper()
	r.cmd = exec.Command("redis-server", "--port", "0", "--unixsocket", r.path(), "--dir", r.dir, "--save", "",
		"--appendonly", "yes", "--appendfsync", "always", "--loglevel", "warning")
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := r.cmd.Start(); err != nil {
		r.t.Fatalf("%v; apt-get install redis-server", err)
	}
	eventually(r.t, "Redis answers", func() error {
		answer, err := r.ask("PING")
		if err == nil && answer != "+PONG" {
			err = fmt.Errorf("answered %s", answer)
		}
		return err
	})
}

// kill ends it without a chance to say goodbye.
func (r *redisServer) kill() {
	if r.cmd == nil {
		return
	}
	r.cmd.Process.Kill()
	r.cmd.Wait()
	r.cmd = nil
}

// pause makes it hang with all connections open; resume lets it go on.
func (r *redisServer) pause()  { r.cmd.Process.Signal(syscall.SIGSTOP) }
func (r *redisServer) resume() { r.cmd.Process.Signal(syscall.SIGCONT) }

// command sends one whose answer is a single line and returns that.
func (r *redisServer) command(line string) string {
	r.t.Helper()
	answer, err := r.ask(line)
	if err != nil {
		r.t.Fatal(err)
	}
	return answer
}

func (r *redisServer) ask(line string) (string, error) {
	conn, err := net.Dial("unix", r.path())
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, "%s\r\n", line); err != nil {
		return "", err
	}
	answer, err := bufio.NewReader(conn).ReadString('\n')
	return strings.TrimSpace(answer), err
}
