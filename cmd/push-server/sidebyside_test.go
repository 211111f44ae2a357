package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"push-server/protocol/testclient"
	"push-server/redisbus/redistest"
)

// Start date and counter of the recorded messages.
const (
	recordedStartdate = "1795463849"
	recordedCreated   = 1795463849
)

// recordedID is the nth id of the recorded conversations.
func recordedID(n int) string { return fmt.Sprintf("%s%016d", recordedStartdate, n) }

// recordedRedis is a Redis in which n ids were given out under the start date of the recorded messages.
func recordedRedis(t *testing.T, n int) *redistest.Server {
	t.Helper()
	redis := startRedis(t)
	redis.Do("SET", "server:startdate", recordedStartdate)
	redis.Do("SET", "server:messagecounter", strconv.Itoa(n))
	return redis
}

// A library is what Node has left in a Redis, and what of it has to be replayed to whom.
type library struct {
	t     *testing.T
	redis *redistest.Server
	node  *nodeProcess
	next  int
}

func newLibrary(t *testing.T) *library {
	redis := recordedRedis(t, 1000)
	return &library{t, redis, startNode(t, redis, "n0desrv1"), 1}
}

// add stores a message as Node does.
func (l *library) add(receivers ...testclient.Receiver) nodeMessage {
	m := nodeMessage{id: recordedID(l.next), receivers: receivers, body: numbered(l.next), expiry: 3600, created: recordedCreated}
	l.next++
	l.node.store(m)
	return m
}

// addExpired stores one whose time is over: Node leaves its id in the histories.
func (l *library) addExpired(receivers ...testclient.Receiver) {
	l.redis.Do("DEL", "message:"+fromHex(l.add(receivers...).id))
}

// addSpoilt stores one and then puts something else in its place.
func (l *library) addSpoilt(command string, args []string, receivers ...testclient.Receiver) {
	key := "message:" + fromHex(l.add(receivers...).id)
	l.redis.Do("DEL", key)
	l.redis.Do(append([]string{command, key}, args...)...)
}

func publicOf(ch testclient.Channel) testclient.Receiver {
	r := ch.PublicReceiver()
	r.Signature = nil
	return r
}

// What Node has stored is replayed: to the byte to a poll in binary mode, and the same to every other client.
func TestRedisFilledByNode(t *testing.T) {
	l := newLibrary(t)
	plain, mixed, full, spoilt, wrong := testclient.NewChannel(testKey), testclient.NewChannel(testKey), testclient.NewChannel(testKey),
		testclient.NewChannel(testKey), testclient.NewChannel(testKey)
	var ofPlain, ofMixed []nodeMessage
	for range 3 {
		ofPlain = append(ofPlain, l.add(plain.PrivateReceiver()))
		l.addExpired(plain.PrivateReceiver())
	}
	both := l.add(mixed.PrivateReceiver(), publicOf(mixed))
	ofMixed = append(ofMixed, both, l.add(publicOf(mixed)), l.add(mixed.PrivateReceiver(), plain.PrivateReceiver()))
	ofPlain = append(ofPlain, ofMixed[2])
	live := l.add(full.PrivateReceiver())
	for range 120 { // Node replays nothing here: expired ids fill its hundred
		l.addExpired(full.PrivateReceiver())
	}
	l.addSpoilt("SET", []string{"no protobuf"}, spoilt.PrivateReceiver())
	l.addSpoilt("SET", []string{""}, spoilt.PrivateReceiver())
	l.addSpoilt("HSET", []string{"a", "b"}, spoilt.PrivateReceiver())
	l.redis.Do("ZADD", nodeHistory(spoilt.PrivateReceiver()), "0", "no id", "0", strings.Repeat("\xff", 13), "0", "")
	ofSpoilt := []nodeMessage{l.add(spoilt.PrivateReceiver())}
	l.redis.Do("HSET", nodeHistory(wrong.PrivateReceiver()), "a", "b")
	l.redis.Do("SET", nodeHistory(publicOf(wrong)), "a")
	l.redis.Do("HSET", "stats", "gone", "no JSON", "null", "null", "number", "5")

	in := install(t, "default", l.redis, 1)
	f := func(mid, signed string, want ...nodeMessage) {
		t.Helper()
		checkReplay(t, in, mid, signed, want)
	}
	none := recordedID(0)
	f(none, plain.Signed(), ofPlain...)
	f(none, plain.Alone(), ofPlain...)
	f(ofPlain[1].id, plain.Signed(), ofPlain[2:]...)
	f(none, mixed.Signed(), ofMixed...)
	f(both.id, mixed.Signed(), ofMixed[1:]...)
	f(none, mixed.Alone(), both, ofMixed[2])
	f(none, plain.Signed()+"/"+mixed.Signed(), append(slices.Clone(ofPlain[:3]), ofMixed...)...)
	f(none, full.Alone(), live)
	f(none, spoilt.Signed(), ofSpoilt...)
	f(none, wrong.Signed()+"/"+full.Alone(), live)
	if got := statistics(t, in); len(got) != 2 || l.redis.Int("HLEN", "stats") != 2 {
		t.Errorf("statistics of %d processes: %v", len(got), got)
	}

	// What we publish goes on where Node was, in the same histories, whose time begins anew.
	l.redis.Do("EXPIRE", nodeHistory(plain.PrivateReceiver()), "100")
	publishText(t, in, `{"ours":1}`, 600, plain.Private)
	ours := awaitReplay(t, in, ofPlain[3].id, plain.Alone())
	if len(ours) != 1 || ours[0].Body != `{"ours":1}` || ours[0].ID <= recordedID(1000) || !strings.HasPrefix(ours[0].ID, recordedStartdate) {
		t.Errorf("behind the messages of Node: %+v", ours)
	}
	key := nodeHistory(plain.PrivateReceiver())
	if score, ttl := l.redis.Int("ZSCORE", key, fromHex(ours[0].ID)), l.redis.Int("TTL", key); score != 0 || ttl < 86000 {
		t.Errorf("score %d, TTL %d", score, ttl)
	}
}

