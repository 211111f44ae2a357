package redisbus

import (
	"github.com/redis/rueidis"

	"push-server/protocol"
)

// The names are those of the Node server, but for sequences and echoes, which it does not have.
const (
	keyCounter    = "server:messagecounter"
	keyStartdate  = "server:startdate"
	keyStatistics = "stats"

	prefixMessage        = "message:"
	prefixPrivateHistory = "channel:messages:"
	prefixPublicHistory  = "pubchannel:messages:"
	prefixPrivateOnline  = "channel:online:"
	prefixPublicOnline   = "pubchannel:online:"
	prefixSequence       = "server:sequence:"

	// publishPattern takes in the publications of all processes. Each publishes under its own name.
	publishPrefix  = "pushserver:"
	publishPattern = publishPrefix + "*"
	// echoPrefix is outside that pattern: an echo is for the process that sent it alone.
	echoPrefix = "pushecho:"
)

func appendHistoryKey(dst []byte, ch protocol.ChannelID) []byte {
	return appendChannelKey(dst, ch, prefixPrivateHistory, prefixPublicHistory)
}

func appendOnlineKey(dst []byte, ch protocol.ChannelID) []byte {
	return appendChannelKey(dst, ch, prefixPrivateOnline, prefixPublicOnline)
}

func appendChannelKey(dst []byte, ch protocol.ChannelID, private, public string) []byte {
	prefix := public
	if ch.Private {
		prefix = private
	}
	return append(append(dst, prefix...), ch.Bytes[:]...)
}

func historyKey(ch protocol.ChannelID) string {
	return rueidis.BinaryString(appendHistoryKey(make([]byte, 0, len(prefixPublicHistory)+len(ch.Bytes)), ch))
}

func onlineKey(ch protocol.ChannelID) string {
	return rueidis.BinaryString(appendOnlineKey(make([]byte, 0, len(prefixPublicOnline)+len(ch.Bytes)), ch))
}

func messageKey(id protocol.MessageID) string { return prefixMessage + string(id[:]) }
