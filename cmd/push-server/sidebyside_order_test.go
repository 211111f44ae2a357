package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"push-server/protocol/testclient"
	"push-server/redisbus/redistest"
)

// Of concurrent Node publishers, one that has taken an id may publish later than others with greater ids, or never. Sessions get all
// messages nevertheless, replays are in order, and history is read for nobody but clients that come back.
func TestConcurrentNodePublishers(t *testing.T) {
	redis := startRedis(t)
	in := installBesideNode(t, redis, 2)
	a, b, shared := testclient.NewChannel(testKey), testclient.NewChannel(testKey), testclient.NewChannel(testKey)
	signed := []string{a.Signed(), b.Signed(), shared.Alone()}
	sockets := map[string]*testclient.Conn{}
	for i, addr := range in.subs {
		for _, binary := range []bool{false, true} {
			sockets[fmt.Sprintf("process %d, binary mode %v", i, binary)] = dialSubscriber(t, addr, testclient.Query(binary, "", signed...))
		}
	}
	in.awaitListening(t, len(sockets))
	redis.Do("CONFIG", "RESETSTAT")

	f := newNodeTraffic(t, redis, a.PrivateReceiver(), b.PublicReceiver(), shared.PrivateReceiver())
	f.run(in, signed)
	for who, socket := range sockets {
		got, err := receive(socket, len(f.sent))
		if err != nil {
			t.Errorf("%s: %v after %d of %d messages", who, err, len(got), len(f.sent))
		}
		f.checkComplete(who, got, "", f.sent)
	}
	for _, addr := range in.subs {
		testclient.AwaitNil(t, "a replay is in order", func() error {
			if !f.comeBack(addr, signed, -1) {
				return errors.New("it is not")
			}
			return nil
		})
	}
	testclient.AwaitNil(t, "all holes are looked at", func() error {
		if n := redis.Calls("pttl"); n < int64(2*f.holes) {
			return fmt.Errorf("%d of %d", n, 2*f.holes)
		}
		return nil
	})
	if reads := redis.Calls("zrevrangebylex"); reads > f.asked && f.latest < time.Second {
		t.Errorf("%d reads of history for %d that clients asked for", reads, f.asked)
	}
	if gaps := in.count(t, "push_gaps_total"); gaps > 0 && f.latest < time.Second {
		t.Errorf("%d gaps", gaps)
	}
	t.Logf("%d messages, %d holes, the latest after %v; %d reads for %d asked", len(f.sent), f.holes, f.latest, redis.Calls("zrevrangebylex"), f.asked)
}

const (
	nodePublishers = 3
	nodeTime       = 3 * time.Second
	nodeInterval   = 20 * time.Millisecond
	nodeHoles      = 18 // one id of so many is not used: 8 a second
	nodeLate       = 4  // one message of so many is late
)

// A nodeTraffic is what concurrent Node publishers publish, and clients that come back meanwhile.
type nodeTraffic struct {
	t     *testing.T
	nodes []*nodeProcess
	to    []testclient.Receiver
	work  sync.WaitGroup
	asked int64 // reads of history, if each client that comes back needs one for each of its channels

	mu     sync.Mutex
	sent   []nodeMessage
	holes  int
	latest time.Duration // longest way from an id to its publication
}

func newNodeTraffic(t *testing.T, redis *redistest.Server, to ...testclient.Receiver) *nodeTraffic {
	f := &nodeTraffic{t: t, to: to}
	for i := range nodePublishers {
		f.nodes = append(f.nodes, startNode(t, redis, fmt.Sprintf("n0desrv%d", i)))
	}
	return f
}

// run publishes for a while.
func (f *nodeTraffic) run(in *besideNode, signed []string) {
	f.t.Helper()
	done := make(chan struct{})
	for i, node := range f.nodes {
		f.work.Go(func() { f.publish(node, rand.New(rand.NewPCG(1, uint64(i))), done) })
	}
	tick := time.NewTicker(nodeTime / 12)
	defer tick.Stop()
	for i := range 12 {
		<-tick.C
		f.comeBack(in.subs[i%len(in.subs)], signed, i)
	}
	close(done)
	f.work.Wait()
}

