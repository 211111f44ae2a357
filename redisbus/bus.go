package redisbus

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"
	"golang.org/x/time/rate"

	"push-server/protocol"
)

// Bus is one process's end of the bus in Redis. It carries publications, keeps history, and shares presence and statistics.
// All methods may be called from any goroutine.
type Bus struct {
	options Options
	log     *slog.Logger
	scripts scripts
	keys    keys

	maxExpiry      uint32 // seconds
	channelTTL     string // seconds
	historySize    string
	publishChannel string
	echoChannel    string

	// What must not wait has a connection of its own: publications, echoes and marks are small, what is read may be many megabytes.
	// Publications come in over listening.
	commands, reads, listening client
	place                      *place
	follower                   follower

	ctx       context.Context // ends with Close
	end       context.CancelFunc
	closeOnce sync.Once

	userProcess userProcess

	known  highest // the highest id heard of
	echoes atomic.Uint64

	publishing sync.Mutex // guards what follows, and is held while a batch is under way
	sequence   sequence
	calls      calls
	unkept     unkept

	subscribing atomic.Bool   // a Subscribe is under way
	subscribed  atomic.Bool   // publications came in before
	lost        chan struct{} // asks Subscribe for a new connection

	rights  rights
	errors  errorCounts
	origins origins
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
	names := newKeys(o.Cluster)
	b := &Bus{
		options:        o,
		log:            o.Log,
		scripts:        newScripts(),
		keys:           names,
		maxExpiry:      seconds(o.MessageTTL),
		channelTTL:     strconv.FormatUint(uint64(max(seconds(o.ChannelTTL), 1)), 10),
		historySize:    strconv.Itoa(o.HistorySize),
		publishChannel: names.publishChannel(o.UID, dialing.SelectDB),
		echoChannel:    names.echo + o.UID + ":" + rand.Text(),
		ctx:            ctx,
		end:            end,
		sequence:       names.newSequence(),
		lost:           make(chan struct{}, 1),
		follower:       follower{doubts: make(chan struct{}, 1)},
		unkept:         unkept{log: o.Log, lines: rate.Sometimes{Interval: time.Minute}},
		rights:         rights{log: o.Log},
		origins:        origins{database: dialing.SelectDB},
	}
	if err := b.connect(dialing, network); err != nil {
		b.Close()
		return nil, fmt.Errorf("redisbus: %w", err)
	}
	return b, nil
}

// connect makes the clients, and begins to follow Redis to wherever it goes.
func (b *Bus) connect(o rueidis.ClientOption, network string) (err error) {
	b.place = &place{network: network}
	if b.options.Cluster != "" {
		b.place.cluster = &cluster{seeds: b.options.Nodes, key: b.keys.startdate}
	}
	b.place.greet(o.Username, o.Password)
	if len(b.options.Sentinels) > 0 {
		s := o
		s.Username, s.Password, s.SelectDB = b.options.SentinelUser, b.options.SentinelPassword, 0
		if b.options.PlainSentinels {
			s.TLSConfig = nil
		}
		if b.place.sentinels, err = newSentinels(b.ctx, b.options.MasterName, b.options.Sentinels, uncached(s), b.log); err != nil {
			return err
		}
	}
	for _, c := range []struct {
		*client
		o rueidis.ClientOption
	}{{&b.commands, uncached(o)}, {&b.listening, uncached(o)}, {&b.reads, o}} {
		if err := c.init(b.ctx, c.o, b.place, b.log, b.met); err != nil {
			return err
		}
	}
	b.follower.work.Go(func() { b.follow(o) })
	if b.place.sentinels != nil {
		b.follower.work.Go(func() { b.place.sentinels.listen(b.ctx, b.doubt) })
	}
	return nil
}

// Close releases the connections. Calls under way return an error.
func (b *Bus) Close() {
	b.closeOnce.Do(func() {
		b.end()
		b.commands.close()
		b.reads.close()
		b.listening.close()
		if b.place != nil && b.place.sentinels != nil {
			b.place.sentinels.close()
		}
		b.follower.work.Wait()
	})
}

// failed names the operation in err, if there is one, and counts it. Every operation ends with it.
func (b *Bus) failed(operation string, err error) error {
	if err == nil {
		b.rights.allow(operation)
		return nil
	}
	if b.options.Cluster == "" && isOfCluster(err) {
		err = fmt.Errorf("%w: %w", errCluster, err)
	}
	b.rights.note(operation, err)
	if !errors.Is(err, ErrClosed) && !errors.Is(err, context.Canceled) { // neither is of Redis
		b.errors.count(operation)
	}
	if isReadOnly(err) || isOfCluster(err) {
		b.doubt()
	}
	return fmt.Errorf("redisbus: %s: %w", operation, err)
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
