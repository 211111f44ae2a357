package engine

import (
	"context"
	"errors"
	"testing"
	"time"

	"push-server/engine/membus"
)

// TestAlive: the watchdog hears of a loop that does not come back.
func TestAlive(t *testing.T) {
	e := startEngine(t, membus.New(membus.Options{}), nil)
	if err := e.Alive(t.Context()); err != nil {
		t.Error(err)
	}
	held, entered := make(chan struct{}), make(chan struct{})
	e.loops[1].call(func(*loop) {
		close(entered)
		<-held
	})
	<-entered
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := e.Alive(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a loop is held up: %v", err)
	}
	close(held)
	if err := e.Alive(t.Context()); err != nil {
		t.Error(err)
	}
}
