package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bytedance/sonic"

	"push-server/engine/budget"
	"push-server/engine/feed"
	"push-server/engine/latency"
	"push-server/engine/outage"
	"push-server/protocol"
)

// loopStats are the counters of one loop, read by anybody.
type loopStats struct {
	opened         atomic.Uint64
	frames         atomic.Uint64
	unacknowledged atomic.Uint64                            // messages of version 5 that are to be acknowledged
	acknowledged   atomic.Uint64                            // those of them that were
	abandoned      atomic.Uint64                            // those that were not when their connections ended
	statuses       atomic.Int64                             // users that connections watch
	tokensRefused  [len(protocol.TokenFaults)]atomic.Uint64 // by fault, in the order of protocol.TokenFaults
	delivered      atomic.Uint64
	replaysWindow  atomic.Uint64
	replaysHistory atomic.Uint64
	listening      [transports][feed.Dialects]atomic.Int64
	keys           [MaxKeys + 1]atomic.Int64 // what listens, by key; the last: by one that was removed
	channels       atomic.Int64
	turns          atomic.Uint64
	turnTime       atomic.Int64 // nanoseconds
	closes         [closeReasons]atomic.Uint64
	pending        uint64 // delivered in this turn; the loop's own
	awaited        uint64 // of these, those that are to be acknowledged
	_              [64]byte
}

// countDelivered counts on the loop; publish makes it visible: an atomic addition per delivery would be felt.
func (s *loopStats) countDelivered(n int) { s.pending += uint64(n) }

func (s *loopStats) countUnacknowledged(n int) { s.awaited += uint64(n) }

func (s *loopStats) publish(l *loop) {
	s.channels.Store(int64(l.table.Private()))
	if s.pending > 0 {
		s.delivered.Add(s.pending)
		s.pending = 0
	}
	if s.awaited > 0 {
		s.unacknowledged.Add(s.awaited)
		s.awaited = 0
	}
}

// publishStats are the counters of the publish queue.
type publishStats struct {
	retries  atomic.Uint64 // of a batch of publications
	rejected atomic.Uint64 // publications that found the queue full
	took     *latency.Histogram
}

// Stats is a snapshot of the counters of a service, of which this process may not be the first.
type Stats struct {
	WebSockets, Polls int         // connections that listen now
	Listening         []Listening // the same, by dialect
	Connections       int         // all connections now
	Encrypted         int         // those of them that came over TLS, or are about to
	Free              int         // connections that there is room for
	Channels          int         // private channels with a connection; one whose connections are on several loops counts on each
	Opened            uint64      // connections since the start of the service
	HandshakesFailed  uint64      // of TLS
	AcceptFailures    uint64      // connections that could not be accepted, on any port
	Frames            uint64      // WebSocket frames received
	Acknowledged      uint64      // messages that clients of version 5 say they have
	Unacknowledged    uint64      // messages that connections of version 5 were sent, and whose clients have not said so
	StatusWatches     int         // users that clients of version 5 watch, each as often as it is watched
	StatusNotices     uint64      // that users have come or gone, of this process
	TokensRefused     map[protocol.TokenFault]uint64
	Published         uint64        // publications that came from the bus
	Delivered         uint64        // publications times receivers
	ReplaysWindow     uint64        // answered from memory
	ReplaysHistory    uint64        // answered by the bus
	Turns             uint64        // of all loops
	TurnTime          time.Duration // that they took
	Gaps, Lags        uint64        // repairs for the process, and for one loop
	PublishQueue      int           // accepted, not yet stored
	PublishRetries    uint64
	PublishRejected   uint64
	Resets            uint64            // times that the counter of message ids went back
	BusLag            time.Duration     // of the last probe: how long what is published now is under way
	ProbeFailures     uint64            // probes that did not come in time, of each loop
	BusRebuilds       uint64            // connections of the bus given up, since they brought nothing
	WindowLength      int               // publications in the window
	WindowBytes       int               // bytes that they take
	Closes            map[string]uint64 // by reason
	Held              []Held            // what is bounded in bytes, by kind
	Silence           time.Duration     // how long no echo of the bus has come
	ByKey             []int             // connections that listen, by the key that their channels are signed with, the newest first
	ByRemovedKey      int               // the same with keys that are none any more
	Connected         bool              // echoes come
	BusErrors         map[string]uint64 // failed operations of the bus, by operation
}

