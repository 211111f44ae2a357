// Package view is how a server shows its connections to operators. Channel ids open channels to whoever knows them, so they are shown as
// hashes, which an operator who has an id can compare.
package view

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"push-server/protocol"
)

// ID names a connection for as long as it lasts. Its text is <loop>-<place>-<generation>.
type ID struct{ Loop, Place, Generation uint32 }

// ParseID reads the text of an ID.
func ParseID(text string) (id ID, ok bool) {
	if _, err := fmt.Sscanf(text, "%d-%d-%d", &id.Loop, &id.Place, &id.Generation); err != nil {
		return ID{}, false
	}
	return id, id.String() == text
}

func (id ID) String() string { return fmt.Sprintf("%d-%d-%d", id.Loop, id.Place, id.Generation) }

// Behind says whether id comes behind other in a List; nil is before all.
func (id ID) Behind(other *ID) bool {
	return other == nil || id.Loop > other.Loop || id.Loop == other.Loop && id.Place > other.Place
}

// Query says which connections are to be shown.
type Query struct {
	Search string // see NewMatch
	Limit  int    // at most
	After  *ID    // nil: from the first one on
}

// List is an answer.
type List struct {
	Total       int          `json:"total"` // that match, wherever they are
	Next        string       `json:"next"`  // the ID behind which there are more; "": there are none
	Connections []Connection `json:"connections"`
}

// Connection is what is shown of one.
type Connection struct {
	ID           string    `json:"id"`
	Listener     string    `json:"listener"`
	Transport    string    `json:"transport"`
	Dialect      string    `json:"dialect"`
	Address      string    `json:"address"` // as in log lines: what a proxy said, or else the other end
	Since        time.Time `json:"since"`
	State        string    `json:"state"`
	Channels     []string  `json:"channels"` // hashes of the first ones
	ChannelCount int       `json:"channelCount"`
	LastMessage  string    `json:"lastMessage"`     // the id that was sent last; of a poll, the one that it has said
	Acked        string    `json:"acked,omitempty"` // the same, if the system of the peer has acknowledged everything
	User         uint64    `json:"user,omitempty"`  // of version 5
	// What the client of version 5 says it has: the greatest id, and how many of Sent it has not said so of.
	Acknowledged   string `json:"acknowledged,omitempty"`
	Unacknowledged uint32 `json:"unacknowledged,omitempty"`
	Waiting        int    `json:"waiting"` // bytes that it has not
	Sent           uint32 `json:"sent"`    // messages
	Agent          string `json:"agent"`   // what the client calls itself, or the proxy that does not pass that on
}

// UserQuery says which users are to be shown.
type UserQuery struct {
	User    uint64        // that one alone; 0: all
	After   uint64        // those with greater ids
	Waiting time.Duration // those with a message that a client has not acknowledged for so long
	Limit   int           // at most
}

// Users are an answer, in the order of ids.
type Users struct {
	Next  uint64 `json:"next"` // the id behind which there are more; 0: there are none
	Users []User `json:"users"`
}

// User is what is shown of a user of version 5: all connections to this process together.
type User struct {
	ID          uint64 `json:"user"`
	Connections int    `json:"connections"`
	// Messages that WebSockets which are open were sent, and, of those of JSON-RPC, that clients have said they have and have not said so of.
	Delivered      uint64 `json:"delivered"`
	Acknowledged   uint64 `json:"acknowledged"`
	Unacknowledged uint64 `json:"unacknowledged"`
	Last           string `json:"lastAcknowledged"` // the greatest id
	// Waiting is how many seconds ago the oldest message was sent that is not acknowledged; at least, if the window has it no more.
	Waiting float64 `json:"waiting"`
}

// Closes are connections of a channel that have ended.
type Closes struct {
	From time.Time `json:"from"` // they are known completely from then on
	All  []Ended   `json:"closes"`
}

// Ended is what is shown of one.
type Ended struct {
	Time        time.Time `json:"time"`
	Reason      string    `json:"reason"`
	Transport   string    `json:"transport"`
	Address     string    `json:"address"`
	LastMessage string    `json:"lastMessage"`
}

// hashDigits is how much of the hash of a channel is shown.
const hashDigits = 8

// Hash is what is shown of a channel: the first digits of the SHA-256 of its id, which is taken as text.
func Hash(ch *protocol.ChannelID) string {
	var text [2 * len(ch.Bytes)]byte
	sum := sha256.Sum256(ch.AppendHex(text[:0]))
	return hex.EncodeToString(sum[:hashDigits/2])
}

// Match is what is searched for.
type Match struct {
	text string
	ids  [][16]byte
	hash bool // text may be the beginning of a hash
	user uint64
}

// leastDigits of a hash are looked for, so that a number that is a part of an address finds few others.
const leastDigits = 4

// NewMatch makes a Match of what an operator has typed: a part of an address or of an ID, "user 17", the beginning of the hash of a channel, or
// channel ids as they stand in requests, with or without their signatures.
func NewMatch(search string) *Match {
	m := &Match{text: strings.ToLower(strings.TrimSpace(search))}
	if number, ok := strings.CutPrefix(m.text, "user "); ok {
		m.user, _ = protocol.ParseUser([]byte(strings.TrimSpace(number)))
	}
	for item := range strings.SplitSeq(m.text, "/") {
		ids, _, _ := strings.Cut(item, ".")
		for text := range strings.SplitSeq(ids, ":") {
			if id, ok := protocol.ParseID([]byte(text)); ok {
				m.ids = append(m.ids, id)
			}
		}
	}
	m.hash = len(m.text) >= leastDigits && len(m.text) <= hashDigits && strings.Trim(m.text, "0123456789abcdef") == ""
	return m
}

// Everything says that nothing particular is searched for.
func (m *Match) Everything() bool { return m.text == "" }

// Text says whether an address, or an ID, is what is searched for.
func (m *Match) Text(text string) bool { return strings.Contains(text, m.text) }

// User says whether connections of that user of version 5 are what is searched for; 0 is nobody.
func (m *Match) User(user uint64) bool { return user != 0 && user == m.user }

// LooksAtChannels says whether a channel can be what is searched for.
func (m *Match) LooksAtChannels() bool { return m.hash || len(m.ids) > 0 }

// Channel says whether ch is what is searched for.
func (m *Match) Channel(ch *protocol.ChannelID) bool {
	for _, id := range m.ids {
		if id == ch.Bytes {
			return true
		}
	}
	return m.hash && strings.HasPrefix(Hash(ch), m.text)
}
