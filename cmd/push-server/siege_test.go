package main

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"push-server/protocol/testclient"
)

// What an attack may cost: memory of the process over what it had before, the same once the attackers have gone, and how long others
// wait meanwhile, which is generous: it is the machine's, too.
const (
	attackMemory = 128 << 20
	attackRest   = 32 << 20
	attackWithin = time.Minute
	othersWait   = 5 * time.Second // it is some milliseconds where nothing else runs
)

// memory returns a figure of /proc/PID/status in bytes.
func (p *process) memory(name string) int {
	p.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	_, rest, _ := bytes.Cut(text, []byte(name+":"))
	value, _, _ := bytes.Cut(bytes.TrimSpace(rest), []byte(" kB"))
	n, err := strconv.Atoi(string(value))
	if err != nil {
		p.t.Fatalf("%s: %v", name, err)
	}
	return n << 10
}

// A siege is a process under attack: its memory is watched, and how long others wait.
type siege struct {
	t      *testing.T
	in     *installation
	victim *process
	start  int
	others *others
}

// besiege begins to watch the process of an installation that takes the attack. delivering: others get publications meanwhile.
func besiege(t *testing.T, in *installation, victim *process, delivering bool) *siege {
	t.Helper()
	s := &siege{t: t, in: in, victim: victim}
	s.others = newOthers(t, in, delivering)
	s.start = victim.memory("VmRSS")
	peak := fmt.Sprintf("/proc/%d/clear_refs", victim.cmd.Process.Pid)
	if err := os.WriteFile(peak, []byte("5"), 0); err != nil { // VmHWM begins anew
		t.Fatal(err)
	}
	s.others.begin()
	return s
}

// end ends the attack by leave and holds what it has cost against what it may.
func (s *siege) end(leave func()) {
	s.t.Helper()
	s.others.end()
	peak := s.victim.memory("VmHWM") - s.start
	leave()
	left := time.Now()
	rest := s.returned(left)
	s.t.Logf("memory over the start: %d MB, %d MB %.0f s later; others: %s", peak>>20, rest>>20, time.Since(left).Seconds(), s.others)
	if peak > attackMemory {
		s.t.Errorf("%d MB over the start, at most %d", peak>>20, attackMemory>>20)
	}
	if rest > attackRest {
		s.t.Errorf("%d MB over the start after %v, at most %d", rest>>20, attackWithin, attackRest>>20)
	}
}

// returned waits until the memory has come back, or time is up.
func (s *siege) returned(left time.Time) (rest int) {
	look := time.NewTicker(100 * time.Millisecond)
	defer look.Stop()
	for range look.C {
		rest = s.victim.memory("VmRSS") - s.start
		if rest <= attackRest || time.Since(left) > attackWithin {
			break
		}
	}
	return rest
}

// others are a subscriber, a back end that publishes to it, and clients who come anew.
type others struct {
	t       *testing.T
	in      *installation
	channel testclient.Channel
	socket  *testclient.Conn // nil: only those who come anew
	backend *testclient.HTTP
	stop    chan struct{}
	work    sync.WaitGroup
	waits   []time.Duration
}

func newOthers(t *testing.T, in *installation, delivering bool) *others {
	t.Helper()
	o := &others{t: t, in: in, channel: testclient.NewChannel(testKey), backend: testclient.NewHTTP(true), stop: make(chan struct{})}
	t.Cleanup(o.backend.Close)
	if delivering {
		o.socket = dialSubscriber(t, in.subs[0], testclient.Query(true, "", o.channel.Signed()))
	}
	return o
}

func (o *others) begin() {
	o.work.Go(func() {
		pace := time.NewTicker(20 * time.Millisecond)
		defer pace.Stop()
		for {
			begin := time.Now()
			if err := o.meet(); err != nil {
				o.t.Errorf("others: %v", err)
				return
			}
			o.waits = append(o.waits, time.Since(begin))
			select {
			case <-o.stop:
				return
			case <-pace.C:
			}
		}
	})
}

// meet has one client come anew, and one publication answered and delivered.
func (o *others) meet() error {
	fresh, err := testclient.Dial(o.t.Context(), o.in.subs[0], subPath+testclient.Query(true, "", o.channel.Signed()))
	if err != nil {
		return err
	}
	defer fresh.Close()
	if o.socket == nil {
		return nil
	}
	reply, err := o.backend.PublishText(o.t.Context(), o.in.pubURL(), numbered(1), 0, o.channel.Private)
	if err != nil || reply.Status != 200 {
		return fmt.Errorf("publication answered %d %s, %w", reply.Status, reply.Body, err)
	}
	o.socket.SetReadDeadline(time.Now().Add(patience))
	_, err = receive(o.socket, 1)
	return err
}

func (o *others) end() {
	o.t.Helper()
	close(o.stop)
	o.work.Wait()
	slices.Sort(o.waits)
	if n := len(o.waits); n > 0 && o.waits[n-1] > othersWait {
		o.t.Errorf("others waited up to %v", o.waits[n-1])
	}
}

func (o *others) String() string {
	n := len(o.waits)
	if n == 0 {
		return "none"
	}
	ms := func(d time.Duration) time.Duration { return d.Round(time.Millisecond / 10) }
	return fmt.Sprintf("median %v, 99 %% %v, longest of %d %v", ms(o.waits[n/2]), ms(o.waits[n*99/100]), n, ms(o.waits[n-1]))
}
