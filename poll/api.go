package poll

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"push-server/protocol"
)

// Users knows when users of version 5 were seen.
type Users interface {
	// See notes when users were seen elsewhere, in Unix seconds.
	See(ctx context.Context, seen map[uint64]int64) error
	// SecondsSinceSeen returns of each user how long ago it was seen: 0 if it is connected, -1 if nobody knows.
	SecondsSinceSeen(ctx context.Context, users []uint64) ([]int64, error)
}

// The parameters and headers of requests of version 5.
const (
	paramSignature = "signature"
	headerHost     = "X-HostId"
)

// isAPI says whether a request to the path of publications is one of version 5, so that no proxy needs another route for it.
func isAPI(h *fasthttp.RequestHeader) bool {
	_, query := splitTarget(h.RequestURI())
	return bytes.HasPrefix(query, queryHost) || bytes.Contains(query, append([]byte("&"), queryHost...)) || len(h.Peek(headerHost)) > 0
}

var queryHost = []byte("hostId=")

// apiFactor is how much larger than limits.maxPayload a request of version 5 may be: PHP splits by characters, which are up to four bytes.
const apiFactor = 4

// api answers the calls of a back end, none of which has an id, and each of which expects a reply.
func (c *call) api() {
	if !c.signer.ValidText(c.payload, c.query.Peek(paramSignature)) {
		c.apiFail(fasthttp.StatusForbidden, &protocol.RPCError{Code: -32600, Message: "Wrong signature"})
		return
	}
	calls, batch, e := protocol.ParseCalls(c.payload)
	switch {
	case e == protocol.ErrRPCRequest && batch && len(calls) == 0 && isEmptyArray(c.payload):
		c.replyJSON([]byte("[]")) // PHP sends one in front of a message that is too large for its limit
	case e != nil:
		c.apiFail(fasthttp.StatusBadRequest, e)
	case batch:
		c.apiBatch(calls)
	default:
		c.apiSingle(&calls[0])
	}
}

func isEmptyArray(b []byte) bool {
	var list []json.RawMessage
	return json.Unmarshal(b, &list) == nil && len(list) == 0
}

func (c *call) apiFail(status int, e *protocol.RPCError) {
	c.replyJSON(protocol.AppendRPCError(nil, nil, e))
	c.SetStatusCode(status)
}

func (c *call) replyJSON(body []byte) { c.reply("application/json", body) }

// apiBatch publishes what can be published. PHP does not look at the reply; it is for people.
func (c *call) apiBatch(calls []protocol.Call) {
	reply := []byte{'['}
	ps := make([]*protocol.Publication, 0, len(calls))
	for i := range calls {
		p, e := c.apiPublication(&calls[i])
		if e == nil {
			if p != nil {
				ps = append(ps, p)
			}
			continue
		}
		if len(reply) > 1 {
			reply = append(reply, ',')
		}
		reply = fmt.Appendf(reply, `{"jsonrpc":"2.0","id":null,"error":{"code":%d,"message":%q,"data":{"index":%d}}}`, e.Code, e.Message, i)
	}
	if c.handOver(ps) {
		c.replyJSON(append(reply, ']'))
	}
}

func (c *call) apiPublication(call *protocol.Call) (*protocol.Publication, *protocol.RPCError) {
	if call.Method != "publish" {
		return nil, protocol.ErrRPCMethod
	}
	p, e := call.BackendPublication()
	if e != nil || p == nil || c.Repeats.repeats(p, time.Now()) {
		return nil, e
	}
	return p, nil
}

