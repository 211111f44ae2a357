package outage

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// However often it fails, an outage of two minutes and a half is four lines: its beginning, two minutes, its end.
func TestLines(t *testing.T) {
	var log bytes.Buffer
	now := time.Unix(1_700_000_000, 0)
	o := New(slog.New(slog.NewTextHandler(&log, nil)), "publications cannot be stored", "trying again")
	o.now = func() time.Time { return now }
	o.Over() // it works
	for range 1500 {
		o.Failed(errors.New("connection refused"), "waiting", 7)
		now = now.Add(100 * time.Millisecond)
	}
	if d := o.Lasts(); d != 150*time.Second {
		t.Errorf("lasts %v", d)
	}
	o.Over("stored", 7)
	o.Over()
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	if len(lines) != 4 {
		t.Fatalf("%d lines:\n%s", len(lines), log.String())
	}
	for i, want := range []string{"trying again", "attempts=601", "attempts=1201", "took=2m30s attempts=1500 stored=7"} {
		if !strings.Contains(lines[i], want) {
			t.Errorf("line %d is %s, want %s", i, lines[i], want)
		}
	}
	if o.Lasts() != 0 {
		t.Error("it goes on")
	}
}
