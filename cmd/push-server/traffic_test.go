package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"push-server/protocol/testclient"
)

// A traffic is that of people who do nothing wrong: publications, one after the other, to a WebSocket in each mode and to a
// poll, who get all of them in order on one and the same connection.
type traffic struct {
	t     *testing.T
	in    *installation
	ids   []string // of the channels
	stop  chan struct{}
	ended sync.WaitGroup
}

const lastOne = `{"last":1}`

func startTraffic(t *testing.T, in *installation) *traffic {
	t.Helper()
	f := &traffic{t: t, in: in, stop: make(chan struct{})}
	for _, binary := range []bool{false, true} {
		ch := f.channel()
		socket, err := testclient.Dial(t.Context(), in.subs[0], subPath+testclient.Query(binary, "", ch.Signed()))
		if err != nil {
			t.Fatal(err)
		}
		f.ended.Go(func() {
			defer socket.Close()
			f.report("WebSocket", followSocket(socket).until(lastOne))
		})
	}
	ch := f.channel()
	f.ended.Go(func() { f.report("poll", followPolls(t.Context(), in.subs[0], ch).until(lastOne)) })
	waitOnline(t, in, ch)
	f.ended.Go(func() { f.report("publication", f.publish()) })
	return f
}

func (f *traffic) channel() testclient.Channel {
	ch := testclient.NewChannel(testKey)
	f.ids = append(f.ids, ch.Private)
	return ch
}

// end publishes a last one and waits until everybody has got everything.
func (f *traffic) end() {
	close(f.stop)
	f.ended.Wait()
}

func (f *traffic) report(who string, err error) {
	if err != nil {
		f.t.Errorf("healthy traffic was disturbed: %s: %v", who, err)
	}
}

func (f *traffic) publish() error {
	backend := testclient.NewHTTP(true)
	defer backend.Close()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for n := 1; ; n++ {
		body := numbered(n)
		select {
		case <-f.stop:
			body = lastOne
		case <-tick.C:
		}
		reply, err := backend.PublishText(f.t.Context(), f.in.pubURL(), body, 60, f.ids...)
		if err != nil || reply.Status != 200 {
			return fmt.Errorf("answered %d, %w", reply.Status, err)
		}
		if body == lastOne {
			return nil
		}
	}
}

// numbered is the body of the nth publication.
func numbered(n int) string { return fmt.Sprintf(`{"n":%d}`, n) }

// A follower receives numbered publications and wants each of them once, in order.
type follower struct {
	receive func(mid string) ([]testclient.Message, error)
	mid     string // of the last one
	next    int
	pending []testclient.Message // received together with the last one
}

func followSocket(socket *testclient.Conn) *follower {
	return &follower{next: 1, receive: func(string) ([]testclient.Message, error) {
		socket.SetReadDeadline(time.Now().Add(patience))
		return socket.Receive()
	}}
}

func followPolls(ctx context.Context, addr string, ch testclient.Channel) *follower {
	poller := testclient.NewHTTP(true)
	context.AfterFunc(ctx, poller.Close)
	return &follower{next: 1, receive: func(mid string) ([]testclient.Message, error) {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		reply, err := poller.Poll(ctx, "http://"+addr+subPath+testclient.Query(false, mid, ch.Signed()))
		if err != nil {
			return nil, err
		}
		return reply.Messages()
	}}
}

// until receives up to that body.
func (f *follower) until(last string) error {
	for {
		for i, m := range f.pending {
			if m.ID <= f.mid || m.Body != last && m.Body != numbered(f.next) {
				return fmt.Errorf("got %s %s behind %s, want %s", m.ID, m.Body, f.mid, numbered(f.next))
			}
			f.mid = m.ID
			f.next++
			if m.Body == last {
				f.pending = f.pending[i+1:]
				return nil
			}
		}
		var err error
		if f.pending, err = f.receive(f.mid); err != nil {
			return fmt.Errorf("waiting for %d: %w", f.next, err)
		}
	}
}

// waitOnline waits until the server says that somebody listens to the channel.
func waitOnline(t *testing.T, in *installation, ch testclient.Channel) {
	t.Helper()
	testclient.AwaitNil(t, "somebody is online", func() error { return notOnline(t, in, ch) })
}

func notOnline(t *testing.T, in *installation, ch testclient.Channel) error {
	backend := testclient.NewHTTP(false)
	reply, err := backend.Poll(t.Context(), in.pubURL()+"?CHANNEL_ID="+ch.Private)
	if err == nil && !strings.Contains(string(reply.Body), ch.Private) {
		err = fmt.Errorf("the server knows of %s", reply.Body)
	}
	return err
}
