package poll

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"push-server/poll/realip"
	"push-server/protocol"
)

// Publisher takes publications. nil: they are stored, answered with 200. ErrAccepted: with 202. protocol.ErrUnkept: with 500. Any other error,
// ErrQueueFull among them: with 503. The publications belong to the Publisher from then on, ps itself does not. The client waits as long as
// Publish does: ctx has no deadline, which would be the dearest part of a call that ends in time by itself.
type Publisher interface {
	Publish(ctx context.Context, ps []*protocol.Publication) error
}

// Presence says of each channel whether somebody is connected to it. After an error nobody is told to be online.
type Presence interface {
	Online(ctx context.Context, chs []protocol.ChannelID) ([]bool, error)
}

// Statistics is the JSON array with an object for each process. nil stands for an empty one.
type Statistics interface {
	ServerStats(ctx context.Context) []byte
}

// Handlers answer publications, questions who is online, and statistics. Set the fields before the first request; all of them
// are required unless they say otherwise. What they point to is called from many goroutines at once.
type Handlers struct {
	Publisher  Publisher // of back ends
	Clients    Publisher // of clients
	Presence   Presence
	Statistics Statistics
	Counters   *Counters
	Limits     protocol.Limits         // MaxPayload of POSTs (0: none), the others of protobuf requests and questions
	NewSigner  func() *protocol.Signer // makes a Signer for one goroutine

	// Users answers calls of version 5; nil: it is not spoken.
	Users   Users
	Repeats *Repeats // required with Users

	// Proxies are believed when they say whose request it is. nil: nobody is.
	Proxies *realip.Proxies
	// StatAllow is whose connections may ask for the statistics. Empty: everybody's.
	StatAllow []netip.Prefix
	// PubAllow is whose connections may publish as back ends do, and ask who is online. Empty: everybody's.
	PubAllow []netip.Prefix
	// Bodies bounds the bodies under way. nil: nothing does.
	Bodies Budget
	// Timeout bounds each call of Presence and Statistics. 0: 20 seconds.
	Timeout time.Duration
	// ErrorLog gets a line for the log of refused requests and the address of the client. nil: none are wanted.
	ErrorLog func(text, addr string)
	// TestKey is the value of the parameter testKey with which a request is not logged. Empty: there is none.
	TestKey string

	calls sync.Pool
}

// defaultTimeout is after how long Node's server gives up on a reply.
const defaultTimeout = 20 * time.Second

// Handler answers the requests of a listener with these routes. Polls and WebSockets are not among them: their routes are
// answered with 404, but for OPTIONS. It is safe for concurrent use, under a fasthttp.Server and with ServeBytes.
func (h *Handlers) Handler(routes Routes) fasthttp.RequestHandler {
	return func(ctx *fasthttp.RequestCtx) { h.Serve(ctx, &routes) }
}

// Serve answers one request as Handler does.
func (h *Handlers) Serve(ctx *fasthttp.RequestCtx, routes *Routes) {
	c := h.acquire(ctx)
	c.serve(routes)
	h.release(c)
}

// InContext is h for requests whose calls of Publisher, Presence and Statistics are made with the values of ctx.
func InContext(ctx context.Context, h fasthttp.RequestHandler) fasthttp.RequestHandler {
	return func(r *fasthttp.RequestCtx) {
		r.SetUserValue(contextKey, ctx)
		h(r)
		r.RemoveUserValue(contextKey)
	}
}

// contextKey is made an interface once.
var contextKey any = new(byte)

func (c *call) context() context.Context {
	if ctx, ok := c.UserValue(contextKey).(context.Context); ok {
		return ctx
	}
	return context.Background()
}

// call is the scratch of a request.
type call struct {
	*Handlers
	*fasthttp.RequestCtx

	signer   *protocol.Signer
	query    fasthttp.Args
	request  protocol.Request
	items    []protocol.Item
	channels []protocol.ChannelID
	stats    []protocol.ChannelStat
	one      [1]*protocol.Publication
	body     []byte
	payload  []byte // of the request
	room     []byte // that bodies are read into
	taken    int    // of Bodies
}

