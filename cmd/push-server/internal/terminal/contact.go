package terminal

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// The pause between two attempts to connect grows from shortest to longest.
const (
	shortestPause = 200 * time.Millisecond
	longestPause  = 5 * time.Second
)

// contact knows whether there is a connection, and says so once each time that changes. Its methods may be called from any goroutine.
type contact struct {
	notice func(text string, listening bool)

	mu       sync.Mutex
	pause    *backoff.ExponentialBackOff
	greeting string // to say when the next connection is made
	made     bool
	reason   error // why there is no connection
}

func newContact(address string, notice func(text string, listening bool)) *contact {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = shortestPause, longestPause
	return &contact{notice: notice, pause: pause, greeting: "listening at " + address}
}

// make is called when something shows that the server listens.
func (c *contact) make() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.made {
		return
	}
	c.notice(c.greeting, true)
	c.made, c.greeting, c.reason = true, "listening again", nil
	c.pause.Reset()
}

// lose is called with the reason why there is no connection. It returns the pause before the next attempt.
func (c *contact) lose(reason error) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.made || c.reason == nil {
		c.notice(fmt.Sprintf("%v; trying again", reason), false)
	}
	c.made, c.reason = false, reason
	return c.pause.NextBackOff()
}

// atEnd is nil when ctx has ended, unless the time was over while there was no connection.
func (c *contact) atEnd(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.made || !errors.Is(ctx.Err(), context.DeadlineExceeded):
		return nil
	case c.reason == nil:
		return errors.New("the server did not answer in time")
	}
	return c.reason
}
