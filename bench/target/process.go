package target

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// stopTime is how long a process may take to end in good order.
const stopTime = 15 * time.Second

// process is a program that runs until it is stopped. What it prints goes to a file in the folder of its Running.
type process struct {
	name string
	proc *os.Process
	log  string
	done chan struct{} // closed when it has ended
	err  error         // set before done is closed
}

func (r *Running) run(name string, cmd *exec.Cmd) (*process, error) {
	p := &process{name: name, log: filepath.Join(r.folder, name+".log"), done: make(chan struct{})}
	f, err := os.Create(p.log)
	if err != nil {
		return nil, fmt.Errorf("target: %w", err)
	}
	defer f.Close()
	cmd.Stdout, cmd.Stderr = f, f
	cmd.Dir = r.folder
	// A group of its own: an interrupt at the terminal is for the harness, which then ends its servers in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("target: %s: %w", name, err)
	}
	p.proc = cmd.Process
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	r.procs = append(r.procs, p)
	return p, nil
}

func (p *process) pid() int { return p.proc.Pid }

func (p *process) hasEnded() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// failure tells that the process has ended, with the end of what it printed.
func (p *process) failure() error {
	text, _ := os.ReadFile(p.log)
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return fmt.Errorf("target: %s has ended (%v): %s", p.name, p.err, strings.Join(lines[max(len(lines)-8, 0):], "\n"))
}

func (p *process) stop() {
	p.proc.Signal(syscall.SIGTERM) // fails when it has ended, which is what we want
	select {
	case <-p.done:
	case <-time.After(stopTime):
		p.proc.Kill()
		<-p.done
	}
}
