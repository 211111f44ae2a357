package main

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"push-server/protocol/testclient"
)

// startMemoryService is startService on the memory of the process.
func startMemoryService(t *testing.T, change func(c config), env ...string) *service {
	t.Helper()
	return startService(t, func(c config) {
		c["storage"] = map[string]any{"type": "memory"}
		if change != nil {
			change(c)
		}
	}, env...)
}

// remembers wants a client that has had nothing to get everything.
func (a *audience) remembers() {
	a.s.t.Helper()
	c := testclient.Open(a.s.t, a.s.config.addr("sub"))
	defer c.Close()
	reply := c.Poll(subPath + testclient.Query(false, strings.Repeat("0", 25)+"1", a.ch.Signed()))
	ms, err := reply.Messages()
	if err != nil || len(ms) != a.sent {
		a.s.t.Fatalf("got %d messages, %v, want %d\n%s", len(ms), err, a.sent, a.s.log())
	}
	for i, m := range ms {
		if m.Body != fmt.Sprint(i+1) {
			a.s.t.Fatalf("message %d is %q", i+1, m.Body)
		}
	}
}

// What was published passes over with the rest, where it is in the memory of the process; so it does under other bounds.
func TestUpgradeOfMemory(t *testing.T) {
	t.Parallel()
	s := startMemoryService(t, nil)
	a := s.audience(6)
	for range 3 {
		a.publish()
		a.hear()
		if err := s.upgrade(); err != nil {
			t.Fatalf("%v\n%s", err, s.log())
		}
		a.publish()
		a.hear()
		a.remembers()
	}
	s.config.option("memoryBytes", 2<<20)
	if err := s.upgrade(append([]string{"--"}, writeConfigs(t, s.config)...)...); err != nil {
		t.Fatalf("%v\n%s", err, s.log())
	}
	a.publish()
	a.hear()
	a.remembers()
	a.http.Close()
	for _, pid := range s.pids[:4] {
		testclient.Await(t, "the end of those before", func() bool { return !runs(pid) })
	}
}

// A successor that dies at whatever point up to that of no return leaves everything as it was.
func TestSuccessorOfMemoryDies(t *testing.T) {
	t.Parallel()
	s := startMemoryService(t, nil)
	a := s.audience(3)
	faults := []string{"crowd before sessions"}
	for _, m := range messages {
		faults = append(faults, "kill before "+m)
	}
	for _, fault := range faults {
		program, pidFile := s.harmed("successor " + fault)
		a.publish()
		if err := s.upgrade("--exec", program); err == nil {
			t.Fatalf("%s: it has taken over\n%s", fault, s.log())
		}
		s.gone(pidFile)
		a.hear()
		a.remembers()
	}
	if err := s.upgrade(); err != nil {
		t.Fatalf("%v\n%s", err, s.log())
	}
	a.publish()
	a.hear()
	a.remembers()
}

// One that hangs does so, too.
func TestSuccessorOfMemoryHangs(t *testing.T) {
	t.Parallel()
	s := startMemoryService(t, nil, hasteVariable+"=ready=500ms")
	a := s.audience(3)
	for _, fault := range []string{"before state", "before sockets"} {
		program, pidFile := s.harmed("successor stop " + fault)
		a.publish()
		if err := s.upgrade("--exec", program); err == nil {
			t.Fatalf("%s: it has taken over\n%s", fault, s.log())
		}
		s.gone(pidFile)
		a.hear()
		a.publish()
		a.hear()
		a.remembers()
	}
}

// Whoever has everything has what was published, too, when its predecessor dies.
func TestPredecessorOfMemoryDiesLate(t *testing.T) {
	for _, fault := range []string{"before ready", "before go", "after go", "before serving"} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			s := startMemoryService(t, nil)
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
			a.remembers()
		})
	}
}

// Who can have no successor, and who is no server, says so.
func TestNoUpgrade(t *testing.T) {
	t.Parallel()
	p := start(t, standalone(t))
	pid := strconv.Itoa(p.cmd.Process.Pid)
	if _, _, err := execute(t, "upgrade", "--pid", pid, "--exec", "no-such-program"); err == nil || !strings.Contains(err.Error(), "no-such-program") {
		t.Error(err)
	}
	for _, args := range [][]string{{"upgrade"}, {"upgrade", "--pid-file", "no-such-file"}, {"upgrade", "--pid", "1"}} {
		if _, _, err := execute(t, args...); err == nil {
			t.Errorf("%q is no error", args)
		}
	}
}
