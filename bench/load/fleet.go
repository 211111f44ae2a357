package load

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// FleetOptions say how worker processes are made. The zero value is this program with the argument "worker".
type FleetOptions struct {
	// Command starts a worker; its standard input and output carry orders and answers.
	Command []string
	// Env is added to the environment of the workers.
	Env []string
	// PerWorker is how many users a worker takes at most; 0: 19,000, which leaves room below 20,000 descriptors.
	PerWorker int
	// Workers is the least number of processes with users; 0 is 1.
	Workers int
	// Sources are the addresses that connections come from, worker by worker in turn; none: 127.<n>.0.1 for worker n if the
	// target is on this machine.
	Sources []string
	// Floor adds a worker that is the floor, and lets the group of this name connect to it.
	Floor string
	Log   io.Writer // standard error of the workers
}

const (
	defaultPerWorker = 19_000
	quitTime         = 5 * time.Second
)

// Fleet is the worker processes of one run, seen from the parent. Its methods may be called from any goroutine.
type Fleet struct {
	Plan    *Plan
	board   *Board
	workers []*crewman // those with users; the publishers are on the first
	floor   *crewman   // nil without one
}

// crewman is one process, seen from the parent.
type crewman struct {
	cmd   *exec.Cmd
	in    *json.Encoder
	stdin io.Closer

	mu      sync.Mutex
	last    int
	waiting map[int]chan Answer
	ended   error         // why no answers come any more
	silent  chan struct{} // closed when the last answer has been read
}

// StartFleet starts the workers and tells them the plan, which must not be changed afterwards.
func StartFleet(ctx context.Context, plan *Plan, o FleetOptions) (*Fleet, error) {
	f := &Fleet{Plan: plan}
	if err := f.start(ctx, o); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func (f *Fleet) start(ctx context.Context, o FleetOptions) (err error) {
	plan := f.Plan
	perWorker := o.PerWorker
	if perWorker == 0 {
		perWorker = defaultPerWorker
	}
	n := max(o.Workers, (plan.Users+perWorker-1)/perWorker, 1)
	if f.board, err = NewBoard(n+1, plan.Streams()); err != nil {
		return err
	}
	if o.Floor != "" {
		if err := f.startFloor(ctx, n, o); err != nil {
			return err
		}
	}
	for i := range n {
		w, err := startWorker(f.board, o)
		if err != nil {
			return err
		}
		f.workers = append(f.workers, w)
		setup := &Setup{Plan: plan, Worker: i, Workers: n + 1, From: i * plan.Users / n, To: (i + 1) * plan.Users / n, Alone: n == 1}
		setup.Sources = o.sources(i, plan)
		if _, err := w.call(ctx, Order{Setup: setup}); err != nil {
			return err
		}
	}
	return nil
}

func (o *FleetOptions) sources(worker int, plan *Plan) []string {
	if len(o.Sources) > 0 {
		return o.Sources[worker%len(o.Sources):][:1]
	}
	for _, a := range plan.Target.Subscribe {
		if to, err := address(a); err != nil || to.Addr[0] != 127 {
			return nil
		}
	}
	return []string{fmt.Sprintf("127.%d.0.1", worker+1)}
}

func (f *Fleet) startFloor(ctx context.Context, index int, o FleetOptions) (err error) {
	group, err := f.Plan.Group(o.Floor)
	if err != nil {
		return err
	}
	if f.floor, err = startWorker(f.board, o); err != nil {
		return err
	}
	if _, err = f.floor.call(ctx, Order{Setup: &Setup{Plan: f.Plan, Worker: index, Workers: index + 1}}); err != nil {
		return err
	}
	a, err := f.floor.call(ctx, Order{Listen: &Listen{Count: group.Count}})
	group.Address = a.Address
	return err
}

func startWorker(board *Board, o FleetOptions) (*crewman, error) {
	command := o.Command
	if len(command) == 0 {
		self, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("load: who am I: %w", err)
		}
		command = []string{self, "worker"}
	}
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = append(os.Environ(), o.Env...)
	cmd.Stderr = o.Log
	cmd.ExtraFiles = []*os.File{board.file} // becomes boardFD
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("load: worker: %w", err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("load: worker: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("load: worker: %w", err)
	}
	c := &crewman{cmd: cmd, in: json.NewEncoder(stdin), stdin: stdin, waiting: make(map[int]chan Answer), silent: make(chan struct{})}
	go c.listen(stdout)
	return c, nil
}

// listen hands the answers to those who wait for them.
func (c *crewman) listen(out io.Reader) {
	defer close(c.silent)
	lines := bufio.NewReaderSize(out, 1<<20)
	for {
		line, err := lines.ReadBytes('\n')
		var a Answer
		if err == nil {
			err = json.Unmarshal(line, &a)
		}
		c.mu.Lock()
		if err != nil {
			c.ended = fmt.Errorf("load: worker %d has ended: %w", c.cmd.Process.Pid, err)
			for _, ch := range c.waiting {
				close(ch)
			}
			c.waiting = nil
			c.mu.Unlock()
			return
		}
		ch := c.waiting[a.ID]
		delete(c.waiting, a.ID)
		c.mu.Unlock()
		if ch != nil {
			ch <- a
		}
	}
}

// call sends an order and waits for its answer.
func (c *crewman) call(ctx context.Context, o Order) (Answer, error) {
	ch, err := c.send(o)
	if err != nil {
		return Answer{}, err
	}
	select {
	case <-ctx.Done():
		return Answer{}, ctx.Err()
	case a, ok := <-ch:
		if !ok {
			c.mu.Lock()
			defer c.mu.Unlock()
			return Answer{}, c.ended
		}
		if a.Error != "" {
			return a, errors.New(a.Error)
		}
		return a, nil
	}
}

func (c *crewman) send(o Order) (chan Answer, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended != nil {
		return nil, c.ended
	}
	c.last++
	o.ID = c.last
	ch := make(chan Answer, 1)
	c.waiting[o.ID] = ch
	if err := c.in.Encode(o); err != nil {
		delete(c.waiting, o.ID)
		return nil, fmt.Errorf("load: worker %d: %w", c.cmd.Process.Pid, err)
	}
	return ch, nil
}

// quit ends the process, by force if it does not end by itself.
func (c *crewman) quit() {
	ctx, cancel := context.WithTimeout(context.Background(), quitTime)
	defer cancel()
	c.call(ctx, Order{Quit: new(struct{})}) // an error means that it has ended, or is about to be killed
	c.stdin.Close()
	if ctx.Err() != nil {
		c.cmd.Process.Kill()
	}
	<-c.silent
	c.cmd.Wait()
}

// Close ends the workers and with them all connections.
func (f *Fleet) Close() {
	var wait sync.WaitGroup
	for _, w := range f.all() {
		wait.Go(w.quit)
	}
	wait.Wait()
	if f.board != nil {
		f.board.Close()
		f.board = nil
	}
}

func (f *Fleet) all() []*crewman {
	if f.floor == nil {
		return f.workers
	}
	return append([]*crewman{f.floor}, f.workers...)
}
