package poll

import "push-server/protocol"

// online answers the GET of a back end: which private channels of the query somebody is connected to. Public ids are passed over.
func (c *call) online() {
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
	online, _ := c.askOnline()
	if isTrue(c.query.Peek(paramBinary)) {
		c.body = c.appendItemStats(c.body[:0], online)
		c.reply(octetStream, c.body)
		return
	}
	c.body = c.appendInfos(c.body[:0], online)
	c.reply(plainText, c.body)
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
	for i := range stats {
		if id, ok := stats[i].Channel(); ok {
			c.channels = append(c.channels, id)
		}
	}
	online, ok := c.askOnline()
	if !ok {
		stats = nil
	}
	for i := range stats {
		if _, isID := stats[i].Channel(); isID {
			stats[i].Online, online = online[0], online[1:]
		}
	}
	c.body = protocol.AppendChannelStats(c.body[:0], stats)
	c.reply(octetStream, c.body)
}

// askOnline asks about c.channels. Without ok nobody knows, and the answer is an empty list.
func (c *call) askOnline() (online []bool, ok bool) {
	if len(c.channels) == 0 {
		return nil, true
	}
	ctx, cancel := c.timeout()
	defer cancel()
	online, err := c.Presence.Online(ctx, c.channels)
	if err != nil {
		return nil, false
	}
	if len(online) != len(c.channels) {
		panic("BUG: presence answered about other channels")
	}
	return online, true
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
	return append(dst, "]}"...)
}

// appendItemStats appends all channels of c.channels as protobuf, or none if nobody knows.
func (c *call) appendItemStats(dst []byte, online []bool) []byte {
	c.stats = c.stats[:0]
	for i, is := range online {
		c.stats = append(c.stats, protocol.ChannelStat{ID: c.channels[i].Bytes[:], Private: true, Online: is})
	}
	return protocol.AppendChannelStats(dst, c.stats)
}
