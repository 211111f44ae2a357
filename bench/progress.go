package bench

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"push-server/bench/load"
	"push-server/bench/result"
)

// Progress tells a person at a terminal what goes on: one line that is rewritten, and one line for each run that is done. A nil
// Progress says nothing. Its methods may be called from any goroutine.
type Progress struct {
	out      io.Writer
	terminal bool
	stop     chan struct{}
	done     chan struct{}

	mu    sync.Mutex
	title string
	doing string
	fleet *load.Fleet
	last  load.Totals
}

// NewProgress makes a progress on out; only a terminal gets the line that is rewritten.
func NewProgress(out io.Writer, terminal bool) *Progress {
	p := &Progress{out: out, terminal: terminal, stop: make(chan struct{}), done: make(chan struct{})}
	go p.tick()
	return p
}

func (p *Progress) tick() {
	defer close(p.done)
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-t.C:
			p.mu.Lock()
			p.draw()
			p.mu.Unlock()
		}
	}
}

const clearLine = "\r\x1b[K"

// draw rewrites the line. p.mu is held.
func (p *Progress) draw() {
	if !p.terminal || p.title == "" {
		return
	}
	line := p.title + ": " + p.doing
	if p.fleet != nil {
		t := p.fleet.Totals()
		line += fmt.Sprintf(" · %s connected · %s deliveries/s", result.Number(float64(t.Connected)), result.Number(float64(t.Deliveries-p.last.Deliveries)))
		if t.Trouble > 0 {
			line += fmt.Sprintf(" · %d troubles", t.Trouble)
		}
		p.last = t
	}
	fmt.Fprint(p.out, clearLine+line)
}

func (p *Progress) job(i, n int, j Job) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.title = fmt.Sprintf("[%d/%d] %s on %s", i, n, j.Scenario.Name, j.Target.Label())
	p.last = load.Totals{}
}

func (p *Progress) say(what string) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.doing = what
	p.draw()
}

func (p *Progress) watch(f *load.Fleet) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fleet = f
}

// report prints what came out of a run.
func (p *Progress) report(r *result.Run) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.terminal {
		fmt.Fprint(p.out, clearLine)
	}
	fmt.Fprintf(p.out, "%s, %.0f s\n", p.title, r.Elapsed.Seconds())
	if r.Failed != "" {
		fmt.Fprintf(p.out, "  FAILED: %s\n", strings.ReplaceAll(r.Failed, "\n", "\n          "))
	}
	for _, m := range result.Metrics {
		if v, ok := r.Metrics[m.Name]; ok {
			fmt.Fprintf(p.out, "  %-50s %12s %s\n", m.Title, result.Number(v), m.Unit)
		}
	}
	var names []string
	for name := range r.Latency {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		l := r.Latency[name]
		fmt.Fprintf(p.out, "  latency %-10s p50 %s · p99 %s · p99.9 %s · max %s ms (%d)\n",
			name, result.Number(l.P50), result.Number(l.P99), result.Number(l.P999), result.Number(l.Max), l.Count)
	}
}

// end stops the line.
func (p *Progress) end() {
	if p == nil {
		return
	}
	close(p.stop)
	<-p.done
}
