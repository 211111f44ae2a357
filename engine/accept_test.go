package engine

import (
	"errors"
	"net/http"
	"slices"
	"testing"
	"time"

	gneterrors "github.com/panjf2000/gnet/v2/pkg/errors"
	"github.com/panjf2000/gnet/v2/pkg/netpoll"
	"golang.org/x/sys/unix"

	"push-server/engine/recorder"
	"push-server/protocol/testclient"
)

// What gnet's poller does with an accept that failed, which a new version may change.
func TestFailedAcceptEndsNoPoller(t *testing.T) {
	p, err := netpoll.OpenPoller()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	fd, err := unix.Eventfd(1, unix.EFD_CLOEXEC) // readable all the time
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := p.AddRead(&netpoll.PollAttachment{FD: fd}, false); err != nil {
		t.Fatal(err)
	}
	answers := []error{gneterrors.ErrAcceptSocket, gneterrors.ErrAcceptSocket, gneterrors.ErrEngineShutdown}
	err = p.Polling(func(int, netpoll.IOEvent, netpoll.IOFlags) error {
		answer := answers[0]
		answers = answers[1:]
		return answer
	})
	if !errors.Is(err, gneterrors.ErrEngineShutdown) || len(answers) > 0 {
		t.Errorf("%v, %d left", err, len(answers))
	}
}

// While a loop looks away from its listeners its sessions notice nothing. Then those who have waited come in.
func TestLoopLooksAway(t *testing.T) {
	e := startMemory(t, func(o *Options) { o.Loops = 1 })
	a := newItem()
	live := subscribed(t, e, query("", a))
	order := func(f func(l *loop)) {
		t.Helper()
		if err := askLoops(t.Context(), e.loops, f); err != nil {
			t.Fatal(err)
		}
	}
	order(func(l *loop) {
		for range acceptTries {
			l.acceptFailed(unix.ENOMEM)
		}
		if !l.acceptor.deaf || len(l.acceptor.listeners) != 1 {
			t.Errorf("the loop still listens: %+v", l.acceptor)
		}
		l.acceptor.deafSince = time.Now().Add(time.Hour)
	})
	c := dial(t, e)
	c.Get(testSub + query("", a))
	for range 10 {
		publish(t, e, "1", 0, private(a))
		live.Bodies(1)
	}
	if st := e.Stats(); st.Connections != 1 || st.AcceptFailures != acceptTries {
		t.Errorf("%d connections, %d failures", st.Connections, st.AcceptFailures)
	}
	order(func(l *loop) { l.acceptor.deafSince = time.Now().Add(-acceptPause) })
	testclient.Await(t, "the poll", func() bool { return e.Stats().Polls == 1 })
}

// Where the loop does not know its listeners it goes on trying, and serves.
func TestLoopWithoutProc(t *testing.T) {
	e := startMemory(t, func(o *Options) { o.Loops = 1 })
	a := newItem()
	live := subscribed(t, e, query("", a))
	if err := askLoops(t.Context(), e.loops, func(l *loop) {
		l.acceptor.poller, l.acceptor.listeners = -1, nil
		for range 2 * acceptTries {
			l.acceptFailed(unix.ENOMEM)
		}
	}); err != nil {
		t.Fatal(err)
	}
	publish(t, e, "1", 0, private(a))
	live.Bodies(1)
	subscribed(t, e, query("", a))
}

// A request that is handed off takes a second place. Where there is none the client is told.
func TestNoRoomForHandOff(t *testing.T) {
	e := startMemory(t, func(o *Options) { o.MaxConnections = 1 })
	f := func(head string) {
		t.Helper()
		testclient.Await(t, "the place", func() bool { return e.Stats().Connections == 0 })
		c := dial(t, e)
		c.Say("POST /bitrix/pub/" + query("", newItem()) + " HTTP/1.1\r\nHost: test\r\n" + head + "\r\n\r\n")
		if resp := c.Reply("POST"); resp.Status != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
			t.Errorf("%s %v", resp, resp.Header)
		}
		_ = c.Close()
	}
	f("Transfer-Encoding: chunked")
	f("Content-Length: 1000000")
	f("Expect: 100-continue\r\nContent-Length: 1")
}

// A failure that may be that of one connection holds up nobody else.
func TestLoopLooksAwayForNoSingleFailure(t *testing.T) {
	e := startMemory(t, func(o *Options) { o.Loops = 1 })
	for range 2 * acceptTries {
		if err := askLoops(t.Context(), e.loops, func(l *loop) {
			l.acceptFailed(unix.EHOSTUNREACH)
			if l.acceptor.deaf {
				t.Error("the loop looks away")
			}
		}); err != nil {
			t.Fatal(err)
		}
		subscribed(t, e, query("", newItem()))
	}
}

// The limit is that of now, whichever way it has gone.
func TestPlacesFollowTheLimit(t *testing.T) {
	most, _ := Descriptors()
	f := func(configured int64, want int) {
		t.Helper()
		var a admission
		a.most.Store(configured)
		a.max.Store(1) // as if the limit had been lower
		if !a.take(2) || a.free() != want {
			t.Errorf("%d places of %d configured, want %d", a.free(), configured, want)
		}
		a.active.Store(0)
		a.max.Store(1 << 40) // as if it had been higher
		if a.free() != want+2 {
			t.Errorf("%d places of %d configured, want %d", a.free(), configured, want+2)
		}
	}
	f(0, most-2)
	f(10, 8)
	f(1<<30, most-2)
}

// Who comes does not wait for a round through all sockets for each one that came before.
func TestQueueComesInTogether(t *testing.T) {
	e := startMemory(t, func(o *Options) { o.Loops = 1 })
	busy, free := make(chan struct{}), make(chan struct{})
	e.loops[0].call(func(*loop) {
		close(busy)
		<-free
	})
	<-busy
	const clients = 40
	var cs []*testclient.Client
	for range clients {
		c := dial(t, e)
		c.Get("/nothing")
		cs = append(cs, c)
	}
	close(free)
	for _, c := range cs {
		if reply := c.Reply("GET"); reply.Status != http.StatusNotFound {
			t.Error(reply)
		}
	}
	var opened, asked []int64
	err := askLoops(t.Context(), e.loops, func(l *loop) {
		l.slab.each(func(s *Session) {
			for _, event := range l.recorder.Of(s.index, s.born) {
				switch event.Kind {
				case recorder.Opened:
					opened = append(opened, event.Time)
				case recorder.Request:
					asked = append(asked, event.Time)
				}
			}
		})
	})
	if err != nil || len(opened) != clients || len(asked) != clients {
		t.Fatalf("%d opened, %d asked, %v", len(opened), len(asked), err)
	}
	if slices.Max(opened) > slices.Min(asked) {
		t.Error("somebody is answered while others wait to come in")
	}
}
