package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"push-server/protocol/testclient"
)

// harmed is a program that a server starts as its successor, and which harms one of the two.
func (s *service) harmed(fault string) (program, pidFile string) {
	s.t.Helper()
	pidFile = filepath.Join(s.t.TempDir(), "pid")
	text := fmt.Sprintf("export %s='%s' %s='%s'\nexec '%s' \"$@\"", betweenVariable, fault, betweenPid, pidFile, executable(s.t))
	return script(s.t, text), pidFile
}

// gone waits for the end of the process whose id is in a file.
func (s *service) gone(pidFile string) {
	s.t.Helper()
	pid, err := readPid(pidFile)
	if errors.Is(err, os.ErrNotExist) {
		return // it was not even started
	}
	if err != nil {
		s.t.Fatal(err)
	}
	testclient.Await(s.t, "the end of the successor", func() bool { return !runs(pid) })
}

// messages are those that two processes tell each other up to the point of no return.
var messages = []string{"hello", "offer", "prepared", "state", "sessions", "sockets", "ready"}

// A successor that dies at whatever point up to there, or finds no more descriptors, is noticed by nobody.
func TestSuccessorDies(t *testing.T) {
	t.Parallel()
	s := startService(t, nil)
	a := s.audience(3)
	faults := []string{"crowd before sessions"}
	for _, m := range messages {
		faults = append(faults, "kill before "+m)
	}
	for _, fault := range faults {
		program, pidFile := s.harmed("successor " + fault)
		a.publish()
		if err := s.upgrade("--exec", program); err == nil || strings.Contains(fault, "crowd") && !strings.Contains(err.Error(), "descriptors") {
			t.Fatalf("%s: got %v\n%s", fault, err, s.log())
		}
		s.gone(pidFile)
		a.hear()
	}
	a.publish()
	a.hear()
	if err := s.upgrade(); err != nil {
		t.Fatalf("%v\n%s", err, s.log())
	}
	a.publish()
	a.hear()
}

// One that hangs is noticed by nobody either, before the loops stand still, and for so long as they do otherwise.
func TestSuccessorHangs(t *testing.T) {
	f := func(fault, haste string) {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			s := startService(t, nil, hasteVariable+"="+haste)
			a := s.audience(3)
			program, pidFile := s.harmed("successor stop " + fault)
			a.publish()
			if err := s.upgrade("--exec", program); err == nil {
				t.Fatalf("it has taken over\n%s", s.log())
			}
			s.gone(pidFile)
			a.hear()
			a.publish()
			a.hear()
		})
	}
	f("before start", "hello=500ms")
	f("before offer", "prepare=500ms")
	f("before state", "ready=500ms")
	f("before sockets", "ready=500ms")
}

// revive starts the service anew, after the end of all its processes.
func (s *service) revive() {
	s.t.Helper()
	<-s.ended
	s.start()
}

// comeBack has everybody come back to a service that has crashed, with what they have had.
func (a *audience) comeBack() {
	a.s.t.Helper()
	for i := range a.live {
		a.live[i].Close()
		a.polls[i].Close()
		a.live[i] = testclient.Open(a.s.t, a.s.config.addr("sub"))
		a.live[i].Upgrade(subPath + testclient.Query(i%2 == 0, a.mids[i], a.ch.Signed()))
		a.polls[i] = testclient.Open(a.s.t, a.s.config.addr("sub"))
		a.ask(i)
	}
	a.publishAnew()
}

// publishAnew has the next message not go to a process that has died.
func (a *audience) publishAnew() {
	a.http.Close()
	a.http = testclient.NewHTTP(true)
	a.s.t.Cleanup(a.http.Close)
}

// Behind the point of no return a successor that dies, or hangs, is a crash: the predecessor ends it and itself, and what was acknowledged
// is there when the service has been started anew.
func TestSuccessorIsLost(t *testing.T) {
	t.Parallel()
	s := startService(t, nil, hasteVariable+"=serving=1s")
	a := s.audience(3)
	a.publish()
	a.hear()
	for _, fault := range []string{"kill before go", "stop before go", "kill before serving"} {
		program, pidFile := s.harmed("successor " + fault)
		a.publish()
		if err := s.upgrade("--exec", program); err == nil {
			t.Fatalf("%s: it has taken over\n%s", fault, s.log())
		}
		s.gone(pidFile)
		if <-s.ended; s.first.ProcessState.ExitCode() != exitFailure {
			t.Fatalf("%s: the predecessor ended with %v\n%s", fault, s.first.ProcessState, s.log())
		}
		s.revive()
		a.comeBack()
		a.hear()
	}
}

// A predecessor that dies takes its successor along, unless that has everything.
func TestPredecessorDies(t *testing.T) {
	t.Parallel()
	s := startService(t, nil)
	a := s.audience(3)
	a.publish()
	a.hear()
	faults := []string{"before hello", "after offer", "before prepared", "after sessions"}
	for _, fault := range faults {
		program, pidFile := s.harmed("predecessor kill " + fault)
		a.publish()
		if err := s.upgrade("--exec", program); err == nil {
			t.Fatalf("%s: it has not died\n%s", fault, s.log())
		}
		s.gone(pidFile)
		s.revive()
		a.comeBack()
		a.hear()
	}
}

// Whoever has everything serves when its predecessor has died, and nobody notices.
func TestPredecessorDiesLate(t *testing.T) {
	for _, fault := range []string{"before ready", "after ready", "before go", "after go", "before serving"} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			s := startService(t, nil)
			a := s.audience(3)
			program, pidFile := s.harmed("predecessor kill " + fault)
			a.publish()
			if err := s.upgrade("--exec", program); err == nil {
				t.Fatalf("it has not died\n%s", s.log())
			}
			pid, err := readPid(pidFile)
			if err != nil {
				t.Fatal(err)
			}
			s.serves(pid)
			a.publishAnew()
			a.hear()
			a.publish()
			a.hear()
		})
	}
}

// A program that is older than upgrades finds the ports taken.
func TestSuccessorKnowsNoUpgrades(t *testing.T) {
	t.Parallel()
	s := startService(t, nil)
	program := script(t, "unset "+handoverVariable+"\nexec 3<&- '"+executable(t)+"' \"$@\"")
	if err := s.upgrade("--exec", program); err == nil || !strings.Contains(err.Error(), "did not start: it ended") {
		t.Errorf("got %v\n%s", err, s.log())
	}
	if err := syscall.Kill(s.pids[0], 0); err != nil || !strings.Contains(s.log(), strconv.Itoa(s.pids[0])) {
		t.Error("the server has ended")
	}
}
