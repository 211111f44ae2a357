package engine

import (
	"cmp"
	"context"
	"net"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"push-server/engine/channels"
	"push-server/engine/view"
	"push-server/poll"
	"push-server/poll/realip"
	"push-server/protocol"
)

// A log line names the client: what proxies say (X-Forwarded-For, all of it), or else the other end of the connection. A
// WebSocket has to remember what was said in its handshake; an address of version 4 fits into a gap of the session, everything
// else, and the clients of encrypted ports, whose sessions have no socket of their own, are in a map of the loop. Where proxies are named
// that are trusted, only what they say counts, of each request anew.

// maxForwarded bounds what is remembered of X-Forwarded-For, in bytes.
const maxForwarded = 256

// rememberForwarded notes what proxies said about the client of s.
func (l *loop) rememberForwarded(s *Session, text []byte) {
	if len(text) == 0 || l.engine.admission.proxies != nil { // then it is known already, as far as it is believed
		return
	}
	text = text[:min(len(text), maxForwarded)]
	if ip, err := netip.ParseAddr(string(text)); err == nil && ip.Is4() {
		s.forwarded = ip.As4()
		s.mark(hasForwarded)
		return
	}
	l.rememberPeer(s, string(text))
}

// findClient finds who sent the request in l.head, if the connection is that of a proxy that is trusted, and remembers it.
func (l *loop) findClient(s *Session) {
	l.client = netip.Addr{}
	proxies := l.engine.admission.proxies
	if proxies == nil {
		return
	}
	peer, ok := realip.Of(l.addr(s))
	if !ok || !proxies.Trusts(peer) {
		return
	}
	l.client = proxies.Client(peer, l.head.List("X-Forwarded-For"), l.head.Header.Peek("X-Real-Ip"))
	switch {
	case l.client == peer:
		return
	case l.client.Is4() && !l.client.IsUnspecified():
		s.forwarded = l.client.As4()
	default:
		if l.clients == nil {
			l.clients = make(map[uint32]netip.Addr)
		}
		l.clients[s.index] = l.client
	}
	s.mark(hasForwarded)
}

func (l *loop) rememberPeer(s *Session, text string) {
	if l.peers == nil {
		l.peers = make(map[uint32]string)
	}
	l.peers[s.index] = text
	s.set(flagPeer)
}

// forgetPeer is for a session that ends.
func (l *loop) forgetPeer(s *Session) {
	if s.is(flagPeer) {
		delete(l.peers, s.index)
	}
	delete(l.clients, s.index)
}

// peer is the client of s for a log line.
func (l *loop) peer(s *Session) string {
	switch {
	case s.has(hasForwarded) && s.forwarded == [4]byte{} && l.clients[s.index].IsValid():
		return l.clients[s.index].String()
	case s.has(hasForwarded):
		return netip.AddrFrom4(s.forwarded).String()
	case s.is(flagPeer):
		return l.peers[s.index]
	}
	return poll.AddressText(s.conn.RemoteAddr())
}

// addr is the same for those who look for proxies themselves.
func (l *loop) addr(s *Session) net.Addr {
	if s.is(flagPeer) {
		return peerAddr(l.peers[s.index])
	}
	return s.conn.RemoteAddr()
}

// isTest says whether the request in l.head is one of somebody who tests.
func (l *loop) isTest() bool {
	key := l.settings.TestKey
	return key != "" && string(l.head.Args.Peek("testKey")) == key
}

// rememberTest notes that the WebSocket in l.head belongs to somebody who tests.
func (l *loop) rememberTest(s *Session) {
	if l.isTest() {
		s.mark(isQuiet)
	}
}

// logRefusal writes the line that operators know for the refusal of a request in a WebSocket.
func (l *loop) logRefusal(s *Session, e *protocol.Error) {
	if l.o.ErrorLog == nil || s.has(isQuiet) {
		return
	}
	if text := poll.LogText(e); text != "" {
		l.o.ErrorLog(text, l.peer(s))
	}
}

// noteRefused is for the subscription in l.head, whose channels are refused. That is the commonest trouble of an installation: the portal
// signs with another key. Who tests is not told of.
func (l *loop) noteRefused(s *Session) {
	if l.isTest() {
		return
	}
	addr := string(l.head.List("X-Forwarded-For"))
	if addr == "" || l.engine.admission.proxies != nil {
		addr = l.peer(s)
	}
	l.engine.notices.note("subscriptions refused, their channel ids are malformed or signed with another key than security.key",
		addr[:min(len(addr), maxForwarded)])
}

