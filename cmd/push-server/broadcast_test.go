package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"push-server/protocol/testclient"
)

// crowdVariable makes a crowd of the test binary: "address clients target". bareVariable makes it a server that does nothing but read and write.
const (
	crowdVariable = "PUSH_TEST_AS_CROWD"
	bareVariable  = "PUSH_TEST_AS_BARE"
)

// crowdWithin is how long a broadcast may keep others waiting.
const crowdWithin = 20 * time.Millisecond

// A broadcast to thousands keeps nobody waiting who pings or connects. Those thousands are stopped meanwhile, and their systems take what
// comes, so that the server shares the machine with nobody but who is waiting. How late the machine itself is, a server shows that does
// nothing else, and is asked in between.
func TestBroadcastKeepsNobodyWaiting(t *testing.T) {
	const broadcasts = 40
	crowds, each := 3, 3000
	switch {
	case raced:
		t.Skip("the race detector takes its time")
	case os.Getenv("PUSH_TEST_SLOW") == "":
		t.Skip("make test-attacks runs it")
	}
	in := installWith(t, "single", nil, 1, func(c config) { c["limits"] = map[string]any{"maxConnPerChannel": crowds * each} })
	channel := testclient.NewChannel(testKey)
	target := subPath + testclient.Query(true, "", channel.Signed())
	var all []*exec.Cmd
	for range crowds {
		cmd, _ := become(t, crowdVariable, fmt.Sprintf("%s %d %s", in.subs[0], each, target))
		all = append(all, cmd)
	}
	for _, cmd := range all {
		if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
	}
	alone := goFirst(t, in.procs[0].cmd.Process.Pid, 1)
	if n := openFiles(t, in.procs[0]); n < crowds*each {
		t.Fatalf("the server has %d descriptors", n)
	}
	simple, bare := become(t, bareVariable, "1")
	alone = goFirst(t, simple.Process.Pid, 2) && alone
	own := subPath + testclient.Query(true, "", testclient.NewChannel(testKey).Signed())
	quiet := waiting(t, in.subs[0], bare, own, func() { hold(t, 2*time.Second) })
	before := in.procs[0].cpu()
	busy := waiting(t, in.subs[0], bare, own, func() {
		for range broadcasts {
			publishText(t, in, `{"to":"everybody"}`, 0, channel.Private)
			hold(t, 50*time.Millisecond)
		}
	})
	each = crowds * each
	t.Logf("a broadcast to %d takes %v of a processor", each, (in.procs[0].cpu()-before).Round(time.Millisecond)/broadcasts)
	for kind := range waitKinds {
		t.Logf("%-7s while nothing happens: %s\n             during broadcasts: %s\n   bare server, between those: %s", waitKinds[kind],
			spread(quiet.server[kind]), spread(busy.server[kind]), spread(busy.bare[kind]))
		if late := at(busy.server[kind], 99); alone && late > crowdWithin+at(busy.bare[kind], 99) {
			t.Errorf("one %s in a hundred takes %v, more than %v", waitKinds[kind], late, crowdWithin)
		}
	}
}

// goFirst has a process go before all that is not of this test, as if it had the machine for itself. It returns false where the system does
// not allow that, and what is measured is the machine's as well.
func goFirst(t *testing.T, pid int, priority uint32) (alone bool) {
	t.Helper()
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, thread := range threads {
		if id, err := strconv.Atoi(thread.Name()); err == nil && schedule(id, unix.SCHED_RR, priority) != nil {
			return false
		}
	}
	return true
}

// schedule changes how a thread is scheduled; 0: the one that runs.
func schedule(thread int, policy, priority uint32) error {
	return unix.SchedSetAttr(thread, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: policy, Priority: priority}, 0)
}

// become starts the test binary as something else, and returns what that says when it is ready.
func become(t *testing.T, variable, value string) (cmd *exec.Cmd, word string) {
	t.Helper()
	cmd = exec.Command(executable(t))
	cmd.Env = append(os.Environ(), variable+"="+value)
	cmd.Stderr, cmd.SysProcAttr = os.Stderr, &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	word, err = bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("%s did not begin: %v", variable, err)
	}
	return cmd, strings.TrimSpace(word)
}

// crowd is a process of clients that read nothing.
func crowd(what string) {
	var addr, target string
	var n int
	if _, err := fmt.Sscan(what, &addr, &n, &target); err != nil {
		panic(err)
	}
	var all []net.Conn
	for range n {
		conn, err := testclient.Dial(context.Background(), addr, target)
		if err != nil {
			panic(err)
		}
		all = append(all, conn)
	}
	fmt.Println("there")
	time.Sleep(time.Hour) // it is killed before
	runtime.KeepAlive(all)
}

