// Package why says of a channel, in words, what became of a publication: whether it was stored, who was there and got it, who was away,
// and what a client that comes now would get. It asks Redis and, where it is reachable, the server. It changes nothing, and says plainly
// what cannot be known.
package why

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"push-server/cmd/push-server/internal/opsclient"
	"push-server/configs"
	"push-server/protocol"
	"push-server/redisbus"
)

// Verdict is an answer in one word.
type Verdict string

// The verdicts. Of several that are true the first one of this list is given.
const (
	WrongKey       Verdict = "wrong-key"       // the channel id is signed with another key
	Unreachable    Verdict = "redis-away"      // Redis cannot be asked
	Unknown        Verdict = "unknown"         // there is no way to find out
	OtherDatabase  Verdict = "other-database"  // the id is of another portal, database or time
	NeverPublished Verdict = "never-published" // nothing of the kind was published
	OtherChannel   Verdict = "other-channel"   // it is stored, for others
	Expired        Verdict = "expired"         // it was stored, and its time is over
	NotStored      Verdict = "not-stored"      // nothing is left of it
	Delivered      Verdict = "delivered"       // stored, and sent to all connections of now
	CutOff         Verdict = "cut-off"         // stored, and a connection was closed afterwards because it did not read
	BeyondLimit    Verdict = "beyond-limit"    // stored, but too far back for clients that return
	Away           Verdict = "away"            // stored, nobody was there who could be seen
)

// Question is what somebody wants to know.
type Question struct {
	Item      protocol.Item // the channel; an id alone may be a private or a public one
	Signature []byte        // empty: it was given without
	Signer    *protocol.Signer
	Message   protocol.MessageID // zero: the latest one

	Config  *configs.Config
	Bus     *redisbus.Bus       // nil: publications are in the memory of a process
	Servers []*opsclient.Client // none: they cannot be asked
	Now     func() time.Time
}

// Answer is what there is to say.
type Answer struct {
	Verdict Verdict
	Lines   []string
}

// Print writes the answer.
func (a *Answer) Print(w io.Writer) {
	for _, line := range a.Lines {
		fmt.Fprintln(w, line)
	}
	fmt.Fprintf(w, "verdict: %s\n", a.Verdict)
}

func (a *Answer) say(format string, args ...any) {
	a.Lines = append(a.Lines, fmt.Sprintf(format, args...))
}

// judge keeps the first verdict.
func (a *Answer) judge(v Verdict) {
	if a.Verdict == "" {
		a.Verdict = v
	}
}

// inquiry is one question on its way to an answer.
type inquiry struct {
	Question
	*Answer
	channels []protocol.ChannelID
	record   redisbus.Record // of the publication; its Publication is nil where there is none
	found    bool            // record is that of a publication of this channel
}

// Ask answers. The error is about the question.
func (q Question) Ask(ctx context.Context) (*Answer, error) {
	if q.Config == nil || q.Now == nil {
		return nil, errors.New("BUG: a question without a configuration or a clock")
	}
	i := &inquiry{Question: q, Answer: &Answer{}, channels: q.channels()}
	i.signature()
	i.history(ctx)
	i.connections(ctx)
	i.returning(ctx)
	i.judge(Away)
	return i.Answer, nil
}

// channels are those that the id may mean.
func (q *Question) channels() []protocol.ChannelID {
	if q.Item.HasPublic {
		return q.Item.AppendChannels(nil)
	}
	return []protocol.ChannelID{{Bytes: q.Item.Private, Private: true}, {Bytes: q.Item.Private}}
}

func (i *inquiry) signature() {
	switch {
	case len(i.Signature) == 0:
		i.say("signature: none was given; a subscriber needs one")
	case i.Signer == nil:
		i.say("signature: security.key is absent, so that no signature is right: every subscriber is refused with 4010")
		i.judge(WrongKey)
	case i.Signer.ValidItem(&i.Item, i.Signature):
		i.say("signature: right")
	default:
		i.say("signature: signed with another key than security.key of %s, or for other ids: a subscriber with it is refused with 4010 and gets nothing", i.Config.File)
		i.judge(WrongKey)
	}
}
