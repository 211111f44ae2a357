package rfc6455

import (
	"net/http"
	"slices"
	"strings"
)

// Key is what a handshake has to prove that it was read: Accept is its answer (RFC 6455, 1.3 has both).
const (
	Key    = "dGhlIHNhbXBsZSBub25jZQ=="
	Accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
)

// Target stands in Head for the path and query of a subscriber.
const Target = "/target/"

// Ordinary is the Status of a request that asks for no other protocol: it is answered as any other.
const Ordinary = 0

// A Handshake is a request and the status of its answer.
type Handshake struct {
	Section    string
	Name       string
	Head       string // with its blank line
	Status     int
	Protocol   string // the subprotocol of the answer
	Deliberate string // why it is not as the RFC says
}

// String is a name for t.Run.
func (h *Handshake) String() string { return h.Section + " " + h.Name }

// good is the handshake that the others are made of.
var good = []string{
	"GET " + Target + " HTTP/1.1", "Host: server.example", "Upgrade: websocket", "Connection: Upgrade",
	"Sec-WebSocket-Key: " + Key, "Sec-WebSocket-Version: 13",
}

// Handshakes are all of them, each with a name of its own.
func Handshakes() []Handshake {
	var s handshakes
	s.requestLines()
	s.hosts()
	s.upgrades()
	s.connections()
	s.keys()
	s.versions()
	s.subprotocols()
	s.others()
	return s.all
}

type handshakes struct {
	section string
	line    int // of good, that is another one here
	all     []Handshake
}

// about says of which section, and of which line, those that follow are.
func (s *handshakes) about(section, name string) {
	s.section = section
	s.line = slices.IndexFunc(good, func(line string) bool { return strings.HasPrefix(line, name) })
}

// f has lines in place of the one that it is about; behind all others if there is none.
func (s *handshakes) f(name string, status int, lines ...string) *Handshake {
	head := append(slices.Clone(good), lines...)
	if s.line >= 0 {
		head = slices.Replace(slices.Clone(good), s.line, s.line+1, lines...)
	}
	s.all = append(s.all, Handshake{Section: s.section, Name: name, Status: status, Head: strings.Join(head, "\r\n") + "\r\n\r\n"})
	return &s.all[len(s.all)-1]
}

const (
	accepted   = http.StatusSwitchingProtocols
	refused    = http.StatusBadRequest
	notAllowed = http.StatusMethodNotAllowed
	upgrade    = http.StatusUpgradeRequired
	asNode     = "the Node server does so, and there are clients that know it"
)

func (s *handshakes) requestLines() {
	s.about("4.2.1 request line", "GET")
	s.f("that of the RFC", accepted, good[0])
	for _, method := range []string{"POST", "PUT", "HEAD", "OPTIONS", "DELETE", "PATCH", "TRACE"} {
		s.f(method, notAllowed, method+" "+Target+" HTTP/1.1")
	}
	s.f("lower case", refused, "get "+Target+" HTTP/1.1")
	s.f("no method", refused, Target+" HTTP/1.1")
	s.f("HTTP/1.0", accepted, "GET "+Target+" HTTP/1.0").Deliberate = "proxies that speak HTTP/1.0 pass handshakes on, and Node takes them"
	s.f("HTTP/0.9", refused, "GET "+Target+" HTTP/0.9")
	s.f("HTTP/1.2", refused, "GET "+Target+" HTTP/1.2").Deliberate = "there is no such version, and Node refuses it"
	s.f("HTTP/2.0", refused, "GET "+Target+" HTTP/2.0").Deliberate = "its handshake is another one (RFC 8441)"
	s.f("no version", refused, "GET "+Target)
	s.f("a target that is no path", refused, "GET server HTTP/1.1")
	s.f("another path", refused, "GET /elsewhere HTTP/1.1")
}

