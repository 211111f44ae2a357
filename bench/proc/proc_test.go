package proc

import (
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"
)

func TestStat(t *testing.T) {
	f := func(in string, want stat) {
		t.Helper()
		if got, err := parseStat([]byte(in)); err != nil || got != want {
			t.Errorf("%q: %+v %v", in, got, err)
		}
	}
	want := stat{parent: 17, cpu: CPU{User: 1230 * time.Millisecond, System: 450 * time.Millisecond}}
	f("42 (push-server) S 17 42 42 0 -1 4194560 1 2 3 4 123 45 6 7 20 0 9 0 1 2 3", want)
	f("42 (a) b) (c) R 17 42 42 0 -1 4194560 1 2 3 4 123 45 6 7 20 0 9 0 1 2 3", want)
}

func TestNoStat(t *testing.T) {
	f := func(in string) {
		t.Helper()
		if _, err := parseStat([]byte(in)); err == nil {
			t.Errorf("%q passed", in)
		}
	}
	f("")
	f("42 (x) S 1 2")
	f("42 (x) S one 42 42 0 -1 4194560 1 2 3 4 123 45 6 7")
}

func TestRollup(t *testing.T) {
	in := `55d0c0000000-7ffe0000 ---p 00000000 00:00 0    [rollup]
Rss:               12345 kB
Pss:                6789 kB
Pss_Anon:            100 kB
Anonymous:          4321 kB
`
	got, err := parseRollup([]byte(in))
	if want := (Memory{RSS: 12345 << 10, PSS: 6789 << 10, Anonymous: 4321 << 10}); err != nil || got != want {
		t.Errorf("%+v %v", got, err)
	}
	if _, err := parseRollup([]byte("Rss: 1 kB\n")); err == nil {
		t.Error("half a rollup passed")
	}
}

func TestOwnProcess(t *testing.T) {
	pid := os.Getpid()
	if m, err := MemoryOf(pid); err != nil || m.RSS < m.Anonymous || m.Anonymous == 0 {
		t.Errorf("%+v %v", m, err)
	}
	if n, err := Descriptors(pid); err != nil || n < 3 {
		t.Errorf("%d %v", n, err)
	}
	if _, err := CPUOf(pid); err != nil {
		t.Error(err)
	}
	child := exec.Command("cat")
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	if pids, err := Children(pid); err != nil || !slices.Contains(pids, child.Process.Pid) {
		t.Errorf("%v %v, want %d", pids, err, child.Process.Pid)
	}
	in.Close()
	child.Wait()
}

func TestHere(t *testing.T) {
	m := Here()
	if m.Cores < 1 || m.Kernel == "" || m.OpenFiles == 0 || m.MemoryGiB <= 0 {
		t.Errorf("%+v", m)
	}
}

func TestBusy(t *testing.T) {
	got, err := parseBusy([]byte("cpu  100 20 3 4000 5 6 7 8 0 0\ncpu0 1 2 3\n"))
	if want := 1310 * time.Millisecond; err != nil || got != want {
		t.Errorf("%v %v, want %v", got, err, want)
	}
	if _, err := parseBusy([]byte("intr 1 2 3 4 5 6 7 8 9\n")); err == nil {
		t.Error("nonsense passed")
	}
}
