package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"push-server/protocol/testclient"
)

// injected is a server on whose system calls strace works; inject is in its language, and what it did is in the file calls in the end.
// strace is a child of the server, not the other way round.
func injected(t *testing.T, inject string, c config) (p *process, calls string) {
	t.Helper()
	calls = filepath.Join(t.TempDir(), "calls")
	call, _, _ := strings.Cut(inject, ":")
	args := []string{"-D", "-f", "-qq", "--seccomp-bpf", "-o", calls, "-e", "trace=" + call, "-e", "inject=" + inject, executable(t)}
	args = append(args, writeConfigs(t, c)...)
	return launchAs(t, exec.Command("strace", args...)), calls
}

// everyPort is a server with every kind of port there is.
func everyPort(t *testing.T) (c config, metrics string) {
	t.Helper()
	c = standalone(t)
	metrics = fmt.Sprintf("127.0.0.1:%d", freePort(t))
	c.option("metrics", metrics)
	c["security"] = map[string]any{"key": testKey}
	return c, metrics
}

// TestFailedAccepts lets every second accept fail, with everything that the system may say. Whoever waits comes in, on every port, and
// those who are in notice nothing.
func TestFailedAccepts(t *testing.T) {
	for _, errno := range []string{"EMFILE", "ENFILE", "ENOMEM", "ENOBUFS", "EPERM", "EPROTO", "EHOSTUNREACH", "ENETDOWN", "EINVAL"} {
		t.Run(errno, func(t *testing.T) {
			t.Parallel()
			c, metrics := everyPort(t)
			p, _ := injected(t, "accept4:error="+errno+":when=1+2", c)
			t.Cleanup(p.finish)
			p.waitListening(c.addr("sub"))
			awaitMetric(t, metrics, "push_ready", 1)
			ch := testclient.NewChannel(testKey)
			var socket *testclient.Conn
			testclient.AwaitNil(t, "a WebSocket", func() (err error) { // 503 may come in between
				socket, err = testclient.Dial(t.Context(), c.addr("sub"), subPath+testclient.Query(false, "", ch.Signed()))
				return err
			})
			defer socket.Close()
			socket.SetReadDeadline(time.Now().Add(patience))
			for i := range 20 {
				conn, err := net.Dial("tcp", c.addr("sub"))
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				body := fmt.Sprint(i)
				testclient.AwaitNil(t, "a publication", func() error {
					backend := testclient.NewHTTP(false)
					defer backend.Close()
					reply, err := backend.PublishText(t.Context(), "http://"+c.addr("pub")+pubPath, body, 0, ch.Private)
					if err == nil && reply.Status != 200 {
						err = fmt.Errorf("status %d", reply.Status)
					}
					return err
				})
				if got, err := receive(socket, 1); err != nil || got[0].Body != body {
					t.Fatalf("got %v, %v, want %s", got, err, body)
				}
			}
			testclient.AwaitNil(t, "failures are counted", func() error {
				page, err := readPage("http://" + metrics + "/metrics")
				if err == nil && (strings.Contains(page, "\npush_accept_failures_total 0\n") || !strings.Contains(page, "\npush_ready 1\n")) {
					err = errors.New(page)
				}
				return err
			})
			if n := strings.Count(p.log.String(), "connections cannot be accepted"); n != 1 {
				t.Errorf("%d lines in a minute\n%s", n, p.log.String())
			}
		})
	}
}

// TestAcceptNeverWorks: a server that can accept nobody rests in between. Without rest there are thousands of attempts a second, even under
// strace.
func TestAcceptNeverWorks(t *testing.T) {
	for _, errno := range []string{"ENFILE", "ENOMEM"} {
		t.Run(errno, func(t *testing.T) {
			t.Parallel()
			c, metrics := everyPort(t)
			p, calls := injected(t, "accept4:error="+errno, c)
			begin := time.Now()
			for _, addr := range []string{c.addr("sub"), c.addr("pub"), metrics} {
				p.waitListening(addr) // the system accepts, the server does not get it
			}
			<-time.After(time.Second)
			if code := p.signal(syscall.SIGTERM); code != 0 {
				t.Errorf("exit code %d\n%s", code, p.log.String())
			}
			most := int(1000 * time.Since(begin).Seconds())
			n := 0
			testclient.AwaitNil(t, "strace has written its list", func() error {
				text, err := os.ReadFile(calls)
				if n = strings.Count(string(text), "INJECTED"); n == 0 {
					err = fmt.Errorf("no calls: %w", err)
				}
				return err
			})
			if n > most {
				t.Errorf("%d attempts to accept, want up to %d", n, most)
			}
		})
	}
}

func readPage(url string) (string, error) {
	resp, err := http.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return string(b), err
}

