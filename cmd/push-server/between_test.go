package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"push-server/engine/handover"
)

// betweenVariable makes a successor of the test binary that stands between the two processes of an upgrade, and harms one of them when a
// message comes by: "successor stop before ready". betweenPid names a file that gets the id of the real successor.
const (
	betweenVariable = "PUSH_TEST_BETWEEN"
	betweenPid      = "PUSH_TEST_BETWEEN_PID"
)

// hasteVariable makes a server wait for less long in an upgrade: "ready=1s".
const hasteVariable = "PUSH_TEST_HASTE"

func hasten(how string) {
	name, value, _ := strings.Cut(how, "=")
	d, err := time.ParseDuration(value)
	if err != nil {
		panic(err)
	}
	*map[string]*time.Duration{"hello": &helloTime, "prepare": &prepareTime, "ready": &readyTime, "serving": &servingTime}[name] = d
}

// goBetween is such a successor.
type goBetween struct {
	who, what, when, kind string
	real                  *exec.Cmd
	once                  sync.Once
	alone                 atomic.Bool // the predecessor has been killed: nothing of it counts any more
}

func newGoBetween(fault string) *goBetween {
	g := new(goBetween)
	if _, err := fmt.Sscan(fault, &g.who, &g.what, &g.when, &g.kind); err != nil {
		panic(err)
	}
	return g
}

// run returns when it has no more to do.
func (g *goBetween) run() {
	runtime.LockOSThread() // with which the real one would end
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		panic(err)
	}
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	theirs := os.NewFile(uintptr(pair[1]), "handover")
	g.real = exec.Command(self, os.Args[1:]...)
	g.real.Env = append(os.Environ(), betweenVariable+"=", asServer+"=1")
	g.real.Stdout, g.real.Stderr, g.real.ExtraFiles = os.Stdout, os.Stderr, []*os.File{theirs}
	g.real.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := g.real.Start(); err != nil {
		panic(err)
	}
	theirs.Close()
	if file := os.Getenv(betweenPid); file != "" {
		os.WriteFile(file, []byte(fmt.Sprint(g.real.Process.Pid)), 0o600)
	}
	if g.kind == "start" {
		g.harm()
	}
	predecessor, successor := 3, pair[0]
	go g.pass(successor, predecessor)
	g.pass(predecessor, successor)
	g.real.Wait()
}

// pass passes messages on until there are no more.
func (g *goBetween) pass(from, to int) {
	defer unix.Shutdown(to, unix.SHUT_RDWR)
	for {
		message, sockets := receiveRaw(from)
		if message == nil || g.alone.Load() {
			return
		}
		this := handover.Kind(message[4]).String() == g.kind
		if this && g.when == "before" && g.harm() {
			continue
		}
		for rest, rights := message, unix.UnixRights(sockets...); len(rest) > 0; rights = nil {
			n, err := unix.SendmsgN(to, rest, rights, nil, unix.MSG_NOSIGNAL)
			if err != nil {
				return
			}
			rest = rest[n:]
		}
		handover.CloseAll(sockets)
		if this && g.when == "after" {
			g.harm()
		}
	}
}

// harm does it, once. It says whether it has killed somebody.
func (g *goBetween) harm() (killed bool) {
	g.once.Do(func() {
		pid := g.real.Process.Pid
		if g.who == "predecessor" {
			pid = os.Getppid()
			g.alone.Store(true)
		}
		switch g.what {
		case "kill":
			killed = true
			syscall.Kill(pid, syscall.SIGKILL)
		case "stop":
			syscall.Kill(pid, syscall.SIGSTOP)
			for runs(pid) && !hasState(pid, "T") {
				time.Sleep(time.Millisecond)
			}
		case "crowd": // it has no descriptors left but a few
			open, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
			limit := unix.Rlimit{Cur: uint64(len(open)) + 4, Max: 1 << 12}
			unix.Prlimit(pid, unix.RLIMIT_NOFILE, &limit, nil)
		}
	})
	return killed
}

// receiveRaw returns a message with its head, and its descriptors; nil: there are no more.
func receiveRaw(from int) (message []byte, sockets []int) {
	message = make([]byte, 6)
	rights := make([]byte, unix.CmsgSpace(handover.MaxSockets*4))
	for n := 0; n < len(message); {
		some, oob, _, _, err := unix.Recvmsg(from, message[n:], rights, unix.MSG_CMSG_CLOEXEC)
		if err == unix.EINTR {
			continue
		}
		if some <= 0 || err != nil {
			return nil, nil
		}
		n += some
		if all, err := unix.ParseSocketControlMessage(rights[:oob]); err == nil && len(all) > 0 {
			sockets, _ = unix.ParseUnixRights(&all[0])
		}
	}
	message = append(message, make([]byte, binary.BigEndian.Uint32(message))...)
	for n := 6; n < len(message); {
		some, err := unix.Read(from, message[n:])
		if err == unix.EINTR {
			continue
		}
		if some <= 0 || err != nil {
			return nil, nil
		}
		n += some
	}
	return message, sockets
}
