// Package poll is the HTTP of the push server.
//
// Bytes from a socket pass the gate first (gate.go): it knows where a request head ends and refuses at once what must not reach
// a parser. On the ports of subscribers an event loop then reads the head with a Reader, asks Routes what is wanted, reads the
// channels with Subscription.Parse, and answers with the Append functions of reply.go; nothing there allocates. Publications,
// questions and statistics are answered by Handlers, on a fasthttp.Server made by NewServer, or in memory by ServeBytes.
package poll
