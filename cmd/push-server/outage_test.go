package main

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"push-server/protocol/testclient"
	"push-server/redisbus/redistest"
)

// An outage is publications to one channel, numbered from 1, while its Redis comes and goes. Two subscribers have to get all
// that was accepted: one by WebSocket, one by poll.
type outage struct {
	t       *testing.T
	in      *installation
	channel testclient.Channel
	backend *testclient.HTTP
	sent    int
	socket  *follower
	polls   *follower
	parked  chan error // tells when the first publication has reached the poll
}

func newOutage(t *testing.T, in *installation) *outage {
	o := &outage{t: t, in: in, channel: testclient.NewChannel(testKey), backend: testclient.NewHTTP(true), parked: make(chan error, 1)}
	t.Cleanup(o.backend.Close)
	return o
}

// observe connects the subscribers.
func observe(t *testing.T, in *installation) *outage {
	t.Helper()
	o := newOutage(t, in)
	o.socket = followSocket(o.dial(""))
	o.polls = followPolls(t.Context(), in.subs[0], o.channel)
	go func() { o.parked <- o.polls.until(numbered(1)) }()
	return o
}

// observeFirst connects the subscribers and publishes one that they get.
func observeFirst(t *testing.T, in *installation) *outage {
	t.Helper()
	o := observe(t, in)
	waitOnline(t, in, o.channel)
	if status := o.try(1); status != 200 && status != 202 { // a busy machine may be too slow
		t.Fatalf("publication answered %d", status)
	}
	o.sent++
	o.firstArrived()
	return o
}

func (o *outage) firstArrived() {
	o.t.Helper()
	if err := errors.Join(<-o.parked, o.socket.until(numbered(1))); err != nil {
		o.t.Fatal(err)
	}
}

func (o *outage) dial(mid string) *testclient.Conn {
	o.t.Helper()
	socket, err := testclient.Dial(o.t.Context(), o.in.subs[0], subPath+testclient.Query(true, mid, o.channel.Signed()))
	if err != nil {
		o.t.Fatal(err)
	}
	o.t.Cleanup(func() { socket.Close() })
	return socket
}

// answered is how long a publisher waits for its answer at most, on a machine that is busy with other tests. The server takes 300 ms to give
// up waiting for Redis, PHP waits for a second: TestFaults looks at that.
const answered = 10 * time.Second

// publish sends the next n, by themselves or in one request, and wants that status in time.
func (o *outage) publish(n, status int) {
	o.t.Helper()
	begin := time.Now()
	if got := o.try(n); got != status {
		o.t.Fatalf("publication answered %d, want %d", got, status)
	}
	if took := time.Since(begin); took > answered {
		o.t.Errorf("publication answered after %v", took)
	}
	o.sent += n
}

// try gives the status of a publication of the next n.
func (o *outage) try(n int) int {
	o.t.Helper()
	reply, err := testclient.Reply{}, error(nil)
	if n == 1 {
		reply, err = o.backend.PublishText(o.t.Context(), o.in.pubURL(), numbered(o.sent+1), 600, o.channel.Private)
	} else {
		var batch []testclient.Publication
		for i := range n {
			batch = append(batch, testclient.Publication{
				Receivers: []testclient.Receiver{o.channel.PrivateReceiver()}, Body: numbered(o.sent + 1 + i), Expiry: 600,
			})
		}
		reply, err = o.backend.Request(o.t.Context(), o.in.pubURL(), testclient.AppendPublish(nil, batch...))
	}
	if err != nil {
		o.t.Fatal(err)
	}
	return reply.Status
}

// arrived waits until everybody has all that was accepted. Somebody new gets it from history: each once, so it is stored once.
func (o *outage) arrived() {
	o.t.Helper()
	o.got("WebSocket", o.socket)
	o.got("poll", o.polls)
	o.got("history", followSocket(o.dial(strings.Repeat("0", 26))))
}

func (o *outage) got(who string, f *follower) {
	o.t.Helper()
	if err := f.until(numbered(o.sent)); err != nil {
		o.t.Errorf("%s: %v", who, err)
	}
}

// stored waits until publications are stored at once again.
func (o *outage) stored() {
	o.t.Helper()
	testclient.AwaitNil(o.t, "publications are stored", func() error {
		status := o.try(1)
		o.sent++
		if status != 200 {
			return fmt.Errorf("answered %d", status)
		}
		return nil
	})
}

