package logfiles

import (
	"fmt"
	"os"
	"strings"
	"time"
	"unicode"
)

// file is one of the log files, with the successors that it gets when it is full, and, if it is daily, with every new day. It
// belongs to one goroutine.
type file struct {
	base  string // path without what follows the name
	daily bool
	limit int64 // bytes

	f      *os.File // nil: could not be opened
	path   string   // of f
	number int      // of the successor that f is
	day    string
	size   int64
	looked time.Time // when size and path were last compared with what is there
}

const (
	dayFormat  = "2006-01-02"
	timeFormat = "2006-01-02 15:04:05.000 "
	maxLine    = 4 << 10 // bytes of a text
)

// lookPause is how long a file that was moved away, or that other processes write to, may go unnoticed.
const lookPause = time.Second

// name is the path of a successor: info.log, info1.log, info2.log; error.2026-11-23.log, error.2026-11-23.log.1.
func (l *file) name(number int) string {
	suffix := ""
	if number > 0 {
		suffix = fmt.Sprint(number)
	}
	if !l.daily {
		return l.base + suffix + ".log"
	}
	if suffix != "" {
		suffix = "." + suffix
	}
	return l.base + "." + l.day + ".log" + suffix
}

// open opens the first file of the day that is not full.
func (l *file) open(now time.Time) error {
	if day := now.Local().Format(dayFormat); day != l.day {
		l.day, l.number = day, 0
	}
	for {
		if err := l.openPath(l.name(l.number), now); err != nil {
			return err
		}
		if l.size < l.limit {
			return nil
		}
		l.number++
	}
}

func (l *file) openPath(path string, now time.Time) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		_ = f.Close() // nothing was written
		return err
	}
	err = l.close()
	l.f, l.path, l.size, l.looked = f, path, info.Size(), now
	return err
}

func (l *file) close() error {
	if l.f == nil {
		return nil
	}
	f := l.f
	l.f = nil
	return f.Close()
}

// write appends a line in one write, since other processes may append to the same file.
func (l *file) write(at time.Time, text string) error {
	if err := l.ready(at); err != nil {
		return err
	}
	b := append(at.Local().AppendFormat(nil, timeFormat), text...)
	n, err := l.f.Write(append(b, '\n'))
	l.size += int64(n)
	return err
}

// ready has the right file open: that of today, not full, and still under its name.
func (l *file) ready(now time.Time) error {
	if now.Sub(l.looked) >= lookPause {
		l.look(now)
	}
	if l.f != nil && l.size < l.limit && (!l.daily || now.Local().Format(dayFormat) == l.day) {
		return nil
	}
	return l.open(now)
}

// look compares what is open with what is there.
func (l *file) look(now time.Time) {
	l.looked = now
	if l.f == nil {
		return
	}
	open, err := l.f.Stat()
	if err != nil {
		return
	}
	l.size = open.Size()
	there, err := os.Stat(l.path)
	if err != nil || !os.SameFile(open, there) {
		l.number = 0
		_ = l.close() // it is somebody else's now
	}
}

// clean keeps a text on its line, the line within bounds, and what turns, hides or moves text in a terminal visible: some of it comes
// from clients.
func clean(text string) string {
	if len(text) > maxLine {
		text = strings.ToValidUTF8(text[:maxLine], "")
	}
	var b strings.Builder
	for _, r := range text {
		switch {
		case r < ' ' || r == 0x7f:
			b.WriteByte(' ')
		case unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp):
			fmt.Fprintf(&b, "\\u%04x", r)
		default:
			b.WriteRune(r)
		}
	}
	text = b.String()
	if text == "" {
		return " "
	}
	return text
}
