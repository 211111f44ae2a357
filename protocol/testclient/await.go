package testclient

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

// Patience is how long anything that has to happen may take on a busy machine.
const Patience = 20 * time.Second

// pause is between two looks at what nobody announces.
const pause = 5 * time.Millisecond

var errNotYet = errors.New("not yet")

// Await waits until ok. The test ends if that takes too long; what says what
// it has waited for.
func Await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	AwaitNil(t, what, func() error {
		if !ok() {
			return errNotYet
		}
		return nil
	})
}

// AwaitNil waits until try returns nil. The test ends with the last error if
// that takes too long.
func AwaitNil(t testing.TB, what string, try func() error) {
	t.Helper()
	if err := Wait(what, try); err != nil {
		t.Fatal(err)
	}
}

// Wait is AwaitNil for goroutines that must not end the test.
func Wait(what string, try func() error) error { return wait(Patience, what, try) }

func wait(patience time.Duration, what string, try func() error) error {
	deadline, again := time.NewTimer(patience), time.NewTicker(pause)
	defer deadline.Stop()
	defer again.Stop()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-again.C:
		case <-deadline.C:
			return fmt.Errorf("waited %v in vain: %s: %w", patience, what, err)
		}
	}
}

// AwaitFrom waits for what comes from ch, or for its end. The test ends if
// that takes too long.
func AwaitFrom[T any](t testing.TB, what string, ch <-chan T) (value T) {
	t.Helper()
	return awaitFrom(t, Patience, what, ch)
}

func awaitFrom[T any](t testing.TB, patience time.Duration, what string, ch <-chan T) (value T) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	select {
	case value = <-ch:
	case <-deadline.C:
		t.Fatalf("waited %v in vain: %s", patience, what)
	}
	return value
}
