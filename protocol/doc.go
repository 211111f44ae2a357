// Package protocol is the wire of the push server: bytes in, bytes out. It does no I/O, starts no goroutine and reads no clock,
// so everything here can be called from anywhere and tested with literals.
//
// Channel ids and signatures are in channel.go and signature.go, message ids in message.go, the error table in error.go,
// WebSocket in handshake.go and frame.go, the two framings of messages in text.go and protobuf.go, what publishers and clients
// ask for in request.go, and what processes say to each other over Redis in envelope.go. wire.go takes protobuf apart; the
// schema is in pb/push.proto.
//
// Encoders are called AppendX and append to dst. Decoders of a stream answer a value, ErrShort when more bytes are needed, or
// an *Error that says how to refuse the peer; the other decoders answer a value or that it is none. What they answer aliases
// what they were given, unless it is said that it does not.
package protocol
