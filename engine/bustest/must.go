package bustest

import (
	"context"
	"testing"

	"push-server/engine"
	"push-server/protocol"
)

func mustEcho(t *testing.T, bus engine.Bus) uint64 {
	t.Helper()
	n, err := bus.Echo(testContext(t))
	if err != nil {
		t.Fatalf("Echo: %v", err)
	}
	return n
}

func mustPublish(t *testing.T, bus engine.Bus, ps ...*protocol.Publication) {
	t.Helper()
	stored, err := bus.Publish(testContext(t), ps)
	if err != nil || stored != len(ps) {
		t.Fatalf("Publish of %d: stored %d, %v", len(ps), stored, err)
	}
}

func mustHistory(t *testing.T, bus engine.Bus, q protocol.HistoryQuery) []*protocol.Publication {
	t.Helper()
	answers, err := bus.History(testContext(t), []protocol.HistoryQuery{q}, 0)
	if err != nil || len(answers) != 1 {
		t.Fatalf("History: %d answers, %v", len(answers), err)
	}
	return answers[0].Publications
}

// mustStored says of each id whether it is in history.
func mustStored(t *testing.T, bus engine.Bus, ids ...protocol.MessageID) []bool {
	t.Helper()
	remaining, err := bus.Remaining(testContext(t), ids)
	if err != nil || len(remaining) != len(ids) {
		t.Fatalf("Remaining of %d ids: %v, %v", len(ids), remaining, err)
	}
	stored := make([]bool, len(ids))
	for i, d := range remaining {
		stored[i] = d > 0
	}
	return stored
}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}