// peerAddr is an address that is only ever printed.
type peerAddr string

func (a peerAddr) Network() string { return "tcp" }
func (a peerAddr) String() string  { return string(a) }

// survey shows all connections to someone while loops are asked for them, one after the other and each for a short time: it goes on where it
// was. Connections that come or go meanwhile may be left out.
type survey struct {
	see  func(l *loop, s *Session)
	at   uint32 // the place on the loop to go on with
	done bool   // the loop has no more
}

const (
	surveyTime    = time.Millisecond / 2 // that a loop spends on it before it serves its sockets again
	surveyLook    = 16                   // connections between two looks at the clock
	shownChannels = 10                   // of a connection
)

// survey shows all connections to see, on their loops, in the order of loops and places.
func (e *Engine) survey(ctx context.Context, see func(l *loop, s *Session)) error {
	v := &survey{see: see}
	for _, l := range e.loops {
		for v.at, v.done = 0, false; !v.done && !l.hasEnded(); {
			if err := e.askLoop(ctx, l, v.look); err != nil {
				return err
			}
		}
	}
	return nil
}

// look looks at more of the connections of a loop.
func (v *survey) look(l *loop) {
	begin := time.Now()
	for n := 1; v.at < l.slab.places(); n++ {
		if n%surveyLook == 0 && time.Since(begin) > surveyTime {
			return
		}
		s := l.slab.get(v.at)
		v.at++
		if s.state != stateClosed && !s.is(flagOwn) {
			v.see(l, s)
		}
	}
	v.done = true
}

// listing is the answer to a view.Query while it is made.
type listing struct {
	query view.Query
	match *view.Match
	list  view.List
}

// Connections returns connections in the order of loops and places. It may be called from any goroutine.
func (e *Engine) Connections(ctx context.Context, q view.Query) (*view.List, error) {
	v := &listing{query: q, match: view.NewMatch(q.Search), list: view.List{Connections: []view.Connection{}}}
	if err := e.survey(ctx, v.see); err != nil {
		return nil, err
	}
	return &v.list, nil
}

func (v *listing) see(l *loop, s *Session) {
	id := l.idOf(s)
	if !v.match.Everything() && !l.matches(s, id, v.match) {
		return
	}
	v.list.Total++
	switch {
	case !id.Behind(v.query.After):
	case len(v.list.Connections) < v.query.Limit:
		v.list.Connections = append(v.list.Connections, l.describe(s, id))
	default:
		v.list.Next = v.list.Connections[len(v.list.Connections)-1].ID
	}
}

func (l *loop) matches(s *Session, id view.ID, m *view.Match) bool {
	if m.Text(id.String()) || m.Text(l.peer(s)) || m.User(s.user) {
		return true
	}
	return m.LooksAtChannels() && slices.ContainsFunc(s.subs, func(sub channels.Subscription) bool {
		ch := l.table.Channel(sub)
		return m.Channel(&ch)
	})
}

// idOf names s for as long as the connection lasts.
func (l *loop) idOf(s *Session) view.ID {
	return view.ID{Loop: uint32(l.id), Place: s.index, Generation: s.born}
}

// sessionOf is the session called id; nil: it is gone.
func (l *loop) sessionOf(id view.ID) *Session {
	if id.Place >= l.slab.places() {
		return nil
	}
	if s := l.slab.get(id.Place); s.born == id.Generation && s.state != stateClosed && !s.is(flagOwn) {
		return s
	}
	return nil
}

// Disconnect ends a connection as a drain does: its client comes back. It returns false if there is none called id.
func (e *Engine) Disconnect(ctx context.Context, id view.ID) (found bool, err error) {
	if id.Loop >= uint32(len(e.loops)) {
		return false, nil
	}
	err = e.askLoop(ctx, e.loops[id.Loop], func(l *loop) {
		if s := l.sessionOf(id); s != nil {
			found = true
			l.end(s, CloseOperator)
		}
	})
	return found, err
}

