// Package rfc6455 is RFC 6455 as a table: what a client says, and what a server that echoes messages has to answer. Only tests import it;
// it shares nothing with the code that is tested, so that what is got wrong there is not got wrong here as well.
//
// [Cases] begin behind the opening handshake, [Handshakes] are about it. Each names the section of the RFC that it holds to. Where the
// server does what clients of the Node server know, and not what the RFC says, Deliberate has the reason.
package rfc6455

// MaxPayload is the size of the largest message that the server may take: one byte more is refused.
const MaxPayload = 70_000

// A Case is one connection.
type Case struct {
	Section string // of RFC 6455
	Name    string
	Sent    []byte  // by the client
	Want    []Frame // the answers, in order
	// Known is the index in Sent of the byte by which the server must have ended the connection: what is wrong has to be answered when it
	// shows, not when a message is complete. -1: the connection goes on.
	Known      int
	Deliberate string // why it is not as the RFC says
}

// String is a name for t.Run.
func (c *Case) String() string { return c.Section + " " + c.Name }

// A Frame is what the server sends: whole, unmasked, without extensions.
type Frame struct {
	OpCode  byte
	Payload string
}

// The opcodes of RFC 6455, 5.2.
const (
	opContinuation = 0
	opText         = 1
	opBinary       = 2
	opClose        = 8
	opPing         = 9
	opPong         = 10
)

// The codes with which a server ends a connection (RFC 6455, 7.4.1).
const (
	protocolError  = 1002
	invalidPayload = 1007
	tooBig         = 1009
)

// Cases are all of them, each with a name of its own.
func Cases() []Case {
	var s suite
	s.lengths()
	s.longLengths()
	s.reserved()
	s.masks()
	s.control()
	s.fragments()
	s.controlInFragments()
	s.validText()
	s.invalidText()
	s.closing()
	s.closeCodes()
	s.limits()
	return s.cases
}