// TestDescriptorLimitLowered takes descriptors away from a server that is running. Whoever comes is answered 503 on every port, and those
// who are in stay, until there are descriptors again.
func TestDescriptorLimitLowered(t *testing.T) {
	c, metrics := everyPort(t)
	p := start(t, c)
	ch := testclient.NewChannel(testKey)
	socket := dialSubscriber(t, c.addr("sub"), testclient.Query(false, "", ch.Signed()))
	operator := &http.Client{Transport: &http.Transport{MaxConnsPerHost: 1}}
	defer operator.CloseIdleConnections()
	backend := testclient.NewHTTP(true)
	defer backend.Close()
	publish := func(body string) {
		t.Helper()
		reply, err := backend.PublishText(t.Context(), "http://"+c.addr("pub")+pubPath, body, 0, ch.Private)
		if err != nil || reply.Status != 200 {
			t.Fatalf("publishing: %d %v", reply.Status, err)
		}
		if got, err := receive(socket, 1); err != nil || got[0].Body != body {
			t.Fatalf("got %v, %v, want %s", got, err, body)
		}
	}
	room := func() string { return readyText(t, operator, metrics) }
	publish(`"before"`) // back end and operator have a connection now
	testclient.AwaitNil(t, "the server is ready", func() error {
		if text := room(); !strings.Contains(text, "room for ") {
			return errors.New(text)
		}
		return nil
	})

	lowered := setDescriptorLimit(t, p, freeDescriptor(t, p))
	for _, addr := range []string{metrics, c.addr("pub"), c.addr("sub")} {
		refused := false
		for range 20 {
			refused = refused || ask(t, addr) == http.StatusServiceUnavailable
		}
		if !refused {
			t.Errorf("%s: nobody was refused", addr)
		}
	}
	publish(`"meanwhile"`)
	testclient.AwaitNil(t, "operators are told", func() error {
		setDescriptorLimit(t, p, freeDescriptor(t, p)) // some were closed meanwhile
		if text := room(); !strings.Contains(text, "room for 0 connections") {
			return errors.New(text)
		}
		return nil
	})

	setDescriptorLimit(t, p, lowered)
	testclient.AwaitNil(t, "there is room again", func() error {
		conn, err := testclient.Dial(t.Context(), c.addr("sub"), subPath+testclient.Query(false, "", ch.Signed()))
		if err == nil {
			conn.Close()
		}
		return err
	})
	publish(`"afterwards"`)
	if text := room(); strings.Contains(text, "room for 0 connections") {
		t.Error(text)
	}
}

// readyText is what /readyz says.
func readyText(t *testing.T, operator *http.Client, metrics string) string {
	t.Helper()
	resp, err := operator.Get("http://" + metrics + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// setDescriptorLimit returns what it was.
func setDescriptorLimit(t *testing.T, p *process, n uint64) uint64 {
	t.Helper()
	var limit unix.Rlimit
	pid := p.cmd.Process.Pid
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &limit); err != nil {
		t.Fatal(err)
	}
	was := limit.Cur
	limit.Cur = n
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, &limit, nil); err != nil {
		t.Fatal(err)
	}
	return was
}

func openFiles(t *testing.T, p *process) int {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// freeDescriptor is the number that the next one gets, if the limit lets it.
func freeDescriptor(t *testing.T, p *process) (n uint64) {
	t.Helper()
	for ; ; n++ {
		_, err := os.Lstat(fmt.Sprintf("/proc/%d/fd/%d", p.cmd.Process.Pid, n))
		if errors.Is(err, os.ErrNotExist) {
			return n
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// ask sends a request over a connection of its own, which it keeps, and returns the status. A refusal says when to come back.
func ask(t *testing.T, addr string) (status int) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: test\r\n\r\n") // may find the connection closed already
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("%s: %v", addr, err)
	}
	resp.Body.Close()
	if resp.StatusCode == http.StatusServiceUnavailable && resp.Header.Get("Retry-After") == "" {
		t.Errorf("%s: %v", addr, resp.Header)
	}
	return resp.StatusCode
}

// TestIdleOperators: the port for operators takes only a few descriptors, and nobody keeps others from it for long.
func TestIdleOperators(t *testing.T) {
	c, metrics := everyPort(t)
	p := start(t, c)
	before := openFiles(t, p)
	for range 150 {
		conn, err := net.Dial("tcp", metrics)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
	}
	testclient.AwaitNil(t, "some are in", func() error {
		if openFiles(t, p) < before+10 {
			return errors.New("not yet")
		}
		return nil
	})
	if n := openFiles(t, p) - before; n > 30 {
		t.Errorf("150 connections took %d descriptors", n)
	}
}
