package engine

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/gobwas/ws"

	"push-server/engine/feed"
	"push-server/engine/outage"
	"push-server/engine/receipt"
	"push-server/engine/roster"
	"push-server/poll"
	"push-server/protocol"
)

// The dialect of version 5.
func init() {
	dialectTable[dialectJSONRPC] = dialect{
		label: "json-rpc", joint: joint{"[", ",", "]"}, pulse: protocol.AppendFrame(nil, ws.OpText, []byte("ping")), hear: (*loop).hearJSON,
		textOnly: true, own: ownFrame,
		Encoding: feed.Encoding{Slot: int(dialectJSONRPC), OpCode: ws.OpText, Append: func(dst []byte, p *protocol.Publication) []byte {
			return protocol.AppendIncoming(dst, p, nil)
		}},
	}
}

// speakV5 remembers who was seen, where the bus can.
func (e *Engine) speakV5() {
	if memory, ok := e.bus.(LastSeen); ok {
		e.lastSeen = newLastSeen(memory, e.o.Logger)
	}
	if bus, ok := e.bus.(roster.Bus); ok {
		e.roster = roster.New(bus, roster.Options{
			Delay: e.o.V5.OfflineDelay, TTL: e.o.OnlineTTL, Changed: e.tellStatus,
			Failing: outage.New(e.o.Logger, "it cannot be found out who is online", "trying again"),
		})
	}
}

// ownFrame is the frame of a publication that has something for the user of s alone; ok is false if all get the same.
func ownFrame(s *Session, p *protocol.Publication) (frame feed.Frame, ok bool) {
	params := p.ParamsOf(s.user)
	if params == nil {
		return frame, false
	}
	return feed.NewFrame(ws.OpText, protocol.AppendIncoming(nil, p, params)), true
}

// What clients of version 5 may send besides JSON.
var (
	wordPong = []byte("pong")
	wordAck  = []byte("mack:")
	wordNull = []byte("null") // of a client whose codec has no form for what it was to send
)

// hearJSON does what a client of version 5 says.
func (l *loop) hearJSON(s *Session, payload []byte) {
	s.unmark(isPinged)
	s.pulses = 0
	switch {
	case bytes.Equal(payload, wordPong):
		l.touchAgain(s)
	case bytes.HasPrefix(payload, wordAck):
		if id, ok := protocol.ParseMessageID(payload[len(wordAck):]); ok {
			l.acknowledged(s, id)
		}
	case bytes.Equal(payload, wordNull):
	default:
		l.hearCalls(s, payload)
	}
}

// acknowledges says whether the client of s says which messages it has.
func (s *Session) acknowledges() bool {
	return s.dialect == dialectJSONRPC && s.transport == transportWebSocket && !s.is(flagOwn)
}

// noteFlight counts n messages that are to be acknowledged, and remembers when the last one came.
func (l *loop) noteFlight(e *feed.Entry, n int) {
	l.stats.countUnacknowledged(n)
	if id := &e.Publication.ID; l.flights.Lacks(id) {
		if at, ok := e.Arrived(); ok {
			l.flights.Begin(id, at)
		}
	}
}

// acknowledged notes that the client of s has the message called id.
func (l *loop) acknowledged(s *Session, id protocol.MessageID) {
	if !s.acknowledges() || !l.receipts.Add(s.index, id, s.sent) {
		return
	}
	l.stats.acknowledged.Add(1)
	if took, ok := l.flights.Took(&id, l.reader.Now()); ok {
		l.engine.latency.Acknowledgement.Observe(took)
	}
}

// outstanding is how many messages the client of s has not said it has.
func (l *loop) outstanding(s *Session) uint32 {
	if !s.acknowledges() {
		return 0
	}
	return s.sent - l.receipts.Of(s.index).Count
}

// endReceipts is for a session that ends: nobody waits for its client any more.
func (l *loop) endReceipts(s *Session) {
	if s.acknowledges() {
		l.stats.abandoned.Add(uint64(l.outstanding(s)))
		l.receipts.Set(s.index, receipt.Receipt{})
	}
}

// maxFaults is how many messages that are no JSON a connection may send.
const maxFaults = 10

