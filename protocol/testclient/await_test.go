package testclient

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// A failing is a test that fails: what it says is kept.
type failing struct {
	testing.TB
	said string
}

func (f *failing) Helper() {}

func (f *failing) Fatalf(format string, args ...any) {
	f.said = fmt.Sprintf(format, args...)
	panic(f)
}

// fails runs what waits in vain and gives what it says.
func fails(t *testing.T, wait func(t testing.TB)) (said string) {
	t.Helper()
	f := &failing{}
	defer func() {
		if recover() == nil {
			t.Error("nobody gave up")
		}
		said = f.said
	}()
	wait(f)
	return ""
}

func TestAwait(t *testing.T) {
	tries := 0
	third := func() bool { tries++; return tries == 3 }
	Await(t, "the third try", third)
	if tries != 3 {
		t.Errorf("%d tries", tries)
	}
	closed := make(chan int)
	close(closed)
	if got := AwaitFrom(t, "the end", closed); got != 0 {
		t.Errorf("got %d", got)
	}
}

func TestAwaitInVain(t *testing.T) {
	f := func(want string, wait func(t testing.TB)) {
		t.Helper()
		if said := fails(t, wait); !strings.HasSuffix(said, want) {
			t.Errorf("%q, want %q", said, want)
		}
	}
	f("in vain: rain: still dry", func(t testing.TB) {
		if err := wait(10*time.Millisecond, "rain", func() error { return errors.New("still dry") }); err != nil {
			t.Fatalf("%v", err)
		}
	})
	f("in vain: a word", func(t testing.TB) { awaitFrom(t, 10*time.Millisecond, "a word", make(chan string)) })
}
