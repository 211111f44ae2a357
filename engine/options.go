package engine

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/netip"
	"runtime"
	"runtime/debug"
	"slices"
	"time"

	"push-server/engine/closed"
	"push-server/engine/feed"
	"push-server/engine/ratelimit"
	"push-server/poll"
	"push-server/protocol"
)

// Listener is one port that subscribers connect to.
type Listener struct {
	Name   string
	Addr   string // "host:port"; no host: all interfaces; port 0: any free one
	Routes poll.Routes
	// ProxyProtocol says that connections of Proxies begin with a header of the PROXY protocol, version 1 or 2. Others have none.
	ProxyProtocol bool
	TLS           *tls.Config // with certificates; nil: plain. A connection then takes three descriptors instead of one
	// Sockets are those that another process listened at the port with, all of them: they are the engine's from Start on. nil: it opens its own.
	Sockets []int
}

// Options configure an Engine. The zero value of a field means the default that its comment names.
type Options struct {
	Listeners []Listener
	Loops     int // event loops; default: one per CPU

	// Settings are what the engine begins with.
	Settings

	// Proxies are whose connections carry requests of others, and who is believed to say of whom: a WebSocket or a poll that comes from
	// there counts as a connection of its client, and the connection itself does not.
	Proxies []netip.Prefix

	// Who this process is, for statistics.
	ProcessID   string // default "push-server"
	ClusterMode bool   // online marks and statistics are shared over the bus

	// How long things last.
	PollTimeout    time.Duration // answer to a long poll on which nothing happens; default 40 s
	PollGrace      time.Duration // how much longer such a poll waits for a message that is stored but still under way; default 1 s
	PingInterval   time.Duration // WebSocket pings; the time to answer one is the same; default 120 s
	HeadTimeout    time.Duration // for a complete request head; default 60 s
	BodyTimeout    time.Duration // for a complete request body; default 300 s
	IdleTimeout    time.Duration // between two requests of a connection; default 5 s
	CloseTimeout   time.Duration // for the peer's half of a closing handshake; default 30 s
	RequestTimeout time.Duration // for the answer of a worker; default 20 s
	AcceptTimeout  time.Duration // after which a publisher is told "accepted, not yet stored"; default 300 ms
	StatInterval   time.Duration // between two writes of the shared statistics; default 60 s
	StatMaxAge     time.Duration // after which shared statistics are stale; default 70 s
	OnlineTTL      time.Duration // of shared online marks; a keep-alive poll renews its mark after a quarter of it; default 130 s
	EchoInterval   time.Duration // between two probes of the bus; default 1 s
	TurnBudget     time.Duration // of each kind of work in a turn, before a loop serves its sockets again; default 2 ms

	// What is kept.
	HistoryPerChannel int // replayed per channel, the newest; default 100
	HistoryTotal      int // replayed in all, the newest; default 200
	WindowCount       int // recent publications kept in memory, a power of two; default 65,536
	WindowBytes       int // bytes of their bodies; default 64 MiB
	PublishQueueBytes int // what those of back ends take; default 64 MiB, at least two of MaxPayload
	ClientQueueBytes  int // what those of clients take; default 16 MiB, at least two of MaxPayload
	HeldBytes         int // publications held while a gap is being closed; default: half of WindowBytes
	ReplayBytes       int // bodies in one part of what a returning client gets, and in one answer of the bus; default 1 MiB
	PendingBytes      int // live messages kept for one connection while its history is read; default 1 MiB, at least MaxPayload
	MaxQuestions      int // questions to the bus under way; default 131,072

	V5 V5

	Logger *slog.Logger
	// ErrorLog gets one line per refused request and the address of its sender; nil: none. Called from any goroutine.
	ErrorLog func(text, addr string)
	Closed   *closed.Ring // gets sessions that end while they listen; nil: they are not remembered
	Trace    Trace        // nil: nobody is followed
}