func (l *loop) hearCalls(s *Session, payload []byte) {
	calls, batch, e := protocol.ParseCalls(payload)
	if e != nil {
		if e == protocol.ErrRPCParse {
			if s.faults++; s.faults >= maxFaults {
				l.sayGoodbye(s, CloseProtocol, uint16(ws.StatusPolicyViolation), "")
				return
			}
		}
		l.answerCall(s, protocol.AppendRPCError(nil, nil, e))
		return
	}
	var answers []byte
	for i := range calls {
		answer := l.doCall(s, &calls[i])
		if s.state == stateClosed || s.state == stateClosing {
			return
		}
		switch {
		case answer == nil || calls[i].ID == nil:
		case answers == nil:
			answers = answer
		default:
			answers = append(append(answers, ','), answer...)
		}
	}
	switch {
	case answers == nil:
	case batch:
		l.answerCall(s, append(append([]byte{'['}, answers...), ']'))
	default:
		l.answerCall(s, answers)
	}
}

func (l *loop) answerCall(s *Session, text []byte) {
	l.scratch = protocol.AppendFrame(l.scratch[:0], ws.OpText, text)
	l.write(s, l.scratch)
}

// doCall does what is asked for. The answer is nil if there is none, or none yet.
func (l *loop) doCall(s *Session, c *protocol.Call) []byte {
	if c.Answers() {
		return nil
	}
	result, e := l.resultOf(s, c)
	switch {
	case e != nil:
		return protocol.AppendRPCError(nil, c.ID, e)
	case result == nil:
		return nil
	}
	return protocol.AppendResult(nil, c.ID, result)
}

// resultOf is nil without an error if the answer comes by mail.
func (l *loop) resultOf(s *Session, c *protocol.Call) ([]byte, *protocol.RPCError) {
	switch c.Method {
	case "publish":
		return l.publishCall(s, c)
	case "getUsersLastSeen":
		return l.askLastSeen(s, c)
	case "subscribeStatusChange":
		return l.watchStatus(s, c)
	case "unsubscribeStatusChange":
		return l.unwatchStatus(s, c)
	case "ping":
		return []byte(`"pong"`), nil
	case "listChannels":
		return l.listChannels(s), nil
	case "":
		return nil, protocol.ErrRPCRequest
	}
	return nil, protocol.ErrRPCMethod
}

func (l *loop) publishCall(s *Session, c *protocol.Call) ([]byte, *protocol.RPCError) {
	if !l.mayAsk(s, 1) {
		return nil, nil
	}
	now := float64(time.Now().UnixMicro()) / 1e6
	p, e := c.ClientPublication(s.user, l.senderOf(s), l.signer, &l.settings.Limits, now)
	if e != nil {
		return nil, e
	}
	if err := l.engine.publishing.enqueue(clients, []*protocol.Publication{p}, nil, l.followedOf(s)); errors.Is(err, poll.ErrQueueFull) {
		return nil, protocol.ErrRPCTooMany
	}
	l.engine.Counters.CountRequest(protocol.CommandPublish)
	l.engine.Counters.CountMessage(p.Type)
	return []byte("true"), nil
}

// watchStatus has s be told when a user comes or goes.
func (l *loop) watchStatus(s *Session, c *protocol.Call) ([]byte, *protocol.RPCError) {
	user, e := l.watchedUser(s, c)
	if e != nil {
		return nil, e
	}
	ch := protocol.StatusChannel(user)
	if l.subscriptionOf(s, &ch) < 0 {
		if len(s.subs)-int(s.named) >= l.o.V5.StatusPerConnection {
			return nil, protocol.ErrRPCUsers
		}
		l.join(s, ch, false)
		l.stats.statuses.Add(1)
	}
	return []byte("true"), nil
}

func (l *loop) unwatchStatus(s *Session, c *protocol.Call) ([]byte, *protocol.RPCError) {
	user, e := l.watchedUser(s, c)
	if e != nil {
		return nil, e
	}
	ch := protocol.StatusChannel(user)
	if l.subscriptionOf(s, &ch) >= 0 {
		l.leave(s, ch)
		l.stats.statuses.Add(-1)
	}
	return []byte("true"), nil
}

