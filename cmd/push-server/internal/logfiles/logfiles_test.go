package logfiles

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"push-server/protocol/testclient"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, dir string, o Options) *Folder {
	t.Helper()
	f, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func closed(t *testing.T, f *Folder) {
	t.Helper()
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// files are the contents of a folder by name, without the times of lines.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all[e.Name()] = regexp.MustCompile(`(?m)^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} `).ReplaceAllString(string(b), "")
	}
	return all
}

func today() string { return time.Now().Format("2006-01-02") }

func TestFilesOfAFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	day := today()
	f := open(t, dir, Options{})
	for _, name := range []string{"info.log", "error." + day + ".log", "system-error." + day + ".log", "debug." + day + ".log"} {
		if text, ok := files(t, dir)[name]; !ok || text != "" {
			t.Errorf("%s is missing, or not empty: %q", name, text)
		}
	}
	f.Write(Info, "single listening at http://:::8010 PID: 1")
	f.Write(Error, "4013: Wrong Request Data. ::ffff:10.0.0.1")
	f.Write(SystemError, "Redis")
	f.Write(Debug, "a")
	f.Write(Debug, "a")
	closed(t, f)
	f.Write(Debug, "too late")
	f = open(t, dir, Options{})
	f.Write(Debug, "b")
	closed(t, f)
	all := files(t, dir)
	check := func(name, want string) {
		t.Helper()
		if all[name] != want {
			t.Errorf("%s: got %q, want %q", name, all[name], want)
		}
	}
	check("info.log", "single listening at http://:::8010 PID: 1\n")
	check("error."+day+".log", "4013: Wrong Request Data. ::ffff:10.0.0.1\n")
	check("system-error."+day+".log", "Redis\n")
	check("debug."+day+".log", "a\na\nb\n")
}

func TestFullFilesGetSuccessors(t *testing.T) {
	dir := t.TempDir()
	f := open(t, dir, Options{MaxSize: 40})
	for _, text := range []string{"1", "2", "3", "4", "5"} {
		f.Write(Info, text)
		f.Write(Debug, text)
	}
	closed(t, f)
	f = open(t, dir, Options{MaxSize: 40})
	f.Write(Info, "6")
	closed(t, f)
	all := files(t, dir)
	check := func(name, want string) {
		t.Helper()
		if all[name] != want {
			t.Errorf("%s: got %q, want %q", name, all[name], want)
		}
	}
	check("info.log", "1\n2\n")
	check("info1.log", "3\n4\n")
	check("info2.log", "5\n6\n")
	check("debug."+today()+".log", "1\n2\n")
	check("debug."+today()+".log.1", "3\n4\n")
	check("debug."+today()+".log.2", "5\n")
}

func TestReopenAfterMove(t *testing.T) {
	dir := t.TempDir()
	f := open(t, dir, Options{})
	f.Write(Info, "before")
	f.Reopen() // behind the line
	testclient.Await(t, "the line", func() bool { return files(t, dir)["info.log"] == "before\n" })
	if err := os.Rename(filepath.Join(dir, "info.log"), filepath.Join(dir, "info.log.old")); err != nil {
		t.Fatal(err)
	}
	f.Reopen()
	f.Write(Info, "after")
	closed(t, f)
	if all := files(t, dir); all["info.log"] != "after\n" || all["info.log.old"] != "before\n" {
		t.Errorf("%q", all)
	}
}

// A file that was moved, removed or truncated is noticed without a signal; a new day has a new file.
func TestFileFollowsItsName(t *testing.T) {
	dir := t.TempDir()
	now := time.Date(2026, 11, 23, 23, 59, 50, 123e6, time.Local)
	l := file{base: filepath.Join(dir, "error"), daily: true, limit: 60}
	write := func(after time.Duration, text string) {
		t.Helper()
		now = now.Add(after)
		if err := l.write(now, text); err != nil {
			t.Fatal(err)
		}
	}
	check := func(name, want string) {
		t.Helper()
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || string(b) != want {
			t.Errorf("%s: got %q %v, want %q", name, b, err, want)
		}
	}
	write(0, "a")
	check("error.2026-11-23.log", "2026-11-23 23:59:50.123 a\n")
	if err := os.Rename(filepath.Join(dir, "error.2026-11-23.log"), filepath.Join(dir, "moved")); err != nil {
		t.Fatal(err)
	}
	write(time.Millisecond, "b")
	check("moved", "2026-11-23 23:59:50.123 a\n2026-11-23 23:59:50.124 b\n")
	write(time.Second, "c")
	check("error.2026-11-23.log", "2026-11-23 23:59:51.124 c\n")
	write(0, "d")
	write(0, "e")
	if err := os.Truncate(filepath.Join(dir, "error.2026-11-23.log"), 0); err != nil {
		t.Fatal(err)
	}
	write(time.Second, "f")
	check("error.2026-11-23.log", "2026-11-23 23:59:52.124 f\n")
	write(10*time.Second, "g")
	check("error.2026-11-24.log", "2026-11-24 00:00:02.124 g\n")
	if err := l.close(); err != nil {
		t.Fatal(err)
	}
}

