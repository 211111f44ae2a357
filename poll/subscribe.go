package poll

import (
	"time"

	"push-server/protocol"
)

// The parameters of requests.
const (
	paramChannels = "CHANNEL_ID"
	paramMid      = "mid"
	paramBinary   = "binaryMode"
	paramTestKey  = "testKey"
	paramToken    = "token"
	paramJSONRPC  = "jsonRpc"
)

// Subscription is what a long poll or a WebSocket wants.
type Subscription struct {
	Items   []protocol.Item    // signed, at least one
	Mid     protocol.MessageID // the last message that the client knows
	HasMid  bool
	Binary  bool                // protobuf instead of text
	JSONRPC bool                // JSON-RPC instead of either
	Token   protocol.Token      // zero unless one has said what Items are
	Fault   protocol.TokenFault // why a token was refused
	Key     int                 // that the last item, or the token, is signed with, counted from 0
}

// Parse reads the parameters of req and checks the signatures with s, or its token with tokens; nil: tokens are not looked at, and nobody
// speaks JSON-RPC. Items is used again; nothing aliases req. The error is protocol.ErrWrongChannel, after which Mid, Binary and JSONRPC are
// set all the same and Items is empty.
func (sub *Subscription) Parse(req *Request, s *protocol.Signer, tokens *protocol.TokenReader) *protocol.Error {
	sub.Mid, sub.HasMid = protocol.ParseMessageID(req.Args.Peek(paramMid))
	sub.Binary = isTrue(req.Args.Peek(paramBinary))
	sub.JSONRPC = tokens != nil && isTrue(req.Args.Peek(paramJSONRPC))
	sub.Items = sub.Items[:0]
	sub.Token = protocol.Token{Channels: sub.Token.Channels[:0]}
	sub.Fault = protocol.TokenFine
	if tokens != nil && req.Args.Has(paramToken) {
		return sub.readToken(req.Args.Peek(paramToken), tokens)
	}
	var ok bool
	if sub.Items, ok = protocol.AppendItems(sub.Items, req.Args.Peek(paramChannels), protocol.TrustNone, s); !ok {
		return protocol.ErrWrongChannel
	}
	sub.Key = s.Used()
	return nil
}

func (sub *Subscription) readToken(text []byte, tokens *protocol.TokenReader) *protocol.Error {
	t := &sub.Token
	if sub.Fault = tokens.Read(t, text, time.Now().Unix()); sub.Fault != protocol.TokenFine {
		sub.Token = protocol.Token{Channels: t.Channels[:0]}
		return protocol.ErrWrongChannel
	}
	sub.Items = t.AppendItems(sub.Items)
	sub.Key = tokens.Used()
	return nil
}
