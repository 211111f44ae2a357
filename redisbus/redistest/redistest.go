// Package redistest starts private Redis servers for tests, and can take them away, bring them back and lose their answers. The program is
// redis-server, or what PUSH_TEST_REDIS says.
package redistest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"push-server/protocol/testclient"
)

// Dial is for rueidis.ClientOption.DialCtxFn: it connects to the unix socket of a server.
func Dial(ctx context.Context, path string, d *net.Dialer, _ *tls.Config) (net.Conn, error) {
	return d.DialContext(ctx, "unix", path)
}

// patience bounds every wait. It is only reached by a test that fails.
const patience = 20 * time.Second

// Server is a redis-server on a unix socket. It ends with the test. Its methods are for the goroutine of the test, but for Try.
type Server struct {
	t      testing.TB
	dir    string
	args   []string
	output *testclient.Log

	conf     string // a file with further options; "": none
	sentinel bool
	password string // for Do and Try

	process *exec.Cmd
	ended   chan struct{} // closed when process has ended

	mu     sync.Mutex
	client rueidis.Client // of Do and Try; nil until needed
}

// Start starts a server that keeps nothing on disk, with further options, such as "--appendonly", "yes".
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	return start(t, &Server{args: args})
}

func start(t testing.TB, s *Server) *Server {
	t.Helper()
	// t.TempDir is too long for a unix socket.
	dir, err := os.MkdirTemp("", "redis")
	if err != nil {
		t.Fatal(err)
	}
	s.t, s.dir, s.output = t, dir, &testclient.Log{}
	t.Cleanup(func() {
		s.Kill()
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	s.Restart()
	return s
}

// StartTCP starts a server that also listens on a free port of 127.0.0.1.
func StartTCP(t testing.TB, args ...string) (s *Server, port int) {
	t.Helper()
	port = FreePort(t)
	return Start(t, append([]string{"--bind", "127.0.0.1", "--port", strconv.Itoa(port)}, args...)...), port
}

// Addr is the path of the socket.
func (s *Server) Addr() string { return filepath.Join(s.dir, "s") }

// Restart starts the server, after ending it if it runs. Without further options it comes back empty.
func (s *Server) Restart() {
	s.t.Helper()
	s.Kill()
	args := append([]string{"--port", "0", "--unixsocket", s.Addr(), "--dir", s.dir, "--save", "", "--appendonly", "no"}, s.args...)
	if s.conf != "" {
		args = append([]string{s.conf}, args...)
	}
	if s.sentinel {
		args = append(args, "--sentinel")
	}
	s.process = exec.Command(program(), args...)
	s.process.Stdout, s.process.Stderr = s.output, s.output
	// A test that dies takes its server along.
	s.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.process.Start(); err != nil {
		s.process = nil
		if errors.Is(err, exec.ErrNotFound) {
			s.t.Fatal("redis-server is missing: apt-get install redis-server")
		}
		s.t.Fatal(err)
	}
	process, ended := s.process, make(chan struct{})
	s.ended = ended
	go func() {
		_ = process.Wait()
		close(ended)
	}()
	s.await()
}

// await waits until the server answers.
func (s *Server) await() {
	s.t.Helper()
	testclient.AwaitNil(s.t, "redis-server answers", func() error {
		select {
		case <-s.ended:
			s.t.Fatalf("redis-server ended:\n%s", s.output)
		default:
		}
		if !ready(s.Addr()) {
			return errors.New(s.output.String())
		}
		return nil
	})
}

func ready(path string) bool {
	conn, err := net.Dial("unix", path)
	if err != nil {
		return false
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("PING\r\n")); err != nil {
		return false
	}
	answer := make([]byte, 5)
	n, err := conn.Read(answer)
	return err == nil && n > 0 && (answer[0] == '+' || string(answer[:n]) == "-NOAU")
}

// Kill ends the server at once and waits until it has ended.
func (s *Server) Kill() { s.stop(syscall.SIGKILL) }

// Stop ends the server in order and waits until it has ended.
func (s *Server) Stop() { s.stop(syscall.SIGTERM) }

func (s *Server) stop(signal syscall.Signal) {
	s.t.Helper()
	s.closeClient()
	if s.process == nil {
		return
	}
	s.signal(signal)
	select {
	case <-s.ended:
		s.process = nil
	case <-time.After(patience):
		s.t.Fatalf("redis-server does not end:\n%s", s.output)
	}
}

// Pause makes the server hang: connections stay, answers do not come. Resume ends that.
func (s *Server) Pause()  { s.signal(syscall.SIGSTOP) }
func (s *Server) Resume() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(signal syscall.Signal) {
	s.t.Helper()
	if err := s.process.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		s.t.Fatal(err)
	}
}

// Do runs a command and returns its answer. An error fails the test.
func (s *Server) Do(args ...string) rueidis.RedisMessage {
	s.t.Helper()
	m, err := s.Try(args...)
	if err != nil && !rueidis.IsRedisNil(err) {
		s.t.Fatalf("%q: %v", args, err)
	}
	return m
}

// Try runs a command and returns its answer or error. It may be called from any goroutine.
func (s *Server) Try(args ...string) (rueidis.RedisMessage, error) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c := s.dial()
	return c.Do(ctx, c.B().Arbitrary(args...).Build()).ToMessage()
}