// describe is what operators see of s.
func (l *loop) describe(s *Session, id view.ID) view.Connection {
	c := view.Connection{
		ID: id.String(), Listener: l.o.Listeners[s.listener].Name, Transport: s.via().label, Dialect: s.speaks().label,
		Address: l.peer(s), Since: l.engine.started.Add(time.Duration(s.opened) * time.Second), State: stateNames[s.state],
		ChannelCount: len(s.subs), Channels: []string{}, Waiting: s.conn.OutboundBuffered() + unacknowledged(s.conn.Fd()), Sent: s.sent, Agent: l.agents.Text(s.agent),
	}
	for _, sub := range s.subs[:min(len(s.subs), shownChannels)] {
		ch := l.table.Channel(sub)
		c.Channels = append(c.Channels, view.Hash(&ch))
	}
	if c.User = s.user; s.acknowledges() {
		c.Unacknowledged = l.outstanding(s)
		if last := l.receipts.Of(s.index).Last; !last.IsZero() {
			c.Acknowledged = last.String()
		}
	}
	if s.mid.IsZero() {
		return c
	}
	c.LastMessage = s.mid.String()
	if c.Waiting == 0 && l.o.Listeners[s.listener].TLS == nil { // over TLS the socket here is not the one of the peer
		c.Acked = c.LastMessage
	}
	return c
}

// tally is the answer to a view.UserQuery while it is made. Sessions are looked through twice, for whom to show and then for all that is
// theirs, so that it takes room for those alone, and nothing is kept.
type tally struct {
	query view.UserQuery
	users []view.User // by id
	more  bool
}

// Users returns users of version 5 in the order of their ids. It may be called from any goroutine.
func (e *Engine) Users(ctx context.Context, q view.UserQuery) (*view.Users, error) {
	t := &tally{query: q, users: []view.User{}}
	for _, see := range []func(l *loop, s *Session){t.choose, t.add} {
		if err := e.survey(ctx, see); err != nil {
			return nil, err
		}
	}
	answer := &view.Users{}
	if t.more {
		answer.Next = t.users[len(t.users)-1].ID
	}
	answer.Users = slices.DeleteFunc(t.users, func(u view.User) bool { return u.Connections == 0 }) // gone in between
	return answer, nil
}

// choose has the user of s be shown, if it is one of the first that are asked for.
func (t *tally) choose(l *loop, s *Session) {
	q := &t.query
	if s.user <= q.After || q.User != 0 && s.user != q.User {
		return
	}
	at, known := t.find(s.user)
	if known || q.Waiting > 0 && l.waiting(s) < q.Waiting {
		return
	}
	t.users = slices.Insert(t.users, at, view.User{ID: s.user})
	if len(t.users) > q.Limit {
		t.users, t.more = t.users[:q.Limit], true
	}
}

func (t *tally) find(user uint64) (at int, ok bool) {
	return slices.BinarySearchFunc(t.users, user, func(u view.User, id uint64) int { return cmp.Compare(u.ID, id) })
}

// add adds what s has to its user.
func (t *tally) add(l *loop, s *Session) {
	at, ok := t.find(s.user)
	if !ok {
		return
	}
	u := &t.users[at]
	u.Connections++
	if s.transport == transportWebSocket {
		u.Delivered += uint64(s.sent)
	}
	if !s.acknowledges() {
		return
	}
	r := l.receipts.Of(s.index)
	u.Acknowledged += uint64(r.Count)
	u.Unacknowledged += uint64(l.outstanding(s))
	if !r.Last.IsZero() {
		u.Last = max(u.Last, r.Last.String())
	}
	u.Waiting = max(u.Waiting, l.waiting(s).Seconds())
}

// mostAwaited is how many messages are looked through for the oldest one that a client has not acknowledged.
const mostAwaited = 1000

// waiting is how long ago the oldest message was sent that the client of s has not acknowledged, as far as the window tells; 0: there is none.
func (l *loop) waiting(s *Session) time.Duration {
	n := int(min(l.outstanding(s), mostAwaited))
	if n == 0 {
		return 0
	}
	connected := time.Since(l.engine.started.Add(time.Duration(s.opened) * time.Second))
	last := l.receipts.Of(s.index).Last
	channels, _ := l.sessionChannels(s)
	age, found, whole := l.reader.Unheard(channels, last, n)
	if found < n && last.IsZero() || found == 0 && !whole { // sent when it came, or so long ago that nobody knows
		return connected
	}
	return min(age, connected)
}

// unacknowledged is how many bytes of what was written the system of the peer has not acknowledged.
func unacknowledged(fd int) int {
	n, err := unix.IoctlGetInt(fd, unix.SIOCOUTQ)
	if err != nil {
		return 0
	}
	return n
}