// installOn starts the servers of production, with changes, without waiting for Redis.
func installOn(t *testing.T, redis *redistest.Server, change func(config)) *installation {
	t.Helper()
	in := &installation{redis: redis}
	for _, name := range []string{"default-sub", "default-pub"} {
		c := recordedConfig(t, name, socketOf(redis))
		c.hasty()
		if change != nil {
			change(c)
		}
		in.add(t, c)
	}
	return in
}

func TestRedisAbsentAtStart(t *testing.T) {
	t.Run("one process", func(t *testing.T) {
		redis := absentRedis(t)
		in := &installation{redis: redis}
		c := recordedConfig(t, "single", socketOf(redis))
		c.hasty()
		in.add(t, c)
		testRedisAbsentAtStart(t, in)
	})
	t.Run("subscribers and backend apart", func(t *testing.T) {
		testRedisAbsentAtStart(t, installOn(t, absentRedis(t), nil))
	})
}

func testRedisAbsentAtStart(t *testing.T, in *installation) {
	o := observe(t, in)
	o.publish(1, 202)
	o.publish(4, 202)
	o.publish(1, 202)
	for _, p := range in.procs {
		if !strings.Contains(strings.ToLower(p.log.String()), "redis") {
			t.Errorf("nothing is said about Redis:\n%s", p.log.String())
		}
	}
	in.redis.Restart()
	o.firstArrived()
	o.arrived()
	o.stored()
	o.arrived()
}

// TestRedisLost kills Redis and starts it again, with what it had stored.
func TestRedisLost(t *testing.T) {
	redis := startRedis(t)
	in := installOn(t, redis, nil)
	in.waitDelivering(t)
	o := observeFirst(t, in)
	redis.Kill()
	returning := followSocket(o.dial(o.socket.mid)) // its history cannot be read yet
	returning.next = o.socket.next
	o.publish(1, 202)
	o.publish(4, 202)
	o.publish(1, 202)
	redis.Restart()
	o.got("returning client", returning)
	o.arrived()
	o.stored()
	o.arrived()
}

// TestRedisHangs stops Redis with all its connections open: what was sent to it is executed later, though nobody waits for the
// answer any more.
func TestRedisHangs(t *testing.T) {
	redis := startRedis(t)
	in := installOn(t, redis, nil)
	in.waitDelivering(t)
	o := observeFirst(t, in)
	redis.Pause()
	o.publish(1, 202)
	o.publish(4, 202)
	redis.Resume()
	o.arrived()
	o.stored()
	o.arrived()
}

// TestQueueFull: what does not fit into the queue is refused, what was accepted arrives.
func TestQueueFull(t *testing.T) {
	redis := startRedis(t)
	in := installOn(t, redis, func(c config) { c.option("publishQueue", 10) })
	in.waitDelivering(t)
	o := observeFirst(t, in)
	redis.Kill()
	o.publish(4, 202)
	o.publish(5, 202)
	o.publish(1, 202)
	if status := o.try(1); status != 503 {
		t.Errorf("publication answered %d with a full queue, want 503", status)
	}
	o.fillBySocket()
	redis.Restart()
	o.arrived()
	o.stored()
	o.arrived()
}

// fillBySocket publishes as a client to somebody else, until it is told to come again later.
func (o *outage) fillBySocket() {
	o.t.Helper()
	sender := testclient.NewChannel(testKey)
	socket, err := testclient.Dial(o.t.Context(), o.in.subs[0], subPath+testclient.Query(true, "", sender.Signed()))
	if err != nil {
		o.t.Fatal(err)
	}
	defer socket.Close()
	message := testclient.Publication{Receivers: []testclient.Receiver{testclient.NewChannel(testKey).PublicReceiver()}, Body: "{}", Expiry: 60}
	for range 11 {
		if err := socket.Send(testclient.AppendPublish(nil, message)); err != nil {
			break // closed already
		}
	}
	socket.SetReadDeadline(time.Now().Add(patience))
	_, err = socket.Receive()
	if closed, ok := err.(*testclient.CloseError); !ok || closed.Code != 1013 {
		o.t.Errorf("a client that fills the queue gets %v, want close 1013", err)
	}
}