func (s *handshakes) hosts() {
	s.about("4.2.1 Host", "Host")
	s.f("missing", accepted).Deliberate = asNode
	s.f("two", refused, "Host: a", "Host: a")
	s.f("empty", accepted, "Host:")
	s.f("with a port", accepted, "Host: server.example:8893")
	s.f("IPv6", accepted, "Host: [::1]:80")
	s.f("two words", refused, "Host: a b")
	s.f("lower case", accepted, "host: a")
}

func (s *handshakes) upgrades() {
	s.about("4.2.1 Upgrade", "Upgrade")
	s.f("missing", Ordinary)
	s.f("empty", refused, "Upgrade:")
	s.f("of another case", accepted, "Upgrade: WebSocket")
	s.f("upper case", accepted, "UPGRADE: WEBSOCKET")
	s.f("blanks around it", accepted, "Upgrade: \t websocket\t ")
	s.f("empty elements", accepted, "Upgrade: , websocket,")
	s.f("something else", refused, "Upgrade: h2c")
	s.f("a version", refused, "Upgrade: websocket/13")
	s.f("two words", refused, "Upgrade: web socket")
	s.f("a longer word", refused, "Upgrade: websockets")
	s.f("a list", refused, "Upgrade: h2c, websocket").Deliberate = asNode
	s.f("two lines", refused, "Upgrade: websocket", "Upgrade: h2c").Deliberate = asNode
	s.f("folded", refused, "Upgrade:", " websocket")
	s.f("a blank before the colon", refused, "Upgrade : websocket")
}

func (s *handshakes) connections() {
	s.about("4.2.1 Connection", "Connection")
	s.f("missing", Ordinary)
	s.f("empty", Ordinary, "Connection:")
	s.f("keep-alive", Ordinary, "Connection: keep-alive")
	s.f("a longer word", Ordinary, "Connection: Upgraded")
	s.f("two words", Ordinary, "Connection: keep-alive Upgrade")
	s.f("close", Ordinary, "Connection: close")
	s.f("lower case", accepted, "connection: upgrade")
	s.f("upper case", accepted, "CONNECTION: UPGRADE")
	s.f("first of a list", accepted, "Connection: Upgrade, keep-alive")
	s.f("last of a list", accepted, "Connection: keep-alive,Upgrade")
	s.f("empty elements", accepted, "Connection: , Upgrade,\t,")
	s.f("in the second line", accepted, "Connection: keep-alive", "Connection: Upgrade")
	s.f("beside close", accepted, "Connection: close, Upgrade")
}

func (s *handshakes) keys() {
	s.about("4.2.1 Sec-WebSocket-Key", "Sec-WebSocket-Key")
	const name = "Sec-WebSocket-Key: "
	s.f("missing", refused)
	s.f("empty", refused, "Sec-WebSocket-Key:")
	s.f("blanks around it", accepted, "Sec-WebSocket-Key:\t "+Key+" \t")
	s.f("name of another case", accepted, "sec-websocket-KEY: "+Key)
	s.f("of zeros", accepted, name+"AAAAAAAAAAAAAAAAAAAAAA==")
	s.f("all marks", accepted, name+"+/+/+/+/+/+/+/+/+/+/+w==")
	s.f("15 bytes", refused, name+"AAAAAAAAAAAAAAAAAAAA")
	s.f("17 bytes", refused, name+"AAAAAAAAAAAAAAAAAAAAAAA=")
	s.f("18 bytes", refused, name+"AAAAAAAAAAAAAAAAAAAAAAAA")
	s.f("no padding", refused, name+"AAAAAAAAAAAAAAAAAAAAAA")
	s.f("half the padding", refused, name+"AAAAAAAAAAAAAAAAAAAAAA=")
	s.f("more padding", refused, name+"AAAAAAAAAAAAAAAAAAAAAA===")
	s.f("the other alphabet", refused, name+"AAAAAAAAAAAAAAAAAAA-_A==")
	s.f("a blank in it", refused, name+"AAAAAAAAAAA AAAAAAAAAA==")
	s.f("not ASCII", refused, name+"AAAAAAAAAAAAAAAAAAAA\xc3\xa4==")
	s.f("in quotes", refused, name+`"`+Key+`"`)
	s.f("two", refused, name+Key, name+Key)
	s.f("two in a line", refused, name+Key+", "+Key)
	s.f("bits behind the last byte", accepted, name+"AAAAAAAAAAAAAAAAAAAAAB==").Deliberate = "decoders may take them (RFC 4648, 3.5), and Node does"
}

