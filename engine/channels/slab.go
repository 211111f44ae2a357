package channels

// slab keeps values in chunks, so that their addresses stay, lists can name them by a number, and growing copies nothing: half of a
// slice that has just grown is memory that nobody uses.
type slab[T any] struct {
	chunks []*[slabChunk]T
}

const slabChunk = 128

// get returns value i, which must be below length.
func (b *slab[T]) get(i uint32) *T { return &b.chunks[i/slabChunk][i%slabChunk] }

// length is the number of values, used or not.
func (b *slab[T]) length() uint32 { return uint32(len(b.chunks) * slabChunk) }

// grow adds a chunk of zero values and returns the first index in it.
func (b *slab[T]) grow() (first uint32) {
	first = b.length()
	b.chunks = append(b.chunks, new([slabChunk]T))
	return first
}