// Settings are the options that may change while an engine runs: see Engine.Change. A value never changes, another takes its place.
type Settings struct {
	// What is checked.
	Algo      string           // HMAC algorithm of signatures; default sha1
	Key       []byte           // security key; required
	OlderKeys [][]byte         // what is signed with one of these is right, too; at most MaxKeys with Key
	Limits    protocol.Limits  // defaults: 1 MiB, 100 messages, 100 channels. MaxPayload stays as it is: queues are made for it
	TestKey   string           // requests with this testKey are refused without a line; "": there are none
	StatAllow []netip.Prefix   // whose connections may ask for the statistics page; empty: everybody's
	PubAllow  []netip.Prefix   // the same for publishing, and for questions who is online
	Origins   protocol.Origins // pages whose scripts may open WebSockets

	// Who may come.
	ConnectRate int              // connections that come in a second; default: no limit
	Address     ratelimit.Limits // of the connections of one address; default: none

	// How many there may be.
	MaxConnections    int // connections of the process; default, and at most: what the descriptor limit leaves, which may change
	MaxConnPerChannel int // connections of a private channel that has a public id, in this process; default 100
	PublishQueue      int // publications accepted and not yet stored, of back ends and of clients, each; default 100,000
	DrainPace         int // connections closed in a second at the end; default: so that those who come back cost half a core
	// ClientRate bounds what the client of a WebSocket publishes and asks: so many publications and questions a second. It may save up
	// those of clientBurst seconds, and those of the largest request in any case. Default 100, negative: no limit.
	ClientRate int

	// Bytes.
	MaxBuffered  int // output buffered for one connection, beyond one write of any size; default 1 MiB
	PendingTotal int // live messages kept for connections while their history is read, of all; default share
	AnswerTotal  int // history on its way to all connections; default share
	RequestTotal int // bodies of requests that are answered by goroutines; default share
	InputTotal   int // unread input of all connections: heads, bodies, messages of clients; default half of share
	OutputTotal  int // output that the peers of all connections have not taken; default share

	StatLimits []byte // JSON: the limits as configured, shown in statistics; default: from Limits
}

// MaxKeys is how many keys may be right at the same time.
const MaxKeys = 8

// keys are all keys, the newest first.
func (s *Settings) keys() [][]byte { return append([][]byte{s.Key}, s.OlderKeys...) }

// settings are Settings in use, with what follows from them.
type settings struct {
	Settings
	signer *protocol.Signer // to make clones of
	share  int              // connections of a channel on one loop that make it crowded
}

func newSettings(s Settings, loops int) (*settings, error) {
	signer, err := protocol.NewSigner(s.Algo, s.keys()...)
	if err != nil {
		return nil, fmt.Errorf("engine: %w", err)
	}
	return &settings{Settings: s, signer: signer, share: s.MaxConnPerChannel / loops}, nil
}

// Change has the engine go on with other settings. Nobody is disconnected: what is stricter holds for whoever comes next, and a subscription
// stays, whatever key it was signed with. It returns when all loops have them. After an error nothing has changed, unless ctx or the
// engine has ended. It may be called from any goroutine, after Start.
func (e *Engine) Change(ctx context.Context, to Settings) error {
	to = to.withDefaults()
	if err := to.Validate(); err != nil {
		return err
	}
	e.changing.Lock()
	defer e.changing.Unlock()
	if now := e.settings.Load().Limits.MaxPayload; to.Limits.MaxPayload != now {
		return fmt.Errorf("engine: MaxPayload cannot change from %d to %d", now, to.Limits.MaxPayload)
	}
	s, err := newSettings(to, e.o.Loops)
	if err != nil {
		return err
	}
	e.use(s)
	return e.ask(ctx, e.loops, func(l *loop) { l.use(s) })
}

// use has s count for everything but loops.
func (e *Engine) use(s *settings) {
	e.settings.Store(s)
	e.http.Store(e.newHandlers(s))
	e.admission.change(s)
	e.input.SetLimit(int64(s.InputTotal))
	e.output.SetLimit(int64(s.OutputTotal))
	e.pending.SetLimit(int64(s.PendingTotal))
	e.answers.SetLimit(int64(s.AnswerTotal))
	e.bodies.SetLimit(int64(s.RequestTotal))
	e.publishing.bound(s.PublishQueue)
}

// use has s count for this loop. It runs on the loop, or before it begins.
func (l *loop) use(s *settings) {
	was := l.settings
	l.settings, l.signer = s, s.signer.Clone()
	if l.o.V5.Enabled {
		l.tokens = protocol.NewTokenReader(s.keys()...)
	}
	if was == nil {
		return
	}
	l.renumberKeys(was.keys(), s.keys())
	l.recountCrowds(was.share, s.share)
	for _, r := range l.rates {
		s.pace(r)
	}
}

// removedKey is the number of the key of sessions whose own is none any more.
const removedKey = MaxKeys