func TestRepetitionsAreCounted(t *testing.T) {
	dir := t.TempDir()
	f := open(t, dir, Options{Period: time.Hour})
	for range 5 {
		f.Write(Error, "same")
	}
	f.Write(Error, "other")
	closed(t, f)
	if got, want := files(t, dir)["error."+today()+".log"], "same\nother\nsame (4 more in 1h0m0s)\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestThrottle(t *testing.T) {
	th := newThrottle(time.Minute)
	for i := range 1000 {
		if text := strings.Repeat("x", i); th.passes(text) != (i < maxDifferent) {
			t.Fatalf("line %d", i)
		}
	}
	var got []string
	end := func() []string {
		got = nil
		th.end(func(text string) { got = append(got, text) })
		return got
	}
	if want := []string{"500 other lines in 1m0s"}; !slices.Equal(end(), want) {
		t.Errorf("%q", got)
	}
	if len(end()) > 0 || !th.passes("x") {
		t.Error("something is left of the last period", got)
	}
}

func TestTooManyLinesAreCounted(t *testing.T) {
	f := &Folder{queue: make(chan line, 1)}
	f.Write(Debug, "1")
	f.Write(Debug, "2")
	f.Write(Debug, "3")
	if n := f.dropped[Debug].Load(); n != 2 {
		t.Errorf("%d lines dropped, want 2", n)
	}
}

func TestHandler(t *testing.T) {
	dir := t.TempDir()
	f := open(t, dir, Options{})
	log := slog.New(f.Handler())
	log.Info("not written")
	log.Warn("Redis is away", "err", errors.New("dial tcp 127.0.0.1:6379: connect: connection refused"), "n", 3)
	log.With("loop", 1).WithGroup("bus").Error("slow", "took", 2*time.Second, slog.Group("at", "x", 1), "empty", "")
	closed(t, f)
	want := "Redis is away err=\"dial tcp 127.0.0.1:6379: connect: connection refused\" n=3\n" +
		"slow loop=1 bus.took=2s bus.at.x=1 bus.empty=\"\"\n"
	if got := files(t, dir)["system-error."+today()+".log"]; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestLinesStayLines(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		if got := clean(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
	f("plain, with ü", "plain, with ü")
	f("two\r\nlines\x1b[31m\x7f", "two  lines [31m ")
	f("", " ")
	f(strings.Repeat("é", maxLine), strings.Repeat("é", maxLine/2))
	f("x"+strings.Repeat("é", maxLine), "x"+strings.Repeat("é", maxLine/2-1))
}

func TestComplaints(t *testing.T) {
	dir := t.TempDir()
	var complaints []error
	f := open(t, dir, Options{Complain: func(err error) { complaints = append(complaints, err) }})
	if err := errors.Join(os.Remove(filepath.Join(dir, "info.log")), os.Mkdir(filepath.Join(dir, "info.log"), 0o755)); err != nil {
		t.Fatal(err)
	}
	f.Reopen()
	f.Reopen()
	closed(t, f)
	if len(complaints) != 1 || !strings.Contains(complaints[0].Error(), "is a directory") {
		t.Error(complaints)
	}
}

func TestFolderCannotBeMade(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, Options{}); err == nil {
		t.Error("a file was taken for a folder")
	}
	if err := os.Mkdir(filepath.Join(dir, "info.log"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, Options{}); err == nil {
		t.Error("a folder was taken for a file")
	}
}

// Lines hold private ids: they are for the user and the group of the service.
func TestFilesAreNotForEverybody(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "logs")
	f, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, path := range []string{dir, filepath.Join(dir, "info.log"), f.files[Debug].path} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if mode := info.Mode().Perm(); mode&0o027 != 0 {
			t.Errorf("%s: %o", path, mode)
		}
	}
}

func TestNothingInALineMovesTheText(t *testing.T) {
	for text, want := range map[string]string{
		"a\u202eb": `a\u202eb`, "a\u009bb": `a\u009bb`, "a\u200bb": `a\u200bb`, "a\u2028b": `a\u2028b`, "a\nb\x1b": "a b ", "é \U0001f600": "é \U0001f600",
	} {
		if got := clean(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

// Whoever varies what he sends fills no disk: lines of a period are bounded in bytes, and the rest is counted.
func TestDifferentLinesAreBoundedInBytes(t *testing.T) {
	th := newThrottle(time.Minute)
	write := func() (size int) {
		for i := range maxDifferent {
			if text := fmt.Sprintf("%d %s", i, strings.Repeat("x", 4000)); th.passes(text) {
				size += len(text)
			}
		}
		return size
	}
	var last string
	for range 2 {
		if size := write(); size == 0 || size > maxBytes {
			t.Errorf("%d bytes", size)
		}
		th.end(func(text string) { last = text })
		if !strings.Contains(last, "other lines in") {
			t.Error(last)
		}
	}
}
