//go:build !race

package membus_test

import (
	"context"
	"testing"

	"push-server/engine/membus"
	"push-server/protocol"
)

// TestMemoryBusReadsNothingForNothing: most clients that come back have missed nothing. Of such a query only the answer to all
// of them is allocated.
func TestMemoryBusReadsNothingForNothing(t *testing.T) {
	b := membus.New(membus.Options{})
	p := memoryPublication(10, 60, 1, 2)
	memoryPublish(t, b, p)
	queries := make([]protocol.HistoryQuery, 100)
	for i := range queries {
		queries[i] = protocol.HistoryQuery{Channels: []protocol.ChannelID{memoryChannel(1), memoryChannel(2), memoryChannel(3)}, Since: p.ID, Limit: 100, Total: 200}
	}
	allocs := testing.AllocsPerRun(100, func() {
		if _, err := b.History(context.Background(), queries, 0); err != nil {
			t.Fatal(err)
		}
	})
	if allocs > 1 {
		t.Errorf("%v allocations for %d queries", allocs, len(queries))
	}
}
