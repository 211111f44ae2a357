package poll

import (
	"errors"

	"github.com/valyala/fasthttp"

	"push-server/protocol"
)

// publish takes what a back end sends: text for the channels in the query, or a protobuf request.
func (c *call) publish() {
	switch {
	case isTrue(c.query.Peek(paramBinary)):
		c.serveProtobuf(&protocol.Origin{Trusted: true, Signer: c.signer})
	default:
		c.publishText()
	}
}

// publishText answers wrong channels and empty bodies with 200 as well: the back end reads nothing but failures of transport.
func (c *call) publishText() {
	body := c.payload
	if len(body) == 0 || !c.parseItems(protocol.TrustBackend) {
		c.empty(fasthttp.StatusOK)
		return
	}
	expiry := protocol.ParseExpiry(c.Request.Header.Peek(headerExpiry))
	c.one[0] = protocol.TextPublication(c.items, body, expiry)
	c.hand(c.Publisher, c.one[:])
	c.one[0] = nil
}

// serveRest takes the protobuf request of a client, who is known by the public id of its first channel that has one.
func (c *call) serveRest() {
	if c.parseItems(protocol.TrustNone) {
		for i := range c.items {
			if c.items[i].HasPublic {
				c.serveProtobuf(&protocol.Origin{PublicID: c.items[i].Public[:], Signer: c.signer})
				return
			}
		}
	}
	c.refuse(protocol.ErrPublicRequired)
}

// serveProtobuf does what a request asks for. It counts the request as soon as it is known to be allowed, whatever becomes of it.
func (c *call) serveProtobuf(o *protocol.Origin) {
	if err := c.request.Parse(c.payload); err != nil {
		c.refuse(err)
		return
	}
	err := c.request.Allowed(o)
	if err == nil || err == protocol.ErrWrongCommand {
		c.Counters.CountRequest(c.request.Command)
	}
	if err != nil {
		c.refuse(err)
		return
	}
	switch c.request.Command {
	case protocol.CommandPublish:
		c.publishMessages(o)
	case protocol.CommandChannelStats:
		c.channelStats(o)
	case protocol.CommandServerStats:
		c.serverStats()
	default:
		panic("BUG: command allowed without a handler")
	}
}

func (c *call) publishMessages(o *protocol.Origin) {
	ps, err := c.request.Publications(o, &c.Limits)
	if err != nil {
		c.refuse(err)
		return
	}
	if o.Trusted {
		c.hand(c.Publisher, ps)
	} else {
		c.hand(c.Clients, ps)
	}
}

// headerExpiry says for how many seconds a text publication is kept.
const headerExpiry = "Message-Expiry"

// hand counts the publications, gives them to their publisher and answers.
func (c *call) hand(to Publisher, ps []*protocol.Publication) {
	if len(ps) == 0 {
		c.empty(fasthttp.StatusOK)
		return
	}
	for _, p := range ps {
		c.Counters.CountMessage(p.Type)
	}
	switch err := to.Publish(c.context(), ps); {
	case err == nil:
		c.empty(fasthttp.StatusOK)
	case errors.Is(err, ErrAccepted):
		c.empty(fasthttp.StatusAccepted)
	case errors.Is(err, protocol.ErrUnkept):
		c.empty(fasthttp.StatusInternalServerError)
		c.SetBodyString("delivered to clients that are connected, but not kept for all who are away: the history of a channel is broken, see the log\n")
	default:
		c.empty(fasthttp.StatusServiceUnavailable)
	}
}

// parseItems reads the channels of the query and says whether there are any.
func (c *call) parseItems(trust protocol.Trust) (ok bool) {
	c.items, ok = protocol.AppendItems(c.items[:0], c.query.Peek(paramChannels), trust, c.signer)
	return ok
}
