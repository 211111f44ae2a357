package main

import (
	"io"
	"log/slog"

	"push-server/cmd/push-server/internal/logfiles"
	"push-server/configs"
	"push-server/engine/ops"
)

// logs is where the server says something: standard error, and the files of debug.folderName.
type logs struct {
	log      *slog.Logger
	level    slog.LevelVar    // of standard error
	files    *logfiles.Folder // nil: there are none
	warnings *ops.Warnings
}

// openLogs begins to write log files if the configuration names a folder. Warnings and errors go there as well.
func openLogs(c *configs.Config, stderr io.Writer) (*logs, error) {
	level, err := c.Push.Level()
	if err != nil {
		panic("BUG: a level that was not validated: " + err.Error())
	}
	l := &logs{warnings: ops.NewWarnings()}
	l.level.Set(level)
	console := consoleHandler(stderr, c.Push.LogFormat, &l.level)
	l.log = slog.New(slog.NewMultiHandler(console, l.warnings))
	if c.Debug.FolderName == "" {
		return l, nil
	}
	l.files, err = logfiles.Open(c.Debug.FolderName, logfiles.Options{Complain: func(err error) {
		slog.New(console).Error("log files cannot be written", "err", err)
	}})
	if err != nil {
		return nil, err
	}
	l.log = slog.New(slog.NewMultiHandler(console, l.warnings, l.files.Handler()))
	return l, nil
}

// write has a line written to a file, if there are files.
func (l *logs) write(kind logfiles.Kind, text string) {
	if l.files != nil {
		l.files.Write(kind, text)
	}
}

// refusal notes a request that was refused: in the file for that, where repetitions do no harm, and at debug level.
func (l *logs) refusal(text, addr string) {
	l.write(logfiles.Error, text+" "+addr)
	l.log.Debug("request refused", "error", text, "address", addr)
}

// fatal notes why the server ends.
func (l *logs) fatal(err error) {
	if err != nil {
		l.write(logfiles.Error, "fatal: "+err.Error())
		l.write(logfiles.SystemError, "fatal: "+err.Error())
	}
}

func (l *logs) reopen() {
	if l.files != nil {
		l.files.Reopen()
	}
}

func (l *logs) close() {
	if l.files == nil {
		return
	}
	if err := l.files.Close(); err != nil {
		l.log.Error("log files cannot be written", "err", err) // only the console gets it
	}
}
