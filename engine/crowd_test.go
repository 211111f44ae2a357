package engine

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"push-server/protocol"
	"push-server/protocol/testclient"
)

// Of a crowd that comes back everybody is served, in the order in which they came, up to the whole seconds that they can be told. Those who
// are in do not notice. Whoever was served leaves, so that the crowd may be larger than what a process can open.
func TestCrowdIsServedInOrder(t *testing.T) {
	t.Parallel()
	size, rate := 1500, 500
	if os.Getenv("PUSH_TEST_SLOW") != "" {
		size, rate = 20_000, 2000
	}
	e := startMemory(t, func(o *Options) { o.MaxConnections = 4000 })
	inside := gatherInside(t, e, 50)
	changeSettings(t, e, func(s *Settings) { s.ConnectRate = rate })
	c := &returning{addr: e.Addrs()[0], target: testSub + query("", newItem()), first: make(chan *returner, size), again: make(chan *returner, size)}
	inside.begin()
	begin := time.Now()
	for n := range size {
		c.first <- &returner{from: net.IPv4(127, 1+byte(n>>16), byte(n>>8), byte(n))}
	}
	all := c.serve(t, size)
	took := time.Since(begin)
	inside.end(t)
	slices.SortFunc(all, func(a, b *returner) int { return cmp.Compare(a.came, b.came) })
	far, refused := make([]int, 0, size), 0
	for rank, r := range all {
		far = append(far, max(rank-int(r.served), int(r.served)-rank))
		refused += r.refused
	}
	slices.Sort(far)
	t.Logf("%d came within %v and were all in after %v, %d times told to come again; from the order in which they came half are less than %d places away, 99 %% less than %d, all less than %d; those who were in waited for %s",
		size, time.Duration(all[size-1].came).Round(time.Millisecond), took.Round(time.Millisecond), refused, far[size/2], far[size*99/100], far[size-1]+1, inside)
	if far[size-1] > 3*rate+crowdWorkers { // a second of it is a whole one, the rest the machine's
		t.Errorf("somebody is served %d places away from where he stood", far[size-1])
	}
}

// crowdWorkers come at the same time.
const crowdWorkers = 64

// returning is a crowd whose members come again as they are told.
type returning struct {
	addr, target string
	first, again chan *returner // who has come before does not wait behind who has not
	began        time.Time
	served       atomic.Int64
}

type returner struct {
	from    net.IP
	came    int64 // nanoseconds after the first one; 0: not yet
	served  int64 // place among all
	refused int   // times
}

// serve returns when all have been served.
func (c *returning) serve(t *testing.T, size int) (all []*returner) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	in := make(chan *returner, size)
	var workers sync.WaitGroup
	c.began = time.Now()
	for range crowdWorkers {
		workers.Go(func() {
			for r := c.next(ctx); r != nil; r = c.next(ctx) {
				if err := c.attempt(ctx, r, in); err != nil && ctx.Err() == nil {
					t.Error(err)
					cancel()
				}
			}
		})
	}
	for len(all) < size {
		select {
		case r := <-in:
			all = append(all, r)
		case <-ctx.Done():
			workers.Wait()
			t.Fatalf("%d of %d were served", len(all), size)
		case <-time.After(patience):
			cancel()
			workers.Wait()
			t.Fatalf("%d of %d were served, and nobody any more", len(all), size)
		}
	}
	cancel()
	workers.Wait()
	return all
}

// next is who comes next; nil: nobody any more.
func (c *returning) next(ctx context.Context) *returner {
	select {
	case r := <-c.again:
		return r
	default:
	}
	select {
	case r := <-c.again:
		return r
	case r := <-c.first:
		return r
	case <-ctx.Done():
		return nil
	}
}

// attempt has r come, and come again when it is told.
func (c *returning) attempt(ctx context.Context, r *returner, in chan<- *returner) error {
	if r.came == 0 {
		r.came = int64(time.Since(c.began))
	}
	conn, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: r.from}}).DialContext(ctx, "tcp", c.addr)
	if err != nil {
		return err
	}
	client := testclient.NewConn(conn)
	defer client.Close()
	_ = client.SetDeadline(time.Now().Add(patience))
	reply, err := client.Poll(c.target, "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: "+handshakeKey)
	if err != nil {
		return err
	}
	if reply.Status == http.StatusSwitchingProtocols {
		r.served = c.served.Add(1) - 1
		in <- r
		return nil
	}
	seconds, err := strconv.Atoi(reply.Header.Get("Retry-After"))
	if err != nil {
		return fmt.Errorf("answered %s, without a time to come again", reply)
	}
	r.refused++
	time.AfterFunc(time.Duration(seconds)*time.Second, func() { c.again <- r })
	return nil
}

// inside are clients that are in, and get messages all the time.
type inside struct {
	e       *Engine
	channel protocol.ChannelID
	clients []*testclient.Conn
	stop    chan struct{}
	tasks   sync.WaitGroup
	mu      sync.Mutex
	waits   []time.Duration
	errs    []error
}

func gatherInside(t *testing.T, e *Engine, n int) *inside {
	t.Helper()
	a := newShared()
	in := &inside{e: e, channel: private(a), stop: make(chan struct{})}
	for range n {
		c := testclient.Subscribe(t, e.Addrs()[0], testSub+query("", a))
		in.clients = append(in.clients, c.Conn)
	}
	return in
}

// begin has each get a message every few milliseconds, which says when it was sent.
func (in *inside) begin() {
	const pace, last = 20 * time.Millisecond, "last"
	say := func(body string) {
		if err := in.e.Publish(context.Background(), []*protocol.Publication{publication(body, 60, in.channel)}); err != nil {
			in.note(0, err)
		}
	}
	in.tasks.Go(func() {
		tick := time.NewTicker(pace)
		defer tick.Stop()
		for {
			select {
			case <-in.stop:
				say(last)
				return
			case <-tick.C:
				say(strconv.FormatInt(time.Now().UnixNano(), 10))
			}
		}
	})
	for _, c := range in.clients {
		in.tasks.Go(func() {
			for {
				ms, err := c.Receive()
				if err != nil {
					in.note(0, err)
					return
				}
				for _, m := range ms {
					if m.Body == last {
						return
					}
					sent, err := strconv.ParseInt(m.Body, 10, 64)
					in.note(time.Since(time.Unix(0, sent)), err)
				}
			}
		})
	}
}

func (in *inside) note(wait time.Duration, err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if err != nil {
		in.errs = append(in.errs, err)
		return
	}
	in.waits = append(in.waits, wait)
}

// end wants everybody to be there still, and to have got everything.
func (in *inside) end(t *testing.T) {
	t.Helper()
	for _, c := range in.clients {
		_ = c.SetReadDeadline(time.Now().Add(patience))
	}
	close(in.stop)
	in.tasks.Wait()
	for _, err := range in.errs {
		t.Errorf("somebody who was in: %v", err)
	}
	if len(in.waits) == 0 || len(in.waits)%len(in.clients) != 0 {
		t.Errorf("%d clients got %d messages", len(in.clients), len(in.waits))
	}
	slices.Sort(in.waits)
}

func (in *inside) String() string {
	n := len(in.waits)
	if n == 0 {
		return "nothing"
	}
	return fmt.Sprintf("a message for %v, 99 %% of %d messages for %v, the longest for %v", in.waits[n/2], n, in.waits[n*99/100], in.waits[n-1])
}
