package membus

// Figures is what a MemoryBus holds.
type Figures struct {
	Entries, Logs int
	Bytes         int64
}

// Use tells tests what b holds.
func Use(b *Bus) Figures {
	b.mu.Lock()
	defer b.mu.Unlock()
	return Figures{len(b.history.byID), len(b.history.logs), b.history.bytes}
}
