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
	Expect        bool // the header Expect is present
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

// hostLine is given to heads without Host, which the parser would not read. A WebSocket handshake may be without one.
const hostLine = "Host: -\r\n"

// Read reads a head that CheckHead has let pass, exactly its n bytes. The error is ErrBadRequest.
func (r *Reader) Read(head []byte, req *Request) error {
	req.NoHost = false
	if r.parse(head, &req.Header) != nil {
		if !r.addHost(head) || r.parse(r.withHost, &req.Header) != nil {
			return ErrBadRequest
		}
		req.Header.Del(fasthttp.HeaderHost)
		req.NoHost = true
	}
	req.fill()
	return nil
}

func (r *Reader) parse(head []byte, h *fasthttp.RequestHeader) error {
	if r.buffer == nil {
		r.buffer = bufio.NewReaderSize(&r.source, MaxHead+len(hostLine))
	}
	r.source.Reset(head)
	r.buffer.Reset(&r.source)
	return h.Read(r.buffer)
}

// addHost makes a copy of head with a Host if it has none.
func (r *Reader) addHost(head []byte) bool {
	line, rest, ok := bytes.Cut(head, crlf)
	if !ok || hasField(rest, "host") {
		return false
	}
	r.withHost = append(r.withHost[:0], line...)
	r.withHost = append(r.withHost, "\r\n"+hostLine...)
	r.withHost = append(r.withHost, rest...)
	return true
}

func hasField(fields []byte, name string) bool {
	for line := range bytes.SplitSeq(fields, crlf) {
		if len(line) > len(name) && line[len(name)] == ':' && bytes.EqualFold(line[:len(name)], []byte(name)) {
			return true
		}
	}
	return false
}

func (req *Request) fill() {
	h := &req.Header
	req.HTTP10 = !h.IsHTTP11()
	req.Close = req.HTTP10 || h.ConnectionClose()
	if req.ContentLength = h.ContentLength(); req.ContentLength < chunked { // fasthttp has a third value, for neither
		req.ContentLength = 0
	}
	req.Expect = h.Peek(fasthttp.HeaderExpect) != nil
	req.Upgrade = protocol.IsUpgrade(h.Peek(fasthttp.HeaderConnection), h.Peek(fasthttp.HeaderUpgrade))
	req.Target = h.RequestURI()
	req.Path, req.Query = splitTarget(req.Target)
	req.Args.ParseBytes(req.Query)
}

// Handshake is what the request says about a WebSocket, when sub is the path of subscribers. It is valid as long as req is.
func (req *Request) Handshake(sub string) protocol.Handshake {
	h := &req.Header
	return protocol.Handshake{
		Method:       h.Method(),
		Upgrade:      h.Peek(fasthttp.HeaderUpgrade),
		Key:          h.Peek(fasthttp.HeaderSecWebSocketKey),
		Version:      h.Peek(fasthttp.HeaderSecWebSocketVersion),
		Subprotocols: h.Peek(fasthttp.HeaderSecWebSocketProtocol),
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