func (h *Handlers) acquire(ctx *fasthttp.RequestCtx) *call {
	c, ok := h.calls.Get().(*call)
	if !ok {
		c = &call{Handlers: h, signer: h.NewSigner()}
	}
	c.RequestCtx = ctx
	return c
}

// keptBody is the size of a body buffer that a connection may keep for its next request, in bytes.
const keptBody = 64 << 10

func (h *Handlers) release(c *call) {
	c.Request.ReleaseBody(keptBody)
	c.releaseBody()
	c.RequestCtx = nil
	h.calls.Put(c)
}

func (c *call) serve(routes *Routes) {
	header := &c.Request.Header
	c.Response.Header.SetNoDefaultContentType(true)
	if !header.IsHTTP11() {
		c.SetConnectionClose()
	}
	if expects(header) == expectOther {
		c.SetStatusCode(fasthttp.StatusExpectationFailed)
		return
	}
	_, query := splitTarget(header.RequestURI())
	c.query.ParseBytes(query)
	action := routes.Match(header.Method(), header.RequestURI())
	if (action == ActionPublish || action == ActionOnline || action == ActionAPI) && !c.mayUse(c.PubAllow) {
		c.forbid("Publishing is not allowed.")
		return
	}
	if action == ActionPublish && c.Users != nil && isAPI(header) {
		action = ActionAPI
	}
	switch action {
	case ActionPublish, ActionRest, ActionAPI:
		c.serveBody(action)
	case ActionOnline:
		c.online()
	case ActionStat:
		c.stat()
	case ActionOptions:
		c.options()
	case ActionRefuse:
		c.empty(fasthttp.StatusBadRequest)
		c.SetConnectionClose()
	default:
		c.empty(fasthttp.StatusNotFound)
	}
}

func (c *call) serveBody(action Action) {
	switch {
	case !c.readBody(c.maxBody(action)):
	case action == ActionAPI && c.Users != nil:
		c.api()
	case action == ActionAPI:
		c.empty(fasthttp.StatusNotFound)
	case action == ActionPublish:
		c.publish()
	default:
		c.serveRest()
	}
}

func (c *call) maxBody(action Action) int {
	if action == ActionAPI {
		return apiFactor * c.Limits.MaxPayload
	}
	return c.Limits.MaxPayload
}

var continue100 = []byte("100-continue")

// The replies.

const (
	plainText   = "text/plain"
	octetStream = "application/octet-stream"
)

func (c *call) empty(status int) {
	c.SetStatusCode(status)
	c.SetContentType(plainText)
	allowOrigin(&c.Response.Header)
}

func (c *call) reply(contentType string, body []byte) {
	c.SetContentType(contentType)
	allowOrigin(&c.Response.Header)
	c.SetBody(body)
}

func (c *call) refuse(e *protocol.Error) {
	c.empty(e.HTTPStatus())
	c.SetBody(appendError(nil, e))
	c.logRefusal(e)
}

func allowOrigin(h *fasthttp.ResponseHeader) {
	h.SetCanonical(accessControlAllowOrigin, anyOrigin)
}

var (
	accessControlAllowOrigin = []byte(fasthttp.HeaderAccessControlAllowOrigin)
	anyOrigin                = []byte("*")
)

func answerTooLarge(ctx *fasthttp.RequestCtx) {
	ctx.SetStatusCode(fasthttp.StatusRequestEntityTooLarge)
	ctx.Response.Header.SetStatusMessage([]byte("Payload Too Large"))
	ctx.SetContentType(plainText)
	allowOrigin(&ctx.Response.Header)
}

func (c *call) options() {
	c.empty(fasthttp.StatusOK)
	c.Response.Header.Set(fasthttp.HeaderAccessControlAllowMethods, "POST, GET, DELETE, OPTIONS")
	c.Response.Header.Set(fasthttp.HeaderAccessControlAllowHeaders, "If-Modified-Since, If-None-Match")
}

func (c *call) timeout() (context.Context, context.CancelFunc) {
	d := c.Timeout
	if d == 0 {
		d = defaultTimeout
	}
	return context.WithTimeout(c.context(), d)
}
