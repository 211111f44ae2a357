package main

import (
	"bytes"
	"fmt"
	"io"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	consoleBytes = 1 << 20     // that wait for a reader; further lines are lost and counted
	consoleLines = 4096        // the same in lines
	consoleEnd   = time.Second // that the last lines may take
)

// console is standard output and error of a server. One goroutine writes, so that neither a reader that has ended nor one that does
// not read (a full pipe) can hold up the server: lines are lost, service goes on.
type console struct {
	lines   chan consoleLine
	waiting atomic.Int64 // bytes in lines
	lost    atomic.Int64
	quit    chan struct{}
	end     sync.Once
	done    chan struct{}
}

type consoleLine struct {
	w    io.Writer
	text []byte
}

func newConsole() *console {
	c := &console{lines: make(chan consoleLine, consoleLines), quit: make(chan struct{}), done: make(chan struct{})}
	go c.run()
	return c
}

// ignoreBrokenPipe makes a write to a pipe without a reader an error. By default the runtime ends the process when that happens to
// descriptor 1 or 2, even if the parent ignores the signal.
func ignoreBrokenPipe() { signal.Ignore(syscall.SIGPIPE) }

// to returns a writer for w that never waits and never fails.
func (c *console) to(w io.Writer) io.Writer { return consoleWriter{c, w} }

type consoleWriter struct {
	c *console
	w io.Writer
}

func (w consoleWriter) Write(text []byte) (int, error) {
	n := int64(len(text))
	if w.c.waiting.Add(n) > consoleBytes {
		w.c.lose(n)
		return len(text), nil
	}
	select {
	case w.c.lines <- consoleLine{w.w, bytes.Clone(text)}:
	default:
		w.c.lose(n)
	}
	return len(text), nil
}

func (c *console) lose(n int64) {
	c.waiting.Add(-n)
	c.lost.Add(1)
}

func (c *console) run() {
	defer close(c.done)
	for {
		select {
		case l := <-c.lines:
			c.write(l)
		case <-c.quit:
			for len(c.lines) > 0 {
				c.write(<-c.lines)
			}
			return
		}
	}
}

func (c *console) write(l consoleLine) {
	_, err := l.w.Write(l.text)
	c.waiting.Add(-int64(len(l.text)))
	if err != nil {
		return // nobody is there to be told
	}
	if n := c.lost.Swap(0); n > 0 {
		fmt.Fprintf(l.w, "push-server: %s lost, since nobody read them\n", count(int(n), "line"))
	}
}

// close writes what is waiting, as far as somebody takes it in time. What comes later is lost.
func (c *console) close() {
	c.end.Do(func() { close(c.quit) })
	select {
	case <-c.done:
	case <-time.After(consoleEnd):
	}
}