// bareServer answers whatever comes, on one thread, until the process is killed.
func bareServer() {
	runtime.LockOSThread()
	must := func(n int, err error) int {
		if err != nil {
			panic(err)
		}
		return n
	}
	poller, listener := must(unix.EpollCreate1(0)), must(unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0))
	watch := func(fd int) {
		must(0, unix.EpollCtl(poller, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}))
	}
	must(0, unix.Bind(listener, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	must(0, unix.Listen(listener, 128))
	watch(listener)
	own, err := unix.Getsockname(listener)
	must(0, err)
	fmt.Printf("127.0.0.1:%d\n", own.(*unix.SockaddrInet4).Port)
	events, b := make([]unix.EpollEvent, 16), make([]byte, 4096)
	for {
		n, err := unix.EpollWait(poller, events, -1)
		if err == unix.EINTR {
			continue
		}
		for _, event := range events[:must(n, err)] {
			if fd := int(event.Fd); fd == listener {
				if fd, _, err := unix.Accept(listener); err == nil {
					watch(fd)
				}
			} else if n, err := unix.Read(fd, b); n <= 0 || err != nil {
				unix.Close(fd)
			} else {
				unix.Write(fd, []byte("ok"))
			}
		}
	}
}

// waits are how long each ping took, and each connection from its beginning to the first byte, of the server and of the bare one.
type waits struct {
	server, bare [len(waitKinds)][]time.Duration
}

var waitKinds = [...]string{"ping", "connect"}

// waiting measures while f runs, on a thread of its own that goes before the server's.
func waiting(t *testing.T, server, bare, target string, f func()) (w waits) {
	t.Helper()
	stop := make(chan struct{})
	var task sync.WaitGroup
	var failed error
	task.Go(func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread() // processes that this thread has started end with it
		if schedule(0, unix.SCHED_RR, 3) == nil {
			defer func() { _ = schedule(0, unix.SCHED_NORMAL, 0) }()
		}
		failed = w.measure(server, bare, target, stop)
	})
	f()
	close(stop)
	if task.Wait(); failed != nil {
		t.Fatal(failed)
	}
	for kind := range waitKinds {
		slices.Sort(w.server[kind])
		slices.Sort(w.bare[kind])
	}
	return w
}

func (w *waits) measure(server, bare, target string, stop <-chan struct{}) error {
	handshake := "GET " + target + " HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
	ping := "\x89\x80\x01\x02\x03\x04"
	var kept [2]*plainConn
	for i, addr := range [2]string{server, bare} {
		c, err := openPlain(addr)
		if err != nil {
			return err
		}
		defer c.close()
		if err := c.ask(handshake); err != nil {
			return err
		}
		kept[i] = c
	}
	for {
		for i, addr := range [2]string{server, bare} {
			of := [2]*[len(waitKinds)][]time.Duration{&w.server, &w.bare}[i]
			begin := time.Now()
			if err := kept[i].ask(ping); err != nil {
				return fmt.Errorf("ping to %s: %w", addr, err)
			}
			of[0] = append(of[0], time.Since(begin))
			begin = time.Now()
			c, err := openPlain(addr)
			if err != nil {
				return fmt.Errorf("connect to %s: %w", addr, err)
			}
			if err := c.ask(handshake); err != nil {
				return fmt.Errorf("handshake at %s: %w", addr, err)
			}
			of[1] = append(of[1], time.Since(begin))
			c.close()
		}
		select {
		case <-stop:
			return nil
		default:
			_ = unix.Nanosleep(&unix.Timespec{Nsec: 500_000}, nil)
		}
	}
}

// plainConn is a connection without the runtime's poller between it and the thread that waits.
type plainConn struct{ fd int }

func openPlain(addr string) (*plainConn, error) {
	to, err := net.ResolveTCPAddr("tcp4", addr)
	if err != nil {
		return nil, err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	patience := unix.NsecToTimeval(int64(patience))
	c := &plainConn{fd}
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &patience); err != nil {
		return c, err
	}
	return c, unix.Connect(fd, &unix.SockaddrInet4{Port: to.Port, Addr: [4]byte(to.IP.To4())})
}

// ask says something and waits for what comes first.
func (c *plainConn) ask(text string) error {
	if _, err := unix.Write(c.fd, []byte(text)); err != nil {
		return err
	}
	for {
		n, err := unix.Read(c.fd, make([]byte, 4096))
		switch {
		case err == unix.EINTR:
		case err != nil:
			return err
		case n == 0:
			return io.ErrUnexpectedEOF
		default:
			return nil
		}
	}
}

// close leaves nothing behind that would keep the port.
func (c *plainConn) close() {
	_ = unix.SetsockoptLinger(c.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	_ = unix.Close(c.fd)
}

// at is how long so many in a hundred take at the most.
func at(sorted []time.Duration, percent int) time.Duration {
	return sorted[(len(sorted)-1)*percent/100]
}

func spread(sorted []time.Duration) string {
	round := func(percent int) time.Duration { return at(sorted, percent).Round(10 * time.Microsecond) }
	return fmt.Sprintf("median %v, 99 %% %v, longest of %d %v", round(50), round(99), len(sorted), round(100))
}

// cpu is how much time of a processor the process has taken.
func (p *process) cpu() time.Duration {
	p.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	var user, system int64
	if _, err := fmt.Sscan(strings.Join(strings.Fields(rest)[11:13], " "), &user, &system); err != nil {
		p.t.Fatal(err)
	}
	return time.Duration(user+system) * 10 * time.Millisecond // a hundred a second, on every Linux
}
