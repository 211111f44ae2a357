package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"push-server/engine"
)

// progress is a line of the answer to an operator who has the server drain.
type progress struct {
	Connections int    `json:"connections"`
	Unstored    int    `json:"unstored"` // publications that were accepted
	CutOff      int    `json:"cutOff"`   // connections without a goodbye
	Ended       bool   `json:"ended"`    // it is the last line
	Problem     string `json:"problem,omitempty"`
}

// drainer has the server end when an operator asks for it, and tells him how that goes.
type drainer struct {
	engine *engine.Engine
	asked  chan struct{} // closed when somebody has
	ended  chan struct{} // closed when the drain is over; problem is set before
	once   sync.Once

	problem  string
	watching sync.WaitGroup
}

func newDrainer(e *engine.Engine) *drainer {
	return &drainer{engine: e, asked: make(chan struct{}), ended: make(chan struct{})}
}

const (
	progressEvery = 250 * time.Millisecond
	progressTime  = 2 * time.Second // that whoever asked may take to read a line
)

// ServeHTTP begins the drain, and writes a line about it now and then.
func (d *drainer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.watching.Add(1)
	defer d.watching.Done()
	d.once.Do(func() { close(d.asked) })
	w.Header().Set("Content-Type", "application/jsonl")
	control, lines := http.NewResponseController(w), json.NewEncoder(w)
	ticker := time.NewTicker(progressEvery)
	defer ticker.Stop()
	for last := false; !last; {
		select {
		case <-ticker.C:
		case <-d.ended:
			last = true
		case <-r.Context().Done():
			return
		}
		p := d.now()
		if p.Ended = last; last {
			p.Problem = d.problem
		}
		if errors.Join(control.SetWriteDeadline(time.Now().Add(progressTime)), lines.Encode(p), control.Flush()) != nil {
			return // whoever asked has gone; the drain goes on
		}
	}
}

func (d *drainer) now() progress {
	return progress{Connections: d.engine.Stats().Connections, Unstored: d.engine.Unstored(), CutOff: d.engine.CutOff()}
}

// finish tells those who wait that the drain is over, and with what error.
func (d *drainer) finish(err error) {
	if err != nil {
		d.problem = err.Error()
	}
	close(d.ended)
	told := make(chan struct{})
	go func() { d.watching.Wait(); close(told) }()
	select {
	case <-told:
	case <-time.After(progressTime):
	}
}

func drainCommand(files *[]string) *cobra.Command {
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "drain --config FILE",
		Short: "Have a running server end in good order, and say what was lost",
		Long: `Have the running server of a configuration end as it does after SIGTERM, and wait for that: /readyz says no, after push.drainDelay nobody is
let in any more, what was accepted is stored, WebSockets are closed with 1001 and polls answered with their position, at push.drainPace,
all within push.drainTimeout. Prints how far that has come, and at the end what was lost or cut off.

It asks at push.metrics, which has to be there and must not be read-only. What supervises the server may start it again: under systemd,
use systemctl stop, which does the same.

Exit codes: 0 it has ended and nothing was lost, 1 something was lost or cut off, or it could not be asked, 2 wrong command line.`,
		Example: "  push-server drain --config configs/standalone.json",
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := clientConfiguration(*files, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			win, err := windowOf(c)
			if err != nil {
				return err
			}
			if win == nil {
				return fmt.Errorf("%s has no push.metrics, where the server could be asked: send it SIGTERM, which does the same", c.File)
			}
			defer win.HTTP.Close()
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			lines, err := win.Open(ctx, http.MethodPost, "/drain")
			if err != nil {
				return lateness(err)
			}
			defer lines.Close()
			return watchDrain(lines, cmd.OutOrStdout())
		},
	}
	cmd.Flags().DurationVar(&timeout, "timeout", 10*time.Minute, "how long to wait; the server goes on by itself")
	return cmd
}

// watchDrain prints what the server says until it has ended.
func watchDrain(lines io.Reader, w io.Writer) error {
	var said, p progress
	for in := bufio.NewScanner(lines); in.Scan(); said = p {
		p = progress{}
		if err := json.Unmarshal(in.Bytes(), &p); err != nil {
			return fmt.Errorf("the server says something else than how far it has come: %w", err)
		}
		if p.Ended {
			return p.verdict(w)
		}
		if p != said {
			fmt.Fprintf(w, "%s, %s\n", count(p.Connections, "connection"), unstored(p.Unstored))
		}
	}
	return errors.New("the server went away before it had said what was lost: its log does")
}

func unstored(n int) string { return count(n, "publication") + " accepted and not stored" }

// verdict says what was lost.
func (p *progress) verdict(w io.Writer) error {
	switch {
	case p.Problem != "":
		return fmt.Errorf("the server has ended: %s", p.Problem)
	case p.Unstored > 0:
		return fmt.Errorf("the server has ended: lost are %s", unstored(p.Unstored))
	case p.CutOff > 0:
		return fmt.Errorf("the server has ended: %s without a goodbye; publications are all stored", count(p.CutOff, "connection"))
	}
	fmt.Fprintln(w, "the server has ended: all that was accepted is stored, all connections were told")
	return nil
}