// renumberKeys has sessions know their key among those that count now.
func (l *loop) renumberKeys(was, now [][]byte) {
	number := numbersAmong(now, was)
	l.sweepAll() // what is closed is counted out under the number that it has
	var listening [MaxKeys + 1]int64
	l.slab.each(func(s *Session) {
		s.key = number[s.key]
		if s.subs != nil && !s.is(flagOwn) {
			listening[s.key]++
		}
	})
	for i, n := range listening {
		l.stats.keys[i].Store(n)
	}
}

// digests stand for the keys, in their order.
func (s *Settings) digests() (all [][]byte) {
	for _, key := range s.keys() {
		sum := sha256.Sum256(key)
		all = append(all, sum[:])
	}
	return all
}

// numbersAmong is the number that each of those that were has among keys, or digests, that are now.
func numbersAmong(now, were [][]byte) (numbers [MaxKeys + 1]uint8) {
	for i := range numbers {
		numbers[i] = removedKey
	}
	for i, key := range were[:min(len(were), MaxKeys)] {
		if at := slices.IndexFunc(now, func(k []byte) bool { return bytes.Equal(k, key) }); at >= 0 {
			numbers[i] = uint8(at)
		}
	}
	return numbers
}

// V5 is version 5 of the protocol: tokens and JSON-RPC.
type V5 struct {
	Enabled      bool
	PingInterval time.Duration // default 10 s; clients give up 20 s after a ping that is followed by no other
	DeadAfter    time.Duration // without a word from a client that is pinged; default 60 s
	ExpiryGrace  time.Duration // that a connection outlives its token; default 5 min
	OfflineDelay time.Duration // that a user without a connection still counts as connected; default 10 s
	// StatusPerConnection is how many users a connection may watch. Default 1000.
	StatusPerConnection int
}

func (v V5) withDefaults() V5 {
	v.PingInterval = cmp.Or(v.PingInterval, 10*time.Second)
	v.DeadAfter = cmp.Or(v.DeadAfter, time.Minute)
	v.OfflineDelay = cmp.Or(v.OfflineDelay, 10*time.Second)
	v.StatusPerConnection = cmp.Or(v.StatusPerConnection, 1000)
	v.ExpiryGrace = cmp.Or(v.ExpiryGrace, 5*time.Minute)
	return v
}

func orInt(v *int, d int) { *v = cmp.Or(*v, d) }

// withDefaults fills in what is zero.
func (s Settings) withDefaults() Settings {
	orInt(&s.Limits.MaxPayload, 1<<20)
	orInt(&s.Limits.MaxMessages, 100)
	orInt(&s.Limits.MaxChannels, 100)
	orInt(&s.MaxConnPerChannel, 100)
	orInt(&s.PublishQueue, 100_000)
	orInt(&s.ClientRate, 100)
	orInt(&s.MaxBuffered, 1<<20)
	orInt(&s.InputTotal, share()/2) // what is let go of is garbage for a while, and one message replaces several buffers as it grows
	for _, total := range []*int{&s.PendingTotal, &s.AnswerTotal, &s.RequestTotal, &s.OutputTotal} {
		orInt(total, share())
	}
	if s.StatLimits == nil {
		s.StatLimits = s.statLimits()
	}
	return s
}

