package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"push-server/protocol/testclient"
	"push-server/redisbus/redistest"
)

// The channels of the recorded conversation, and the signature of B's public id in it, whose key was another one.
var (
	recordedA         = recordedChannel("0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210")
	recordedB         = recordedChannel("00112233445566778899aabbccddeeff", "ffeeddccbbaa99887766554433221100")
	recordedSignature = []byte(fromHex("cbe0c27ecb99cb0061b558050a4feb7dc50ed852"))
)

func recordedChannel(private, public string) testclient.Channel {
	ch := testclient.NewChannel(testKey)
	ch.Private, ch.Public = private, public
	return ch
}

// What Node was recorded to publish reaches clients of each of our processes, on each transport.
func TestNodePublishesToOurClients(t *testing.T) {
	redis := recordedRedis(t, 0)
	in := installBesideNode(t, redis, 2)
	node := startNode(t, redis, "n0desrv1")
	redis.Do("SET", "server:messagecounter", "1000")
	f := func(payload string, want nodeMessage, receivers ...testclient.Channel) {
		t.Helper()
		want.created = recordedCreated
		hear := listenEverywhere(t, in, receivers)
		node.do("PUBLISH", node.channel, fromHex(payload))
		for _, ear := range hear {
			ear(want)
		}
		if got := hex.EncodeToString(want.envelope()); got != strings.Join(strings.Fields(payload), "") {
			t.Errorf("the stand-in for Node would send\n%s, was recorded to send\n%s", got, payload)
		}
	}
	f(`0a3f 0a3d 0a3b 0a14 0a100123456789abcdef0123456789abcdef 1001 1a23 0a0d17954638490000000000000001 12077b2261223a317d 183c 25a99a046b 2a020802`,
		nodeMessage{id: recordedID(1), body: `{"a":1}`, expiry: 60, receivers: []testclient.Receiver{recordedA.PrivateReceiver()}},
		recordedA)
	f(`0a56 0a54 0a52 0a14 0a100123456789abcdef0123456789abcdef 1001 0a14 0a1000112233445566778899aabbccddeeff 1001
		1a24 0a0d17954638490000000000000002 12077b2262223a327d 18901c 25a99a046b 2a020802`,
		nodeMessage{id: recordedID(2), body: `{"b":2}`, expiry: 3600,
			receivers: []testclient.Receiver{recordedA.PrivateReceiver(), recordedB.PrivateReceiver()}},
		recordedA, recordedB)
	toB := recordedB.PublicReceiver()
	toB.Signature = recordedSignature
	f(`0a65 0a63 0a61 0a28 0a10ffeeddccbbaa99887766554433221100 1a14cbe0c27ecb99cb0061b558050a4feb7dc50ed852
		1a35 0a0d17954638490000000000000003 12077b2263223a337d 1800 25a99a046b 2a14 0801 1210fedcba9876543210fedcba9876543210`,
		nodeMessage{id: recordedID(3), body: `{"c":3}`, receivers: []testclient.Receiver{toB}, from: recordedA.Public},
		recordedB)
}

// listenEverywhere has a client of each kind listen to each channel at each process. Each of the functions waits for what one of
// them gets.
func listenEverywhere(t *testing.T, in *besideNode, channels []testclient.Channel) (hear []func(want nodeMessage)) {
	t.Helper()
	for _, addr := range in.subs {
		for _, ch := range channels {
			hear = append(hear, listenByPoll(t, addr, ch))
			for _, binary := range []bool{false, true} {
				socket := dialSubscriber(t, addr, testclient.Query(binary, "", ch.Signed()))
				hear = append(hear, func(want nodeMessage) {
					t.Helper()
					got, err := receive(socket, 1)
					checkMessages(t, "WebSocket", got, err, []nodeMessage{want})
					checkSender(t, binary, got, want)
					socket.Close()
				})
			}
		}
	}
	in.awaitListening(t, len(hear))
	return hear
}

func checkSender(t *testing.T, binary bool, got []testclient.Message, want nodeMessage) {
	t.Helper()
	sender := uint64(testclient.SenderBackend)
	if want.from != "" {
		sender = testclient.SenderClient
	}
	if binary && len(got) == 1 && (got[0].Sender != sender || got[0].From != want.from) {
		t.Errorf("sender %d %s, want %d %s", got[0].Sender, got[0].From, sender, want.from)
	}
}

func listenByPoll(t *testing.T, addr string, ch testclient.Channel) func(want nodeMessage) {
	t.Helper()
	type answer struct {
		testclient.Reply
		error
	}
	answers := make(chan answer, 1)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	go func() {
		reply, err := testclient.NewHTTP(false).Poll(ctx, "http://"+addr+subPath+testclient.Query(true, "", ch.Signed()))
		answers <- answer{reply, err}
	}()
	return func(want nodeMessage) {
		t.Helper()
		if a := <-answers; a.error != nil || !bytes.Equal(a.Body, response(want)) {
			t.Errorf("poll: %v\n got %x\nwant %x", a.error, a.Body, response(want))
		}
	}
}

// A besideNode is an installation whose processes let the test look at their counters, on a Redis that Node processes use as well.
type besideNode struct {
	*installation
	windows []string // of the processes for subscribers
}

