package membus_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"push-server/engine"
	"push-server/engine/bustest"
	"push-server/engine/membus"
	"push-server/protocol"
)

func TestMemoryBusContract(t *testing.T) {
	bustest.Run(t, func(t *testing.T) bustest.Factory {
		clock := newClock()
		return bustest.Factory{
			Open:    func(*testing.T) engine.Bus { return membus.New(membus.Options{Now: clock.now}) },
			Advance: clock.advance,
		}
	})
}

// clock is a clock that stands still unless told.
type clock struct{ nanoseconds atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.nanoseconds.Store(time.Now().UnixNano())
	return c
}

func (c *clock) now() time.Time          { return time.Unix(0, c.nanoseconds.Load()) }
func (c *clock) advance(d time.Duration) { c.nanoseconds.Add(int64(d)) }

func memoryChannel(n int) protocol.ChannelID {
	return protocol.ChannelID{Bytes: [16]byte{byte(n >> 16), byte(n >> 8), byte(n)}, Private: true}
}

func memoryPublication(bytes int, expiry uint32, channels ...int) *protocol.Publication {
	p := &protocol.Publication{Body: make([]byte, bytes), Expiry: expiry}
	for _, n := range channels {
		p.Receivers = append(p.Receivers, protocol.Receiver{Channel: memoryChannel(n)})
	}
	return p
}

func memoryPublish(t testing.TB, b *membus.Bus, ps ...*protocol.Publication) {
	t.Helper()
	if stored, err := b.Publish(context.Background(), ps); err != nil || stored != len(ps) {
		t.Fatalf("Publish: %d, %v", stored, err)
	}
}

// memoryCounters reads the whole history of a channel and returns the counters of the ids.
func memoryCounters(t testing.TB, b *membus.Bus, channel int) (counters []uint64) {
	t.Helper()
	answers, err := b.History(context.Background(), []protocol.HistoryQuery{{Channels: []protocol.ChannelID{memoryChannel(channel)}}}, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range answers[0].Publications {
		counters = append(counters, p.ID.Counter())
	}
	return counters
}

func wantCounters(t *testing.T, got []uint64, want ...uint64) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("ids: got %v, want %v", got, want)
	}
}

func TestMemoryBusKeepsTheNewestOfEachChannel(t *testing.T) {
	b := membus.New(membus.Options{PerChannel: 3})
	for range 5 {
		memoryPublish(t, b, memoryPublication(1, 60, 1, 2))
	}
	memoryPublish(t, b, memoryPublication(1, 60, 2))
	wantCounters(t, memoryCounters(t, b, 1), 3, 4, 5)
	wantCounters(t, memoryCounters(t, b, 2), 4, 5, 6)
	if got := membus.Use(b); got.Entries != 4 || got.Logs != 2 {
		t.Errorf("in memory: %+v", got)
	}
}

func TestMemoryBusIsBoundedInBytes(t *testing.T) {
	b := membus.New(membus.Options{MaxBytes: 100 << 10})
	for n := range 1000 {
		memoryPublish(t, b, memoryPublication(1000, 60, n))
		if got := membus.Use(b); got.Bytes > 100<<10 {
			t.Fatalf("after %d publications: %+v", n+1, got)
		}
	}
	got := membus.Use(b)
	if got.Entries < 50 || got.Entries > 100 || got.Logs != got.Entries {
		t.Errorf("in memory: %+v", got)
	}
	wantCounters(t, memoryCounters(t, b, 0))
	wantCounters(t, memoryCounters(t, b, 999), 1000)

	memoryPublish(t, b, memoryPublication(200<<10, 60, 5))
	if got := membus.Use(b); got != (membus.Figures{}) {
		t.Errorf("after a publication above the bound: %+v", got)
	}
}

