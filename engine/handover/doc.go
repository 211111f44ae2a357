// Package handover is what two processes of a server say to each other when one takes over the clients of the other: messages over a
// socket pair, with descriptors, and how sessions are written down. What it means for loops and sessions is package engine's.
//
//	successor                                   predecessor
//	  Hello: which versions it reads ─────────►
//	                                ◄───────── Offer: ports, with their listening sockets
//	  Prepared: it knows what is published ───►   from here on its loops stand still
//	                                ◄───────── State, Sessions, and their Sockets
//	  Ready: it has all of it ────────────────►
//	                                ◄───────── Go: the point of no return
//	  Serving ────────────────────────────────►   it ends
//
// Each may say Failed, and why, instead. Before Go the predecessor then goes on as if nothing had been; it has made sure that its
// successor is gone before it does. A successor that has everything and finds its predecessor gone takes over, too: nobody else has the
// connections any more.
package handover

import "encoding/json"

// Version is that of what is said here. A successor of another version is refused before anything has moved.
const Version = 4

// Kind is what a message says.
type Kind uint8

// The messages.
const (
	Hello Kind = iota + 1
	Offer
	Prepared
	State
	Sessions
	Sockets
	Ready
	Go
	Serving
	Failed
)

var kindNames = map[Kind]string{
	Hello: "hello", Offer: "offer", Prepared: "prepared", State: "state", Sessions: "sessions", Sockets: "sockets", Ready: "ready", Go: "go", Serving: "serving",
	Failed: "failed",
}

func (k Kind) String() string {
	if name, ok := kindNames[k]; ok {
		return name
	}
	return "unknown"
}

// Greeting is what Hello says.
type Greeting struct {
	Version int
	Program string // its version, for the log
}

// Listener is a port in an Offer. Its sockets are among the descriptors of the message, in the order of the ports.
type Listener struct {
	Role    string // what is done there: RoleSubscribers and the like
	Name    string // as the configuration has it
	Asked   string // address, as the configuration has it
	Addr    string // that it is bound to
	Sockets int
}

// What is done at a port.
const (
	RoleSubscribers = "subscribers"
	RoleEncrypted   = "encrypted subscribers"
	RolePublishers  = "publishers"
	RoleOperators   = "operators"
)

// Ports is what an Offer says.
type Ports struct {
	Version int
	Started int64 // when the service began, Unix seconds
	List    []Listener

	Connections int // about so many follow
	Memory      int // so many sockets behind those of the ports lead to the bus, which is in the memory of the process
	// Config is what counts, JSON: what another configuration must not change is refused. Dropped says that no session follows, so that it may.
	Config  []byte
	Dropped bool
}

// Preparation is what Prepared says.
type Preparation struct {
	Memory bool // the bus was copied
}

// Engine is what a State says of all sessions together.
type Engine struct {
	Served        []byte `json:"-"` // ids of what sessions have had (see AppendID), the list of SendParts
	Subscriptions uint64 // made so far
	Sessions      int    // that follow
	Totals
	// Keys are the digests of the keys that channels are signed with, in the order by which sessions name theirs.
	Keys [][]byte
}

// Totals are what the process has counted, and how far its limits are used up. They pass over even if no session does.
type Totals struct {
	Day       json.RawMessage // statistics of the day, as package poll has them
	Counters  json.RawMessage // what operators draw, as package engine has it
	Rate      *Rate           // of connections that come; nil: it has no limit
	Addresses []byte          // of clients that have come lately: see AppendAddress
}

// Rate is how far a limit on what comes in a second is used up.
type Rate struct {
	Saved float64 // that may come at once
	Queue int64   // milliseconds that those who were told to come again take
}
