package redisbus

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"push-server/protocol"
)

// Bus is one process's end of the bus in Redis. It carries publications, keeps history, and shares presence and statistics.
// All methods may be called from any goroutine.
type Bus struct {
	options Options
	log     *slog.Logger
	scripts scripts

	maxExpiry      uint32 // seconds
	channelTTL     string // seconds
	historySize    string
	publishChannel string
	echoChannel    string

	// The connection of commands.
	dialing  rueidis.ClientOption
	network  string
	client   atomic.Pointer[rueidis.Client]
	replaces sync.Mutex // held to replace client

	ctx       context.Context // ends with Close
	end       context.CancelFunc
	closeOnce sync.Once

	known  highest // the highest id heard of
	echoes atomic.Uint64

	publishing sync.Mutex // guards what follows, and is held while a batch is under way
	sequence   sequence
	calls      calls

	subscribing atomic.Bool   // a Subscribe is under way
	subscribed  atomic.Bool   // publications came in before
	drop        chan struct{} // asks Subscribe for a new connection

	forbidden atomic.Pointer[prohibition]
	origins   origins
}

// New returns a bus. It does not connect: an error is about o alone. The bus must be closed.
func New(o Options) (*Bus, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	o = o.withDefaults()
	dialing, network, err := o.client()
	if err != nil {
		return nil, err
	}
	ctx, end := context.WithCancel(context.Background())
	b := &Bus{
		options:        o,
		log:            o.Log,
		scripts:        newScripts(),
		maxExpiry:      seconds(o.MessageTTL),
		channelTTL:     strconv.FormatUint(uint64(max(seconds(o.ChannelTTL), 1)), 10),
		historySize:    strconv.Itoa(o.HistorySize),
		publishChannel: publishChannel(o.UID, dialing.SelectDB),
		echoChannel:    echoPrefix + o.UID + ":" + rand.Text(),
		dialing:        dialing,
		network:        network,
		ctx:            ctx,
		end:            end,
		sequence:       newSequence(),
		drop:           make(chan struct{}, 1),
		origins:        origins{database: dialing.SelectDB},
	}
	if err := b.makeClient(); err != nil {
		end()
		return nil, err
	}
	return b, nil
}

// makeClient makes the client without connecting. rueidis dials at once, but with ForceSingleClient a failed dial leaves a
// client that dials again with the next command; so the first dial is made to fail.
func (b *Bus) makeClient() error {
	var made atomic.Bool
	option := b.dialing
	option.DialCtxFn = func(ctx context.Context, addr string, d *net.Dialer, config *tls.Config) (net.Conn, error) {
		if !made.Load() {
			return nil, errNotYet
		}
		return b.dial(ctx, addr, d, config)
	}
	c, err := rueidis.NewClient(option)
	if c == nil {
		return fmt.Errorf("redisbus: %w", err)
	}
	made.Store(true)
	b.client.Store(&c)
	return nil
}

func (b *Bus) dial(ctx context.Context, addr string, d *net.Dialer, config *tls.Config) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(b.ctx, cancel)()
	if config != nil {
		return (&tls.Dialer{NetDialer: d, Config: config}).DialContext(ctx, b.network, addr)
	}
	return d.DialContext(ctx, b.network, addr)
}

// Close releases the connections. Calls under way return an error.
func (b *Bus) Close() {
	b.closeOnce.Do(func() {
		b.end()
		b.replaces.Lock()
		defer b.replaces.Unlock()
		(*b.client.Load()).Close()
	})
}

// call runs one exchange with Redis. An old Redis without client-side caching shows only when connecting; the client is then
// replaced by one that does not cache, and the exchange repeated.
func (b *Bus) call(ctx context.Context, exchange func(c rueidis.Client) error) error {
	if b.ctx.Err() != nil {
		return ErrClosed
	}
	c := b.client.Load()
	err := exchange(*c)
	if errors.Is(err, rueidis.ErrNoCache) {
		b.replaceClient(c)
		err = exchange(*b.client.Load())
	}
	return b.closedOr(err)
}

// closedOr is err, or ErrClosed if that is the likely cause.
func (b *Bus) closedOr(err error) error {
	if err != nil && b.ctx.Err() != nil {
		return ErrClosed
	}
	return err
}

func (b *Bus) replaceClient(old *rueidis.Client) {
	b.replaces.Lock()
	defer b.replaces.Unlock()
	if b.client.Load() != old || b.ctx.Err() != nil {
		return // somebody else did, or the end
	}
	b.log.Info("redis is too old for client-side caching, bodies are not cached")
	b.dialing.DisableCache = true
	if err := b.makeClient(); err != nil {
		b.log.Error("cannot make a client of redis without cache", "err", err)
		return
	}
	(*old).Close()
}

// failed names the operation in err and tells OnError.
func (b *Bus) failed(operation string, err error) error {
	if err == nil {
		b.allowed(operation)
		return nil
	}
	if isForbidden(err) {
		b.forbid(operation, err)
	}
	if !errors.Is(err, ErrClosed) {
		b.options.OnError(operation, err)
	}
	return fmt.Errorf("redisbus: %s: %w", operation, err)
}

// prohibition is what Redis does not let this user do.
type prohibition struct {
	operation string
	err       error
}

// forbid notes that the user of Redis may not do what is needed, which only an operator can change.
func (b *Bus) forbid(operation string, err error) {
	if old := b.forbidden.Swap(&prohibition{operation, err}); old == nil {
		b.log.Error("redis does not allow what is needed, its user or its configuration has to change", "operation", operation, "err", err)
	}
}

func (b *Bus) allowed(operation string) {
	if old := b.forbidden.Load(); old != nil && old.operation == operation && b.forbidden.CompareAndSwap(old, nil) {
		b.log.Info("redis allows what is needed again", "operation", operation)
	}
}

// Health is what an operator has to know about Redis; nil: nothing. It may be called from any goroutine.
func (b *Bus) Health() error {
	if p := b.forbidden.Load(); p != nil {
		return fmt.Errorf("redis does not allow what is needed to %s: %w", p.operation, p.err)
	}
	return nil
}

// highest remembers the highest id that this process has heard of. When Redis hands out a lower one, it has lost data.
type highest struct {
	mu sync.Mutex
	id protocol.MessageID
}

// A malformed id of somebody else must not drive the ids of all to their end: one from the future, or one with a counter of
// a size at which Lua's numbers begin to lose digits.
const (
	maxCounter  = 1e15
	maxLeadTime = 24 * time.Hour
)

func (h *highest) heard(id protocol.MessageID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if id.Compare(h.id) <= 0 {
		return
	}
	if id.Counter() < maxCounter && id.Startdate() < uint64(time.Now().Add(maxLeadTime).Unix()) {
		h.id = id
	}
}

func (h *highest) get() protocol.MessageID {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.id
}