func (f *nodeTraffic) publish(node *nodeProcess, random *rand.Rand, done <-chan struct{}) {
	tick := time.NewTicker(nodeInterval)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-done:
			return
		case <-tick.C:
		}
		taken := time.Now()
		m := nodeMessage{id: node.takeID(), created: uint32(taken.Unix()), body: numbered(n), expiry: 60, receivers: []testclient.Receiver{f.to[random.IntN(len(f.to))]}}
		if !m.receivers[0].Private {
			m.from = strings.Repeat("ab", 16)
		}
		switch {
		case random.IntN(nodeHoles) == 0:
			f.mu.Lock()
			f.holes++
			f.mu.Unlock()
		case random.IntN(nodeLate) == 0:
			f.publishLate(node, m, taken, random)
		default:
			m.expiry = []uint64{60, 60, 0}[random.IntN(3)]
			node.store(m)
			f.send(node, m, taken)
		}
	}
}

// publishLate has m stored at once or later, as its publisher has a slow connection of the one kind or the other, and sends it later.
func (f *nodeTraffic) publishLate(node *nodeProcess, m nodeMessage, taken time.Time, random *rand.Rand) {
	delay := time.Duration(random.Int64N(int64(900 * time.Millisecond)))
	stored := random.IntN(2) == 0
	if stored {
		node.store(m)
		delay = delay * 3 / 4 // what is stored and not sent for a second is taken for lost
	}
	f.work.Add(1)
	time.AfterFunc(delay-time.Since(taken), func() {
		defer f.work.Done()
		if !stored {
			node.store(m)
		}
		f.send(node, m, taken)
	})
}

func (f *nodeTraffic) send(node *nodeProcess, m nodeMessage, taken time.Time) {
	node.send(m)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sent = append(f.sent, m)
	f.latest = max(f.latest, time.Since(taken))
}

// comeBack is a client that returns, having seen the nth last message, or none. It says whether all came in order; while others
// publish, something may come behind the replay that has a smaller id.
func (f *nodeTraffic) comeBack(addr string, signed []string, n int) (inOrder bool) {
	f.t.Helper()
	f.mu.Lock()
	before := slices.Clone(f.sent)
	f.mu.Unlock()
	mid := strings.Repeat("0", 26)
	if n >= 0 && len(before) > n {
		mid = before[len(before)-1-n].id
	}
	missed := slices.DeleteFunc(slices.Clone(before), func(m nodeMessage) bool { return m.id <= mid || m.expiry == 0 })
	f.asked += int64(2*len(signed) - 1) // the last one has no public id
	if len(missed) == 0 {
		return true
	}
	socket := dialSubscriber(f.t, addr, testclient.Query(true, mid, signed...))
	defer socket.Close()
	got, err := receiveUntil(socket, missed)
	if err != nil {
		f.t.Errorf("replay: %v after %d messages, %d missed", err, len(got), len(missed))
	}
	f.checkComplete("replay", got, mid, missed)
	return slices.IsSortedFunc(got, func(x, y testclient.Message) int { return strings.Compare(x.ID, y.ID) })
}

// receiveUntil receives until all of want have come, among others.
func receiveUntil(socket *testclient.Conn, want []nodeMessage) (got []testclient.Message, err error) {
	open := map[string]bool{}
	for _, m := range want {
		open[m.id] = true
	}
	for len(open) > 0 {
		some, err := socket.Receive()
		if err != nil {
			return got, err
		}
		for _, m := range some {
			delete(open, m.ID)
		}
		got = append(got, some...)
	}
	return got, nil
}

// checkComplete wants each message of want once. What came in the meantime may be there as well, but nothing up to mid.
func (f *nodeTraffic) checkComplete(who string, got []testclient.Message, mid string, want []nodeMessage) {
	f.t.Helper()
	seen := map[string]string{}
	for _, m := range got {
		if _, twice := seen[m.ID]; twice {
			f.t.Errorf("%s: %s came twice", who, m.ID)
		}
		seen[m.ID] = m.Body
	}
	for _, m := range want {
		if seen[m.id] != m.body {
			f.t.Errorf("%s: %s is missing, or has the body %q instead of %q", who, m.id, seen[m.id], m.body)
		}
	}
}
