package target

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// stood is what a server writes into its log at the end of an upgrade: for how long nobody was served.
var stood = regexp.MustCompile(`the successor serves".* stood=(\S+)`)

// Upgrade has the server, if it is one process of this project that logs what it does, put another process in its place, and returns for
// how long nobody was served meanwhile, as it says itself.
func (r *Running) Upgrade(ctx context.Context) (pause time.Duration, err error) {
	i := slices.IndexFunc(r.procs, func(p *process) bool { return len(r.PIDs) == 1 && p.pid() == r.PIDs[0] })
	if i < 0 || r.binary == "" {
		return 0, errors.New("target: only one process that was started here can be upgraded")
	}
	old := r.procs[i]
	ids, err := os.CreateTemp(r.folder, "pid-")
	if err != nil {
		return 0, fmt.Errorf("target: %w", err)
	}
	defer os.Remove(ids.Name())
	defer ids.Close()
	if _, err := fmt.Fprintln(ids, old.pid()); err != nil {
		return 0, fmt.Errorf("target: %w", err)
	}
	out, err := exec.CommandContext(ctx, r.binary, "upgrade", "--pid-file", ids.Name()).CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("target: upgrade: %w: %s", err, out)
	}
	next, err := old.heir(ids.Name())
	if err != nil {
		return 0, err
	}
	r.past, r.procs[i] = append(r.past, old), next
	r.PIDs[0] = next.pid()
	text, err := os.ReadFile(old.log)
	if err != nil {
		return 0, fmt.Errorf("target: %w", err)
	}
	said := stood.FindAllSubmatch(text, -1)
	if len(said) == 0 {
		return 0, errors.New("target: the log of the server does not tell of an upgrade")
	}
	return time.ParseDuration(string(said[len(said)-1][1]))
}

// heir is the process whose id is in a file and which writes where p does. It is no child of this process.
func (p *process) heir(pidFile string) (*process, error) {
	text, err := os.ReadFile(pidFile)
	if err != nil {
		return nil, fmt.Errorf("target: %w", err)
	}
	pid, err := strconv.Atoi(string(regexp.MustCompile(`\d+`).Find(text)))
	if err != nil {
		return nil, fmt.Errorf("target: %w", err)
	}
	h := &process{name: p.name, log: p.log, done: make(chan struct{}), err: errors.New("nobody knows why")}
	if h.proc, err = os.FindProcess(pid); err != nil {
		return nil, fmt.Errorf("target: %w", err)
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, fmt.Errorf("target: process %d: %w", pid, err)
	}
	go func() {
		defer close(h.done)
		defer unix.Close(fd)
		ended := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		for {
			if n, err := unix.Poll(ended, -1); n > 0 || err != nil && err != unix.EINTR {
				return
			}
		}
	}()
	return h, nil
}
