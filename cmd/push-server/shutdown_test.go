package main

import (
	"errors"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"push-server/protocol/testclient"
	"push-server/redisbus/redistest"
)

// TestDrain ends a server with subscribers of all kinds.
func TestDrain(t *testing.T) {
	onEachBus(t, func(t *testing.T, redis *redistest.Server) {
		in := install(t, "single", redis, 1)
		url := "http://" + in.subs[0] + subPath
		mid := strings.Repeat("9", 26)
		poller := testclient.NewHTTP(true)
		defer poller.Close()
		polls := make(chan error, 2)
		for _, mid := range []string{"", mid} {
			ch := testclient.NewChannel(testKey)
			go func() {
				reply, err := poller.Poll(t.Context(), url+testclient.Query(false, mid, ch.Signed()))
				polls <- errors.Join(err, checkEmptyAnswer(reply, mid))
			}()
			waitOnline(t, in, ch)
		}
		closed := make(chan error, 2)
		for _, binary := range []bool{false, true} {
			socket, err := testclient.Dial(t.Context(), in.subs[0], subPath+testclient.Query(binary, "", testclient.NewChannel(testKey).Signed()))
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				_, err := socket.Receive()
				socket.Close()
				closed <- err
			}()
		}

		if code := in.procs[0].signal(syscall.SIGTERM); code != 0 {
			t.Errorf("exit code %d, want 0", code)
		}
		for range 2 {
			err := <-closed
			if end, ok := err.(*testclient.CloseError); !ok || end.Code != 1001 {
				t.Errorf("a WebSocket ends with %v, want close 1001", err)
			}
			if err := <-polls; err != nil {
				t.Error("a poll:", err)
			}
		}
	})
}

// checkEmptyAnswer wants the answer that a poll regularly gets when nothing has happened.
func checkEmptyAnswer(reply testclient.Reply, mid string) error {
	switch last := reply.Header.Get("Last-Message-Id"); {
	case reply.Status != http.StatusNotModified:
		return errors.New("status is not 304: " + string(reply.Body))
	case mid != "" && last != mid:
		return errors.New("Last-Message-Id is " + last)
	case reply.Header.Get("Expires") != "Thu, 01 Jan 1973 11:11:01 GMT":
		return errors.New("Expires is " + reply.Header.Get("Expires"))
	}
	return nil
}

// TestDrainKeepsWhatIsStored: what was answered with 200 is in Redis, and the next process delivers it.
func TestDrainKeepsWhatIsStored(t *testing.T) {
	redis := startRedis(t)
	first := install(t, "single", redis, 1)
	o := newOutage(t, first)
	o.publish(5, 200)
	if code := first.procs[0].signal(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	o.in = install(t, "single", redis, 1)
	o.got("the next process", followSocket(o.dial(strings.Repeat("0", 26))))
}

// TestDrainWithoutRedis: a server that cannot store what it has accepted ends nevertheless, in the time that it is given. Its
// clients, who do not answer, have to wait no longer.
func TestDrainWithoutRedis(t *testing.T) {
	in := installOn(t, absentRedis(t), func(c config) { c.option("drainTimeout", "1s") })
	o := observe(t, in)
	o.publish(3, 202)
	for _, p := range in.procs {
		p.signal(syscall.SIGTERM)
	}
	if log := in.procs[1].log.String(); !strings.Contains(log, "are lost\" count=3") {
		t.Errorf("it is not said how many publications are lost:\n%s", log)
	}
}
