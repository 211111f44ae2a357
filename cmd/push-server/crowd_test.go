package main

import (
	"errors"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"push-server/protocol/testclient"
)

// TestCrowdOfPublishers: while Redis stands still, back ends come with a connection each, more than there are places. Nobody is kept
// long, nobody is left without an answer, and what was accepted arrives when Redis goes on.
func TestCrowdOfPublishers(t *testing.T) {
	redis := startRedis(t)
	in := installOn(t, redis, nil)
	in.waitDelivering(t)
	o := observeFirst(t, in)
	redis.Pause()
	defer redis.Resume()
	o.publish(1, 202) // the first one waits for push.acceptTimeout

	const crowd = 1500
	statuses := make(chan int, crowd)
	slots := make(chan struct{}, 700) // descriptors of this process
	var all sync.WaitGroup
	other := testclient.NewChannel(testKey)
	for range crowd {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			begin := time.Now()
			reply, err := testclient.NewHTTP(false).PublishText(t.Context(), in.pubURL(), numbered(1), 60, other.Private)
			if took := time.Since(begin); err != nil || took > answered {
				t.Errorf("answered after %v: %v", took, err)
			}
			statuses <- reply.Status
		})
	}
	all.Wait()
	close(statuses)
	counts := make(map[int]int)
	for status := range statuses {
		counts[status]++
	}
	if counts[202] == 0 || counts[202]+counts[503] != crowd {
		t.Errorf("answers %v", counts)
	}
	redis.Resume()
	o.arrived()
}

// TestIdlePublishersKeepNobodyOut: connections that say nothing take places of their own; who comes when there are none is told so.
func TestIdlePublishersKeepNobodyOut(t *testing.T) {
	in := install(t, "default", startRedis(t), 1)
	ch := testclient.NewChannel(testKey)
	for range 600 { // more than the places that are kept for publishers
		conn, err := net.Dial("tcp", in.pub)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	reply, err := testclient.NewHTTP(false).PublishText(t.Context(), in.pubURL(), numbered(1), 60, ch.Private)
	if err != nil || reply.Status != 200 {
		t.Errorf("answered %d, %v", reply.Status, err)
	}
}

// TestSecondSignal: a drain that is cut short says what is lost.
func TestSecondSignal(t *testing.T) {
	in := installOn(t, absentRedis(t), func(c config) { c.option("drainTimeout", "50s") })
	o := observe(t, in)
	o.publish(7, 202)
	publisher := in.procs[1]
	if err := publisher.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	testclient.AwaitNil(t, "the drain begins", func() error {
		if !strings.Contains(publisher.log.String(), "shutting down") {
			return errors.New("it does not")
		}
		return nil
	})
	if code := publisher.signal(syscall.SIGTERM); code != exitFailure {
		t.Errorf("exit code %d", code)
	}
	if log := publisher.log.String(); !strings.Contains(log, "lost") || !strings.Contains(log, "count=7") {
		t.Errorf("it is not said how many publications are lost:\n%s", publisher.log.String())
	}
}