// TestHistoryOfAnotherType: what cannot be kept for those who are away is not answered as if it were. All others get what they should.
func TestHistoryOfAnotherType(t *testing.T) {
	redis := startRedis(t)
	in := installOn(t, redis, nil)
	in.waitDelivering(t)
	broken, good := testclient.NewChannel(testKey), testclient.NewChannel(testKey)
	id := broken.Item().Private
	redis.Do("SET", "channel:messages:"+string(id[:]), "somebody else's")
	socket := dialSubscriber(t, in.subs[0], testclient.Query(true, "", broken.Signed()))
	backend := testclient.NewHTTP(true)
	defer backend.Close()
	post := func(status int, ps ...testclient.Publication) {
		t.Helper()
		reply, err := backend.Request(t.Context(), in.pubURL(), testclient.AppendPublish(nil, ps...))
		if err != nil || reply.Status != status && reply.Status != 202 { // a busy machine may be too slow
			t.Errorf("answered %d %s, %v, want %d", reply.Status, reply.Body, err, status)
		}
		if reply.Status == 500 && !strings.Contains(string(reply.Body), "not kept for all who are away") {
			t.Errorf("answered %s", reply.Body)
		}
	}
	message := func(n int, to ...testclient.Receiver) testclient.Publication {
		return testclient.Publication{Receivers: to, Body: numbered(n), Expiry: 600}
	}
	toBroken, toGood := broken.PrivateReceiver(), good.PrivateReceiver()
	post(500, message(1, toGood), message(2, toBroken, toGood), message(3, toGood), message(4, toBroken))
	post(200, message(5, toGood))
	if got, err := receive(socket, 2); err != nil || got[0].Body != numbered(2) || got[1].Body != numbered(4) {
		t.Errorf("who is connected got %v, %v", got, err)
	}
	away := dialSubscriber(t, in.subs[0], testclient.Query(true, beginning, good.Signed()))
	got, err := receive(away, 4)
	if err != nil {
		t.Fatal(err)
	}
	for i, n := range []int{1, 2, 3, 5} {
		if got[i].Body != numbered(n) {
			t.Errorf("message %d of the other channel is %s, want %s", i, got[i].Body, numbered(n))
		}
	}
	publisher := in.procs[1]
	testclient.Await(t, "the key is named", func() bool { return strings.Contains(publisher.log.String(), "channel:messages:") })
}

// TestPublisherTellsOfRedis: a process that only publishes says whether Redis is there, before it has anything to store.
func TestPublisherTellsOfRedis(t *testing.T) {
	t.Parallel()
	redis := absentRedis(t)
	window := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	c := recordedConfig(t, "default-pub", socketOf(redis))
	c["push"] = map[string]any{"metrics": window}
	p := start(t, c)
	await := func(what, ready, metric string) {
		t.Helper()
		testclient.AwaitNil(t, what, func() error {
			text := readyText(t, http.DefaultClient, window)
			page, err := readPage("http://" + window + "/metrics")
			if err != nil || !strings.HasPrefix(text, ready) || !strings.Contains(page, "\n"+metric+"\n") {
				return fmt.Errorf("%v, %s", err, text)
			}
			return nil
		})
	}
	page, err := readPage("http://" + window + "/metrics")
	if err != nil || !strings.Contains(page, "\npush_bus_connected 0\n") || !strings.Contains(page, "\npush_ready 0\n") {
		t.Errorf("at the start, %v:\n%s", err, page)
	}
	await("the bus that is away", "not ready: the bus has not answered yet", "push_bus_connected 0")
	redis.Restart()
	await("Redis", "ready", "push_bus_connected 1")
	redis.Kill()
	await("the loss of Redis", "not ready: the bus has been silent", "push_bus_connected 0")
	redis.Restart()
	await("Redis again", "ready", "push_bus_connected 1")
	if page, err := readPage("http://" + window + "/metrics"); err != nil || strings.Contains(page, `push_bus_errors_total{operation="echo"} 0`) {
		t.Errorf("errors are not counted, %v:\n%s", err, page)
	}
	p.signal(syscall.SIGTERM)
	if n := strings.Count(p.log.String(), `"resolved: the bus does not answer" took=`); n != 2 {
		t.Errorf("%d ends of an outage, want 2:\n%s", n, p.log.String())
	}
}