// Listening is how many connections listen in one way.
type Listening struct {
	Transport, Dialect string // metric labels, stable
	Connections        int
}

// listening counts the connections of all loops in each way.
func (e *Engine) listening() (all []Listening) {
	for t := transportWebSocket; t < transports; t++ {
		for d := range dialects {
			n := 0
			for _, l := range e.loops {
				n += int(l.stats.listening[t][d].Load())
			}
			all = append(all, Listening{transportTable[t].label, dialectTable[d].label, n})
		}
	}
	return all
}

// of returns how many connections listen with a transport.
func (s *loopStats) of(t transportKind) (n int) {
	for d := range s.listening[t] {
		n += int(s.listening[t][d].Load())
	}
	return n
}

// Held is what the process holds of one kind.
type Held struct {
	Kind    string `json:"kind"` // metric label, stable
	Bytes   int64  `json:"bytes"`
	Limit   int64  `json:"limit"`
	Refused uint64 `json:"refused"` // times that something was turned away or let go of for want of room
}

// held lists what is bounded over the whole process.
func (e *Engine) held() []Held {
	of := func(kind string, b *budget.Budget) Held {
		return Held{Kind: kind, Bytes: b.Used(), Limit: b.Limit(), Refused: b.Refused()}
	}
	_, window := e.feed.Window()
	backEnd, client := e.publishing.lanes[backEnds].budget, e.publishing.lanes[clients].budget
	return []Held{
		of("requests", e.bodies), of("input", e.input), of("output", e.output), of("pending", e.pending), of("replay", e.answers),
		{Kind: "window", Bytes: window, Limit: int64(e.o.WindowBytes)},
		{Kind: "gap", Bytes: int64(e.feed.Held()), Limit: int64(e.o.HeldBytes)},
		of("publish_queue", backEnd), of("client_queue", client),
	}
}

// Stats returns the counters now. It may be called from any goroutine.
func (e *Engine) Stats() Stats {
	active, encrypted := e.admission.active.Load(), e.tlsConns.Load()
	st := Stats{
		Connections: int(active - encrypted*tlsPlaces), Encrypted: int(encrypted), Free: e.admission.free(),
		HandshakesFailed: e.tlsFailed.Load(), AcceptFailures: e.acceptFailures.Count(), Published: e.feed.Stats.Published.Load(),
		Gaps: e.feed.Stats.Gaps.Load(), Lags: e.feed.Stats.Lags.Load(), Resets: e.feed.Stats.Rewinds.Load(),
		PublishQueue: e.publishing.length(), PublishRetries: e.publishStats.retries.Load(), PublishRejected: e.publishStats.rejected.Load(),
		BusLag: time.Duration(e.feed.Stats.BusLag.Load()), TokensRefused: make(map[protocol.TokenFault]uint64), Closes: make(map[string]uint64),
		ProbeFailures: e.prober.Failures.Load(), BusRebuilds: e.feed.Stats.Rebuilds.Load(),
		StatusNotices: e.statusNotices.Load(),
	}
	length, bytes := e.feed.Window()
	st.WindowLength, st.WindowBytes = length, int(bytes)
	st.Held, st.Listening = e.held(), e.listening()
	st.ByKey = make([]int, 1+len(e.settings.Load().OlderKeys))
	st.Silence = e.feed.Silence()
	st.Connected = e.feed.Stats.Heard.Load() != 0 && st.Silence < e.o.silence()
	if bus, ok := e.bus.(interface{ Errors() map[string]uint64 }); ok {
		st.BusErrors = bus.Errors()
	}
	for _, l := range e.loops {
		s := &l.stats
		st.WebSockets += s.of(transportWebSocket)
		st.Polls += s.of(transportPoll)
		st.Channels += int(s.channels.Load())
		st.Opened += s.opened.Load()
		st.Frames += s.frames.Load()
		acknowledged, abandoned := s.acknowledged.Load(), s.abandoned.Load()
		st.Acknowledged += acknowledged
		st.Unacknowledged += max(s.unacknowledged.Load(), acknowledged+abandoned) - acknowledged - abandoned
		st.StatusWatches += int(s.statuses.Load())
		for i, fault := range protocol.TokenFaults {
			st.TokensRefused[fault] += s.tokensRefused[i].Load()
		}
		st.Delivered += s.delivered.Load()
		st.ReplaysWindow += s.replaysWindow.Load()
		st.ReplaysHistory += s.replaysHistory.Load()
		st.Turns += s.turns.Load()
		st.TurnTime += time.Duration(s.turnTime.Load())
		for i := range st.ByKey {
			st.ByKey[i] += int(s.keys[i].Load())
		}
		st.ByRemovedKey += int(s.keys[removedKey].Load())
		for r := range s.closes {
			st.Closes[CloseReason(r).String()] += s.closes[r].Load()
		}
	}
	if before := e.before.Load(); before != nil {
		st.combine(before, func(own, before uint64) uint64 { return own + before })
	}
	return st
}