// handOver publishes ps. What is accepted is answered 200, stored or not: 202 is a failure to PHP.
func (c *call) handOver(ps []*protocol.Publication) (taken bool) {
	if len(ps) == 0 {
		return true
	}
	c.Counters.CountRequest(protocol.CommandPublish)
	for _, p := range ps {
		c.Counters.CountMessage(p.Type)
	}
	switch err := c.Publisher.Publish(c.context(), ps); {
	case err == nil, errors.Is(err, ErrAccepted):
		return true
	case errors.Is(err, protocol.ErrUnkept): // sent again, it would come twice to those who are connected
		c.apiFail(fasthttp.StatusInternalServerError, protocol.ErrRPCUnkept)
	default:
		c.Repeats.forget(ps)
		c.apiFail(fasthttp.StatusServiceUnavailable, protocol.ErrRPCTooMany)
	}
	return false
}

// apiSingle answers one call. PHP warns of an answer without a key "error".
func (c *call) apiSingle(call *protocol.Call) {
	result, e := c.apiResult(call)
	switch {
	case e != nil:
		c.replyJSON(protocol.AppendRPCError(nil, call.ID, e))
	case result != nil:
		answer := protocol.AppendResult(nil, call.ID, result)
		c.replyJSON(append(answer[:len(answer)-1], `,"error":null}`...))
	}
}

// apiResult is nil without an error if the request has been answered.
func (c *call) apiResult(call *protocol.Call) ([]byte, *protocol.RPCError) {
	ctx, cancel := c.timeout()
	defer cancel()
	switch call.Method {
	case "publish":
		p, e := c.apiPublication(call)
		if e != nil {
			return nil, e
		}
		if p != nil && !c.handOver([]*protocol.Publication{p}) {
			return nil, nil
		}
		return []byte("true"), nil
	case "getUsersLastSeen":
		c.Counters.CountRequest(protocol.CommandChannelStats)
		users, e := call.Users()
		if e != nil {
			return nil, e
		}
		seconds, err := c.Users.SecondsSinceSeen(ctx, users)
		if err != nil {
			return nil, protocol.ErrRPCInternal
		}
		return protocol.AppendSeconds(nil, users, seconds), nil
	case "updateUsersLastSeen":
		seen, e := call.Seen()
		if e != nil {
			return nil, e
		}
		if err := c.Users.See(ctx, seen); err != nil {
			return nil, protocol.ErrRPCInternal
		}
		return []byte("true"), nil
	}
	return nil, protocol.ErrRPCMethod
}

// Repeats remembers what was published over the last seconds: PHP sends again what it has no answer to within a second. The zero value is
// ready. It may be used from any goroutine.
type Repeats struct {
	mu   sync.Mutex
	seen map[[16]byte]time.Time
	old  map[[16]byte]time.Time
	turn time.Time
}

const (
	repeatsLast = 30 * time.Second
	maxRepeats  = 1 << 16 // of each generation; some 6 MB
)

// repeats says whether the same was published a moment ago: the same text to the same receivers. A body without a time in microseconds may
// be meant twice.
func (r *Repeats) repeats(p *protocol.Publication, now time.Time) bool {
	if !p.IsTimed() {
		return false
	}
	sum := digest(p)
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Sub(r.turn) > repeatsLast || len(r.seen) >= maxRepeats {
		r.old, r.seen, r.turn = r.seen, make(map[[16]byte]time.Time), now
	}
	for _, generation := range []map[[16]byte]time.Time{r.seen, r.old} {
		if at, ok := generation[sum]; ok && now.Sub(at) <= repeatsLast {
			return true
		}
	}
	r.seen[sum] = now
	return false
}

// forget is for publications that were not taken.
func (r *Repeats) forget(ps []*protocol.Publication) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range ps {
		delete(r.seen, digest(p))
	}
}

func digest(p *protocol.Publication) (sum [16]byte) {
	h := sha256.New()
	h.Write(p.Body)
	h.Write([]byte{0})
	h.Write(p.Extra)
	var receivers [16]byte // their order does not matter
	for _, r := range p.Receivers {
		for i, b := range r.Channel.Bytes {
			receivers[i] ^= b
		}
	}
	h.Write(receivers[:])
	return [16]byte(h.Sum(nil)[:16])
}
