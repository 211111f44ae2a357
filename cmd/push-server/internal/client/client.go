// Package client has the old names of what is in protocol/testclient.
package client

import "push-server/protocol/testclient"

type (
	Channel     = testclient.Channel
	CloseError  = testclient.CloseError
	HTTP        = testclient.HTTP
	Message     = testclient.Message
	Publication = testclient.Publication
	Receiver    = testclient.Receiver
	Relay       = testclient.Relay
	Reply       = testclient.Reply
	WebSocket   = testclient.Conn
)

const (
	SenderClient  = testclient.SenderClient
	SenderBackend = testclient.SenderBackend
)

var (
	NewChannel         = testclient.NewChannel
	NewHTTP            = testclient.NewHTTP
	NewRelay           = testclient.NewRelay
	Query              = testclient.Query
	Dial               = testclient.Dial
	DialTLS            = testclient.DialTLS
	DialFrom           = testclient.DialFrom
	AppendPublish      = testclient.AppendPublish
	AppendChannelStats = testclient.AppendChannelStats
	AppendCommand      = testclient.AppendCommand
	Parse              = testclient.Parse
)
