package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"push-server/cmd/push-server/internal/client"
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

const lastOne = `{"n":0}`

func startTraffic(t *testing.T, in *installation) *traffic {
	t.Helper()
	f := &traffic{t: t, in: in, stop: make(chan struct{})}
	for _, binary := range []bool{false, true} {
		ch := f.channel()
		socket, err := client.Dial(t.Context(), in.subs[0], subPath+client.Query(binary, "", ch.Signed()))
		if err != nil {
			t.Fatal(err)
		}
		f.ended.Go(func() {
			defer socket.Close()
			f.report("WebSocket", f.follow(func(string) ([]client.Message, error) {
				socket.SetReadDeadline(time.Now().Add(patience))
				return socket.Receive()
			}))
		})
	}
	ch := f.channel()
	f.ended.Go(func() { f.report("poll", f.poll(ch)) })
	if err := waitOnline(t, in, ch); err != nil {
		t.Fatal(err)
	}
	f.ended.Go(func() { f.report("publication", f.publish()) })
	return f
}

func (f *traffic) channel() client.Channel {
	ch := client.NewChannel(testKey)
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
	backend := client.NewHTTP(true)
	defer backend.Close()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for n := 1; ; n++ {
		body := fmt.Sprintf(`{"n":%d}`, n)
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

func (f *traffic) poll(ch client.Channel) error {
	poller := client.NewHTTP(true)
	defer poller.Close()
	return f.follow(func(mid string) ([]client.Message, error) {
		ctx, cancel := context.WithTimeout(f.t.Context(), patience)
		defer cancel()
		reply, err := poller.Poll(ctx, "http://"+f.in.subs[0]+subPath+client.Query(false, mid, ch.Signed()))
		if err != nil {
			return nil, err
		}
		return reply.Messages()
	})
}

// follow receives up to the last one.
func (f *traffic) follow(receive func(mid string) ([]client.Message, error)) error {
	mid := ""
	for n := 1; ; {
		messages, err := receive(mid)
		if err != nil {
			return fmt.Errorf("waiting for %d: %w", n, err)
		}
		for _, m := range messages {
			if m.Body == lastOne {
				return nil
			}
			if want := fmt.Sprintf(`{"n":%d}`, n); m.Body != want || m.ID <= mid {
				return fmt.Errorf("got %s %s behind %s, want %s", m.ID, m.Body, mid, want)
			}
			mid = m.ID
			n++
		}
	}
}

// waitOnline waits until the server says that somebody listens to the channel.
func waitOnline(t *testing.T, in *installation, ch client.Channel) error {
	backend := client.NewHTTP(true)
	defer backend.Close()
	deadline := time.Now().Add(patience)
	for {
		reply, err := backend.Poll(t.Context(), in.pubURL()+"?CHANNEL_ID="+ch.Private)
		switch {
		case err != nil:
			return err
		case strings.Contains(string(reply.Body), ch.Private):
			return nil
		case time.Now().After(deadline):
			return fmt.Errorf("nobody comes online: %s", reply.Body)
		}
	}
}
