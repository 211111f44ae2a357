package engine

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"push-server/engine/closed"
)

// CloseReason says why a connection ended. Each is one row of the table below: a metric label, what the peer is told, and
// whether it is worth a log line.
type CloseReason uint8

// The reasons.
const (
	CloseNone           CloseReason = iota
	ClosePeer                       // the peer ended the connection
	CloseDone                       // the reply was the last one on this connection
	CloseHandshake                  // both sides have said goodbye (RFC 6455, 7.1.1)
	CloseRefused                    // bad HTTP
	CloseProtocol                   // bad WebSocket frames or bad requests in them; the code was sent before
	CloseEvicted                    // too many connections on one channel
	CloseSlowReader                 // buffered output passed the limit
	CloseInputOverflow              // more unread input than a state allows
	CloseReplayOverflow             // more live messages than the limit while history was being read
	CloseOverload                   // a bounded queue was full
	CloseHeadTimeout                // no complete head in time
	CloseIdle                       // keep-alive time is over
	CloseBodyTimeout                // no complete body in time
	CloseNoPong                     // no answer to a ping
	CloseLinger                     // the peer did not finish its side in time
	CloseRequestTimeout             // a worker did not answer in time
	CloseAdmission                  // the process is full
	CloseDrain                      // the process is going away
	CloseHandedOff                  // another goroutine owns the connection now
	CloseOutputTotal                // the process holds too much output, most of it for this one
	CloseInputTotal                 // the process holds too much unread input, most of it from this one
	CloseBug                        // its input made us panic
	CloseRate                       // the client published or asked more than it may
	CloseOperator                   // an operator wanted it to end
	CloseExpired                    // the token is out of date
	CloseOrigin                     // a page that may not open a WebSocket
	CloseConnectRate                // more came in a second than the process takes
	CloseAddressFull                // too many connections of one address
	CloseAddressRate                // too many of them in a second
	CloseProxyHeader                // a proxy did not say whose connection it is
	closeReasons
)

// closeRow is what a reason means to the peer, to metrics and to the log.
type closeRow struct {
	label  string // metric label, stable
	wsCode uint16 // sent in a close frame when the session is a live WebSocket; 0: none
	wsText string
	notice string // the log line about it: what happened and which option matters; "": none
	fault  bool   // of the peer, which only a log at debug level has, with what happened before
}

var closeTable = [closeReasons]closeRow{
	CloseNone:      {label: "none"},
	ClosePeer:      {label: "peer"},
	CloseDone:      {label: "done"},
	CloseHandshake: {label: "handshake"},
	CloseRefused:   {label: "refused", fault: true},
	CloseProtocol:  {label: "protocol", fault: true},
	CloseEvicted: {label: "evicted", wsCode: 4029, wsText: "4029: Too many connections",
		notice: "connections closed for newer ones, limits.maxConnPerChannel is reached"},
	CloseSlowReader:     {label: "slow_reader", notice: "connections closed, their clients read too slowly for push.maxBuffered"},
	CloseInputOverflow:  {label: "input_overflow", fault: true},
	CloseReplayOverflow: {label: "replay_overflow", wsCode: 1013, notice: "connections closed, too much was published to them while their history was read"},
	CloseOverload:       {label: "overload", wsCode: 1013, notice: "connections and requests turned away, too many are waiting already"},
	CloseHeadTimeout:    {label: "head_timeout"},
	CloseIdle:           {label: "idle"},
	CloseBodyTimeout:    {label: "body_timeout"},
	CloseNoPong:         {label: "no_pong", fault: true},
	CloseLinger:         {label: "linger"},
	CloseRequestTimeout: {label: "request_timeout", notice: "requests given up, they were not answered in time"},
	CloseAdmission:      {label: "admission", notice: "connections turned away, push.maxConnections or the descriptor limit is reached"},
	CloseDrain:          {label: "drain", wsCode: 1001},
	CloseHandedOff:      {label: "handed_off"},
	CloseOutputTotal:    {label: "output_total", notice: "connections closed, all together read too slowly for push.outputBytes"},
	CloseInputTotal:     {label: "input_total", notice: "connections closed, all together sent too much that is not complete for push.inputBytes"},
	CloseBug:            {label: "bug"},
	CloseExpired:        {label: "expired"},
	CloseRate: {label: "rate", wsCode: 1013, wsText: "1013: Too many requests",
		notice: "connections closed, their clients publish and ask more than push.clientRate"},
	CloseOrigin:      {label: "origin", notice: "handshakes refused, push.origins does not have their page"},
	CloseConnectRate: {label: "connect_rate", notice: "connections turned away for a while, more come in a second than push.connectRate"},
	CloseAddressFull: {label: "address_connections", notice: "connections turned away, their address has as many as push.perAddress.connections"},
	CloseAddressRate: {label: "address_rate", notice: "connections turned away, more come from their address in a second than push.perAddress.connectRate"},
	CloseProxyHeader: {label: "proxy_header", notice: "connections of proxies closed, they do not begin with a PROXY header, which servers[].proxyProtocol expects"},
	CloseOperator:    {label: "operator", wsCode: 1001, notice: "connections closed by an operator"},
}

// String is the metric label.
func (r CloseReason) String() string { return closeTable[r].label }

// rememberClosed is for operators who ask afterwards.
func (l *loop) rememberClosed(s *Session) {
	if l.o.Closed == nil || len(s.subs) == 0 || s.is(flagOwn) {
		return
	}
	end := closed.End{Time: time.Now(), Reason: s.reason.String(), Transport: s.via().label, Address: l.peer(s), Last: s.mid}
	for _, sub := range s.subs {
		end.Listen(l.table.Channel(sub))
	}
	l.o.Closed.Add(end)
}

// notices are log lines about what happens to single connections, of which there may be thousands: the first of a kind is told at once,
// from then on there is one line a minute, with how many there were and the address of one of them.
type notices struct {
	log   *slog.Logger
	mu    sync.Mutex
	kinds map[string]*notice
}

type notice struct {
	count   int // not told yet
	example string
	last    []any // key and value: what happened on that connection before
	told    time.Time
}

const (
	noticeEvery = time.Minute
	noticeLook  = 5 * time.Second
)

func newNotices(log *slog.Logger) *notices {
	return &notices{log: log, kinds: make(map[string]*notice)}
}

// note counts what has happened to the connection of addr. It may be called from any goroutine.
func (n *notices) note(what, addr string) { n.noteAfter(what, addr, nil) }

// noteAfter is note of a connection whose last events are known, in case the line is about it.
func (n *notices) noteAfter(what, addr string, events func() string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	k := n.kinds[what]
	if k == nil {
		k = &notice{}
		n.kinds[what] = k
	}
	k.count++
	k.example, k.last = addr, nil
	if events != nil && time.Since(k.told) >= noticeEvery {
		k.last = []any{"events", events()}
	}
	n.tell(what, k, time.Now())
}

// tell writes the line if it is time.
func (n *notices) tell(what string, k *notice, now time.Time) {
	if k.count == 0 || now.Sub(k.told) < noticeEvery {
		return
	}
	n.log.Warn(what, append([]any{"connections", k.count, "example", k.example}, k.last...)...)
	k.count, k.told = 0, now
}

// run tells what came after the last line of its kind, until ctx ends.
func (n *notices) run(ctx context.Context) {
	every(ctx, noticeLook, n.look)
}

func (n *notices) look(now time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for what, k := range n.kinds {
		n.tell(what, k, now)
	}
}
