package poll

import (
	"strconv"
	"strings"
	"sync"
	"time"

	"push-server/protocol"
)

// unknownType is what messages count as whose type is missing or unfit for statistics.
const unknownType = "unknown"

// Bounds on the names of message types, which anybody who may publish can invent.
const (
	maxTypeLength = 32
	maxTypes      = 1000
)

// commandNames are the keys of requests in the statistics, by command.
var commandNames = [...]string{
	protocol.CommandPublish:      "incomingMessages",
	protocol.CommandChannelStats: "channelStats",
	protocol.CommandServerStats:  "serverStats",
	protocol.CommandRegister:     "registration",
}

// Counters count requests and messages since local midnight. Safe for concurrent use.
type Counters struct {
	now func() time.Time

	mu       sync.Mutex
	midnight time.Time // when the counters start again
	requests [len(commandNames)]uint64
	messages map[string]uint64
	types    []string // keys of messages in the order in which they came
}

// NewCounters makes counters for the days of now, usually time.Now.
func NewCounters(now func() time.Time) *Counters {
	c := &Counters{now: now}
	c.reset(now())
	return c
}

// CountRequest counts a protobuf request, or a GET that asks the same as one.
func (c *Counters) CountRequest(command protocol.Command) {
	if int(command) >= len(commandNames) || commandNames[command] == "" {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.turn()
	c.requests[command]++
}

// CountMessage counts a published message under its type: up to 32 letters, digits or "_*-". Anything else, and what would be
// more than a thousand types, counts as "unknown".
func (c *Counters) CountMessage(messageType string) {
	if !isType(messageType) {
		messageType = unknownType
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.turn()
	if _, known := c.messages[messageType]; !known {
		messageType = c.addType(messageType)
	}
	c.messages[messageType]++
}

// AppendJSON appends {"requests":{...},"messages":{...}} with what was counted today.
func (c *Counters) AppendJSON(dst []byte) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.turn()
	dst = append(dst, `{"requests":{`...)
	start := len(dst)
	for command, n := range c.requests {
		if n > 0 {
			dst = appendCount(dst, start, commandNames[command], n)
		}
	}
	dst = append(dst, `},"messages":{`...)
	start = len(dst)
	for _, t := range c.types {
		dst = appendCount(dst, start, t, c.messages[t])
	}
	return append(dst, "}}"...)
}

// Day is what was counted up to now of a day, for another process to go on with.
type Day struct {
	Ends     int64 // when it is over, Unix seconds
	Requests map[string]uint64
	Messages []TypeCount // in the order in which types came
}

// TypeCount is how many messages of a type there were.
type TypeCount struct {
	Type  string
	Count uint64
}

// Day is what was counted today.
func (c *Counters) Day() Day {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.turn()
	d := Day{Ends: c.midnight.Unix(), Requests: make(map[string]uint64)}
	for command, n := range c.requests {
		if n > 0 {
			d.Requests[commandNames[command]] = n
		}
	}
	for _, t := range c.types {
		d.Messages = append(d.Messages, TypeCount{t, c.messages[t]})
	}
	return d
}

// GoOn adds what another process has counted today. It comes before anything is counted here, so that types keep their order.
func (c *Counters) GoOn(d Day) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.turn(); d.Ends != c.midnight.Unix() {
		return
	}
	for command, name := range commandNames {
		c.requests[command] += d.Requests[name]
	}
	for _, m := range d.Messages {
		t := m.Type
		if _, known := c.messages[t]; !known {
			t = c.addType(t)
		}
		c.messages[t] += m.Count
	}
}

// appendCount appends "name":n, with a comma if it is not the first one since start. Names need no escaping.
func appendCount(dst []byte, start int, name string, n uint64) []byte {
	if len(dst) > start {
		dst = append(dst, ',')
	}
	dst = append(append(append(dst, '"'), name...), '"', ':')
	return strconv.AppendUint(dst, n, 10)
}

// addType makes room for a type, or says which one stands for it. The type is copied: it may be part of something larger.
func (c *Counters) addType(t string) string {
	if len(c.types) >= maxTypes {
		t = unknownType
	}
	t = strings.Clone(t)
	if _, known := c.messages[t]; !known {
		c.types = append(c.types, t)
	}
	return t
}

// turn begins a new day when the last one is over.
func (c *Counters) turn() {
	if now := c.now(); !now.Before(c.midnight) {
		c.reset(now)
	}
}

func (c *Counters) reset(now time.Time) {
	year, month, day := now.Date()
	c.midnight = time.Date(year, month, day+1, 0, 0, 0, 0, now.Location())
	c.requests = [len(commandNames)]uint64{}
	c.messages = make(map[string]uint64)
	c.types = nil
}

func isType(s string) bool {
	if len(s) == 0 || len(s) > maxTypeLength {
		return false
	}
	for _, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '*', c == '-':
		default:
			return false
		}
	}
	return true
}