// counters are those of st that only grow, but for those that have names.
func (st *Stats) counters() []*uint64 {
	return []*uint64{
		&st.Opened, &st.HandshakesFailed, &st.AcceptFailures, &st.Frames, &st.Acknowledged, &st.StatusNotices, &st.Published, &st.Delivered,
		&st.ReplaysWindow, &st.ReplaysHistory, &st.Turns, &st.Gaps, &st.Lags, &st.PublishRetries, &st.PublishRejected, &st.Resets,
		&st.ProbeFailures, &st.BusRebuilds,
	}
}

// combine has each counter of st be f of its own and of the other's. Those of negative numbers wrap around, and back.
func (st *Stats) combine(other *Stats, f func(own, other uint64) uint64) {
	theirs := other.counters()
	for i, n := range st.counters() {
		*n = f(*n, *theirs[i])
	}
	st.TurnTime = time.Duration(f(uint64(st.TurnTime), uint64(other.TurnTime)))
	combine(&st.Closes, other.Closes, f)
	combine(&st.TokensRefused, other.TokensRefused, f)
	combine(&st.BusErrors, other.BusErrors, f)
	for _, o := range other.Held {
		for i := range st.Held {
			if h := &st.Held[i]; h.Kind == o.Kind {
				h.Refused = f(h.Refused, o.Refused)
			}
		}
	}
}

func combine[K comparable](own *map[K]uint64, other map[K]uint64, f func(own, other uint64) uint64) {
	all := maps.Clone(*own)
	if all == nil {
		all = make(map[K]uint64, len(other))
	}
	for k, n := range other {
		all[k] = f(all[k], n)
	}
	*own = all
}

// written is v, counters that another process goes on from.
func written(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic("BUG: engine: counters cannot be written down: " + err.Error())
	}
	return b
}

func readCounters(b json.RawMessage) (st Stats, err error) {
	if len(b) == 0 {
		return st, nil
	}
	if err := json.Unmarshal(b, &st); err != nil {
		return st, fmt.Errorf("engine: counters of the process before: %w", err)
	}
	return st, nil
}

// goOnCounting has counters go on from those of the process before: what was counted here so far was counted there, too, as were the
// connections that come from there.
func (e *Engine) goOnCounting(before Stats, connections int) {
	own := e.Stats()
	own.Opened += uint64(connections)
	before.combine(&own, func(before, own uint64) uint64 { return before - own })
	e.before.Store(&before) // a copy: who points into a takeover keeps all of it
}

// record is one process on the statistics page, in the order of its keys there. A json.RawMessage is what sonic, too, writes as it is.
type record struct {
	PID         int             `json:"pid"`
	Date        int64           `json:"date"`
	ProcessID   string          `json:"processUniqueId"`
	Channels    int             `json:"channels"`
	Limits      json.RawMessage `json:"limits"`
	ClusterMode bool            `json:"clusterMode"`
	WebSockets  int             `json:"websockets"`
	Pollings    int             `json:"pollings"`
	Daily       json.RawMessage `json:"daily"`
}

