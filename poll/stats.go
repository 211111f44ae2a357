package poll

import "push-server/protocol"

// stat answers the GET of the statistics, which shows itself only in the next one.
func (c *call) stat() {
	if isTrue(c.query.Peek(paramBinary)) {
		c.serverStats()
	} else {
		c.reply(plainText, c.statistics())
	}
	c.Counters.CountRequest(protocol.CommandServerStats)
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
