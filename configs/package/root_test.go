package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A machine is a root of its own, with all that this system has, in which whatever is done leaves no trace outside: its files are laid
// over those of the system, its processes and its network are its own.
type machine struct {
	t    *testing.T
	init *exec.Cmd
	root string // as its processes see it
}

const layRoot = `set -eu
mount -t tmpfs none "$1"
mkdir "$1/upper" "$1/work" "$1/whole"
mount -t overlay overlay -o lowerdir=/,upperdir="$1/upper",workdir="$1/work" "$1/whole"
mount -t proc proc "$1/whole/proc"
mount -t tmpfs none "$1/whole/run"
mount -t tmpfs none "$1/whole/tmp"
ip link set lo up
whole=$1/whole
shift
cp "$@" "$whole/tmp"
`

const idle = layRoot + `mount --rbind /dev "$whole/dev"
echo ready
while :; do sleep 60; done` // and bury what is orphaned

// boot starts a machine with copies of files in /tmp.
func boot(t *testing.T, files ...string) *machine {
	t.Helper()
	dir := t.TempDir()
	return bootAs(t, idle, dir, filepath.Join(dir, "whole"), files)
}

// bootAs starts a machine whose first process is a script that prints "ready".
func bootAs(t *testing.T, script, dir, root string, files []string) *machine {
	t.Helper()
	m := &machine{t: t, root: root}
	m.init = exec.Command("bash", append([]string{"-c", script, "boot", dir}, files...)...)
	m.init.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS,
		Pdeathsig:  syscall.SIGKILL,
	}
	var complaint bytes.Buffer
	m.init.Stderr = &complaint
	out, err := m.init.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := m.init.Start(); err != nil {
		t.Skipf("a root of its own needs the right to mount: %v", err)
	}
	t.Cleanup(func() {
		m.init.Process.Kill() // takes all other processes along
		m.init.Wait()
	})
	line := make([]byte, 64)
	n, err := out.Read(line)
	if why, unable := bytes.CutPrefix(line[:n], []byte("unable: ")); unable {
		t.Skipf("%s", why)
	}
	if string(line[:n]) != "ready\n" {
		m.init.Wait()
		t.Fatalf("the machine does not start: %v\n%s", err, complaint.String())
	}
	// What an operator has installed on this system is not there.
	m.run(`rm -rf /etc/push-server /etc/default/push-server /etc/logrotate.d/push-server`)
	return m
}

// try runs a script on the machine.
func (m *machine) try(script string) (out string, err error) {
	cmd := exec.Command("nsenter", "--target", strconv.Itoa(m.init.Process.Pid), "--mount", "--pid", "--net",
		"chroot", m.root, "bash", "-euo", "pipefail", "-c", script)
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = time.Second // servers that were started keep the output
	b, err := cmd.CombinedOutput()
	return string(b), err
}

func (m *machine) run(script string) string {
	m.t.Helper()
	out, err := m.try(script)
	if err != nil {
		m.t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return out
}

// says runs a script, which has to print these parts.
func (m *machine) says(script string, parts ...string) {
	m.t.Helper()
	out := m.run(script)
	for _, part := range parts {
		if !strings.Contains(out, part) {
			m.t.Errorf("%s: %q is missing in\n%s", script, part, out)
		}
	}
}

// await repeats a script until it succeeds.
func (m *machine) await(script string) string {
	m.t.Helper()
	for end := time.Now().Add(time.Minute); ; {
		out, err := m.try(script)
		if err == nil {
			return out
		}
		if time.Now().After(end) {
			m.t.Fatalf("%s: %v\n%s", script, err, out)
		}
	}
}

func rootNeeded(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root can install packages")
	}
	if os.Getenv("PUSH_TEST_SLOW") == "" {
		t.Skip("make test-packages runs it")
	}
}
