package poll

import "push-server/protocol"

// online answers the GET of a back end: which private channels of the query somebody is connected to. Public ids are passed over.
func (c *call) online() {
	if c.NoLicense {
		c.refuse(protocol.ErrClientRequired)
		return
	}
	c.Counters.CountRequest(protocol.CommandChannelStats)
	switch {
	case !c.parseItems(protocol.TrustBackend):
		c.refuse(protocol.ErrNoChannels)
		return
	case len(c.items) > c.Limits.MaxChannels:
		c.refuse(protocol.ErrTooManyChannels)
		return
	}
	c.channels = c.channels[:0]
	for _, it := range c.items {
		c.channels = append(c.channels, protocol.ChannelID{Bytes: it.Private, Private: true})
	}
	online := c.askOnline()
	if isTrue(c.query.Peek(paramBinary)) {
		c.reply(octetStream, c.appendItemStats(c.body[:0], online))
		return
	}
	c.reply(plainText, c.appendInfos(c.body[:0], online))
}

// channelStats answers the same question as a protobuf request, about private and public channels.
func (c *call) channelStats(o *protocol.Origin) {
	stats, err := c.request.Channels(o, &c.Limits)
	if err != nil {
		c.refuse(err)
		return
	}
	// The length of a client's ids is not checked. One that is no id is nobody's.
	c.channels = c.channels[:0]
	for _, s := range stats {
		if len(s.ID) == len(protocol.ChannelID{}.Bytes) {
			c.channels = append(c.channels, protocol.ChannelID{Bytes: [16]byte(s.ID), Private: s.Private})
		}
	}
	online := c.askOnline()
	if online == nil && len(c.channels) > 0 {
		stats = nil
	}
	for i := range stats {
		if len(stats[i].ID) == len(protocol.ChannelID{}.Bytes) {
			stats[i].Online, online = online[0], online[1:]
		}
	}
	c.body = protocol.AppendChannelStats(c.body[:0], stats)
	c.reply(octetStream, c.body)
}

// askOnline asks about c.channels. nil: nobody knows.
func (c *call) askOnline() []bool {
	ctx, cancel := c.timeout()
	defer cancel()
	online, err := c.Presence.Online(ctx, c.channels)
	if err != nil || len(online) != len(c.channels) {
		return nil
	}
	return online
}

// appendInfos appends the channels of c.channels that are online as JSON.
func (c *call) appendInfos(dst []byte, online []bool) []byte {
	dst = append(dst, `{"infos":[`...)
	start := len(dst)
	for i, is := range online {
		if !is {
			continue
		}
		if len(dst) > start {
			dst = append(dst, ',')
		}
		dst = append(dst, `{"channel":"`...)
		dst = c.channels[i].AppendHex(dst)
		dst = append(dst, `","subscribers":1}`...)
	}
	c.body = append(dst, "]}"...)
	return c.body
}

// appendItemStats appends all channels of c.channels as protobuf, or none if nobody knows.
func (c *call) appendItemStats(dst []byte, online []bool) []byte {
	c.stats = c.stats[:0]
	for i, is := range online {
		c.stats = append(c.stats, protocol.ChannelStat{ID: c.channels[i].Bytes[:], Private: true, Online: is})
	}
	c.body = protocol.AppendChannelStats(dst, c.stats)
	return c.body
}

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