func (s *handshakes) versions() {
	s.about("4.2.2 Sec-WebSocket-Version", "Sec-WebSocket-Version")
	const name = "Sec-WebSocket-Version: "
	const draft = "the drafts know no 426, and Node says 400"
	s.f("missing", refused)
	s.f("empty", refused, "Sec-WebSocket-Version:")
	s.f("8", accepted, name+"8").Deliberate = "the last draft has the same frames, and Node takes it"
	for _, version := range []string{"0", "7", "9", "12"} {
		s.f(version, refused, name+version).Deliberate = draft
	}
	for _, version := range []string{"14", "25", "99", "255"} {
		s.f(version, upgrade, name+version)
	}
	s.f("256", refused, name+"256")
	s.f("a sign", refused, name+"+13")
	s.f("a zero before it", refused, name+"013")
	s.f("a fraction", refused, name+"13.0")
	s.f("a word", refused, name+"thirteen")
	s.f("in quotes", refused, name+`"13"`)
	s.f("a list", refused, name+"13, 8").Deliberate = asNode
	s.f("two lines", refused, name+"13", name+"13")
	s.f("another one in a second line", refused, name+"99", name+"13")
}

func (s *handshakes) subprotocols() {
	s.about("4.2.2 Sec-WebSocket-Protocol", "-")
	const name = "Sec-WebSocket-Protocol: "
	s.f("one", accepted, name+"chat").Protocol = "chat"
	s.f("the first of two", accepted, name+"soap, wamp").Protocol = "soap"
	s.f("two lines", accepted, name+"v2.chat", name+"v1.chat").Protocol = "v2.chat"
	s.f("no blanks", accepted, name+"a,b,c").Protocol = "a"
	s.f("all marks", accepted, name+"!#$%&'*+-.^_`|~").Protocol = "!#$%&'*+-.^_`|~"
	s.f("empty elements", accepted, name+", chat,").Protocol = "chat"
	s.f("empty", refused, "Sec-WebSocket-Protocol:")
	s.f("nothing but commas", refused, name+", ,")
	s.f("twice the same", refused, name+"chat, chat")
	s.f("twice the same in two lines", refused, name+"chat", name+"chat")
	s.f("the same in another case", accepted, name+"chat, Chat").Protocol = "chat"
	s.f("two words", refused, name+"super chat")
	s.f("a parameter", refused, name+"chat;q=1")
	s.f("in quotes", refused, name+`"chat"`)
	s.f("a slash", refused, name+"a/b")
	s.f("not ASCII", refused, name+"ch\xc3\xa4t")
}

func (s *handshakes) others() {
	s.about("4.2.2 Sec-WebSocket-Extensions", "-")
	const name = "Sec-WebSocket-Extensions: "
	s.f("none is chosen", accepted, name+"permessage-deflate; client_max_window_bits")
	s.f("nor of many", accepted, name+"x-a, x-b; c=1", name+`permessage-deflate; server_max_window_bits="10"`)
	s.f("nonsense", accepted, name+";;=,").Deliberate = "what is offered is not looked at: Node does not either"
	s.about("4.2.2 Origin", "-")
	s.f("of somebody", accepted, "Origin: https://elsewhere.example")
	s.f("null", accepted, "Origin: null")
	s.about("4.2.1 other headers", "-")
	s.f("a cookie", accepted, "Cookie: a=b", "Authorization: Basic Og==", "User-Agent: x")
	s.f("a line without colon", refused, "nonsense")
	s.f("a name with a blank", refused, "Two Words: x")
}
