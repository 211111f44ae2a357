package load

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"time"
)

// Target says where a server is and how it speaks.
type Target struct {
	Name string `json:"name"`
	// Dialect is "push" (the protocol of the push server), "nchan" or "centrifugo".
	Dialect string `json:"dialect"`
	// Subscribe and Publish are host:port, used in turn.
	Subscribe []string `json:"subscribe"`
	Publish   []string `json:"publish"`
	SubPath   string   `json:"subPath"`
	PubPath   string   `json:"pubPath"`
	Key       string   `json:"key"`    // of the HMAC-SHA1 signatures, and of tokens
	Format    Format   `json:"format"` // of the push dialect
	// Acknowledge has clients of JSON-RPC say of each message that they have it, as browsers do.
	Acknowledge bool `json:"acknowledge"`
}

// Format is how messages are framed.
type Format string

// The formats. JSON-RPC is version 5, whose clients come with a token and are pinged.
const (
	Protobuf Format = "protobuf"
	Text     Format = "text"
	JSONRPC  Format = "json-rpc"
)

// Formats are all of them.
var Formats = []Format{Protobuf, Text, JSONRPC}

// Plan says who subscribes to what. It is the same for all workers, and everything in it follows from its numbers: user u is the
// same person with the same channels everywhere.
type Plan struct {
	Target Target  `json:"target"`
	Users  int     `json:"users"`
	Groups []Group `json:"groups"`
	Shared int     `json:"shared"` // channels that many follow
	// Chats are streams addressed to the private channels of ChatSize users each.
	Chats    int    `json:"chats"`
	ChatSize int    `json:"chatSize"`
	Payload  int    `json:"payload"` // bytes of a body
	Expiry   int    `json:"expiry"`  // seconds in history
	Seed     string `json:"seed"`    // makes channel ids differ between runs on one server
}

// Group is a range of users that connect in the same way.
type Group struct {
	Name  string `json:"name"`
	First int    `json:"first"`
	Count int    `json:"count"`
	Poll  bool   `json:"poll"` // by long poll; else by WebSocket
	// Format is how messages to this group are framed, whatever Target says; empty: it does.
	Format Format `json:"format"`
	// Own: a private channel of one's own; Public: with a public id, too.
	Own    bool  `json:"own"`
	Public bool  `json:"public"`
	Shared []int `json:"shared"` // which shared channels
	// Quiet is the number of further private channels of each user, to which nothing is sent.
	Quiet int `json:"quiet"`
	// Address, if set, is where this group connects instead of Target.Subscribe.
	Address string `json:"address"`
}

// Group finds a group by name.
func (p *Plan) Group(name string) (*Group, error) {
	for i := range p.Groups {
		if p.Groups[i].Name == name {
			return &p.Groups[i], nil
		}
	}
	return nil, fmt.Errorf("load: no group %q in the plan", name)
}

// format is how messages to a group are framed.
func (p *Plan) format(g *Group) Format { return cmp.Or(g.Format, p.Target.Format) }

// Streams is the number of streams; they are numbered 0…Streams()-1.
func (p *Plan) Streams() int { return 2*p.Users + p.Shared + p.Chats }

// OwnStream is what the back end sends to user u alone.
func (p *Plan) OwnStream(u int) int { return u }

// ClientStream is what another user sends to user u.
func (p *Plan) ClientStream(u int) int { return p.Users + u }

// SharedStream is what the back end sends to shared channel k.
func (p *Plan) SharedStream(k int) int { return 2*p.Users + k }

// ChatStream is what the back end sends to chat j.
func (p *Plan) ChatStream(j int) int { return 2*p.Users + p.Shared + j }

// chatMember is the k-th member of chat j: spread over all users, distinct for all k of a chat.
func (p *Plan) chatMember(j, k int) int {
	return (j*7919 + k*(p.Users/p.ChatSize)) % p.Users
}

// follows appends the streams, other than chats, that a user of g gets.
func (p *Plan) follows(dst []int, g *Group, user int) []int {
	if g.Own {
		dst = append(dst, p.OwnStream(user))
	}
	if g.Public {
		dst = append(dst, p.ClientStream(user))
	}
	for _, k := range g.Shared {
		dst = append(dst, p.SharedStream(k))
	}
	return dst
}

// channels appends the private channels that a message of stream is sent to.
func (p *Plan) channels(dst []channel, stream int) []channel {
	switch {
	case stream < p.Users:
	case stream < 2*p.Users:
		return append(dst, p.channel("public", stream-p.Users))
	case stream < 2*p.Users+p.Shared:
		return append(dst, p.channel("shared", stream-2*p.Users))
	}
	var some [chatRoom]int
	for _, user := range p.users(some[:0], stream) {
		dst = append(dst, p.channel("private", user))
	}
	return dst
}

// chatRoom is room for most chats, so that they cost no allocation.
const chatRoom = 16

// users appends those that a message of stream, which is not shared, is sent to.
func (p *Plan) users(dst []int, stream int) []int {
	if stream < p.Users {
		return append(dst, stream)
	}
	j := stream - 2*p.Users - p.Shared
	for k := range p.ChatSize {
		dst = append(dst, p.chatMember(j, k))
	}
	return dst
}

type channel [16]byte

func (c channel) hex() string { return hex.EncodeToString(c[:]) }

func (p *Plan) channel(kind string, n int) channel {
	h := sha256.Sum256(fmt.Appendf(nil, "%s/%s/%d", p.Seed, kind, n))
	return channel(h[:16])
}

// items is the CHANNEL_ID of a user: what a portal gives to its pages, private item first.
func (p *Plan) items(g *Group, user int) string {
	var list []string
	add := func(item string) { list = append(list, item+"."+hex.EncodeToString(p.sign(item))) }
	if g.Own {
		item := p.channel("private", user).hex()
		if g.Public {
			item += ":" + p.channel("public", user).hex()
		}
		add(item)
	}
	for _, k := range g.Shared {
		add(p.channel("shared", k).hex())
	}
	for k := range g.Quiet {
		add(p.channel("quiet", user*g.Quiet+k).hex())
	}
	return strings.Join(list, "/")
}

// token is what a portal of version 5 gives to a user instead, whose own channel has no id.
func (p *Plan) token(g *Group, user int) string {
	var list []string
	for _, k := range g.Shared {
		list = append(list, p.channel("shared", k).hex())
	}
	for k := range g.Quiet {
		list = append(list, p.channel("quiet", user*g.Quiet+k).hex())
	}
	claims := fmt.Sprintf(`{"iat":%d,"exp":%d,"sub":"%d","chan":"%s"}`, time.Now().Unix(), time.Now().Add(tokenLife).Unix(), user+1, strings.Join(list, ","))
	encode := base64.RawURLEncoding.EncodeToString
	text := encode([]byte(`{"typ":"JWT","alg":"HS256"}`)) + "." + encode([]byte(claims))
	m := hmac.New(sha256.New, []byte(p.Target.Key))
	m.Write([]byte(text))
	return text + "." + encode(m.Sum(nil))
}

const tokenLife = 24 * time.Hour

func (p *Plan) sign(message string) []byte {
	m := hmac.New(sha1.New, []byte(p.Target.Key))
	m.Write([]byte(message))
	return m.Sum(nil)
}

func (p *Plan) isShared(stream int) bool {
	return stream >= 2*p.Users && stream < 2*p.Users+p.Shared
}

func (p *Plan) isClientStream(stream int) bool { return stream >= p.Users && stream < 2*p.Users }