// checkReplay asks with each transport, in each mode.
func checkReplay(t *testing.T, in *installation, mid, signed string, want []nodeMessage) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	poller := testclient.NewHTTP(false)
	reply, err := poller.Poll(ctx, "http://"+in.subs[0]+subPath+testclient.Query(true, mid, signed))
	if err != nil || reply.Status != 200 || string(reply.Body) != string(response(want...)) {
		t.Errorf("binary poll: %d %v\n got %x\nwant %x", reply.Status, err, reply.Body, response(want...))
	}
	reply, err = poller.Poll(ctx, "http://"+in.subs[0]+subPath+testclient.Query(false, mid, signed))
	if err != nil {
		t.Fatal(err)
	}
	got, err := reply.Messages()
	checkMessages(t, "poll", got, err, want)
	for _, binary := range []bool{false, true} {
		socket := dialSubscriber(t, in.subs[0], testclient.Query(binary, mid, signed))
		got, err := receive(socket, len(want))
		checkMessages(t, fmt.Sprintf("WebSocket, binary mode %v", binary), got, err, want)
		socket.Close()
	}
}

// checkMessages compares what every client sees.
func checkMessages(t *testing.T, who string, got []testclient.Message, err error, want []nodeMessage) {
	t.Helper()
	same := func(m testclient.Message, n nodeMessage) bool { return m.ID == n.id && m.Body == n.body }
	if err != nil || !slices.EqualFunc(got, want, same) {
		t.Errorf("%s: %v\n got %+v\nwant %+v", who, err, got, want)
	}
}

func dialSubscriber(t *testing.T, addr, query string) *testclient.Conn {
	t.Helper()
	socket, err := testclient.Dial(t.Context(), addr, subPath+query)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	socket.SetReadDeadline(time.Now().Add(patience))
	return socket
}

// receive waits for n messages, and returns more if they come in the same frame.
func receive(socket *testclient.Conn, n int) (all []testclient.Message, err error) {
	for len(all) < n {
		some, err := socket.Receive()
		if err != nil {
			return all, err
		}
		all = append(all, some...)
	}
	return all, nil
}

func publishText(t *testing.T, in *installation, body string, expiry int, ids ...string) {
	t.Helper()
	backend := testclient.NewHTTP(false)
	reply, err := backend.PublishText(t.Context(), in.pubURL(), body, expiry, ids...)
	if err != nil || reply.Status != 200 {
		t.Fatalf("publication: %d %v", reply.Status, err)
	}
}

// awaitReplay polls until there is something behind mid.
func awaitReplay(t *testing.T, in *installation, mid, signed string) []testclient.Message {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	reply, err := testclient.NewHTTP(false).Poll(ctx, "http://"+in.subs[0]+subPath+testclient.Query(false, mid, signed))
	if err != nil {
		t.Fatal(err)
	}
	ms, err := reply.Messages()
	if err != nil {
		t.Fatal(err)
	}
	return ms
}
