package main

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"push-server/protocol/testclient"
	"push-server/redisbus/redistest"
)

// TestNewcomers connects clients right behind a publication that is not kept, and publishes another one as soon as the handshake is
// answered. Each hears the second and not the first. Whichever loop it comes to, a client begins at the present, even if the loop
// has had nothing to do with the channel so far: it lost the one or gave the other, a few times in a thousand.
func TestNewcomers(t *testing.T) {
	onEachBus(t, func(t *testing.T, redis *redistest.Server) {
		in := install(t, "default", redis, 1)
		var all sync.WaitGroup
		for range 16 {
			all.Go(func() {
				for range 100 {
					if err := checkNewcomer(t, in); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		all.Wait()
	})
}

func checkNewcomer(t *testing.T, in *installation) error {
	backend := testclient.NewHTTP(true)
	defer backend.Close()
	ch := testclient.NewChannel(testKey)
	first, err := testclient.Dial(t.Context(), in.subs[0], subPath+testclient.Query(true, "", ch.Signed()))
	if err != nil {
		return err
	}
	defer first.Close()
	if err := tell(t, in, backend, ch, 1, first); err != nil {
		return fmt.Errorf("the one before: %w", err)
	}
	newcomer, err := testclient.Dial(t.Context(), in.subs[0], subPath+testclient.Query(true, strings.Repeat("0", 26), ch.Signed()))
	if err != nil {
		return err
	}
	defer newcomer.Close()
	return tell(t, in, backend, ch, 2, newcomer)
}

// tell publishes number n, which is the next thing that the subscriber has to hear.
func tell(t *testing.T, in *installation, backend *testclient.HTTP, ch testclient.Channel, n int, subscriber *testclient.Conn) error {
	if _, err := backend.PublishText(t.Context(), in.pubURL(), numbered(n), 0, ch.Private); err != nil {
		return err
	}
	subscriber.SetReadDeadline(time.Now().Add(patience))
	messages, err := subscriber.Receive()
	if err != nil {
		return fmt.Errorf("waiting for %d: %w", n, err)
	}
	if messages[0].Body != numbered(n) {
		return errors.New("heard " + messages[0].Body + " instead of " + numbered(n))
	}
	return nil
}
