package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"push-server/protocol/testclient"
)

// startServiceApart is startService with a socket for processes that are not its children.
func startServiceApart(t *testing.T, change func(c config)) (s *service, socket string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "handover") // t.TempDir is too long for the name of a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket = filepath.Join(dir, "socket")
	s = startService(t, func(c config) {
		c.option("handoverSocket", socket)
		if change != nil {
			change(c)
		}
	})
	testclient.AwaitNil(t, "the socket", func() error { _, err := os.Stat(socket); return err })
	return s, socket
}

// joins starts a process that is no child of the service's, with mounts of its own if that may be, and returns a function that waits for its end.
func (s *service) joins(program string, c config, env ...string) (pid int, ended <-chan *os.ProcessState) {
	s.t.Helper()
	log, err := os.OpenFile(s.logFile, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(program, writeConfigs(s.t, c)...)
	cmd.Env = append(append(os.Environ(), asServer+"=1"), env...)
	cmd.Stdout, cmd.Stderr = log, log
	if os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC}
	}
	err = cmd.Start()
	if err != nil && cmd.SysProcAttr != nil { // a container may not allow it
		cmd.SysProcAttr, cmd.Process = nil, nil
		err = cmd.Start()
	}
	if err != nil {
		s.t.Fatal(err)
	}
	states := make(chan *os.ProcessState, 1)
	go func() {
		cmd.Wait()
		states <- cmd.ProcessState
	}()
	return cmd.Process.Pid, states
}

// succeeds waits until one more upgrade is done.
func (s *service) succeeds(n int) {
	s.t.Helper()
	testclient.Await(s.t, "the successor serves", func() bool { return strings.Count(s.log(), "the successor serves") == n })
}

// A process that somebody else has started takes over at the socket, and so does the next one; nobody notices.
func TestUpgradeFromAnotherContainer(t *testing.T) {
	for _, storage := range []string{"redis", "memory"} {
		t.Run(storage, func(t *testing.T) {
			t.Parallel()
			s, socket := startServiceApart(t, func(c config) {
				if storage == "memory" {
					c["storage"] = map[string]any{"type": "memory"}
				}
			})
			a := s.audience(5)
			for n := range 2 {
				a.publish()
				a.hear()
				pid, _ := s.joins(executable(t), s.config)
				s.succeeds(n + 1)
				s.serves(pid)
				a.publish()
				a.hear()
			}
			a.http.Close()
			if <-s.ended; s.first.ProcessState.ExitCode() != exitOK {
				t.Errorf("the first process ended with %v\n%s", s.first.ProcessState, s.log())
			}
			if info, err := os.Stat(socket); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("the socket is %v, %v", info, err)
			}
		})
	}
}

// One that cannot take over, or dies when it is about to, ends; the old one goes on.
func TestContainerDoesNotTakeOver(t *testing.T) {
	t.Parallel()
	s, socket := startServiceApart(t, nil)
	a := s.audience(3)
	a.publish()
	a.hear()
	other := standalone(t)
	other["storage"] = s.config["storage"]
	other.option("handoverSocket", socket)
	_, ended := s.joins(executable(t), other)
	if state := <-ended; state.ExitCode() != exitFailure {
		t.Errorf("a configuration that needs a restart: %v\n%s", state, s.log())
	}
	a.publish()
	a.hear()
	for _, how := range []string{"dies when it is prepared", "dies when loops stand still", "dies with the connections"} {
		_, ended := s.joins(executable(t), s.config, fakeVariable+"="+how, fakeSocket+"="+socket)
		<-ended
		a.publish()
		a.hear()
	}
	if !runs(s.pids[0]) {
		t.Fatalf("the server has ended\n%s", s.log())
	}
	if os.Getuid() == 0 {
		if err := exec.Command("setpriv", "--reuid=65534", "--clear-groups", "--", "test", "-w", socket).Run(); err == nil {
			t.Error("everybody may connect")
		}
	}
	pid, _ := s.joins(executable(t), s.config)
	s.succeeds(1)
	s.serves(pid)
	a.publish()
	a.hear()
}

// If the old process is killed, the next one begins anew.
func TestContainerAfterACrash(t *testing.T) {
	t.Parallel()
	s, _ := startServiceApart(t, nil)
	a := s.audience(1)
	a.publish()
	a.hear()
	if err := syscall.Kill(s.pids[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	s.revive()
	a.comeBack()
	a.publish()
	a.hear()
	if strings.Contains(s.log(), "upgrade") {
		t.Error(s.log())
	}
}
