package load

// Integrity counts what subscribers noticed about the messages that they read. All but Deliveries must be zero.
type Integrity struct {
	Deliveries int64 `json:"deliveries"`
	Lost       int64 `json:"lost"`
	Doubled    int64 `json:"doubled"`
	Reordered  int64 `json:"reordered"`
	Damaged    int64 `json:"damaged"`   // wrong checksum
	Misrouted  int64 `json:"misrouted"` // of a stream that the subscriber does not follow
}

// Add sums two counts.
func (i *Integrity) Add(o Integrity) {
	i.Deliveries += o.Deliveries
	i.Lost += o.Lost
	i.Doubled += o.Doubled
	i.Reordered += o.Reordered
	i.Damaged += o.Damaged
	i.Misrouted += o.Misrouted
}

// OK says whether nothing went wrong.
func (i Integrity) OK() bool {
	return i.Lost|i.Doubled|i.Reordered|i.Damaged|i.Misrouted == 0
}

// tracker follows the streams of one subscriber across its connections.
type tracker struct {
	tracks  []track
	missing map[uint64]struct{} // (stream, number) passed over, made at the first gap
}

type track struct {
	stream uint32
	next   uint32 // number expected next; 0: whatever comes first
}

// follow adds a stream of which the subscriber must see everything from number on.
func (t *tracker) follow(stream, number uint32) {
	t.tracks = append(t.tracks, track{stream, number})
}

func (t *tracker) find(stream uint32) *track {
	for i := range t.tracks {
		if t.tracks[i].stream == stream {
			return &t.tracks[i]
		}
	}
	return nil
}

// saw takes note of a message.
func (t *tracker) saw(stream, number uint32, c *Integrity) {
	tr := t.find(stream)
	if tr == nil {
		c.Misrouted++
		return
	}
	c.Deliveries++
	switch {
	case number == tr.next || tr.next == 0:
		tr.next = number + 1
	case number > tr.next:
		t.skip(tr, number)
	case t.recover(stream, number):
		c.Reordered++
	default:
		c.Doubled++
	}
}

// skip notes the numbers before number as missing: they are lost unless they come later.
func (t *tracker) skip(tr *track, number uint32) {
	if t.missing == nil {
		t.missing = make(map[uint64]struct{})
	}
	for ; tr.next < number; tr.next++ {
		t.missing[key(tr.stream, tr.next)] = struct{}{}
	}
	tr.next = number + 1
}

func (t *tracker) recover(stream, number uint32) bool {
	k := key(stream, number)
	_, ok := t.missing[k]
	delete(t.missing, k)
	return ok
}

// pending is how many messages that were published, as last says, have not come.
func (t *tracker) pending(last func(stream uint32) uint32) (n int64) {
	for _, tr := range t.tracks {
		if l := last(tr.stream); tr.next != 0 && l >= tr.next {
			n += int64(l - tr.next + 1)
		}
	}
	return n + int64(len(t.missing))
}

// forget drops the position: a client that never got a message has none, and what is published while it is away is not for it.
func (t *tracker) forget() {
	for i := range t.tracks {
		t.tracks[i].next = 0
	}
	clear(t.missing)
}

func key(stream, number uint32) uint64 { return uint64(stream)<<32 | uint64(number) }
