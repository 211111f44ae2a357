package engine

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/bytedance/sonic"
	"github.com/valyala/fasthttp"

	"push-server/poll"
	"push-server/protocol"
)

// Trace is told what happens on connections that an operator follows. Its methods are called from loops: they must not block.
type Trace interface {
	// Begin says whether the client of a request is followed: addr is the other end of its connection, forwarded what proxies say
	// (nil: nothing). Lines about the request begin with id and call the client client. No id: it is not followed.
	Begin(addr string, forwarded []byte) (id, client string)
	// Line gets a line, without a time.
	Line(text string)
}

// followed is a request that an operator follows; a WebSocket is the request that began it. Nothing of it changes, so that every
// goroutine that has to do with the request may write lines about it.
type followed struct {
	trace      Trace
	id, client string
	begin      time.Time
}

// arrival is when a connection came in, and when its TLS handshake was done (zero: it is plain).
type arrival struct{ tcp, tls time.Time }

// follow returns nil if the operator does not want to follow the request.
func follow(t Trace, addr string, forwarded []byte) *followed {
	id, client := t.Begin(addr, forwarded)
	if id == "" {
		return nil
	}
	return &followed{trace: t, id: id, client: client, begin: time.Now()}
}

func (f *followed) say(format string, args ...any) {
	f.trace.Line(f.id + " " + fmt.Sprintf(format, args...))
}

func (f *followed) ms() int64 { return time.Since(f.begin).Milliseconds() }

// sayRequest writes what every request begins with.
func (f *followed) sayRequest(a arrival, kind, target string) {
	const layout = "2006-01-02 15:04:05.000"
	f.say("[TCP-CONNECTION] %s %s", a.tcp.Format(layout), f.client)
	if !a.tls.IsZero() {
		f.say("[TLS-CONNECTION] %s %s", a.tls.Format(layout), f.client)
	}
	f.say("[%s] %s %s", kind, target, f.client)
}

// sayFinished is for a complete reply.
func (f *followed) sayFinished(status string) {
	ms := f.ms()
	f.say("[FINISHED] %dms %s %s", ms, status, f.client)
	f.say("[CLOSED] %dms %s %s", ms, status, f.client)
}

// sayStored says under which ids publications are stored that were handed over at since.
func (f *followed) sayStored(ps []*protocol.Publication, since time.Time) {
	for _, p := range ps {
		f.say("[MESSAGE-SET] %s %dms %s", bufferText(p.ID), time.Since(since).Milliseconds(), f.client)
	}
}

// sayNewest is for the newest stored message of a poll's channels; the zero id: there is none.
func (f *followed) sayNewest(id protocol.MessageID, since time.Time) {
	f.say("[MESSAGE-LAST] %s %dms %s", bufferText(id), time.Since(since).Milliseconds(), f.client)
}

// sayAnswer is for an answer of n bytes to a question.
func (f *followed) sayAnswer(transport string, n int, command string) {
	f.say(`[%s-SEND] %dB {"%s":1} []`, transport, n, command)
}

// The commands of answers.
const (
	commandChannelStats = "channelStats"
	commandServerStats  = "serverStats"
)

// bufferText is an id as JSON has a buffer of Node, which is what operators look for.
func bufferText(id protocol.MessageID) string {
	if id.IsZero() {
		return "none"
	}
	numbers := make([]int, len(id))
	for i, b := range id {
		numbers[i] = int(b)
	}
	data, err := sonic.Marshal(numbers)
	if err != nil {
		panic("BUG: engine: numbers cannot be encoded: " + err.Error())
	}
	return `{"type":"Buffer","data":` + string(data) + `}`
}

// exchange is a followed request that is being answered, in the context of what is called for it.
type exchange struct {
	*followed
	answers string // the command of the answer to a question; "": it was none
}

type exchangeKey struct{}

// exchangeOf returns nil if ctx belongs to no followed request.
func exchangeOf(ctx context.Context) *exchange {
	x, _ := ctx.Value(exchangeKey{}).(*exchange)
	return x
}

// of returns whose exchange it is; x may be nil.
func (x *exchange) of() *followed {
	if x == nil {
		return nil
	}
	return x.followed
}

