package engine

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"push-server/poll"
	"push-server/protocol"
	"push-server/protocol/testclient"
)

// A broadcast that exceeds the budget of a turn is finished before the next message: nobody gets them swapped.
func TestNobodyGetsMessagesSwapped(t *testing.T) {
	e := startMemory(t, func(o *Options) { o.TurnBudget = 1 })
	a := newShared()
	var cs []*testclient.Client
	for range 200 {
		cs = append(cs, subscribed(t, e, query("", a)))
	}
	const messages = 50
	var want []string
	for i := range messages {
		want = append(want, fmt.Sprint(i))
		publish(t, e, want[i], 60, private(a))
	}
	for i, c := range cs {
		if got := c.Bodies(messages); !slices.Equal(got, want) {
			t.Fatalf("client %d: %v", i, got)
		}
	}
}

// Polls that time out while a broadcast is under way get the message, or a position before it.
func TestPollEndsWhileABroadcastIsUnderWay(t *testing.T) {
	e := startMemory(t, func(o *Options) { o.TurnBudget = 1; o.PollTimeout = time.Hour })
	a := newShared()
	witness := subscribed(t, e, query("", a))
	const polls = 200
	cs := make([]*testclient.Client, polls)
	for i := range cs {
		cs[i] = dial(t, e)
		cs[i].Get(testSub + query("", a))
	}
	testclient.Await(t, "all polls", func() bool { return e.Stats().Polls == polls })
	e.inEachLoop(t, func(l *loop) { // an hour is over for one after the other
		n := uint32(0)
		l.slab.each(func(s *Session) {
			if s.timer == timerPoll {
				n++
				l.deadlines.length[timerPoll] = n / 40
				l.deadlines.start(s, timerPoll)
			}
		})
	})
	testclient.Await(t, "the first one to time out", func() bool { return e.Stats().Polls < polls })
	publish(t, e, "1", 60, private(a))
	mid := witness.Messages(1)[0].ID
	for _, c := range cs {
		resp := c.Reply("GET")
		if position := resp.Header.Get("Last-Message-Id"); resp.Status != http.StatusOK && position >= mid {
			t.Errorf("%s names %s: message %s is lost", resp, position, mid)
		}
	}
}

// A large replay reaches a reader that is slow, part by part, and holds no more memory than a part.
func TestLargeReplayToASlowReader(t *testing.T) {
	e := startMemory(t, func(o *Options) { o.MaxBuffered = 1 << 10 })
	a := newItem()
	body := strings.Repeat("x", 200<<10)
	const messages = 60
	for range messages {
		publish(t, e, body, 600, private(a))
	}
	c := webSocket(t, e, query("&mid=00000000000000000000000000", a))
	testclient.Await(t, "the first part to be written", func() bool { return e.Stats().Delivered > 0 })
	publish(t, e, "small", 600, private(a)) // behind the replay
	const part = 1<<20 + 200<<10
	if n := e.buffered(); n > 2*part {
		t.Errorf("%d bytes wait for a reader that is slow", n)
	}
	for range messages {
		if got := c.Bodies(1); got[0] != body {
			t.Fatalf("a message of %d bytes", len(got[0]))
		}
	}
	if got := c.Bodies(1); got[0] != "small" {
		t.Errorf("got %q", got)
	}
}

// buffered is what waits to be written to all connections.
func (e *Engine) buffered() int {
	var n atomic.Int64
	_ = askLoops(context.Background(), e.loops, func(l *loop) {
		l.slab.each(func(s *Session) { n.Add(int64(s.conn.OutboundBuffered())) })
	})
	return int(n.Load())
}

// Who does not read is cut off when the buffer passes its limit; others do not notice.
func TestSlowReaderIsClosed(t *testing.T) {
	e := startMemory(t, func(o *Options) { o.MaxBuffered = 256 << 10 })
	a := newItem()
	slow := subscribed(t, e, query("", a))
	quick := subscribed(t, e, query("", a))
	body := strings.Repeat("x", 200<<10)
	for i := 0; e.Stats().Closes["slow_reader"] == 0; i++ {
		if i == 1000 {
			t.Fatal("200 MB were buffered")
		}
		publish(t, e, body, 60, private(a))
		if got := quick.Bodies(1); got[0] != body {
			t.Fatalf("a message of %d bytes", len(got[0]))
		}
	}
	_, _ = io.Copy(io.Discard, slow) // ends
}

// Short writes and full sockets must not lose or swap a byte: the remainder goes through gnet's buffer.
func TestEveryByteArrivesInOrder(t *testing.T) {
	e := startMemory(t, func(o *Options) { o.MaxBuffered = 64 << 20; o.Loops = 1 })
	a := newItem()
	c := subscribed(t, e, query("", a))
	const messages = 400
	var want []string
	for i := range messages {
		want = append(want, fmt.Sprintf(`"%d-%s"`, i, strings.Repeat("y", 50_000)))
	}
	sent := make(chan error, 1)
	go func() {
		for _, body := range want {
			if err := e.Publish(context.Background(), []*protocol.Publication{publication(body, 60, private(a))}); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	if err := <-sent; err != nil { // nobody reads until all is sent
		t.Fatal(err)
	}
	if got := c.Bodies(messages); !slices.Equal(got, want) {
		t.Error("messages are damaged or out of order")
	}
}

var dates = regexp.MustCompile(`Date: [^\r]*\r\n`)

// Whoever says much at once costs no system call for each answer, and still gets every one, in order.
func TestAnswersToOneReadLeaveTogether(t *testing.T) {
	const said = 200
	pings := make([]byte, 0, 64<<10)
	var pongs, replies bytes.Buffer
	for i := range said {
		payload := fmt.Append(nil, i)
		pings = append(pings, ws.MustCompileFrame(ws.MaskFrame(ws.NewPingFrame(payload)))...)
		pongs.Write(ws.MustCompileFrame(ws.NewPongFrame(payload)))
		replies.Write(poll.AppendNotFound(nil, poll.ReplyOptions{}, false))
	}
	requests := strings.Repeat("GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n", said)
	for _, c := range []struct {
		state     state
		transport transportKind
		said      []byte
		want      []byte
	}{
		{stateLive, transportWebSocket, pings, pongs.Bytes()},
		{stateHead, transportNone, []byte(requests), replies.Bytes()},
	} {
		l, _, _ := bareLoop(t, 0)
		l.o.Listeners = []Listener{{Name: "test", Routes: poll.Routes{Sub: testSub}}}
		s := l.slab.take()
		conn := newPacketSink(t)
		s.conn, s.state, s.transport = conn, c.state, c.transport
		l.contained(s, c.said)
		got, writes := conn.packets()
		if got, want := dates.ReplaceAll(got, nil), dates.ReplaceAll(c.want, nil); !bytes.Equal(got, want) {
			t.Errorf("%v: answered %d bytes, want %d, or others", c.transport, len(got), len(c.want))
		}
		if most := len(c.want)/(corkLimit/2) + 1; writes > most {
			t.Errorf("%v: %d writes for %d bytes, at most %d", c.transport, writes, len(c.want), most)
		}
	}
}
