// Package channels finds the subscribers of a channel: pure data structures of one event loop, without pointers where there are many.
package channels

import (
	"encoding/binary"

	"push-server/protocol"
)

// Table finds the subscribers of a channel on one loop. Channels stand in a slab without pointers, so the garbage
// collector skips it, found by open addressing; a channel with one subscriber, by far the most frequent kind, needs nothing
// else. It belongs to its loop.
type Table struct {
	buckets  []uint32 // slab index + 1, 0: empty; linear probing
	slots    slab[channel]
	free     uint32 // first free slot + 1, linked by channel.ref
	used     int
	interest *interest
	private  int // how many are private channels

	lists    [][]Member // of channels with several subscribers
	freeList []uint32
	one      [1]Member // what Subscribers returns for a channel with one
}

// channel is one with at least one subscriber.
type channel struct {
	bytes [16]byte
	ref   uint32 // one subscriber: its session; several: index of the list
	n     uint32 // number of subscribers; the top bit says that the channel is private, the next one that ref is a list
	at    uint32 // one subscriber: index in its session's subscriptions
}

const (
	slotPrivate = 1 << 31
	slotList    = 1 << 30
	slotCount   = slotList - 1
)

// Member is one subscriber: a session, and which of its subscriptions this is.
type Member struct {
	Session uint32
	At      uint32
}

// Subscription is a session's side of a membership: the slot of the channel, and the place in its list.
type Subscription struct {
	slot uint32
	Pos  uint32
}

// New returns an empty table.
func New() Table {
	t := Table{buckets: make([]uint32, 64), interest: new(interest)}
	t.interest.count(len(t.buckets), nil, nil)
	return t
}

// Hash needs no mixing: ids are digests, any four bytes of them are a hash.
func Hash(id *protocol.ChannelID) uint32 {
	h := binary.LittleEndian.Uint32(id.Bytes[8:])
	if id.Private {
		h = ^h
	}
	return h
}

func (s *channel) id() protocol.ChannelID {
	return protocol.ChannelID{Bytes: s.bytes, Private: s.n&slotPrivate != 0}
}

// find returns the bucket of id, or the empty one where it would stand.
func (t *Table) find(id *protocol.ChannelID) (bucket uint32, found bool) {
	mask := uint32(len(t.buckets) - 1)
	for b := Hash(id) & mask; ; b = (b + 1) & mask {
		i := t.buckets[b]
		if i == 0 {
			return b, false
		}
		s := t.slots.get(i - 1)
		if s.bytes == id.Bytes && (s.n&slotPrivate != 0) == id.Private {
			return b, true
		}
	}
}

// Subscribers returns who listens to id. The slice is valid until the next call of any method.
func (t *Table) Subscribers(id *protocol.ChannelID) []Member {
	b, found := t.find(id)
	if !found {
		return nil
	}
	return t.members(t.slots.get(t.buckets[b] - 1))
}

func (t *Table) members(s *channel) []Member {
	if s.n&slotList != 0 {
		return t.lists[s.ref]
	}
	t.one[0] = Member{Session: s.ref, At: s.at}
	return t.one[:]
}

// Channel returns the id of a subscription's channel.
func (t *Table) Channel(sub Subscription) protocol.ChannelID {
	return t.slots.get(sub.slot).id()
}

// Shared says whether a subscription's channel has other subscribers on this loop.
func (t *Table) Shared(sub Subscription) bool { return t.slots.get(sub.slot).n&slotList != 0 }

// Count is the number of subscribers of a subscription's channel.
func (t *Table) Count(sub Subscription) int { return int(t.slots.get(sub.slot).n & slotCount) }

// Join adds session as a subscriber of id; at is the index that the result will have in the session's subscriptions.
func (t *Table) Join(id *protocol.ChannelID, session, at uint32) Subscription {
	b, found := t.find(id)
	if !found {
		return t.insert(b, id, session, at)
	}
	slot := t.buckets[b] - 1
	s := t.slots.get(slot)
	if s.n&slotList == 0 {
		t.spread(s)
	}
	list := append(t.lists[s.ref], Member{session, at})
	t.lists[s.ref] = list
	s.n++
	return Subscription{slot: slot, Pos: uint32(len(list) - 1)}
}

func (t *Table) insert(bucket uint32, id *protocol.ChannelID, session, at uint32) Subscription {
	if 4*(t.used+1) > 3*len(t.buckets) {
		t.grow()
		bucket, _ = t.find(id)
	}
	if t.free == 0 {
		t.growSlots()
	}
	slot := t.free
	t.free = t.slots.get(slot - 1).ref
	s := channel{bytes: id.Bytes, ref: session, n: 1, at: at}
	if id.Private {
		s.n |= slotPrivate
		t.private++
	}
	*t.slots.get(slot - 1) = s
	t.buckets[bucket] = slot
	t.used++
	t.interest.enter(Hash(id))
	return Subscription{slot: slot - 1}
}

