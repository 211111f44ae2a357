package main

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"push-server/protocol/testclient"
	"push-server/redisbus/redistest"
)

// The 24 hours of a real installation, and how often something is published.
const (
	compressedDay   = 4 * time.Second
	compressedPause = 100 * time.Millisecond
)

// A day passes in seconds: what is published into a channel can be read for a day, however long the channel has been in use, and by
// whoever has slept for less.
func TestDayCompressed(t *testing.T) {
	onEachBus(t, func(t *testing.T, redis *redistest.Server) {
		t.Parallel()
		d := newDay(t, redis)
		first := d.publish()
		begin := time.Now()
		yesterday := first.id
		for time.Since(begin) < compressedDay+compressedDay/2 { // longer than the first index would have lived
			d.pause()
			if m := d.publish(); time.Since(begin) < compressedDay/2-3*compressedPause { // so that some are gone for certain
				yesterday = m.id
			}
		}
		middle := d.sent[len(d.sent)-1-int(compressedDay/4/compressedPause)]
		d.checkTTL()
		d.wake("slept for a quarter of a day", middle.id, d.after(middle.id))
		d.wakeLate("went to sleep when everything was another message", yesterday)
		d.awaitNight()
		d.wake("slept for more than a day", middle.id, nil)
	})
}

// A day is a channel into which messages are published.
type day struct {
	t     *testing.T
	in    *installation
	redis *redistest.Server
	ch    testclient.Channel
	tick  *time.Ticker
	ids   *testclient.Conn // tells the ids
	sent  []nodeMessage
}

func newDay(t *testing.T, redis *redistest.Server) *day {
	t.Helper()
	c := joined(recordedConfig(t, "default-sub", socketOf(redis)), recordedConfig(t, "default-pub", socketOf(redis)))
	storage := c["storage"].(map[string]any)
	storage["messageTTL"], storage["channelTTL"] = int(compressedDay/time.Second), int(compressedDay/time.Second)
	c.option("pollTimeout", "1s")
	in := &installation{redis: redis}
	in.add(t, c)
	in.waitDelivering(t)
	d := &day{t: t, in: in, redis: redis, ch: testclient.NewChannel(testKey), tick: time.NewTicker(compressedPause)}
	t.Cleanup(d.tick.Stop)
	d.ids = dialSubscriber(t, in.subs[0], testclient.Query(true, "", d.ch.Alone()))
	testclient.AwaitNil(t, "the channel is listened to", func() error {
		publishText(t, in, `{}`, 0, d.ch.Private)
		d.ids.SetReadDeadline(time.Now().Add(time.Second))
		_, err := d.ids.Receive()
		return err
	})
	return d
}

func (d *day) pause() { <-d.tick.C }

// publish publishes something that is to be kept for ever, which is a day.
func (d *day) publish() nodeMessage {
	d.t.Helper()
	m := nodeMessage{body: numbered(len(d.sent))}
	publishText(d.t, d.in, m.body, 86400, d.ch.Private)
	d.ids.SetReadDeadline(time.Now().Add(patience))
	for m.id == "" {
		got, err := d.ids.Receive()
		if err != nil {
			d.t.Fatal(err)
		}
		for _, g := range got {
			if g.Body == m.body {
				m.id = g.ID
			}
		}
	}
	d.sent = append(d.sent, m)
	return m
}

func (d *day) after(id string) []nodeMessage {
	i := slices.IndexFunc(d.sent, func(m nodeMessage) bool { return m.id > id })
	return d.sent[i:]
}

// checkTTL wants the times of the channel and of its latest message to have begun anew.
func (d *day) checkTTL() {
	d.t.Helper()
	if d.redis == nil {
		return
	}
	last := d.publish()
	for _, key := range []string{nodeHistory(d.ch.PrivateReceiver()), "message:" + fromHex(last.id)} {
		if ttl := time.Duration(d.redis.Int("PTTL", key)) * time.Millisecond; ttl <= compressedDay/2 || ttl > compressedDay {
			d.t.Errorf("%q lives for another %v", key, ttl)
		}
	}
}

// wake has a client of each transport and mode come back with mid and wants it to get exactly that, and what is published now.
func (d *day) wake(who, mid string, want []nodeMessage) {
	d.t.Helper()
	for _, binary := range []bool{false, true} {
		got, err := d.poll(binary, mid)
		checkMessages(d.t, who+", poll", got, err, want)
		socket := dialSubscriber(d.t, d.in.subs[0], testclient.Query(binary, mid, d.ch.Alone()))
		got, err = receive(socket, len(want))
		checkMessages(d.t, who+", WebSocket", got, err, want)
		m := d.publish()
		got, err = receive(socket, 1)
		checkMessages(d.t, who+", WebSocket, and now", got, err, []nodeMessage{m})
		socket.Close()
		want = append(slices.Clone(want), m)
	}
}

// wakeLate has a client come back that has slept for about a day: it gets what is left, in order and without a hole.
func (d *day) wakeLate(who, mid string) {
	d.t.Helper()
	got, err := d.poll(true, mid)
	missed := d.after(mid)
	checkMessages(d.t, who, got, err, missed[max(0, len(missed)-len(got)):])
	if len(got) == 0 || len(got) == len(missed) {
		d.t.Errorf("%s: %d of %d messages are left", who, len(got), len(missed))
	}
}

// poll asks with mid. Nothing is an answer, an error is not.
func (d *day) poll(binary bool, mid string) ([]testclient.Message, error) {
	ctx, cancel := context.WithTimeout(d.t.Context(), patience)
	defer cancel()
	reply, err := testclient.NewHTTP(false).Poll(ctx, "http://"+d.in.subs[0]+subPath+testclient.Query(binary, mid, d.ch.Alone()))
	if err != nil {
		return nil, err
	}
	if reply.Status == 304 && reply.Header.Get("Last-Message-Id") != mid {
		return nil, fmt.Errorf("sent on to %q instead of %q", reply.Header.Get("Last-Message-Id"), mid)
	}
	return reply.Messages()
}

// awaitNight waits until nothing is left.
func (d *day) awaitNight() {
	d.t.Helper()
	before := d.sent[0].id
	testclient.AwaitNil(d.t, "everything is over", func() error {
		got, err := d.poll(false, before)
		if err != nil {
			d.t.Errorf("a client that slept for long: %v", err)
		}
		if len(got) > 0 {
			return fmt.Errorf("%d messages are left", len(got))
		}
		return nil
	})
	if d.redis != nil {
		if n := d.redis.Int("EXISTS", nodeHistory(d.ch.PrivateReceiver())); n != 0 {
			d.t.Error("the channel is still there")
		}
	}
}
