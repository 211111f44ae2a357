package poll

import (
	"net/netip"
	"slices"

	"github.com/valyala/fasthttp"

	"push-server/poll/realip"
	"push-server/protocol"
)

// stat answers the GET of the statistics, which shows itself only in the next one.
func (c *call) stat() {
	if !c.mayUse(c.StatAllow) {
		c.forbid("Statistics are not allowed.")
		return
	}
	if isTrue(c.query.Peek(paramBinary)) {
		c.serverStats()
	} else {
		c.reply(plainText, c.statistics())
	}
	c.Counters.CountRequest(protocol.CommandServerStats)
}

// mayUse looks at the other end of the connection: what X-Forwarded-For says, anybody can say, but for proxies that are named.
func (c *call) mayUse(allowed []netip.Prefix) bool {
	if len(allowed) == 0 {
		return true
	}
	peer, ok := realip.Of(c.RemoteAddr())
	if !ok {
		return false
	}
	header := &c.Request.Header
	addr := c.Proxies.Client(peer, List(header, fasthttp.HeaderXForwardedFor), header.Peek(headerRealIP))
	return slices.ContainsFunc(allowed, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// forbid answers those who are in no list. A body that was not read is not waited for.
func (c *call) forbid(text string) {
	c.empty(fasthttp.StatusForbidden)
	if c.RequestBodyStream() != nil {
		c.SetConnectionClose()
	}
	c.log(text)
}

// serverStats answers the statistics as protobuf.
func (c *call) serverStats() {
	c.body = protocol.AppendServerStats(c.body[:0], c.statistics())
	c.reply(octetStream, c.body)
}

func (c *call) statistics() []byte {
	ctx, cancel := c.timeout()
	defer cancel()
	if json := c.Statistics.ServerStats(ctx); json != nil {
		return json
	}
	return []byte("[]")
}