func (t *Table) growSlots() {
	for i := t.slots.grow(); i < t.slots.length(); i++ {
		t.slots.get(i).ref = t.free
		t.free = i + 1
	}
}

// spread moves the only subscriber of s into a list.
func (t *Table) spread(s *channel) {
	i := uint32(len(t.lists))
	if n := len(t.freeList); n > 0 {
		i, t.freeList = t.freeList[n-1], t.freeList[:n-1]
	} else {
		t.lists = append(t.lists, nil)
	}
	t.lists[i] = append(t.lists[i][:0], Member{s.ref, s.at})
	s.ref = i
	s.n |= slotList
}

// Leave removes a subscription. moved is the member whose place in the list has changed to sub.Pos, if ok: its Subscription has to be
// told.
func (t *Table) Leave(sub Subscription) (moved Member, ok bool) {
	s := t.slots.get(sub.slot)
	if s.n&slotCount == 1 {
		t.remove(sub.slot)
		return Member{}, false
	}
	list := t.lists[s.ref]
	last := len(list) - 1
	if int(sub.Pos) != last {
		moved, ok = list[last], true
		list[sub.Pos] = moved
	}
	t.lists[s.ref] = list[:last]
	s.n--
	return moved, ok
}

// Renumber notes that a subscription has another index among those of its session.
func (t *Table) Renumber(sub Subscription, at uint32) {
	s := t.slots.get(sub.slot)
	if s.n&slotList != 0 {
		t.lists[s.ref][sub.Pos].At = at
		return
	}
	s.at = at
}

// remove frees a slot whose last subscriber has left.
func (t *Table) remove(slot uint32) {
	s := t.slots.get(slot)
	id := s.id()
	if s.n&slotList != 0 {
		t.lists[s.ref] = nil
		t.freeList = append(t.freeList, s.ref)
	}
	if id.Private {
		t.private--
	}
	b, found := t.find(&id)
	if !found {
		panic("BUG: channels: a channel with subscribers is not in its table")
	}
	t.unlink(b)
	t.used--
	t.interest.leave(Hash(&id))
	*s = channel{ref: t.free}
	t.free = slot + 1
}

// unlink empties bucket b and moves up those behind it that would no longer be found (Knuth, TAOCP 3, 6.4, algorithm R).
func (t *Table) unlink(b uint32) {
	mask := uint32(len(t.buckets) - 1)
	for next := (b + 1) & mask; t.buckets[next] != 0; next = (next + 1) & mask {
		id := t.slots.get(t.buckets[next] - 1).id()
		if home := Hash(&id) & mask; (next-home)&mask >= (next-b)&mask {
			t.buckets[b] = t.buckets[next]
			b = next
		}
	}
	t.buckets[b] = 0
}

func (t *Table) grow() {
	old := t.buckets
	t.buckets = make([]uint32, 2*len(old))
	for _, slot := range old {
		if slot != 0 {
			id := t.slots.get(slot - 1).id()
			b, _ := t.find(&id)
			t.buckets[b] = slot
		}
	}
	t.interest.count(len(t.buckets), t.buckets, func(slot uint32) uint32 {
		id := t.slots.get(slot - 1).id()
		return Hash(&id)
	})
}

// All returns every channel, in a slice of the caller's.
func (t *Table) All() []protocol.ChannelID {
	chs := make([]protocol.ChannelID, 0, t.used)
	for i := range t.slots.length() {
		if s := t.slots.get(i); s.n&slotCount > 0 {
			chs = append(chs, s.id())
		}
	}
	return chs
}

// Len is the number of channels with subscribers.
func (t *Table) Len() int { return t.used }

// Private is the number of private channels with subscribers.
func (t *Table) Private() int { return t.private }

// AppendPrivate appends eight bytes of the id of every private channel; ids are digests, so they stand for it.
func (t *Table) AppendPrivate(dst []uint64) []uint64 {
	for i := range t.slots.length() {
		if s := t.slots.get(i); s.n&slotCount > 0 && s.n&slotPrivate != 0 {
			dst = append(dst, binary.LittleEndian.Uint64(s.bytes[:]))
		}
	}
	return dst
}

// EachPrivate calls f with every private channel and the number of its subscribers.
func (t *Table) EachPrivate(f func(id *protocol.ChannelID, n int)) {
	for i := range t.slots.length() {
		if s := t.slots.get(i); s.n&slotCount > 0 && s.n&slotPrivate != 0 {
			id := s.id()
			f(&id, int(s.n&slotCount))
		}
	}
}

// Interested says whether one of the receivers may have a subscriber. It may be called from any goroutine.
func (t *Table) Interested(receivers []protocol.Receiver) bool { return t.interest.has(receivers) }
