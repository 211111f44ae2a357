package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"push-server/engine/handover"
	"push-server/protocol/testclient"
)

// service is a server that may be another process from one moment to the next.
type service struct {
	t       *testing.T
	config  config
	pidFile string
	logFile string
	env     []string
	pids    []int
	first   *exec.Cmd
	ended   chan struct{} // closed when the first process has
}

// startService starts a server with ports for subscribers and for publishers on a Redis of its own. Its processes write to a file: whoever
// waits for the end of a pipe waits for all of them.
func startService(t *testing.T, change func(c config), env ...string) *service {
	t.Helper()
	redis := startRedis(t)
	c := joined(recordedConfig(t, "default-sub", socketOf(redis)), recordedConfig(t, "default-pub", socketOf(redis)))
	c.option("idleTimeout", "60s") // clients of a test on a busy machine take longer than those of people
	if change != nil {
		change(c)
	}
	return startServiceOf(t, c, env...)
}

// startServiceOf is startService with a configuration.
func startServiceOf(t *testing.T, c config, env ...string) *service {
	t.Helper()
	dir := t.TempDir()
	s := &service{t: t, config: c, env: env, pidFile: filepath.Join(dir, "pid"), logFile: filepath.Join(dir, "log")}
	t.Cleanup(s.end)
	s.start()
	return s
}

