package engine

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
	closeReasons
)

// closeRow is what a reason means to the peer, to metrics and to the log.
type closeRow struct {
	label  string // metric label, stable
	wsCode uint16 // sent in a close frame when the session is a live WebSocket; 0: none
	wsText string
	notice string // the log line about it: what happened and which option matters; "": none
}

var closeTable = [closeReasons]closeRow{
	CloseNone:      {label: "none"},
	ClosePeer:      {label: "peer"},
	CloseDone:      {label: "done"},
	CloseHandshake: {label: "handshake"},
	CloseRefused:   {label: "refused"},
	CloseProtocol:  {label: "protocol"},
	CloseEvicted: {label: "evicted", wsCode: 4029, wsText: "4029: Too many connections",
		notice: "connections closed for newer ones, limits.maxConnPerChannel is reached"},
	CloseSlowReader:     {label: "slow_reader", notice: "connections closed, their clients read too slowly for push.maxBuffered"},
	CloseInputOverflow:  {label: "input_overflow"},
	CloseReplayOverflow: {label: "replay_overflow", wsCode: 1013, notice: "connections closed, too much was published to them while their history was read"},
	CloseOverload:       {label: "overload", wsCode: 1013, notice: "connections and requests turned away, too many are waiting already"},
	CloseHeadTimeout:    {label: "head_timeout"},
	CloseIdle:           {label: "idle"},
	CloseBodyTimeout:    {label: "body_timeout"},
	CloseNoPong:         {label: "no_pong"},
	CloseLinger:         {label: "linger"},
	CloseRequestTimeout: {label: "request_timeout", notice: "requests given up, they were not answered in time"},
	CloseAdmission:      {label: "admission", notice: "connections turned away, push.maxConnections or the descriptor limit is reached"},
	CloseDrain:          {label: "drain", wsCode: 1001},
	CloseHandedOff:      {label: "handed_off"},
	CloseOutputTotal:    {label: "output_total", notice: "connections closed, all together read too slowly for push.outputBytes"},
	CloseInputTotal:     {label: "input_total", notice: "connections closed, all together sent too much that is not complete for push.inputBytes"},
	CloseBug:            {label: "bug"},
}

// String is the metric label.
func (r CloseReason) String() string { return closeTable[r].label }
