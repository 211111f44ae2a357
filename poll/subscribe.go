package poll

import "push-server/protocol"

// The parameters of requests.
const (
	paramChannels = "CHANNEL_ID"
	paramMid      = "mid"
	paramBinary   = "binaryMode"
	paramTestKey  = "testKey"
)

// Subscription is what a long poll or a WebSocket wants.
type Subscription struct {
	Items  []protocol.Item    // signed, at least one
	Mid    protocol.MessageID // the last message that the client knows
	HasMid bool
	Binary bool // protobuf instead of text
	Key    int  // that the last item is signed with, counted from 0
}

// Parse reads the parameters of req and checks the signatures with s. Items is used again; nothing aliases req. The error is
// protocol.ErrWrongChannel, after which Mid and Binary are set all the same and Items is empty.
func (sub *Subscription) Parse(req *Request, s *protocol.Signer) *protocol.Error {
	sub.Mid, sub.HasMid = protocol.ParseMessageID(req.Args.Peek(paramMid))
	sub.Binary = isTrue(req.Args.Peek(paramBinary))
	var ok bool
	sub.Items, ok = protocol.AppendItems(sub.Items[:0], req.Args.Peek(paramChannels), protocol.TrustNone, s)
	if !ok {
		return protocol.ErrWrongChannel
	}
	sub.Key = s.Used()
	return nil
}
