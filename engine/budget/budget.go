// Package budget accounts for what a process holds of one kind, in bytes: bodies of requests under way, output that peers have not
// taken yet, history on its way to clients, and so on. A bound on each connection alone is no bound on the process.
package budget

import "sync/atomic"

// Budget bounds the bytes that the process holds of one kind. All methods may be called from any goroutine and never block. A nil
// Budget counts nothing and has no limit.
type Budget struct {
	limit   atomic.Int64
	used    atomic.Int64
	refused atomic.Uint64
}

// New returns a Budget of limit bytes; 0: no limit.
func New(limit int64) *Budget {
	b := new(Budget)
	b.limit.Store(limit)
	return b
}

// SetLimit has another limit count from now on; 0: none. What is held already stays.
func (b *Budget) SetLimit(limit int64) { b.limit.Store(limit) }

// Take takes n bytes, all or nothing, and says whether they were there.
func (b *Budget) Take(n int) bool {
	if b == nil {
		return true
	}
	limit := b.limit.Load()
	if used := b.used.Add(int64(n)); limit > 0 && used > limit {
		b.used.Add(-int64(n))
		b.refused.Add(1)
		return false
	}
	return true
}

// Add takes n bytes, limit or not, and says whether the budget is within its limit. It is for what is there already: the caller has to
// let go of something else when it is not.
func (b *Budget) Add(n int) (within bool) {
	if b == nil {
		return true
	}
	limit := b.limit.Load()
	return b.used.Add(int64(n)) <= limit || limit <= 0
}

// Give returns n bytes that were taken.
func (b *Budget) Give(n int) {
	if b == nil {
		return
	}
	if b.used.Add(-int64(n)) < 0 {
		panic("BUG: budget: more bytes were returned than taken")
	}
}

// Refuse counts something that was turned away, or let go of, for want of bytes.
func (b *Budget) Refuse() {
	if b != nil {
		b.refused.Add(1)
	}
}

// Used is the number of bytes taken now.
func (b *Budget) Used() int64 {
	if b == nil {
		return 0
	}
	return b.used.Load()
}

// Limit is the limit in bytes; 0: none.
func (b *Budget) Limit() int64 {
	if b == nil {
		return 0
	}
	return b.limit.Load()
}

// Refused is how often bytes were not there, or had to be let go of, since the start.
func (b *Budget) Refused() uint64 {
	if b == nil {
		return 0
	}
	return b.refused.Load()
}