func (l *loop) watchedUser(s *Session, c *protocol.Call) (uint64, *protocol.RPCError) {
	switch {
	case l.engine.roster == nil:
		return 0, protocol.ErrRPCMethod
	case s.user == 0:
		return 0, protocol.ErrRPCGuest
	}
	return c.User()
}

// senderOf is who publishes: a user, or a guest by its public id.
func (l *loop) senderOf(s *Session) protocol.Sender {
	switch {
	case s.user != 0:
		return protocol.UserSender(s.user)
	case s.has(hasPublicID):
		id := l.table.Channel(s.subs[s.publicAt]).Bytes
		return protocol.Sender{Type: protocol.SenderClient, ID: id[:]}
	}
	return protocol.Sender{Type: protocol.SenderClient}
}

// listChannels are the ids that s has named. The channel of its messages has none that anybody knows.
func (l *loop) listChannels(s *Session) []byte {
	own := protocol.UserChannel(s.user)
	ids := []string{}
	for _, sub := range s.subs[:s.named] {
		if ch := l.table.Channel(sub); s.user == 0 || ch != own {
			ids = append(ids, string(ch.AppendHex(nil)))
		}
	}
	text, err := json.Marshal(ids)
	if err != nil {
		panic("BUG: engine: ids are no JSON: " + err.Error())
	}
	return text
}

// maxAsked is how many users a client may ask about at once; back ends ask about all.
const maxAsked = 1000

// askLastSeen has the question answered by a goroutine.
func (l *loop) askLastSeen(s *Session, c *protocol.Call) ([]byte, *protocol.RPCError) {
	if s.user == 0 {
		return nil, protocol.ErrRPCGuest
	}
	users, e := c.Users()
	switch {
	case e != nil:
		return nil, e
	case len(users) > maxAsked:
		return nil, protocol.ErrRPCUsers
	case !l.mayAsk(s, 1):
		return nil, nil
	}
	ref, id := s.ref(), append([]byte(nil), c.ID...)
	if !l.engine.requests.start(func() {
		text := l.engine.lastSeenAnswer(id, users)
		l.post(mail{kind: mailReply, ref: ref, reply: protocol.AppendFrame(nil, ws.OpText, text)})
	}) {
		return nil, protocol.ErrRPCTooMany
	}
	return nil, nil
}

// Sessions keep when their tokens expire in two bytes: in ticks from the start of the process, which wrap around after some days. So what is
// further away than longestToken is taken for that; a client whose connection ends then comes back with a token just as good.
const (
	expiryTick   = 5 * time.Second
	longestToken = 40 * time.Hour
)

// expiryOf is when a token expires, for a session; never 0.
func (e *Engine) expiryOf(t time.Time) uint16 {
	if latest := time.Now().Add(longestToken); t.After(latest) {
		t = latest
	}
	return max(e.expiryTicks(t), 1)
}

func (e *Engine) expiryTicks(t time.Time) uint16 { return uint16(t.Sub(e.created) / expiryTick) }

// untilExpiry is how long the token of s is good for; less than 0: it was for that long.
func (e *Engine) untilExpiry(s *Session) time.Duration {
	return time.Duration(int16(s.expires-e.expiryTicks(time.Now()))) * expiryTick
}

// pulseExpired pings a client of version 5 in its own words, or ends what is dead or out of date.
func (l *loop) pulseExpired(s *Session) {
	switch {
	case s.expires != 0 && l.engine.untilExpiry(s) < -l.o.V5.ExpiryGrace:
		e := protocol.ErrWrongChannel
		l.sayGoodbye(s, CloseExpired, e.Code, e.Reason())
		return
	case s.has(isPinged):
		if s.pulses++; time.Duration(s.pulses)*l.o.V5.PingInterval >= l.o.V5.DeadAfter {
			l.sayGoodbye(s, CloseNoPong, uint16(ws.StatusGoingAway), "")
			return
		}
	}
	s.mark(isPinged)
	l.write(s, s.speaks().pulse)
	if s.state != stateClosed {
		l.deadlines.start(s, timerPulse)
	}
}

// countToken counts why the token in l.sub was refused, if it was.
func (l *loop) countToken() {
	if i := slices.Index(protocol.TokenFaults[:], l.sub.Fault); i >= 0 {
		l.stats.tokensRefused[i].Add(1)
	}
}
