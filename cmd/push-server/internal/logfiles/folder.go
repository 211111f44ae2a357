// Package logfiles writes the log files of the Node server, with its names, lines and sizes: info.log, and for each day
// error.2026-11-23.log, system-error.2026-11-23.log and debug.2026-11-23.log. Several processes may share a folder.
//
// Lines go through a bounded queue to one goroutine, so that no caller waits for a disk.
package logfiles

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// Kind says which file a line belongs to.
type Kind uint8

// The kinds of lines.
const (
	Info        Kind = iota // where the server listens
	Error                   // requests that were refused
	SystemError             // what an operator has to look after
	Debug                   // traffic that is followed
	kinds
)

// Options may be zero.
type Options struct {
	MaxSize int64         // of a file, in bytes; default 10 MiB
	Queue   int           // lines that wait for the disk; more are dropped and counted; default 8,192
	Period  time.Duration // in which repeated lines of Error and SystemError are counted instead of written; default a minute
	// Complain gets the first error of several in a row. nil: nobody does.
	Complain func(err error)
}

// Folder is a folder of log files. Its methods may be called from any goroutine.
type Folder struct {
	o       Options
	files   [kinds]file
	filters [kinds]*throttle // nil: everything is written
	queue   chan line
	dropped [kinds]atomic.Uint64
	failing [kinds]bool // the last write did
	quit    chan struct{}
	end     sync.Once
	done    sync.WaitGroup
}

// line is one for a file, or, without a text, the order to open all files again.
type line struct {
	kind Kind
	at   time.Time
	text string
}

// Open makes the folder and its files if they are missing, and begins to write.
func Open(dir string, o Options) (*Folder, error) {
	o.MaxSize = cmp.Or(o.MaxSize, 10<<20)
	o.Queue = cmp.Or(o.Queue, 8192)
	o.Period = cmp.Or(o.Period, time.Minute)
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("logfiles: %w", err)
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("logfiles: %w", err)
	}
	f := &Folder{o: o, queue: make(chan line, o.Queue), quit: make(chan struct{})}
	for kind, name := range [kinds]string{"info", "error", "system-error", "debug"} {
		f.files[kind] = file{base: filepath.Join(dir, name), daily: Kind(kind) != Info, limit: o.MaxSize}
		if err := f.files[kind].open(time.Now()); err != nil {
			return nil, errors.Join(fmt.Errorf("logfiles: %w", err), f.closeFiles())
		}
	}
	f.filters[Error], f.filters[SystemError] = newThrottle(o.Period), newThrottle(o.Period)
	f.done.Go(f.run)
	return f, nil
}

// Write has text written, with the time of the call. It does not wait. After Close it does nothing.
func (f *Folder) Write(kind Kind, text string) {
	select {
	case f.queue <- line{kind, time.Now(), clean(text)}:
	default:
		f.dropped[kind].Add(1)
	}
}

// Reopen opens the files by their names again, behind the lines that are waiting. Files that were moved away are noticed within a
// second without it.
func (f *Folder) Reopen() {
	select {
	case f.queue <- line{}:
	case <-f.quit:
	}
}

// Close writes what is waiting and closes the files.
func (f *Folder) Close() error {
	f.end.Do(func() { close(f.quit) })
	f.done.Wait()
	return f.closeFiles()
}

func (f *Folder) closeFiles() (err error) {
	for i := range f.files {
		err = errors.Join(err, f.files[i].close())
	}
	return err
}

// run writes until Close.
func (f *Folder) run() {
	period := time.NewTicker(f.o.Period)
	defer period.Stop()
	for {
		select {
		case l := <-f.queue:
			f.take(l)
		case <-period.C:
			f.endPeriod()
		case <-f.quit:
			f.finish()
			return
		}
	}
}

// finish writes what is waiting.
func (f *Folder) finish() {
	for {
		select {
		case l := <-f.queue:
			f.take(l)
		default:
			f.endPeriod()
			return
		}
	}
}

func (f *Folder) take(l line) {
	if l.text == "" {
		for kind := range kinds {
			f.note(kind, f.files[kind].open(time.Now()))
		}
		return
	}
	if t := f.filters[l.kind]; t == nil || t.passes(l.text) {
		f.put(l)
	}
}

func (f *Folder) put(l line) { f.note(l.kind, f.files[l.kind].write(l.at, l.text)) }

// endPeriod says what was not written.
func (f *Folder) endPeriod() {
	now := time.Now()
	for kind := range kinds {
		if t := f.filters[kind]; t != nil {
			t.end(func(text string) { f.put(line{kind, now, text}) })
		}
		if n := f.dropped[kind].Swap(0); n > 0 {
			f.put(line{kind, now, fmt.Sprintf("%d lines came too fast to be written", n)})
		}
	}
}

// note complains when writing begins to fail.
func (f *Folder) note(kind Kind, err error) {
	if err != nil && !f.failing[kind] && f.o.Complain != nil {
		f.o.Complain(fmt.Errorf("logfiles: %w", err))
	}
	f.failing[kind] = err != nil
}
