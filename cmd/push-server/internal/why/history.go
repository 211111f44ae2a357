package why

import (
	"context"
	"fmt"
	"strings"
	"time"

	"push-server/protocol"
)

// deep is how many entries of a channel's history are looked at.
const deep = 1000

// history finds out what Redis has of the publication.
func (i *inquiry) history(ctx context.Context) {
	if i.Bus == nil {
		i.say("history: it is in the memory of the server, where only its clients can ask for it; it ended with the process if that was started again")
		i.judge(Unknown)
		return
	}
	startdate, counter, err := i.Bus.Counter(ctx)
	if err != nil {
		i.say("redis: it cannot be asked: %v", err)
		i.say("history: what is stored cannot be known. While Redis is away publishers are answered 202 (accepted), and 503 once too many wait; what was accepted is stored when Redis is back, if the server has not ended before")
		i.judge(Unreachable)
		return
	}
	if i.Message.IsZero() {
		i.latest(ctx, counter)
		return
	}
	i.one(ctx, startdate, counter)
}

// latest looks for the latest publication of the channel.
func (i *inquiry) latest(ctx context.Context, counter uint64) {
	for _, ch := range i.channels {
		r, ok, err := i.Bus.Latest(ctx, ch)
		if err != nil {
			i.failed(err)
			return
		}
		if ok && r.ID.Compare(i.Message) > 0 {
			i.Message, i.record, i.found = r.ID, r, true
		}
	}
	switch {
	case !i.found:
		i.say("history: of this channel there is none. Nothing was published to it, or without an expiry, which leaves nothing, or longer than storage.channelTTL (%v) ago. In this database there were %d publications", i.Config.Storage.ChannelTTL, counter)
		i.judge(NeverPublished)
	case i.record.Publication == nil:
		i.expired()
	default:
		i.stored()
	}
}

// one looks for the publication that was asked for.
func (i *inquiry) one(ctx context.Context, startdate, counter uint64) {
	id := i.Message
	switch {
	case startdate == 0:
		i.say("message %s: nothing was ever published in this database of Redis: this is not where its portal publishes", id)
		i.judge(OtherDatabase)
		return
	case id.Startdate() != startdate:
		i.say("message %s: ids of this database of Redis begin with %d, and this one with %d: it is of another portal, of another database, or of a time before Redis lost its data", id, startdate, id.Startdate())
		i.judge(OtherDatabase)
		return
	case id.Counter() > counter:
		i.say("message %s: this id was not given to anything yet, the last one is %s", id, protocol.MakeMessageID(startdate, counter))
		i.judge(NeverPublished)
		return
	}
	record, err := i.Bus.Record(ctx, id)
	if err != nil {
		i.failed(err)
		return
	}
	listed := false
	for _, ch := range i.channels {
		here, err := i.Bus.Listed(ctx, ch, id)
		if err != nil {
			i.failed(err)
			return
		}
		listed = listed || here
	}
	i.record, i.found = record, listed
	switch {
	case listed && record.Publication != nil:
		i.stored()
	case listed:
		i.expired()
	case record.Publication != nil:
		i.say("message %s: it is stored, but not in the history of this channel: it was published to other channels, or the history has become so long that it was dropped from it", id)
		i.judge(OtherChannel)
	default:
		i.say("message %s: the id was given to a publication, of which nothing is left. It had no expiry, has expired, or was for another channel: which of these cannot be known", id)
		i.judge(NotStored)
	}
}

func (i *inquiry) failed(err error) {
	i.say("redis: it cannot be asked any further: %v", err)
	i.judge(Unreachable)
}

func (i *inquiry) stored() {
	p := i.record.Publication
	left := "for ever"
	if i.record.Remaining > 0 {
		left = "for another " + i.record.Remaining.Round(time.Second).String()
	}
	from := "by a back end"
	if p.Sender.Type == protocol.SenderClient {
		from = "by a client, with public id " + fmt.Sprintf("%x", p.Sender.ID)
	}
	i.say("message %s: it was published %s at %s, with %d bytes, and is stored %s", i.Message, from, i.created().Format(time.DateTime+" MST"), len(p.Body), left)
	i.say("which process has taken it in cannot be known: nothing that is stored says so")
}

func (i *inquiry) expired() {
	i.say("message %s: it was stored for this channel and has expired, so that nobody gets it any more", i.Message)
	i.judge(Expired)
}

// created is when the publication was taken in, by the clock of that process.
func (i *inquiry) created() time.Time { return time.Unix(int64(i.record.Publication.Created), 0) }

// returning says what a client would get that comes now and has seen the message last.
func (i *inquiry) returning(ctx context.Context) {
	if i.Bus == nil || i.Verdict == Unreachable || i.Verdict == OtherDatabase {
		return
	}
	var newer []protocol.MessageID // ascending for each channel
	behind := 0                    // in the same history, newer than the message
	for _, ch := range i.channels {
		some, err := i.Bus.Living(ctx, ch, i.Message, deep)
		if err != nil {
			i.failed(err)
			return
		}
		behind = max(behind, len(some))
		newer = append(newer, some[max(0, len(some)-i.Config.Push.HistoryPerChannel):]...)
	}
	switch n := min(len(newer), i.Config.Push.HistoryTotal); {
	case i.Message.IsZero():
		i.say("a client that comes now with any mid gets nothing of this channel")
	case n == 0:
		i.say("a client that comes now with mid=%s gets nothing: there is nothing newer", i.Message)
	default:
		i.say("a client that comes now with mid=%s gets %d newer messages: %s", i.Message, n, ids(newer))
	}
	if limit := i.Config.Push.HistoryPerChannel; i.found && i.record.Publication != nil {
		if behind >= limit {
			i.say("a client that was away before the message and comes now does not get it: %d newer ones are stored, and it gets the newest %d (push.historyPerChannel)", behind, limit)
			i.judge(BeyondLimit)
		} else {
			i.say("a client that was away before the message and comes now, with the mid that it saw last, gets it")
		}
	}
}

// ids are the first and the last of several.
func ids(all []protocol.MessageID) string {
	const shown = 5
	var words []string
	for n, id := range all {
		if n == shown && len(all) > shown+1 {
			words = append(words, "…", all[len(all)-1].String())
			break
		}
		words = append(words, id.String())
	}
	return strings.Join(words, " ")
}