// TestMemoryBusSweeps: what has expired makes room without being asked for, also where one entry in a hundred stays.
func TestMemoryBusSweeps(t *testing.T) {
	clock := newClock()
	b := membus.New(membus.Options{Now: clock.now})
	alive := 0
	for i := range 100_000 {
		expiry := uint32(1)
		if i%100 == 0 {
			expiry = 86400
		}
		memoryPublish(t, b, memoryPublication(1, expiry, i))
		clock.advance(time.Millisecond)
		alive = 1000 + i/100
	}
	if got := membus.Use(b); got.Entries > 2*alive || got.Logs != got.Entries {
		t.Errorf("%d alive, in memory %+v", alive, got)
	}
}

func TestMemoryBusForgetsAQuietChannel(t *testing.T) {
	clock := newClock()
	b := membus.New(membus.Options{Now: clock.now, ChannelTTL: time.Minute})
	memoryPublish(t, b, memoryPublication(1, 3600, 1), memoryPublication(1, 3600, 1, 2))
	clock.advance(50 * time.Second)
	memoryPublish(t, b, memoryPublication(1, 3600, 2))
	clock.advance(50 * time.Second)
	wantCounters(t, memoryCounters(t, b, 1))
	wantCounters(t, memoryCounters(t, b, 2), 2, 3)
	memoryPublish(t, b, memoryPublication(1, 3600, 1))
	wantCounters(t, memoryCounters(t, b, 1), 4)
}

func TestMemoryBusStoresNothingWithoutTTL(t *testing.T) {
	b := membus.New(membus.Options{MessageTTL: -1})
	p := memoryPublication(1, 60, 1)
	memoryPublish(t, b, p)
	wantCounters(t, memoryCounters(t, b, 1))
	if p.Expiry != 0 {
		t.Errorf("expiry %d", p.Expiry)
	}
}

func TestMemoryBusCapsExpiry(t *testing.T) {
	f := func(ttl time.Duration, expiry, want uint32) {
		t.Helper()
		b := membus.New(membus.Options{MessageTTL: ttl})
		p := memoryPublication(1, expiry, 1)
		memoryPublish(t, b, p)
		if p.Expiry != want {
			t.Errorf("expiry %d under %v: got %d, want %d", expiry, ttl, p.Expiry, want)
		}
	}
	f(time.Minute, 59, 59)
	f(time.Minute, 61, 60)
	f(0, 1<<31, 86400)
	f(1<<62, 1<<32-1, 1<<32-1)
	f(500*time.Millisecond, 5, 0)
}

func BenchmarkMemoryBusPublish(b *testing.B) {
	for _, receivers := range []int{1, 2, 100} {
		b.Run(fmt.Sprintf("receivers=%d", receivers), func(b *testing.B) {
			bus := membus.New(membus.Options{})
			ps := make([]*protocol.Publication, 1)
			b.ReportAllocs()
			for i := range b.N {
				ps[0] = memoryPublication(200, 3600, i%50_000)
				for n := 1; n < receivers; n++ {
					ps[0].Receivers = append(ps[0].Receivers, protocol.Receiver{Channel: memoryChannel(i*receivers + n)})
				}
				memoryPublish(b, bus, ps...)
			}
		})
	}
}

// BenchmarkMemoryBusHistory is the storm of a restart of the proxy: everybody asks for two channels at once.
func BenchmarkMemoryBusHistory(b *testing.B) {
	bus := membus.New(membus.Options{})
	const clients, shared = 10_000, 1 << 20
	queries := make([]protocol.HistoryQuery, clients)
	for n := range queries {
		memoryPublish(b, bus, memoryPublication(200, 3600, n))
		queries[n] = protocol.HistoryQuery{Channels: []protocol.ChannelID{memoryChannel(n), memoryChannel(shared)}, Limit: 100, Total: 200}
	}
	for range 5 {
		memoryPublish(b, bus, memoryPublication(200, 3600, shared))
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := bus.History(context.Background(), queries, 0); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*clients), "ns/query")
}
