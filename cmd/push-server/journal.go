package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"syscall"

	"github.com/coreos/go-systemd/v22/journal"

	"push-server/configs"
)

// consoleHandler writes the log to standard error, for whoever reads it: a person, a program, or the journal of systemd.
func consoleHandler(stderr io.Writer, format string, level slog.Leveler) slog.Handler {
	o := &slog.HandlerOptions{Level: level}
	form := func(w io.Writer) slog.Handler { return slog.NewTextHandler(w, o) }
	if format == configs.LogJSON {
		form = func(w io.Writer) slog.Handler { return slog.NewJSONHandler(w, o) }
	}
	if !inJournal() {
		return form(stderr)
	}
	var h journalHandler
	for i, priority := range priorities {
		h[i] = form(prioritised{stderr, priority})
	}
	return h
}

// inJournal says whether systemd reads standard error for its journal.
func inJournal() bool {
	ok, err := journal.StderrIsJournalStream()
	return ok && err == nil
}

// priorities are what the journal wants before a line, by severity: those of errors, warnings, information, and the rest.
var priorities = [...]string{"<3>", "<4>", "<6>", "<7>"}

// lastWords is the line about the error that ends the process.
func lastWords(err error) string {
	line := "push-server: " + err.Error() + hint(err)
	if inJournal() {
		return priorities[0] + line
	}
	return line
}

// hint says what to look at first.
func hint(err error) string {
	var op *net.OpError
	if !errors.As(err, &op) || op.Net != "tcp" {
		return ""
	}
	switch {
	case errors.Is(op, syscall.ECONNREFUSED):
		return " (nobody listens there: does the server run, with this configuration?)"
	case errors.Is(op, syscall.EADDRINUSE):
		return " (another process has this port: ss -ltnp says which)"
	}
	return ""
}

// journalHandler has a handler for each of the priorities.
type journalHandler [len(priorities)]slog.Handler

func (h journalHandler) of(level slog.Level) slog.Handler {
	switch {
	case level >= slog.LevelError:
		return h[0]
	case level >= slog.LevelWarn:
		return h[1]
	case level >= slog.LevelInfo:
		return h[2]
	}
	return h[3]
}

func (h journalHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.of(level).Enabled(ctx, level)
}

func (h journalHandler) Handle(ctx context.Context, r slog.Record) error {
	return h.of(r.Level).Handle(ctx, r)
}

func (h journalHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	for i := range h {
		h[i] = h[i].WithAttrs(attrs)
	}
	return h
}

func (h journalHandler) WithGroup(name string) slog.Handler {
	for i := range h {
		h[i] = h[i].WithGroup(name)
	}
	return h
}

// prioritised writes a priority before each line: a handler writes one at a time.
type prioritised struct {
	w        io.Writer
	priority string
}

func (p prioritised) Write(line []byte) (int, error) {
	if _, err := p.w.Write(append([]byte(p.priority), line...)); err != nil {
		return 0, err
	}
	return len(line), nil
}