func (e *Engine) record(ctx context.Context) []byte {
	st := e.Stats()
	if n, err := e.channelCount.count(ctx, e.loops, time.Now()); err == nil {
		st.Channels = n
	}
	b, err := sonic.Marshal(record{
		PID: os.Getpid(), Date: time.Now().UnixMilli(), ProcessID: e.o.ProcessID, Channels: st.Channels, Limits: e.settings.Load().StatLimits,
		ClusterMode: e.o.ClusterMode, WebSockets: st.WebSockets, Pollings: st.Polls, Daily: e.Counters.AppendJSON(nil),
	})
	if err != nil {
		panic("BUG: engine: statistics cannot be encoded: " + err.Error())
	}
	return b
}

// channelCount is how many private channels have a connection, each once although its connections may be on several loops. Only all
// loops together know, and a table of what they share would cost every connection more than the page is worth. So they are asked, and
// since everybody may ask for the page, the answer is kept for a time that grows with what it has cost.
type channelCount struct {
	mu   sync.Mutex // held while the loops are asked, so that whoever comes meanwhile shares the answer
	n    int
	good time.Time // the end of the time in which n is kept
}

// countKept is how long an answer is kept for each channel in it: some hundred times as long as it takes to count one.
const countKept = 20 * time.Microsecond

func (c *channelCount) count(ctx context.Context, loops []*loop, now time.Time) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.Before(c.good) {
		return c.n, nil
	}
	ids := make([][]uint64, len(loops))
	if err := askLoops(ctx, loops, func(l *loop) {
		ids[l.id] = l.table.AppendPrivate(make([]uint64, 0, l.table.Private()))
	}); err != nil {
		return 0, err
	}
	all := slices.Concat(ids...)
	slices.Sort(all)
	c.n = len(slices.Compact(all))
	c.good = now.Add(time.Duration(c.n) * countKept)
	return c.n, nil
}

// ServerStats returns the statistics page: a JSON array with one object per process. It may be called from any goroutine.
func (e *Engine) ServerStats(ctx context.Context) []byte {
	defer func(begin time.Time) { exchangeOf(ctx).sayStatistics(begin) }(time.Now())
	if e.shared == nil {
		return append(append([]byte{'['}, e.record(ctx)...), ']')
	}
	records, err := e.shared.Statistics(ctx)
	if err != nil {
		e.o.Logger.Warn("statistics cannot be read", "err", err)
		return []byte("[]")
	}
	oldest := time.Now().Add(-e.o.StatMaxAge).UnixMilli()
	var names, stale []string
	for name, b := range records {
		date, ok := recordDate(b)
		switch {
		case !ok || date < oldest:
			stale = append(stale, name)
		default:
			names = append(names, name)
		}
	}
	if len(stale) > 0 {
		if err := e.shared.DeleteStatistics(ctx, stale); err != nil {
			e.o.Logger.Warn("stale statistics cannot be deleted", "err", err)
		}
	}
	slices.Sort(names)
	page := []byte{'['}
	for i, name := range names {
		if i > 0 {
			page = append(page, ',')
		}
		page = append(page, records[name]...)
	}
	return append(page, ']')
}

// recordDate is when a record was written, in milliseconds; ok is false if it is none. Package json reads it, since sonic skips
// strings with broken escapes, of which a browser, or a Node process, that reads the whole page would read nothing.
func recordDate(b []byte) (ms int64, ok bool) {
	var r struct {
		Date json.Number `json:"date"`
	}
	if json.Unmarshal(b, &r) != nil {
		return 0, false
	}
	ms, err := strconv.ParseInt(r.Date.String(), 10, 64)
	return ms, err == nil
}

// shareStatistics writes this process's record at the start and at every interval until ctx ends.
func (e *Engine) shareStatistics(ctx context.Context) {
	ticker := time.NewTicker(e.o.StatInterval)
	defer ticker.Stop()
	retry := newRetry(100*time.Millisecond, 2*time.Second)
	trouble := outage.New(e.o.Logger, "statistics cannot be written", "trying again")
	for {
		attempt, cancel := context.WithTimeout(ctx, busTimeout)
		err := e.shared.PutStatistics(attempt, e.o.ProcessID, e.record(attempt))
		cancel()
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			trouble.Failed(err)
			sleep(ctx, retry.NextBackOff())
			continue
		}
		trouble.Over()
		retry.Reset()
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}
