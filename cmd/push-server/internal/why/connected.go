package why

import (
	"context"
	"encoding/hex"
	"errors"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"push-server/cmd/push-server/internal/opsclient"
	"push-server/engine/view"
	"push-server/protocol"
)

// mostConnections is what the server shows at a time.
const mostConnections = "1000"

// connections says who is there, who was, and what they got.
func (i *inquiry) connections(ctx context.Context) {
	i.marks(ctx)
	if len(i.Servers) == 0 {
		i.say("connections: who is connected cannot be known: the configuration has no push.metrics, where the server would tell")
		return
	}
	got, all := 0, 0
	overviews := make([]*overview, len(i.Servers))
	for n, s := range i.Servers {
		var o overview
		if err := s.Get(ctx, "/overview", nil, &o); err != nil {
			i.say("connections: who is connected cannot be known: the server does not answer at push.metrics, %s: %v", s.Address, err)
			continue
		}
		overviews[n] = &o
		i.server(&o)
		here, of := i.current(ctx, s)
		got, all = got+here, all+of
	}
	if got > 0 && got == all {
		i.judge(Delivered)
	}
	for n, s := range i.Servers {
		if overviews[n] != nil {
			i.gone(ctx, s, overviews[n])
		}
	}
}

// marks looks whether some process, of this server or another one, has seen a client lately.
func (i *inquiry) marks(ctx context.Context) {
	if i.Bus == nil || i.Verdict == Unreachable || !i.Config.ClusterMode { // other processes do not share marks
		return
	}
	online, err := i.Bus.Online(ctx, i.channels)
	if err != nil {
		i.failed(err)
		return
	}
	lately := i.Config.Storage.OnlineTTL + i.Config.Storage.OnlineDelta
	if slices.Contains(online, true) {
		i.say("online: yes: some process has had a client of this channel within the last %v", lately)
	} else {
		i.say("online: no: no process has had a client of this channel within the last %v", lately)
	}
	records, err := i.Bus.Statistics(ctx)
	if err == nil && len(records) > max(1, len(i.Servers)) {
		names := slices.Sorted(maps.Keys(records))
		i.say("processes: %s share this Redis; connections of others than those asked at push.metrics and --ops cannot be known here", strings.Join(names[:min(len(names), 16)], ", "))
	}
}

func (i *inquiry) server(o *overview) {
	i.say("server: %s runs since %s", o.Process, o.Started.Local().Format(time.DateTime+" MST"))
	if !o.Ready {
		i.say("server: it is not ready: %s", o.Problem)
	}
	if o.PublishQueue > 0 {
		i.say("server: %d publications were accepted (answered 202) and wait for Redis; they are stored when it is back, unless the server ends before", o.PublishQueue)
	}
	if n := o.Counters["publishRejected"]; n > 0 {
		i.say("server: %.0f publications were not taken (answered 503) since it runs; for which channels cannot be known", n)
	}
	if n := o.Counters["publishRetries"]; n > 0 {
		i.say("server: Redis had to be asked again %.0f times since the server runs: it was away, or refused, and what waited was stored later than it was published", n)
	}
}

// ask is the query for connections of the channel.
func (i *inquiry) ask() url.Values {
	return url.Values{"search": {hex.EncodeToString(i.Item.Private[:])}, "limit": {mostConnections}}
}

// current tells of the connections of now at a server: how many there are, and how many got the publication.
func (i *inquiry) current(ctx context.Context, s *opsclient.Client) (got, total int) {
	var all view.List
	err := s.Get(ctx, "/connections", i.ask(), &all)
	switch {
	case errors.Is(err, opsclient.ErrAbsent):
		i.say("connections: who is connected cannot be known: this server does not tell")
		return 0, 1
	case err != nil:
		i.say("connections: who is connected cannot be known: %v", err)
		return 0, 1
	case all.Total == 0:
		i.say("connections: nobody listens to this channel at this server now")
		return 0, 0
	}
	i.say("connections: %d listen to this channel at this server", all.Total)
	for n := range all.Connections {
		c := &all.Connections[n]
		text, has := i.received(c)
		if has {
			got++
		}
		i.say("  %s, %s from %s since %s: %s", c.ID, c.Transport, c.Address, c.Since.Local().Format(time.DateTime), text)
	}
	return got, len(all.Connections)
}

// received says whether a connection got the publication. A connection gets what there is in order of ids, so that one that was sent a
// later one has had all before.
func (i *inquiry) received(c *view.Connection) (text string, has bool) {
	last, ok := protocol.ParseMessageID([]byte(c.LastMessage))
	known := i.found && i.record.Publication != nil
	switch {
	case !known:
		return "whether it got the message cannot be said, since nothing is known of that", false
	case c.Transport == "poll":
		if ok && last.Compare(i.Message) >= 0 {
			return "it is a poll whose client has said a mid that is not before the message: it has it", true
		}
		return "it is a poll that waits, and would be answered at once if its client lacked the message; what was answered to polls before is not kept", false
	case !ok || last.IsZero():
		return "it was sent nothing yet", false
	case last.Compare(i.Message) < 0:
		return "it was sent " + last.String() + " last, which is before the message: it has not got it here", false
	case c.Since.Truncate(time.Second).After(i.created()):
		return "it came after the message, and was sent a later one: it has it only if it came back with a mid before it", false
	case c.Waiting > 0 && c.Acked == "":
		return "it was sent the message; not everything has been acknowledged by its system yet", true
	case c.Acked != "":
		return "it was sent the message, and its system has acknowledged everything", true
	}
	return "it was sent the message", true
}

// gone tells of connections that have ended.
func (i *inquiry) gone(ctx context.Context, s *opsclient.Client, o *overview) {
	var all view.Closes
	at := ""
	if len(i.Servers) > 1 {
		at = " of " + o.Process
	}
	err := s.Get(ctx, "/closes", i.ask(), &all)
	if err != nil {
		i.say("closed connections%s: what became of those that are gone cannot be known: %v", at, err)
		return
	}
	known := i.found && i.record.Publication != nil
	if known && all.From.After(i.created()) {
		i.say("closed connections%s: the server remembers those since %s only, and the message is older", at, all.From.Local().Format(time.DateTime))
	}
	for n := range all.All {
		c := &all.All[n]
		i.say("  closed at %s: %s from %s, reason %s%s", c.Time.Local().Format(time.DateTime), c.Transport, c.Address, c.Reason, meanings[c.Reason])
		if known && cutOff[c.Reason] && !c.Time.Before(i.created()) {
			i.say("  it was cut off after the message was published: whether it had read that by then cannot be known, and what it had not comes again when it returns with its mid")
			i.judge(CutOff)
		}
	}
	if len(all.All) == 0 {
		i.say("closed connections%s: none of this channel since %s", at, later(all.From, o.Started).Local().Format(time.DateTime))
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// cutOff are reasons with which something may be lost on its way.
var cutOff = map[string]bool{"slow_reader": true, "output_total": true, "no_pong": true, "replay_overflow": true}

var meanings = map[string]string{
	"peer":            " (the client or a proxy ended it)",
	"handshake":       " (both sides have said goodbye)",
	"slow_reader":     " (it did not read, and more than push.maxBuffered was waiting)",
	"output_total":    " (it did not read, and all together held more than push.outputBytes)",
	"replay_overflow": " (too much was published while its history was read)",
	"no_pong":         " (no answer to a ping: the line was dead)",
	"evicted":         " (a newer connection of the same channel took its place: limits.maxConnPerChannel)",
	"drain":           " (the server ended)",
	"rate":            " (its client published more than push.clientRate)",
}
