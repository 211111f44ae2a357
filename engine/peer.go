package engine

import (
	"net"
	"net/netip"

	"push-server/poll"
	"push-server/protocol"
)

// A log line names the client: what proxies say (X-Forwarded-For, all of it), or else the other end of the connection. A
// WebSocket has to remember what was said in its handshake; an address of version 4 fits into a gap of the session, everything
// else, and the clients of encrypted ports, whose sessions have no socket of their own, are in a map of the loop.

// maxForwarded bounds what is remembered of X-Forwarded-For, in bytes.
const maxForwarded = 256

// rememberForwarded notes what proxies said about the client of s.
func (l *loop) rememberForwarded(s *Session, text []byte) {
	if len(text) == 0 {
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
}

// peer is the client of s for a log line.
func (l *loop) peer(s *Session) string {
	switch {
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

// rememberTest notes that the WebSocket in l.head belongs to somebody who tests.
func (l *loop) rememberTest(s *Session) {
	if l.o.TestKey != "" && string(l.head.Args.Peek("testKey")) == l.o.TestKey {
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
	if l.o.TestKey != "" && string(l.head.Args.Peek("testKey")) == l.o.TestKey {
		return
	}
	addr := string(l.head.List("X-Forwarded-For"))
	if addr == "" {
		addr = l.peer(s)
	}
	l.engine.notices.note("subscriptions refused, their channel ids are malformed or signed with another key than security.key",
		addr[:min(len(addr), maxForwarded)])
}

// peerAddr is an address that is only ever printed.
type peerAddr string

func (a peerAddr) Network() string { return "tcp" }
func (a peerAddr) String() string  { return string(a) }