// Get returns the string under key, "" if there is none.
func (s *Server) Get(key string) string {
	s.t.Helper()
	m := s.Do("GET", key)
	if m.IsNil() {
		return ""
	}
	value, err := m.ToString()
	if err != nil {
		s.t.Fatalf("GET %q: %v", key, err)
	}
	return value
}

// Int runs a command that answers with a number.
func (s *Server) Int(args ...string) int64 {
	s.t.Helper()
	m := s.Do(args...)
	n, err := m.AsInt64()
	if err != nil {
		s.t.Fatalf("%q: %v", args, err)
	}
	return n
}

// Calls says how often a command was called since the start, or since CONFIG RESETSTAT.
func (s *Server) Calls(command string) (n int64) {
	s.t.Helper()
	m := s.Do("INFO", "commandstats")
	stats, err := m.ToString()
	if err != nil {
		s.t.Fatal(err)
	}
	_, rest, found := strings.Cut(stats, "cmdstat_"+command+":calls=")
	if !found {
		return 0
	}
	number, _, _ := strings.Cut(rest, ",")
	n, err = strconv.ParseInt(number, 10, 64)
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

// KillPubSub ends all connections that receive publications and returns how many there were.
func (s *Server) KillPubSub() int64 {
	s.t.Helper()
	return s.Int("CLIENT", "KILL", "TYPE", "pubsub")
}

// AwaitPubSub waits until n connections have subscribed to a pattern.
func (s *Server) AwaitPubSub(n int64) {
	s.t.Helper()
	testclient.Await(s.t, fmt.Sprintf("%d subscriptions", n), func() bool { return s.patterns() == n })
}

// patterns counts the connections with a subscription to a pattern.
func (s *Server) patterns() (n int64) {
	m := s.Do("CLIENT", "LIST", "TYPE", "pubsub")
	list, err := m.ToString()
	if err != nil {
		s.t.Fatal(err)
	}
	for line := range strings.Lines(list) {
		if strings.Contains(line, " psub=1 ") && !strings.Contains(line, " sub=0 ") {
			n++
		}
	}
	return n
}

func (s *Server) dial() rueidis.Client {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client != nil {
		return s.client
	}
	c, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress:       []string{s.Addr()},
		DialCtxFn:         Dial,
		ForceSingleClient: true,
		DisableCache:      true,
		PipelineMultiplex: -1,
		Password:          s.password,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.client = c
	return c
}

// closeClient forgets the connection, which does not outlive the process.
func (s *Server) closeClient() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client != nil {
		s.client.Close()
		s.client = nil
	}
}
