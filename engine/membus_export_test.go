package engine

// MemoryFigures is what a MemoryBus holds.
type MemoryFigures struct {
	Entries, Logs int
	Bytes         int64
}

// MemoryUse tells tests what b holds.
func MemoryUse(b *MemoryBus) MemoryFigures {
	b.mu.Lock()
	defer b.mu.Unlock()
	return MemoryFigures{len(b.history.byID), len(b.history.logs), b.history.bytes}
}
