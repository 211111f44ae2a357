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
		middle := d.sent[max(0, len(d.sent)-1-int(compressedDay/4/compressedPause))].nodeMessage
		d.checkTTL()
		d.wake("slept for a quarter of a day", middle.id)
		d.wakeLate("went to sleep when everything was another message", yesterday)
		d.awaitNight()
		d.wake("slept for more than a day", middle.id)
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
	sent  []dayMessage
}

type dayMessage struct {
	nodeMessage
	begun time.Time // before it was published: it lives for a day at least from then on
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
	begun, m := time.Now(), nodeMessage{body: numbered(len(d.sent))}
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
	d.sent = append(d.sent, dayMessage{m, begun})
	return m
}

func (d *day) after(id string) []dayMessage {
	i := slices.IndexFunc(d.sent, func(m dayMessage) bool { return m.id > id })
	return d.sent[i:]
}

// check wants all that has come behind mid, in order, but for the oldest whose day may be over by now.
func (d *day) check(who, mid string, got []testclient.Message, err error) {
	d.t.Helper()
	now := time.Now()
	missed := d.after(mid)
	left := missed[max(0, len(missed)-len(got)):]
	want := make([]nodeMessage, len(left))
	for i := range left {
		want[i] = left[i].nodeMessage
	}
	checkMessages(d.t, who, got, err, want)
	for _, m := range missed[:len(missed)-len(left)] {
		if age := now.Sub(m.begun); age < compressedDay {
			d.t.Errorf("%s: lacks %s, which is %v old", who, m.body, age)
		}
	}
}

// checkTTL wants the times of the channel and of its latest message to have begun anew.
func (d *day) checkTTL() {
	d.t.Helper()
	if d.redis == nil {
		return
	}
	last, begin := d.publish(), time.Now()
	for _, key := range []string{nodeHistory(d.ch.PrivateReceiver()), "message:" + fromHex(last.id)} {
		ttl := time.Duration(d.redis.Int("PTTL", key)) * time.Millisecond
		if ttl <= compressedDay/2-time.Since(begin) || ttl > compressedDay {
			d.t.Errorf("%q lives for another %v", key, ttl)
		}
	}
}

// wake has a client of each transport and mode come back with mid and wants it to get what it has missed, and what is published now.
func (d *day) wake(who, mid string) {
	d.t.Helper()
	for _, binary := range []bool{false, true} {
		got, err := d.poll(binary, mid)
		d.check(who+", poll", mid, got, err)
		socket := dialSubscriber(d.t, d.in.subs[0], testclient.Query(binary, mid, d.ch.Alone()))
		last := d.publish()
		socket.SetReadDeadline(time.Now().Add(patience))
		for got = nil; err == nil && (len(got) == 0 || got[len(got)-1].ID < last.id); {
			var more []testclient.Message
			more, err = socket.Receive()
			got = append(got, more...)
		}
		d.check(who+", WebSocket", mid, got, err)
		socket.Close()
	}
}

// wakeLate has a client come back that has slept for about a day: it gets what is left, in order and without a hole.
func (d *day) wakeLate(who, mid string) {
	d.t.Helper()
	got, err := d.poll(true, mid)
	d.check(who, mid, got, err)
	if missed := d.after(mid); len(got) == len(missed) {
		d.t.Errorf("%s: all of %d messages are left", who, len(missed))
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