func installBesideNode(t *testing.T, redis *redistest.Server, subscribers int) *besideNode {
	t.Helper()
	in := &besideNode{installation: &installation{redis: redis}}
	in.add(t, recordedConfig(t, "default-pub", socketOf(redis)))
	for range subscribers {
		window := fmt.Sprintf("127.0.0.1:%d", freePort(t))
		c := recordedConfig(t, "default-sub", socketOf(redis))
		c.option("metrics", window)
		c.option("historyPerChannel", 10_000)
		c.option("historyTotal", 10_000)
		in.add(t, c)
		in.windows = append(in.windows, window)
	}
	in.waitDelivering(t)
	return in
}

// count sums a metric over the processes for subscribers.
func (in *besideNode) count(t *testing.T, name string) (sum int) {
	t.Helper()
	for _, window := range in.windows {
		n, err := metric(window, name)
		if err != nil {
			t.Fatal(err)
		}
		sum += n
	}
	return sum
}

func (in *besideNode) awaitListening(t *testing.T, n int) {
	t.Helper()
	testclient.AwaitNil(t, "all listen", func() error {
		listening := in.count(t, `push_sessions{transport="websocket"}`) + in.count(t, `push_sessions{transport="poll"}`)
		if listening != n {
			return fmt.Errorf("%d of %d", listening, n)
		}
		return nil
	})
}

// What clients and back ends publish here goes to Node's processes in Node's own words, and to clients of our other process.
func TestWePublishToNode(t *testing.T) {
	redis := recordedRedis(t, 1000)
	in := installBesideNode(t, redis, 2)
	a, b := testclient.NewChannel(testKey), testclient.NewChannel(testKey)
	sender := dialSubscriber(t, in.subs[0], testclient.Query(true, "", a.Signed()))
	receiver := dialSubscriber(t, in.subs[1], testclient.Query(true, "", b.Signed()))
	in.awaitListening(t, 2)
	heard := listenAsNode(t, redis)
	backend := testclient.NewHTTP(true)
	defer backend.Close()
	f := func(want nodeMessage, publish func() error) {
		t.Helper()
		begin := time.Now()
		if err := publish(); err != nil {
			t.Fatal(err)
		}
		got, err := receive(receiver, 1)
		if err != nil {
			t.Fatal(err)
		}
		want.id = got[0].ID
		checkMessages(t, "client of the other process", got, err, []nodeMessage{want})
		checkSender(t, true, got, want)
		checkEnvelope(t, heard, want, begin)
	}
	answered := func(reply testclient.Reply, err error) error {
		if err == nil && reply.Status != 200 {
			err = fmt.Errorf("%d %s", reply.Status, reply.Body)
		}
		return err
	}
	privately, publicly := []testclient.Receiver{b.PrivateReceiver()}, []testclient.Receiver{b.PublicReceiver()}
	text := nodeMessage{body: `{"text":1}`, expiry: 60, receivers: privately}
	f(text, func() error { return answered(backend.PublishText(t.Context(), in.pubURL(), text.body, 60, b.Private)) })
	trusted := nodeMessage{body: `{"trusted":1}`, expiry: 3600, receivers: []testclient.Receiver{a.PrivateReceiver(), publicOf(b)}}
	f(trusted, func() error {
		return answered(backend.Request(t.Context(), in.pubURL(), testclient.AppendPublish(nil, published(trusted))))
	})
	socket := nodeMessage{body: `{"socket":1}`, receivers: publicly, from: a.Public}
	f(socket, func() error { return sender.Send(testclient.AppendPublish(nil, published(socket))) })
	rest := nodeMessage{body: `{"rest":1}`, expiry: 60, receivers: publicly, from: a.Public}
	f(rest, func() error {
		url := "http://" + in.pub + restPath + testclient.Query(true, "", a.Signed())
		return answered(backend.Post(t.Context(), url, testclient.AppendPublish(nil, published(rest))))
	})
}

func published(m nodeMessage) testclient.Publication {
	return testclient.Publication{Receivers: m.receivers, Body: m.body, Expiry: uint32(m.expiry)}
}

// checkEnvelope waits until want comes by in the bytes in which Node would have sent it at some second since begin.
func checkEnvelope(t *testing.T, heard <-chan rueidis.PubSubMessage, want nodeMessage, begin time.Time) {
	t.Helper()
	m := testclient.AwaitFrom(t, "Node hears of "+want.body, heard)
	for want.created = uint32(begin.Unix()); want.created <= uint32(time.Now().Unix()); want.created++ {
		if m.Message == string(want.envelope()) {
			return
		}
	}
	t.Errorf("sent to Node at %s:\n got %x\nwant %x", m.Channel, m.Message, want.envelope())
}

// listenAsNode returns what Node's processes for subscribers get from now on.
func listenAsNode(t *testing.T, server *redistest.Server) <-chan rueidis.PubSubMessage {
	t.Helper()
	redis := startNode(t, server, "n0delstn").redis
	messages, subscribed := make(chan rueidis.PubSubMessage, 1000), make(chan struct{})
	ctx := rueidis.WithOnSubscriptionHook(t.Context(), func(rueidis.PubSubSubscription) { close(subscribed) })
	go func() {
		_ = redis.Receive(ctx, redis.B().Psubscribe().Pattern("pushserver:*").Build(), func(m rueidis.PubSubMessage) { messages <- m })
	}()
	<-subscribed
	return messages
}
