package engine

import (
	"context"
	"encoding/binary"
	"sync"
	"sync/atomic"

	"push-server/protocol"
)

// channelLimits counts the connections of each private channel over all loops, and makes the oldest one leave where there are
// too many. Loops touch it when a connection comes or goes, nothing else does.
type channelLimits struct {
	loops  func() []*loop
	shards [64]limitShard
	full   chan protocol.ChannelID
}

type limitShard struct {
	mu     sync.Mutex
	counts map[uint64]uint32 // by eight bytes of the id, which is a digest
	_      [40]byte          // a cache line each
}

// maxEvictions is the number of evictions that may be under way.
const maxEvictions = 4096

func newChannelLimits(loops func() []*loop) *channelLimits {
	c := &channelLimits{loops: loops, full: make(chan protocol.ChannelID, maxEvictions)}
	for i := range c.shards {
		c.shards[i].counts = make(map[uint64]uint32)
	}
	return c
}

func (c *channelLimits) shard(ch *protocol.ChannelID) (*limitShard, uint64) {
	key := binary.LittleEndian.Uint64(ch.Bytes[:])
	return &c.shards[key%uint64(len(c.shards))], key
}

func (c *channelLimits) enter(ch *protocol.ChannelID) {
	s, key := c.shard(ch)
	s.mu.Lock()
	s.counts[key]++
	s.mu.Unlock()
}

func (c *channelLimits) leave(ch *protocol.ChannelID) {
	s, key := c.shard(ch)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch n := s.counts[key]; n {
	case 0:
		panic("BUG: engine: a channel is left more often than entered")
	case 1:
		delete(s.counts, key)
	default:
		s.counts[key] = n - 1
	}
}

func (c *channelLimits) count(ch *protocol.ChannelID) int {
	s, key := c.shard(ch)
	s.mu.Lock()
	defer s.mu.Unlock()
	return int(s.counts[key])
}

// channels is the number of private channels that have a connection.
func (c *channelLimits) channels() (n int) {
	for i := range c.shards {
		c.shards[i].mu.Lock()
		n += len(c.shards[i].counts)
		c.shards[i].mu.Unlock()
	}
	return n
}

// evict asks for one connection of ch to be closed. When thousands are being closed already, one more may stay.
func (c *channelLimits) evict(ch protocol.ChannelID) {
	select {
	case c.full <- ch:
	default:
	}
}

// run serves evictions one after the other: each sees what the last one has left.
func (c *channelLimits) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case ch := <-c.full:
			c.evictOldest(ctx, ch)
		}
	}
}

// candidate is the oldest connection of one loop.
type candidate struct {
	loop *loop
	ref  sessionRef
	born uint64
}

// evictOldest asks every loop for its oldest connection of ch and tells the loop of the oldest one to close it. An order that a
// loop gets is carried out before the next question to it.
func (c *channelLimits) evictOldest(ctx context.Context, ch protocol.ChannelID) {
	var mu sync.Mutex
	var oldest candidate
	err := askLoops(ctx, c.loops(), func(l *loop) {
		if ref, born := l.oldest(ch); born != 0 {
			mu.Lock()
			defer mu.Unlock()
			if oldest.born == 0 || born < oldest.born {
				oldest = candidate{l, ref, born}
			}
		}
	})
	if err != nil || oldest.loop == nil {
		return
	}
	ref := oldest.ref
	oldest.loop.call(func(l *loop) {
		if s := l.slab.at(ref); s != nil {
			l.end(s, CloseEvicted)
		}
	})
}

// askLoops runs f on every loop and waits until all have run it.
func askLoops(ctx context.Context, loops []*loop, f func(l *loop)) error {
	done := make(chan struct{})
	var left atomic.Int32
	left.Store(int32(len(loops)))
	if len(loops) == 0 {
		return nil
	}
	for _, l := range loops {
		l.call(func(l *loop) {
			f(l)
			if left.Add(-1) == 0 {
				close(done)
			}
		})
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
