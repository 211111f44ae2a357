package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"push-server/protocol/testclient"
)

// TestLoopEnds takes away what an event loop waits at, while others want something of it. The server does not stay with what is left of it: it says why and ends, although
// the Redis that would have to store a publication is not there.
func TestLoopEnds(t *testing.T) {
	c := standalone(t)
	c["security"] = map[string]any{"key": testKey}
	c["storage"] = map[string]any{"type": "redis", "socket": absentRedis(t).Addr()}
	c.option("drainTimeout", "10m")
	c.option("loops", 2)
	var out testclient.Log
	ended := make(chan error, 1)
	go func() { ended <- run(t.Context(), writeConfigs(t, c), &out, &out) }()
	var poller int
	testclient.AwaitNil(t, "an event loop", func() (err error) {
		poller, err = pollerOf(c.addr("sub"))
		return err
	})
	testclient.AwaitNil(t, "a publication", func() error {
		backend := testclient.NewHTTP(false)
		defer backend.Close()
		reply, err := backend.PublishText(t.Context(), "http://"+c.addr("pub")+pubPath, "1", 60, testclient.NewChannel(testKey).Private)
		if err == nil && reply.Status != 202 {
			err = fmt.Errorf("status %d", reply.Status)
		}
		return err
	})
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Dup3(fd, poller, unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	testclient.AwaitNil(t, "the end", func() error {
		if conn, err := net.Dial("tcp", c.addr("sub")); err == nil { // a loop with nothing to do does not notice
			conn.Close()
		}
		select {
		case err := <-ended:
			if exitCode(err) != exitFailure || !strings.Contains(err.Error(), "event loop") {
				t.Error(err)
			}
			return nil
		default:
			return errors.New("the server goes on\n" + out.String())
		}
	})
}

var watchedFD = regexp.MustCompile(`(?m)^tfd: +(\d+)`)

// pollerOf finds the epoll instance of this process that watches a listener at addr.
func pollerOf(addr string) (int, error) {
	names, err := filepath.Glob("/proc/self/fdinfo/*")
	if err != nil {
		return -1, err
	}
	for _, name := range names {
		info, err := os.ReadFile(name)
		if err != nil {
			continue // closed in the meantime
		}
		for _, m := range watchedFD.FindAllSubmatch(info, -1) {
			fd, err := strconv.Atoi(string(m[1]))
			if err == nil && listensAt(fd, addr) {
				return strconv.Atoi(filepath.Base(name))
			}
		}
	}
	return -1, fmt.Errorf("nobody listens at %s", addr)
}

func listensAt(fd int, addr string) bool {
	if on, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err != nil || on == 0 {
		return false
	}
	bound, err := unix.Getsockname(fd)
	if err != nil {
		return false
	}
	_, port, _ := net.SplitHostPort(addr)
	switch bound := bound.(type) {
	case *unix.SockaddrInet4:
		return strconv.Itoa(bound.Port) == port
	case *unix.SockaddrInet6:
		return strconv.Itoa(bound.Port) == port
	}
	return false
}
