package redisbus

import (
	"github.com/redis/rueidis"

	"push-server/protocol"
)

// keys are the names of an installation in Redis. They are those of the Node server, but for sequences, echoes and what version 5 needs, which it does not have.
// In a cluster all begin with a hash tag, so that they are in one slot and no other installation hears what is published there.
type keys struct {
	counter, startdate, statistics string
	lastSeen, users, processes     string // of version 5

	message, sequence             string // what further names begin with
	privateHistory, publicHistory string
	privateOnline, publicOnline   string

	// publishPattern takes in the publications of all processes. Each publishes under its own name.
	publish, publishPattern string
	// echo is outside that pattern: an echo is for the process that sent it alone.
	echo string
}

func newKeys(tag string) keys {
	if tag != "" {
		tag = "{" + tag + "}"
	}
	return keys{
		counter:        tag + "server:messagecounter",
		startdate:      tag + "server:startdate",
		statistics:     tag + "stats",
		lastSeen:       tag + "server:lastseen",
		users:          tag + "server:users",
		processes:      tag + "server:processes",
		message:        tag + "message:",
		sequence:       tag + "server:sequence:",
		privateHistory: tag + "channel:messages:",
		publicHistory:  tag + "pubchannel:messages:",
		privateOnline:  tag + "channel:online:",
		publicOnline:   tag + "pubchannel:online:",
		publish:        tag + "pushserver:",
		publishPattern: tag + "pushserver:*",
		echo:           tag + "pushecho:",
	}
}

func (k *keys) historyPrefix(ch protocol.ChannelID) string {
	if ch.Private {
		return k.privateHistory
	}
	return k.publicHistory
}

func (k *keys) onlinePrefix(ch protocol.ChannelID) string {
	if ch.Private {
		return k.privateOnline
	}
	return k.publicOnline
}

func appendKey(dst []byte, prefix string, ch protocol.ChannelID) []byte {
	return append(append(dst, prefix...), ch.Bytes[:]...)
}

func makeKey(prefix string, ch protocol.ChannelID) string {
	return rueidis.BinaryString(appendKey(make([]byte, 0, len(prefix)+len(ch.Bytes)), prefix, ch))
}

func (k *keys) historyOf(ch protocol.ChannelID) string { return makeKey(k.historyPrefix(ch), ch) }

func (k *keys) onlineOf(ch protocol.ChannelID) string { return makeKey(k.onlinePrefix(ch), ch) }

func (k *keys) messageOf(id protocol.MessageID) string { return k.message + string(id[:]) }
