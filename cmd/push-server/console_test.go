package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"push-server/protocol/testclient"
)

// Whatever becomes of those who read what the server prints, and of the disk of its log files, it serves on: a publication that Redis
// cannot store now is accepted, delivered later, and the end is in good order.
func TestServesWithoutReaders(t *testing.T) {
	t.Run("reader has ended", func(t *testing.T) {
		t.Parallel()
		serveUnread(t, "", func(c config) (*os.File, func()) {
			r, w := pipe(t)
			return w, func() { r.Close() }
		})
	})
	t.Run("reader has ended, parent ignores SIGPIPE", func(t *testing.T) {
		t.Parallel()
		serveUnread(t, `trap "" PIPE; exec "$0" "$@"`, func(c config) (*os.File, func()) {
			r, w := pipe(t)
			return w, func() { r.Close() }
		})
	})
	t.Run("reader does not read", func(t *testing.T) {
		t.Parallel()
		serveUnread(t, "", func(c config) (*os.File, func()) {
			r, w := pipe(t)
			return w, func() { fill(t, r, w) }
		})
	})
	t.Run("disk is full", func(t *testing.T) {
		t.Parallel()
		serveUnread(t, "", func(c config) (*os.File, func()) {
			dir := t.TempDir()
			today := time.Now().Format("2006-01-02")
			for _, name := range []string{"info.log", "error." + today + ".log", "system-error." + today + ".log", "debug." + today + ".log"} {
				if err := os.Symlink("/dev/full", filepath.Join(dir, name)); err != nil {
					t.Fatal(err)
				}
			}
			c["debug"] = map[string]any{"folderName": dir, "ip": []any{"127.0.0.1"}}
			full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			return full, func() {}
		})
	})
}

func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r, w
}

// fill leaves no room in a pipe.
func fill(t *testing.T, r, w *os.File) {
	t.Helper()
	other, err := syscall.Open(fmt.Sprintf("/proc/self/fd/%d", r.Fd()), syscall.O_WRONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(other)
	for _, size := range []int{4096, 1} {
		for err = nil; err == nil; {
			_, err = syscall.Write(other, make([]byte, size))
		}
	}
	if err != syscall.EAGAIN {
		t.Fatal(err)
	}
}

// serveUnread starts a server, by a shell if there is a script, whose output goes where arrange says, and takes its reader away.
func serveUnread(t *testing.T, script string, arrange func(config) (out *os.File, takeAway func())) {
	redis := startRedis(t)
	c := standalone(t)
	c["security"] = map[string]any{"key": testKey}
	c["storage"] = map[string]any{"type": "redis", "socket": redis.Addr()}
	out, takeAway := arrange(c)
	p := launchInto(t, script, out, writeConfigs(t, c)...)
	out.Close()
	p.waitListening(c.addr("sub"))
	in := &installation{subs: []string{c.addr("sub")}, pub: c.addr("pub"), redis: redis, procs: []*process{p}}
	in.waitDelivering(t)
	ch := testclient.NewChannel(testKey)
	socket, err := testclient.Dial(t.Context(), c.addr("sub"), subPath+testclient.Query(false, "", ch.Signed()))
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	takeAway()
	redis.Kill()
	backend := testclient.NewHTTP(false)
	defer backend.Close()
	for range 3 {
		post(t, in.pubURL()+"?binaryMode=true", "") // refused, which is logged as well
	}
	reply, err := backend.PublishText(t.Context(), in.pubURL(), `"late"`, 60, ch.Private)
	if err != nil || reply.Status != 202 {
		t.Fatal(reply.Status, err)
	}
	redis.Restart()
	socket.SetReadDeadline(time.Now().Add(patience))
	if m, err := socket.Receive(); err != nil || !bytes.Contains(fmt.Append(nil, m), []byte("late")) {
		t.Errorf("got %v, %v", m, err)
	}
	if code := p.signal(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d, %v", code, p.cmd.ProcessState)
	}
}

func launchInto(t *testing.T, script string, out *os.File, args ...string) *process {
	t.Helper()
	cmd := exec.Command(executable(t), args...)
	if script != "" {
		cmd = exec.Command("sh", append([]string{"-c", script, executable(t)}, args...)...)
	}
	p := &process{t: t, cmd: cmd, done: make(chan struct{})}
	cmd.Env = append(os.Environ(), asServer+"=1")
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(p.kill)
	return p
}

// A line that is lost is counted, and what is waiting has a bound in bytes.
func TestConsoleLosesWhatNobodyReads(t *testing.T) {
	r, w := pipe(t)
	defer w.Close()
	c := newConsole()
	line := bytes.Repeat([]byte("x"), 1023)
	for range 3 * consoleBytes / 1024 {
		fmt.Fprintf(c.to(w), "%s\n", line)
	}
	if n := c.waiting.Load(); n > consoleBytes || c.lost.Load() == 0 {
		t.Errorf("%d bytes wait, %d lines lost", n, c.lost.Load())
	}
	var got testclient.Log
	read := make(chan struct{})
	go func() {
		defer close(read)
		buf := make([]byte, 4096)
		for {
			n, err := r.Read(buf)
			got.Write(buf[:n])
			if err != nil {
				return
			}
		}
	}()
	testclient.AwaitNil(t, "the number of lost lines", func() error {
		if !strings.Contains(got.String(), "lines lost, since nobody read them") {
			return fmt.Errorf("%d bytes came", len(got.String()))
		}
		return nil
	})
	c.close()
	w.Close()
	<-read
}
