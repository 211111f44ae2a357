package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"push-server/protocol/testclient"
)

// TestPortalDay: a day of a portal passes in the time of PUSH_TEST_DAY (make day). Clients lose their connections now and then, laptops sleep
// for up to eight hours, channels of users change twice, logs are rotated at night, Redis is started again twice and each server once. At
// the end of the day each client has everything, once and in order.
func TestPortalDay(t *testing.T) {
	length, err := time.ParseDuration(os.Getenv("PUSH_TEST_DAY"))
	if err != nil {
		t.Skip("make day runs it")
	}
	day := &portalDay{hour: length / 24}
	c := fault{redis: always, change: func(c config) {
		storage := c["storage"].(map[string]any)
		storage["messageTTL"], storage["channelTTL"] = int(length.Seconds()), int(length.Seconds())
		c.option("pollTimeout", max(length/2160, time.Second).String()) // 40 s
		c.option("pingInterval", max(length/720, time.Second).String()) // 2 min
	}}
	c.size = loadSize{
		channels: 100, webSockets: 150, pollers: 50, publishers: 4, publications: 1 << 30, stay: 60,
		pause: length / 1420, // so that who sleeps for eight hours misses some 70 messages
	}
	f := newFaultRun(t, &c, false)
	day.faultRun = f
	f.away, f.begin, f.patience = day.away, 20, max(patience, 2*day.hour)
	enough := make(chan struct{})
	f.enough = enough
	f.run(func(*faultRun) {
		defer close(enough)
		day.pass()
	})
	t.Logf("laptops have slept %d times", day.slept.Load())
}

type portalDay struct {
	*faultRun
	hour  time.Duration
	slept atomic.Int64
}

// away is how long somebody stays away: for a moment, or asleep.
func (d *portalDay) away(w *listener) error {
	if rand.IntN(4) > 0 {
		return w.stayAway()
	}
	d.slept.Add(1)
	select {
	case <-time.After(time.Duration(rand.Int64N(int64(8 * d.hour)))):
	case <-d.enough:
	case <-d.ctx.Done():
		return d.ctx.Err()
	}
	w.progress = time.Now()
	return nil
}

// pass has happen what happens in a day.
func (d *portalDay) pass() {
	begin := time.Now()
	for _, e := range []struct {
		hour    time.Duration
		what    string
		happens func()
	}{
		{2, "Redis is started again", d.restartRedis},
		{3, "logs are rotated", d.rotateLogs},
		{5, "a server is started again", func() { d.restart(1, syscall.SIGTERM) }},
		{7, "users get other channels", d.changeChannels},
		{10, "the other server is started again", func() { d.restart(2, syscall.SIGTERM) }},
		{13, "Redis is started again", d.restartRedis},
		{15, "the server of publishers is started again", func() { d.restart(0, syscall.SIGTERM) }},
		{20, "users get other channels", d.changeChannels},
		{24, "the day is over", d.checkLogs},
	} {
		if err := d.load.sleep(time.Until(begin.Add(e.hour * d.hour))); err != nil {
			d.t.Fatal(context.Cause(d.ctx))
		}
		d.t.Logf("%2d:00 %s; %d publications so far", e.hour, e.what, d.published.Load())
		e.happens()
	}
}

func (d *portalDay) restartRedis() {
	d.redis.Kill()
	d.last(time.Second)
	d.redis.Restart()
}

// changeChannels gives everybody another channel, when everybody knows the one that he has.
func (d *portalDay) changeChannels() {
	for _, ch := range d.channels {
		for ch.stragglers() > 0 {
			if err := d.load.sleep(100 * time.Millisecond); err != nil {
				d.t.Fatal(context.Cause(d.ctx))
			}
		}
		ch.change()
	}
}

func (d *portalDay) logs(i int, pattern string) []string {
	d.t.Helper()
	files, err := filepath.Glob(filepath.Join(d.in.configs[i]["debug"].(map[string]any)["folderName"].(string), pattern))
	if err != nil {
		d.t.Fatal(err)
	}
	return files
}

// rotateLogs does what logrotate does at night, and wants the servers to let go of the old files.
func (d *portalDay) rotateLogs() {
	for i, p := range d.in.procs {
		for _, name := range d.logs(i, "*.log") {
			if err := os.Rename(name, name+".1"); err != nil {
				d.t.Fatal(err)
			}
		}
		d.in.signal(d.t, i, syscall.SIGHUP)
		testclient.AwaitNil(d.t, "logs are opened again", func() error {
			links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", p.cmd.Process.Pid))
			for _, link := range links {
				if file, _ := os.Readlink(link); strings.HasSuffix(file, ".log.1") {
					return fmt.Errorf("%s is still open", file)
				}
			}
			return err
		})
	}
}

// checkLogs wants lines in the files from before and from after the night.
func (d *portalDay) checkLogs() {
	for i := range d.in.procs {
		if before, after := d.logs(i, "*.log.1"), d.logs(i, "*.log"); len(before) == 0 || len(after) == 0 {
			d.t.Errorf("server %d has the logs %q from before the night, and %q since", i, before, after)
		}
	}
}
