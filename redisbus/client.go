package redisbus

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"

	"github.com/redis/rueidis"
)

// client is one connection to Redis, over which exchanges of all goroutines are pipelined.
type client struct {
	log   *slog.Logger
	place *place
	met   func(server)    // is told where a connection leads; may be nil
	ctx   context.Context // of the bus

	lines lines
	last  atomic.Pointer[string] // name of the server that the last connection led to

	current  atomic.Pointer[rueidis.Client]
	replaces sync.Mutex           // held to replace current
	option   rueidis.ClientOption // guarded by replaces
}

func uncached(o rueidis.ClientOption) rueidis.ClientOption {
	o.DisableCache = true
	return o
}

// init makes the client without connecting. ctx is that of the bus.
func (c *client) init(ctx context.Context, o rueidis.ClientOption, p *place, log *slog.Logger, met func(server)) error {
	c.ctx, c.option, c.place, c.log, c.met = ctx, o, p, log, met
	return c.make()
}

// make makes the client without connecting. rueidis dials at once, but with ForceSingleClient a failed dial leaves a client that
// dials again with the next command; so the first dial is made to fail.
func (c *client) make() error {
	var made atomic.Bool
	option := c.option
	option.DialCtxFn = func(ctx context.Context, addr string, d *net.Dialer, config *tls.Config) (net.Conn, error) {
		if !made.Load() {
			return nil, errNotYet
		}
		return c.dial(ctx, addr, d, config)
	}
	current, err := rueidis.NewClient(option)
	if current == nil {
		return err
	}
	made.Store(true)
	c.current.Store(&current)
	return nil
}

func (c *client) dial(ctx context.Context, addr string, d *net.Dialer, config *tls.Config) (net.Conn, error) {
	ctx, cancel := dialWithin(ctx, d)
	defer cancel()
	defer context.AfterFunc(c.ctx, cancel)()
	conn, s, err := c.place.connect(ctx, addr, d, config)
	if err != nil {
		return nil, err
	}
	if err := c.meets(s); err != nil {
		conn.Close()
		return nil, err
	}
	return c.lines.add(conn, s), nil
}

// close releases the connection. The context of the bus has ended.
func (c *client) close() {
	c.replaces.Lock()
	defer c.replaces.Unlock()
	if current := c.current.Load(); current != nil {
		(*current).Close()
	}
}

// call runs one exchange with Redis. An old Redis without client-side caching shows only when connecting; the client is then
// replaced by one that does not cache, and the exchange repeated. So it is when Redis has become another server.
func (c *client) call(exchange func(c rueidis.Client) error) error {
	if c.ctx.Err() != nil {
		return ErrClosed
	}
	current := c.current.Load()
	err := exchange(*current)
	if errors.Is(err, rueidis.ErrNoCache) {
		c.replace(current)
		err = exchange(*c.current.Load())
	}
	if errors.Is(err, errAnotherServer) {
		err = exchange(*c.current.Load())
	}
	return c.closedOr(err)
}

// closedOr is err, or ErrClosed if that is the likely cause.
func (c *client) closedOr(err error) error {
	if err != nil && c.ctx.Err() != nil {
		return ErrClosed
	}
	return err
}

func (c *client) replace(old *rueidis.Client) {
	c.replaces.Lock()
	defer c.replaces.Unlock()
	if c.current.Load() != old || c.ctx.Err() != nil {
		return // somebody else did, or the end
	}
	c.log.Info("redis is too old for client-side caching, nothing is cached")
	c.option.DisableCache = true
	if err := c.make(); err != nil {
		c.log.Error("cannot make a client of redis without cache", "err", err)
		return
	}
	(*old).Close()
}
