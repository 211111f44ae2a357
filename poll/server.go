package poll

import (
	"cmp"
	"errors"
	"log/slog"
	"net"
	"time"

	"github.com/valyala/fasthttp"
)

// ServerOptions are the bounds of a fasthttp.Server. Zero means the default.
type ServerOptions struct {
	MaxPayload   int           // bytes of a body; 1 MiB
	V5           bool          // requests of version 5 may be larger
	IdleTimeout  time.Duration // between requests; 5 s, as Node
	HeadTimeout  time.Duration // until a head is complete; 60 s
	BodyTimeout  time.Duration // from there until the body is complete; 300 s
	WriteTimeout time.Duration // until a reply is written; 20 s
	Connections  int           // served at the same time, others get 503; 262,144

	// Close ends each connection behind its first reply, for connections that were handed off with their first request.
	Close bool
	// Log gets what fasthttp has to say, at debug level and without its arguments, which quote requests. nil: nobody does.
	Log *slog.Logger
	// Routes are those of the handler, so that the body of a request that leads nowhere is not waited for. nil: all are.
	Routes *Routes
}

// NewServer makes a server for h. Its connections have to be wrapped with GateListener or GateConn:
//
//	err := NewServer(h, o).Serve(GateListener(ln))
//	err := NewServer(h, o).ServeConn(GateConn(c))
//
// Shutdown of the server waits for the connections of Serve; it knows nothing of a ServeConn without a Serve.
func NewServer(h fasthttp.RequestHandler, o ServerOptions) *fasthttp.Server {
	s := serving(o)
	return &fasthttp.Server{
		Handler:        h,
		ErrorHandler:   s.refuse,
		HeaderReceived: s.beginBody,
		Logger:         quietLogger{o.Log},

		ReadBufferSize:     MaxHead + len(crlf)*64, // empty lines in front of a head do not count
		MaxRequestBodySize: serving(o).most(),
		StreamRequestBody:  true, // the handler reads it, see intake.go
		ReadTimeout:        cmp.Or(o.HeadTimeout, 60*time.Second),
		IdleTimeout:        cmp.Or(o.IdleTimeout, 5*time.Second),
		WriteTimeout:       cmp.Or(o.WriteTimeout, 20*time.Second),
		Concurrency:        o.Connections,
		DisableKeepalive:   o.Close,
		CloseOnShutdown:    true,

		NoDefaultServerHeader:        true,
		NoDefaultContentType:         true,
		DisablePreParseMultipartForm: true, // a body is a body
		SecureErrorLogMessage:        true,
	}
}

type serving ServerOptions

// beginBody gives the body its time, and lets the client know early whether to send it.
func (s serving) beginBody(h *fasthttp.RequestHeader) fasthttp.RequestConfig {
	e := expects(h)
	if e != expectNothing {
		h.Del(fasthttp.HeaderExpect) // fasthttp looks at the first line alone
	}
	switch {
	case e == expectOther:
		h.Set(fasthttp.HeaderExpect, "unknown") // the handler answers 417 now
		if n := h.ContentLength(); n > 0 || n == chunked {
			skipBody(h)
		}
	case e == expectContinue && h.IsHTTP11(): // RFC 9110, 10.1.1: of HTTP/1.0 a server "MUST ignore that expectation"
		h.SetBytesV(fasthttp.HeaderExpect, continue100)
	}
	n := h.ContentLength()
	h.DelBytes(bodyRefused)
	switch {
	case n > s.limit(h):
		h.SetBytesKV(bodyRefused, bodyRefused)
		skipBody(h)
	case (n > firstBody || n == chunked) && s.Routes != nil && s.Routes.Match(h.Method(), h.RequestURI()) == ActionNotFound:
		skipBody(h)
	}
	return fasthttp.RequestConfig{ReadTimeout: cmp.Or(s.BodyTimeout, 300*time.Second)}
}

// limit is how large the body of this request may be.
func (s serving) limit(h *fasthttp.RequestHeader) int {
	if s.V5 && isAPI(h) {
		return s.most()
	}
	return cmp.Or(s.MaxPayload, 1<<20)
}

// most is how large the body of any request may be.
func (s serving) most() int {
	n := cmp.Or(s.MaxPayload, 1<<20)
	if s.V5 {
		n *= apiFactor
	}
	return n
}

// bodyRefused is the name of a header by which the handler learns that the body was too large, and was not read.
var bodyRefused = []byte("X-Push-Body-Refused")

// skipBody has the request answered now. What comes behind it is not another request.
func skipBody(h *fasthttp.RequestHeader) {
	h.SetContentLength(0)
	h.SetConnectionClose()
}

// refuse answers what fasthttp could not read. It closes the connection itself.
func (s serving) refuse(ctx *fasthttp.RequestCtx, err error) {
	ctx.Response.Reset()
	ctx.Response.Header.SetNoDefaultContentType(true)
	var large *fasthttp.ErrSmallBuffer
	var network net.Error
	switch {
	case errors.As(err, &large):
		ctx.SetStatusCode(fasthttp.StatusRequestHeaderFieldsTooLarge)
	case errors.As(err, &network) && network.Timeout():
		ctx.SetStatusCode(fasthttp.StatusRequestTimeout)
	default:
		ctx.SetStatusCode(fasthttp.StatusBadRequest)
	}
}

// quietLogger keeps the format of a message and drops its arguments: they quote requests, channel signatures among them.
type quietLogger struct{ log *slog.Logger }

func (l quietLogger) Printf(format string, _ ...any) {
	if l.log != nil {
		l.log.Debug("http server", "message", format)
	}
}