// withDefaults fills in what is zero.
func (o Options) withDefaults() Options {
	orTime := func(v *time.Duration, d time.Duration) {
		if *v == 0 {
			*v = d
		}
	}
	o.V5 = o.V5.withDefaults()
	o.Settings = o.Settings.withDefaults()
	orInt(&o.Loops, runtime.GOMAXPROCS(0))
	orTime(&o.PollTimeout, 40*time.Second)
	orTime(&o.PollGrace, time.Second)
	orTime(&o.PingInterval, 120*time.Second)
	orTime(&o.HeadTimeout, 60*time.Second)
	orTime(&o.BodyTimeout, 300*time.Second)
	orTime(&o.IdleTimeout, 5*time.Second)
	orTime(&o.CloseTimeout, 30*time.Second)
	orTime(&o.RequestTimeout, 20*time.Second)
	orTime(&o.AcceptTimeout, 300*time.Millisecond)
	orTime(&o.StatInterval, 60*time.Second)
	orTime(&o.StatMaxAge, 70*time.Second)
	orTime(&o.OnlineTTL, 130*time.Second)
	orTime(&o.EchoInterval, time.Second)
	orTime(&o.TurnBudget, 2*time.Millisecond)
	orInt(&o.HistoryPerChannel, 100)
	orInt(&o.HistoryTotal, 200)
	orInt(&o.WindowCount, 1<<16)
	orInt(&o.WindowBytes, 64<<20)
	orInt(&o.PublishQueueBytes, max(64<<20, 2*o.Limits.MaxPayload))
	orInt(&o.ClientQueueBytes, max(16<<20, 2*o.Limits.MaxPayload))
	orInt(&o.HeldBytes, o.WindowBytes/2)
	orInt(&o.ReplayBytes, 1<<20)
	orInt(&o.PendingBytes, max(1<<20, 2*o.Limits.MaxPayload))
	orInt(&o.MaxQuestions, 1<<17)
	if o.ProcessID == "" {
		o.ProcessID = "push-server"
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// statLimits is what statistics show of limits.
func (s *Settings) statLimits() []byte {
	return []byte(fmt.Sprintf(
		`{"maxPayload":%d,"maxConnPerChannel":%d,"maxMessagesPerRequest":%d,"maxChannelsPerRequest":%d}`,
		s.Limits.MaxPayload, s.MaxConnPerChannel, s.Limits.MaxMessages, s.Limits.MaxChannels))
}

// share is what the process may hold of one kind: a sixteenth of the memory that it may have, or 64 MiB where nobody says. There are
// eight kinds, the window among them, and none is full in good times.
func share() int {
	const usual, least, most = 64 << 20, 16 << 20, 1 << 30
	limit := debug.SetMemoryLimit(-1) // reads it
	if limit == math.MaxInt64 {
		return usual
	}
	return int(min(max(limit/16, least), most))
}

// feed are the options of the feed.
func (o *Options) feed(e *Engine, clock feed.Clock) feed.Options {
	return feed.Options{
		WindowCount: o.WindowCount, WindowBytes: o.WindowBytes, HeldBytes: o.HeldBytes,
		AnswerBytes: o.ReplayBytes, PendingBytes: o.PendingBytes,
		HistoryPerChannel: o.HistoryPerChannel, HistoryTotal: o.HistoryTotal, MaxQuestions: o.MaxQuestions,
		EchoInterval: o.EchoInterval, Logger: o.Logger,
		Pending: e.pending, Answers: e.answers, Clock: clock, Probe: &e.prober.Channel, Probed: e.latency.Bus.Observe,
	}
}

// Validate returns all problems of settings, joined.
func (s *Settings) Validate() error {
	var problems []error
	if len(s.Key) == 0 {
		problems = append(problems, errors.New("engine: Key is empty"))
	}
	if n := 1 + len(s.OlderKeys); n > MaxKeys {
		problems = append(problems, fmt.Errorf("engine: there are %d keys, at most %d", n, MaxKeys))
	}
	return errors.Join(problems...)
}

// Validate returns all problems of options whose defaults are filled in, joined.
func (o *Options) Validate() error {
	problems := []error{o.Settings.Validate()}
	say := func(bad bool, format string, args ...any) {
		if bad {
			problems = append(problems, fmt.Errorf("engine: "+format, args...))
		}
	}
	for i, l := range o.Listeners {
		if err := l.Routes.Validate(); err != nil {
			problems = append(problems, fmt.Errorf("engine: listener %d (%s): %w", i, l.Name, err))
		}
	}
	say(o.Loops < 0, "Loops is %d", o.Loops)
	say(o.WindowCount < 2 || o.WindowCount&(o.WindowCount-1) != 0, "WindowCount is %d, not a power of two", o.WindowCount)
	say(o.WindowBytes < o.Limits.MaxPayload, "WindowBytes (%d) is below MaxPayload (%d)", o.WindowBytes, o.Limits.MaxPayload)
	say(o.HistoryTotal < 0 || o.HistoryPerChannel < 0, "a history limit is negative")
	say(o.PublishQueueBytes < 2*o.Limits.MaxPayload, "PublishQueueBytes (%d) is below two of MaxPayload (%d)", o.PublishQueueBytes, o.Limits.MaxPayload)
	say(o.ClientQueueBytes < 2*o.Limits.MaxPayload, "ClientQueueBytes (%d) is below two of MaxPayload (%d)", o.ClientQueueBytes, o.Limits.MaxPayload)
	return errors.Join(problems...)
}