// start starts the first process, or another first one.
func (s *service) start() {
	s.t.Helper()
	log, err := os.OpenFile(s.logFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(executable(s.t), writeConfigs(s.t, s.config)...)
	cmd.Env = append(append(os.Environ(), asServer+"=1"), s.env...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	ended := make(chan struct{})
	s.first, s.ended = cmd, ended
	go func() {
		defer close(ended)
		cmd.Wait()
	}()
	s.serves(cmd.Process.Pid)
	for _, listener := range s.config.listeners() {
		testclient.AwaitNil(s.t, "it serves", func() error {
			reply, err := http.Get(fmt.Sprintf("http://127.0.0.1:%v%s", listener["port"], statPath)) // whatever the answer is
			if err == nil {
				reply.Body.Close()
			}
			return err
		})
	}
}

func (s *service) serves(pid int) {
	s.pids = append(s.pids, pid)
	if err := os.WriteFile(s.pidFile, []byte(strconv.Itoa(pid)+"\n"), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

func (s *service) log() string {
	text, err := os.ReadFile(s.logFile)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(text)
}

// runs says whether a process is there and no zombie: orphans may have nobody who buries them.
func runs(pid int) bool {
	_, err := os.Stat(fmt.Sprintf("/proc/%d", pid))
	return err == nil && !hasState(pid, "Z")
}

// hasState says whether a process is in a state, as proc(5) has it.
func hasState(pid int, state string) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && bytes.HasPrefix(stat[bytes.LastIndexByte(stat, ')')+1:], []byte(" "+state+" "))
}

// end ends what serves, and waits for all that have served.
func (s *service) end() {
	if len(s.pids) > 0 {
		_ = syscall.Kill(s.pids[len(s.pids)-1], syscall.SIGTERM)
	}
	for _, pid := range s.pids {
		deadline := time.Now().Add(patience)
		for runs(pid) {
			if time.Now().After(deadline) {
				s.t.Errorf("process %d does not end\n%s", pid, s.log())
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	if alarming.MatchString(s.log()) {
		s.t.Error(s.log())
	}
}

// upgrade orders one, and returns why it did not come to that.
func (s *service) upgrade(args ...string) error {
	s.t.Helper()
	_, _, err := execute(s.t, append([]string{"upgrade", "--pid-file", s.pidFile}, args...)...)
	if err != nil {
		return err
	}
	pid, err := readPid(s.pidFile)
	if err != nil {
		s.t.Fatal(err)
	}
	s.pids = append(s.pids, pid)
	return nil
}

// successors are the lines of the log about processes that have taken over.
var successors = regexp.MustCompile(`the successor serves" pid=(\d+)`)

// upgradeWhile has another process take over by a signal, and does f until it has.
func (s *service) upgradeWhile(f func()) {
	s.t.Helper()
	before := len(successors.FindAllString(s.log(), -1))
	if err := syscall.Kill(s.pids[len(s.pids)-1], syscall.SIGUSR2); err != nil {
		s.t.Fatal(err)
	}
	var lines [][]string
	testclient.AwaitNil(s.t, "a successor", func() error {
		f()
		log := s.log()
		if lines = successors.FindAllStringSubmatch(log, -1); len(lines) == before {
			return errors.New(log)
		}
		return nil
	})
	pid, err := strconv.Atoi(lines[before][1])
	if err != nil {
		s.t.Fatal(err)
	}
	s.serves(pid)
}

// audience are clients in the middle of whatever clients do.
type audience struct {
	s     *service
	ch    testclient.Channel
	live  []*testclient.Client
	polls []*testclient.Client
	mids  []string
	http  *testclient.HTTP
	sent  int
}

func (s *service) audience(n int) *audience {
	s.t.Helper()
	a := &audience{s: s, ch: testclient.NewChannel(testKey), http: testclient.NewHTTP(true)}
	s.t.Cleanup(a.http.Close)
	for i := range n {
		a.live = append(a.live, testclient.Subscribe(s.t, s.config.addr("sub"), subPath+testclient.Query(i%2 == 0, "", a.ch.Signed())))
		c := testclient.Open(s.t, s.config.addr("sub"))
		a.polls = append(a.polls, c)
		a.mids = append(a.mids, strings.Repeat("0", 26))
		a.ask(i)
	}
	return a
}

func (a *audience) ask(i int) {
	a.s.t.Helper()
	a.polls[i].Get(subPath + testclient.Query(false, a.mids[i], a.ch.Signed()))
}

// publish publishes the next message.
func (a *audience) publish() {
	a.s.t.Helper()
	a.sent++
	reply, err := a.http.PublishText(context.Background(), "http://"+a.s.config.addr("pub")+pubPath, fmt.Sprint(a.sent), 60, a.ch.Private)
	if err != nil || reply.Status != http.StatusOK {
		a.s.t.Fatalf("message %d: %v, %v\n%s", a.sent, reply, err, a.s.log())
	}
}

// hear wants everybody to get the last message, and no other one.
func (a *audience) hear() {
	a.s.t.Helper()
	want := fmt.Sprint(a.sent)
	for _, c := range slices.Concat(a.live, a.polls) {
		c.SetDeadline(time.Now().Add(patience)) // a test may last longer than that of the first moment
	}
	for i, c := range a.live {
		if got := c.Bodies(1); len(got) != 1 || got[0] != want {
			a.s.t.Fatalf("client %d got %q, want %s\n%s", i, got, want, a.s.log())
		}
	}
	for i, c := range a.polls {
		ms, err := c.Reply("GET").Messages()
		if err != nil || len(ms) != 1 || ms[0].Body != want {
			a.s.t.Fatalf("poll %d got %v, %v, want %s\n%s", i, ms, err, want, a.s.log())
		}
		a.mids[i] = ms[0].ID
		a.ask(i)
	}
}

// Another process takes over, once and again: nobody is closed, and nothing is lost, doubled or refused.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	s := startService(t, nil)
	a := s.audience(10)
	for range 2 {
		a.publish()
		a.hear()
		if err := s.upgrade(); err != nil {
			t.Fatalf("%v\n%s", err, s.log())
		}
		a.publish()
		a.hear()
		testclient.Subscribe(t, s.config.addr("sub"), subPath+testclient.Query(false, "", a.ch.Signed())).Close()
	}
	s.upgradeWhile(func() {})
	a.publish()
	a.hear()
	a.http.Close()
	for _, pid := range s.pids[:3] {
		testclient.Await(t, "the end of those before", func() bool { return !runs(pid) })
	}
	if <-s.ended; s.first.ProcessState.ExitCode() != exitOK {
		t.Errorf("the first process ended with exit code %d\n%s", s.first.ProcessState.ExitCode(), s.log())
	}
	if n := strings.Count(s.log(), "msg=stopped"); n != 3 {
		t.Errorf("%d of 3 processes have ended in good order\n%s", n, s.log())
	}
}

// fakeVariable makes a successor of the test binary that fails in a certain way.
const fakeVariable = "PUSH_TEST_FAKE_SUCCESSOR"

// fakeSocket says where a fake successor that nobody has started connects to.
const fakeSocket = "PUSH_TEST_FAKE_SOCKET"

// handOver is the connection of a fake successor.
func handOver() *handover.Conn {
	h, err := handover.Open(3)
	if path := os.Getenv(fakeSocket); path != "" {
		var c net.Conn
		if c, err = net.Dial("unix", path); err == nil {
			return handover.Over(c.(*net.UnixConn))
		}
	}
	if err != nil {
		panic(err)
	}
	return h
}

// fakeSuccessor goes along up to where it fails.
func fakeSuccessor(how string) {
	h := handOver()
	die := func(when string) {
		if how == when {
			os.Exit(1)
		}
	}
	hang := func(when string) {
		if how == when {
			time.Sleep(time.Hour)
		}
	}
	die("dies at once")
	version := handover.Version
	if how == "is of another version" {
		version++
	}
	h.Send(handover.Hello, handover.Greeting{Version: version, Program: "fake"})
	h.Receive(handover.Offer, nil)
	die("dies with the ports")
	if how == "refuses" {
		h.Send(handover.Failed, "it is a bad day")
		return
	}
	h.Send(handover.Prepared, nil)
	die("dies when it is prepared")
	var all handover.Engine
	h.Receive(handover.State, &all)
	die("dies when loops stand still")
	hang("hangs when loops stand still")
	if _, _, _, err := h.ReceiveParts(); err != nil {
		panic(err)
	}
	die("dies with the connections")
	if how == "says something else" {
		h.Send(handover.Serving, nil)
		time.Sleep(time.Hour)
	}
	h.Send(handover.Ready, nil)
	h.Receive(handover.Go, nil)
}

// script is a program: a line of the shell, or some.
func script(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(file, []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return file
}

// Up to the point of no return nothing that a successor does, or does not do, is noticed by anybody.
func TestUpgradeFails(t *testing.T) {
	t.Parallel()
	s := startService(t, nil)
	a := s.audience(5)
	dir := t.TempDir()
	f := func(want, program string, args ...string) {
		t.Helper()
		a.publish()
		a.hear()
		err := s.upgrade(append([]string{"--exec", program}, args...)...)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Fatalf("got %v, want %q\n%s", err, want, s.log())
		}
		if !runs(s.pids[0]) {
			t.Fatalf("the server has ended\n%s", s.log())
		}
		a.publish()
		a.hear()
	}
	f("no such file", filepath.Join(dir, "nothing"))
	f("did not start: it ended", script(t, "exit 1"))
	f("the configuration has errors", executable(t), "--", "--config", writeFile(t, `{"servers":[{"port":70000}]}`))
	other := standalone(t)
	f("needs a restart, or an upgrade with --drop: servers[0].port", executable(t), append([]string{"--"}, writeConfigs(t, other)...)...)
	f("descriptors", script(t, "ulimit -n 70 && exec '"+executable(t)+"' \"$@\""), append([]string{"--"}, writeConfigs(t, s.config)...)...)
	for _, fake := range [][2]string{
		{"dies at once", "did not start: it ended"}, {"is of another version", "restart instead"},
		{"dies with the ports", "did not get ready: it ended"}, {"refuses", "it is a bad day"},
		{"dies when it is prepared", "take the connections"}, {"dies when loops stand still", "take the connections"},
		{"hangs when loops stand still", "take the connections"}, {"dies with the connections", "take the connections"},
		{"says something else", "serving came instead of ready"},
	} {
		f(fake[1], script(t, fakeVariable+"='"+fake[0]+"' exec '"+executable(t)+"'"))
	}
	if err := s.upgrade(); err != nil {
		t.Fatalf("%v\n%s", err, s.log())
	}
	a.publish()
	a.hear()
}

// Behind it nothing goes back: the process ends with an error, and whoever watches over it starts it anew.
func TestUpgradeIsLost(t *testing.T) {
	t.Parallel()
	s := startService(t, nil)
	program := script(t, fakeVariable+"='dies when it should serve' exec '"+executable(t)+"'")
	if err := s.upgrade("--exec", program); err == nil || !strings.Contains(err.Error(), "does not serve") {
		t.Errorf("got %v", err)
	}
	if <-s.ended; s.first.ProcessState.ExitCode() != exitFailure {
		t.Errorf("it ended with exit code %d", s.first.ProcessState.ExitCode())
	}
	if !strings.Contains(s.log(), "the successor has the connections and does not serve") {
		t.Error(s.log())
	}
}
