package redisbus_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"push-server/protocol"
	"push-server/redisbus"
	"push-server/redisbus/redistest"
)

func numberedChannel(n int) protocol.ChannelID {
	return protocol.ChannelID{Bytes: [16]byte{byte(n >> 16), byte(n >> 8), byte(n)}, Private: true}
}

// BenchmarkPublish publishes 300 bytes to random channels out of 50,000.
func BenchmarkPublish(b *testing.B) {
	for _, receivers := range []int{1, 2, 100} {
		for _, batch := range []int{1, 16, 256} {
			b.Run(fmt.Sprintf("receivers=%d/batch=%d", receivers, batch), func(b *testing.B) { benchmarkPublish(b, receivers, batch) })
		}
	}
}

func benchmarkPublish(b *testing.B, receivers, batch int) {
	bus := open(b, redisbus.Options{Addr: redistest.Start(b).Addr()})
	ps := make([]*protocol.Publication, batch)
	for i := range ps {
		ps[i] = &protocol.Publication{Body: make([]byte, 300), Expiry: 3600, Receivers: make([]protocol.Receiver, receivers)}
	}
	publish(b, bus, ps[0])
	b.ReportAllocs()
	b.ResetTimer()
	for done, n := 0, 0; done < b.N; done += batch {
		for _, p := range ps {
			for i := range p.Receivers {
				n += 7919
				p.Receivers[i].Channel = numberedChannel(n % 50_000)
			}
		}
		if _, err := bus.Publish(context.Background(), ps); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "publications/s")
}

// arrivals counts what comes in.
type arrivals struct {
	publications, echo chan struct{}
}

func (a *arrivals) HandlePublication(*protocol.Publication) { a.publications <- struct{}{} }
func (a *arrivals) HandleGap()                              {}

func (a *arrivals) HandleEcho(uint64, protocol.MessageID) {
	select {
	case a.echo <- struct{}{}:
	default:
	}
}

// await waits for n publications.
func (a *arrivals) await(n int) {
	for range n {
		<-a.publications
	}
}

