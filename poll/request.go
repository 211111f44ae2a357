package poll

import (
	"bufio"
	"bytes"

	"github.com/valyala/fasthttp"

	"push-server/protocol"
)

// Request is a request head and what it means for the connection. All of it, slices and Header included, is valid until the
// next Read into it.
type Request struct {
	Header fasthttp.RequestHeader

	HTTP10 bool // HTTP/1.0
	Close  bool // the connection ends behind the reply: "Connection: close", or HTTP/1.0 whatever it says
	NoHost bool // HTTP/1.1 without Host: 400, unless it is a WebSocket handshake

	ContentLength int  // bytes of the body; 0: no body; -1: chunks
	Expect        bool // something is expected before the body is sent
	Upgrade       bool // asks for another protocol

	Target []byte // as it stands in the request line
	Path   []byte // of Target, what is before the first '?'
	Query  []byte // of Target, what is between the first and the second '?'
	Args   fasthttp.Args
}

// Reader reads request heads. One per event loop or goroutine: it is not safe for concurrent use. The zero value is ready.
type Reader struct {
	source   bytes.Reader
	buffer   *bufio.Reader
	withHost []byte
}

// Read reads a head that CheckHead has let pass, exactly its n bytes. The error is ErrBadRequest. A head without Host, or with an empty
// one, which the parser would not take, is given one: a WebSocket handshake may be without.
func (r *Reader) Read(head []byte, req *Request) error {
	req.NoHost = false
	if r.parse(head, &req.Header) != nil {
		h, err := checkHead(head)
		if err != nil || h.n != len(head) || h.hasHost && h.emptyHost == 0 {
			return ErrBadRequest
		}
		r.withHost = h.appendWithHost(r.withHost[:0], head)
		if r.parse(r.withHost, &req.Header) != nil {
			return ErrBadRequest
		}
		req.Header.Del(fasthttp.HeaderHost)
		req.NoHost = !h.hasHost
	}
	req.fill()
	return nil
}

func (r *Reader) parse(head []byte, h *fasthttp.RequestHeader) error {
	if r.buffer == nil {
		r.buffer = bufio.NewReaderSize(&r.source, MaxHead+len("Host: -\r\n"))
	}
	r.source.Reset(head)
	r.buffer.Reset(&r.source)
	return h.Read(r.buffer)
}

func (req *Request) fill() {
	h := &req.Header
	req.HTTP10 = !h.IsHTTP11()
	req.Close = req.HTTP10 || h.ConnectionClose()
	if req.ContentLength = h.ContentLength(); req.ContentLength < chunked { // fasthttp has a third value, for neither
		req.ContentLength = 0
	}
	req.Expect = expects(h) != expectNothing
	req.Upgrade = protocol.IsUpgrade(req.List(fasthttp.HeaderConnection), req.List(fasthttp.HeaderUpgrade))
	req.Target = h.RequestURI()
	req.Path, req.Query = splitTarget(req.Target)
	req.Args.ParseBytes(req.Query)
}

// List is that of the request's header.
func (req *Request) List(name string) []byte { return List(&req.Header, name) }

// List is the value of a header that is a list: lines of one name are one list (RFC 9110, 5.3). nil: there is none. It is valid as long as
// the header. Only several lines cost an allocation.
func List(h *fasthttp.RequestHeader, name string) []byte {
	lines := h.PeekAll(name)
	switch len(lines) {
	case 0:
		return nil
	case 1:
		return lines[0]
	}
	return bytes.Join(lines, commaSpace)
}

var commaSpace = []byte(", ")

// expectation is what a client expects before it sends its body: nothing, 100-continue, or what nobody understands.
type expectation uint8

const (
	expectNothing expectation = iota
	expectContinue
	expectOther
)

func expects(h *fasthttp.RequestHeader) expectation {
	e := expectNothing
	for element, rest := protocol.NextElement(List(h, fasthttp.HeaderExpect)); len(element) > 0; element, rest = protocol.NextElement(rest) {
		if !bytes.EqualFold(element, continue100) {
			return expectOther
		}
		e = expectContinue
	}
	return e
}

// Handshake is what the request says about a WebSocket, when sub is the path of subscribers. It is valid as long as req is.
func (req *Request) Handshake(sub string) protocol.Handshake {
	return protocol.Handshake{
		Method:       req.Header.Method(),
		Upgrade:      req.List(fasthttp.HeaderUpgrade),
		Key:          req.List(fasthttp.HeaderSecWebSocketKey), // two of them are none
		Version:      req.List(fasthttp.HeaderSecWebSocketVersion),
		Subprotocols: req.List(fasthttp.HeaderSecWebSocketProtocol),
		PathOK:       sub != "" && string(req.Path) == sub,
	}
}

// splitTarget cuts a request target at its first and second '?'. What is behind the second one counts for nothing.
func splitTarget(target []byte) (path, query []byte) {
	path, query, _ = bytes.Cut(target, questionMark)
	query, _, _ = bytes.Cut(query, questionMark)
	return path, query
}

var questionMark = []byte("?")
