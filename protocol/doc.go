// Package protocol is the wire of the push server: bytes in, bytes out. It does no I/O, starts no goroutine and reads no clock,
// so everything here can be called from anywhere and tested with literals.
//
// Channel ids and signatures are in channel.go and signature.go, message ids in message.go, the error table in error.go,
// WebSocket in handshake.go and frame.go, the two framings of messages in text.go and protobuf.go, and what processes say to
// each other over Redis in envelope.go.
package protocol