// subscribe returns when publications come in.
func subscribe(t testing.TB, bus *redisbus.Bus) *arrivals {
	t.Helper()
	a := &arrivals{publications: make(chan struct{}, 1024), echo: make(chan struct{}, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = bus.Subscribe(ctx, a)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for {
		if _, err := bus.Echo(ctx); err != nil {
			t.Fatal(err)
		}
		select {
		case <-a.echo:
			return a
		case <-again.C:
		}
	}
}

// BenchmarkRoundTrip publishes to itself: one publication at a time, which is the latency, and many.
func BenchmarkRoundTrip(b *testing.B) {
	for _, batch := range []int{1, 64} {
		b.Run(fmt.Sprintf("batch=%d", batch), func(b *testing.B) {
			bus := open(b, redisbus.Options{Addr: redistest.Start(b).Addr()})
			a := subscribe(b, bus)
			ps := make([]*protocol.Publication, batch)
			for i := range ps {
				ps[i] = publication(string(make([]byte, 200)), 3600, numberedChannel(i))
			}
			b.ReportAllocs()
			b.ResetTimer()
			for done := 0; done < b.N; done += batch {
				if _, err := bus.Publish(context.Background(), ps); err != nil {
					b.Fatal(err)
				}
				a.await(batch)
			}
		})
	}
}

// BenchmarkHistoryStorm is the storm of a restart of the proxy: 10,000 clients ask for a channel of their own with one
// publication and a shared one with five, 100 or 1,000 of them at a time.
func BenchmarkHistoryStorm(b *testing.B) {
	const clients = 10_000
	for _, shared := range []bool{false, true} {
		for _, at := range []int{100, 1000} {
			b.Run(fmt.Sprintf("cached=%t/at=%d", shared, at), func(b *testing.B) { benchmarkHistory(b, clients, at, shared) })
		}
	}
}

func benchmarkHistory(b *testing.B, clients, at int, shared bool) {
	bus := open(b, redisbus.Options{Addr: redistest.Start(b).Addr()})
	everyone := numberedChannel(1 << 20)
	queries := make([]protocol.HistoryQuery, clients)
	var ps []*protocol.Publication
	for n := range queries {
		own := numberedChannel(n)
		ps = append(ps, publication(string(make([]byte, 300)), 3600, own))
		queries[n] = protocol.HistoryQuery{Channels: []protocol.ChannelID{own, everyone}, Shared: []bool{false, shared}, Limit: 100, Total: 200}
	}
	for range 5 {
		ps = append(ps, publication(string(make([]byte, 300)), 3600, everyone))
	}
	publish(b, bus, ps...)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		for from := 0; from < clients; from += at {
			answers, err := bus.History(context.Background(), queries[from:from+at], 16<<20)
			if err != nil || len(answers[0].Publications) != 6 {
				b.Fatal(len(answers[0].Publications), err)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ms/storm")
}

// BenchmarkOneByOne is one client after the other that asks for the same channel, of its own or one that all share, as much as fits
// into a megabyte.
func BenchmarkOneByOne(b *testing.B) {
	for _, size := range []int{300, 6000} {
		for _, messages := range []int{1, 5, 100} {
			for _, cached := range []bool{false, true} {
				b.Run(fmt.Sprintf("size=%d/messages=%d/cached=%t", size, messages, cached), func(b *testing.B) {
					benchmarkOneByOne(b, size, messages, cached)
				})
			}
		}
	}
}

func benchmarkOneByOne(b *testing.B, size, messages int, cached bool) {
	bus := open(b, redisbus.Options{Addr: redistest.Start(b).Addr()})
	ch := numberedChannel(1)
	for range messages {
		publish(b, bus, publication(string(make([]byte, size)), 3600, ch))
	}
	queries := []protocol.HistoryQuery{{Channels: []protocol.ChannelID{ch}, Shared: []bool{cached}, Limit: 100, Total: 200}}
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		answers, err := bus.History(context.Background(), queries, 1<<20)
		if err != nil || len(answers[0].Publications) != messages {
			b.Fatal(len(answers), err)
		}
	}
}

// BenchmarkOnline asks who of some channels is online, again and again, plainly and through the cache of the client, while their marks
// are renewed: none of them between two questions, one, or all.
func BenchmarkOnline(b *testing.B) {
	for _, channels := range []int{1, 10, 100} {
		for _, renewed := range []int{0, 1, 100} {
			for _, cached := range []bool{false, true} {
				if renewed > channels {
					continue
				}
				b.Run(fmt.Sprintf("channels=%d/renewed=%d/cached=%t", channels, renewed, cached), func(b *testing.B) {
					benchmarkOnline(b, channels, renewed, cached)
				})
			}
		}
	}
}

func benchmarkOnline(b *testing.B, channels, renewed int, cached bool) {
	server := redistest.Start(b)
	c := connect(b, server)
	bus := open(b, redisbus.Options{Addr: server.Addr()}) // another process, whose clients they are
	chs, keys := make([]protocol.ChannelID, channels), make([]string, channels)
	for i := range chs {
		chs[i] = numberedChannel(i)
		keys[i] = "channel:online:" + string(chs[i].Bytes[:])
	}
	ctx := context.Background()
	if err := bus.Touch(ctx, chs); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	for range b.N {
		if renewed > 0 {
			b.StopTimer()
			if err := bus.Touch(ctx, chs[:renewed]); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
		var result rueidis.RedisResult
		if cached {
			result = c.DoCache(ctx, c.B().Mget().Key(keys...).Cache(), 130*time.Second)
		} else {
			result = c.Do(ctx, c.B().Mget().Key(keys...).Build())
		}
		values, err := result.ToArray()
		if err != nil || len(values) != channels || values[channels-1].IsNil() {
			b.Fatal(len(values), err)
		}
	}
}

// connect is a client as the bus makes one for reads.
func connect(t testing.TB, server *redistest.Server) rueidis.Client {
	t.Helper()
	c, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{server.Addr()}, DialCtxFn: redistest.Dial, ForceSingleClient: true, PipelineMultiplex: -1, AlwaysPipelining: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}
