//go:build !race

package engine

import (
	"context"
	"testing"

	"push-server/protocol"
)

// oblivion is a bus that takes everything and keeps nothing.
type oblivion struct{ Bus }

func (oblivion) Publish(_ context.Context, ps []*protocol.Publication) (int, error) {
	return len(ps), nil
}

func TestPublishingAllocatesNothing(t *testing.T) {
	e, err := New(Options{Settings: Settings{Key: []byte(testKey)}, Loops: 1}, oblivion{})
	if err != nil {
		t.Fatal(err)
	}
	e.background(e.publishing.run)
	defer e.tasks.Wait()
	defer e.cancel()
	ps := []*protocol.Publication{publication(`{"a":1}`, 60, private(newItem()))}
	n := testing.AllocsPerRun(1000, func() {
		if err := e.Publish(t.Context(), ps); err != nil {
			t.Error(err)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}