// sayOnline is for the question who of n channels is online, asked at begin; x may be nil.
func (x *exchange) sayOnline(n int, begin time.Time) {
	if x == nil {
		return
	}
	x.answers = commandChannelStats
	x.say("[CHANNELS-STATS] %d %dms %s", n, time.Since(begin).Milliseconds(), x.client)
}

// sayStatistics is for the question for statistics, asked at begin; x may be nil.
func (x *exchange) sayStatistics(begin time.Time) {
	if x == nil {
		return
	}
	x.answers = commandServerStats
	x.say("[SERVER-STATS] %dms %s", time.Since(begin).Milliseconds(), x.client)
}

// context is what calls for this request are made with; f may be nil.
func (f *followed) context() context.Context {
	if f == nil {
		return context.Background()
	}
	return context.WithValue(context.Background(), exchangeKey{}, &exchange{followed: f})
}

// answering is h for this request. What it calls writes about publications and questions.
func (f *followed) answering(h fasthttp.RequestHandler) fasthttp.RequestHandler {
	return func(r *fasthttp.RequestCtx) {
		ctx := f.context()
		poll.InContext(ctx, h)(r)
		if command := exchangeOf(ctx).answers; command != "" {
			f.sayAnswer("HTTPREQUEST", len(r.Response.Body()), command)
		}
	}
}

// finishing is h for this request, of which no loop knows.
func (f *followed) finishing(h fasthttp.RequestHandler) fasthttp.RequestHandler {
	return func(r *fasthttp.RequestCtx) {
		f.answering(h)(r)
		f.sayFinished(fmt.Sprint(r.Response.StatusCode()))
	}
}

// following is h for a port without loops.
func following(t Trace, h fasthttp.RequestHandler) fasthttp.RequestHandler {
	return func(r *fasthttp.RequestCtx) {
		f := follow(t, poll.AddressText(r.RemoteAddr()), poll.List(&r.Request.Header, fasthttp.HeaderXForwardedFor))
		if f == nil {
			h(r)
			return
		}
		f.sayRequest(arrival{tcp: r.ConnTime()}, string(r.Method()), traceTarget(r.RequestURI()))
		f.finishing(h)(r)
	}
}

// traceTarget is a request target as lines show it: without signatures and tokens, which open channels to whoever reads them. Strangers choose
// its bytes, so it is one pass over bytes, and what is percent-encoded is looked at as what it stands for.
func traceTarget(target []byte) string {
	shown := make([]byte, 0, len(target))
	for i := 0; i < len(target); {
		c, n := decoded(target[i:])
		shown = append(shown, target[i:i+n]...)
		if i += n; c != '.' && (c != '=' || !bytes.HasSuffix(shown, []byte("signature="))) {
			continue
		}
		digits, length := secretDigits(target[i:])
		if digits >= minSignature {
			shown = append(shown, '*')
		} else {
			shown = append(shown, target[i:i+length]...)
		}
		i += length
	}
	return string(shown)
}

// minSignature is the length of the shortest signature, in hexadecimal digits. Segments of tokens are longer.
const minSignature = 32

// secretDigits counts the digits at the beginning of b that a signature or a segment of a token may consist of, and their bytes.
func secretDigits(b []byte) (digits, length int) {
	for length < len(b) {
		c, n := decoded(b[length:])
		if !isSecretDigit(c) {
			break
		}
		digits++
		length += n
	}
	return digits, length
}

// isSecretDigit says whether c is a digit of base64url (RFC 4648, 5), as those of hex are.
func isSecretDigit(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z' || c == '-' || c == '_'
}

// decoded is the first byte that b, which is not empty, stands for, and how many bytes that takes.
func decoded(b []byte) (c byte, n int) {
	if b[0] == '%' && len(b) > 2 {
		high, ok := hexValue(b[1])
		low, ok2 := hexValue(b[2])
		if ok && ok2 {
			return high<<4 | low, 3
		}
	}
	return b[0], 1
}

func hexValue(c byte) (v byte, ok bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10, true
	}
	return 0, false
}
