package protocol

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/bytedance/sonic"
	"github.com/bytedance/sonic/ast"
)

// publishParams are the parameters of the method publish.
type publishParams struct {
	Channels   []json.RawMessage `json:"channelList"`
	Users      []json.RawMessage `json:"userList"`
	Body       json.RawMessage   `json:"body"`
	UserParams json.RawMessage   `json:"user_params"`
	Dictionary json.RawMessage   `json:"dictionary"`
	Expiry     json.Number       `json:"expiry"`
	Type       string            `json:"type"`
}

func (c *Call) publishParams() (*publishParams, *RPCError) {
	var p publishParams
	switch {
	case rpcJSON.Unmarshal(c.Params, &p) != nil:
		return nil, rpcParams("Wrong parameters")
	case !isObject(p.Body):
		return nil, rpcParams("body must be an object")
	}
	return &p, nil
}

// expiry is in seconds; absent and negative ones are 0.
func (p *publishParams) expiry() uint32 {
	n, err := p.Expiry.Float64()
	if err != nil || n < 0 {
		return 0
	}
	return uint32(min(n, 1<<32-1))
}

// BackendPublication is what a back end wants to be published, who may name everybody. Receivers that are none are passed over: a retry of
// PHP repeats some, and user ids of applications and guests are 0 and less. nil without an error: nobody is left. What it holds does not alias c.
func (c *Call) BackendPublication() (*Publication, *RPCError) {
	p, e := c.publishParams()
	if e != nil {
		return nil, e
	}
	out := newPublication(len(p.Channels) + len(p.Users))
	seen := make(map[ChannelID]bool, len(p.Channels)+len(p.Users))
	for _, raw := range p.Channels {
		if id, ok := ParseID(bytes.Trim(raw, `"`)); ok {
			out.addReceiver(ChannelID{Bytes: id, Private: true}, seen)
		}
	}
	for _, raw := range p.Users {
		if user, ok := ParseUser(bytes.Trim(raw, `"`)); ok {
			out.addReceiver(UserChannel(user), seen)
		}
	}
	if len(out.Receivers) == 0 {
		return nil, nil
	}
	out.Sender = Sender{Type: SenderBackend}
	out.Expiry, out.Type = p.expiry(), p.Type
	return out, out.setBody(p)
}

func (p *Publication) addReceiver(ch ChannelID, seen map[ChannelID]bool) {
	if !seen[ch] {
		seen[ch] = true
		p.Receivers = append(p.Receivers, Receiver{Channel: ch})
	}
}

// setBody takes body, and what stands beside it. Where something is to be merged into params, that is an object: PHP writes [] for an empty one,
// which browsers copy by index.
func (p *Publication) setBody(from *publishParams) *RPCError {
	users, dictionary := objectOf(from.UserParams), objectOf(from.Dictionary)
	if users == nil && dictionary == nil {
		p.Body = bytes.Clone(from.Body)
		return nil
	}
	body, err := mergeParams(from.Body, dictionary)
	if err != nil {
		return rpcParams("body cannot be read")
	}
	p.Body = body
	if users == nil {
		return nil
	}
	p.Extra = append(append(p.Extra, `{"user_params":`...), users...)
	if dictionary != nil {
		p.Extra = append(append(p.Extra, `,"dictionary":`...), dictionary...)
	}
	p.Extra = append(p.Extra, '}')
	return nil
}

// objectOf is raw as an object, of an array one with its indexes as keys; nil: there is nothing in it.
func objectOf(raw json.RawMessage) []byte {
	if isObject(raw) {
		if bytes.Equal(bytes.TrimSpace(raw[1:len(raw)-1]), nil) {
			return nil
		}
		return raw
	}
	var list []json.RawMessage
	if len(raw) == 0 || rpcJSON.Unmarshal(raw, &list) != nil || len(list) == 0 {
		return nil
	}
	object := []byte{'{'}
	for i, value := range list {
		if i > 0 {
			object = append(object, ',')
		}
		object = append(strconv.AppendQuote(object, strconv.Itoa(i)), ':')
		object = append(object, value...)
	}
	return append(object, '}')
}

// mergeParams is body with what is in dictionary in its params.
func mergeParams(body, dictionary []byte) ([]byte, error) {
	root, err := sonic.Get(body)
	if err != nil {
		return nil, err
	}
	params := root.Get("params")
	if !params.Exists() || params.TypeSafe() != ast.V_OBJECT {
		if _, err := root.Set("params", ast.NewRaw("{}")); err != nil {
			return nil, err
		}
		params = root.Get("params")
	}
	if dictionary != nil {
		from, err := sonic.Get(dictionary)
		if err != nil {
			return nil, err
		}
		if err := mergeObject(params, &from); err != nil {
			return nil, err
		}
	}
	return root.MarshalJSON()
}

func mergeObject(to, from *ast.Node) (err error) {
	walked := from.ForEach(func(at ast.Sequence, value *ast.Node) bool {
		there := to.Get(*at.Key)
		if there.Exists() && there.TypeSafe() == ast.V_OBJECT && value.TypeSafe() == ast.V_OBJECT {
			err = mergeObject(there, value)
		} else {
			_, err = to.Set(*at.Key, *value)
		}
		return err == nil
	})
	if err == nil {
		err = walked
	}
	return err
}

// ClientPublication is what a client wants to be published. user is its id, 0 for a guest, who may name signed public channels only. It may
// not make other clients do what the module pull can make them do, nor forge what browsers judge a message by.
func (c *Call) ClientPublication(user uint64, sender Sender, s *Signer, lim *Limits, now float64) (*Publication, *RPCError) {
	p, e := c.publishParams()
	if e != nil {
		return nil, e
	}
	if len(p.Users) > 0 && user == 0 {
		return nil, ErrRPCGuest
	}
	if len(p.Users)+len(p.Channels) > lim.MaxChannels {
		return nil, rpcParams("Too many receivers")
	}
	out := newPublication(len(p.Channels) + len(p.Users))
	if e := out.readClientReceivers(p, s); e != nil {
		return nil, e
	}
	out.Sender, out.Expiry = sender, p.expiry()
	if out.Body, e = guardedBody(p.Body, now); e != nil {
		return nil, e
	}
	return out, nil
}

func (p *Publication) readClientReceivers(from *publishParams, s *Signer) *RPCError {
	seen := make(map[ChannelID]bool, len(from.Channels)+len(from.Users))
	for _, raw := range from.Channels {
		id, signature, ok := publicChannel(raw)
		if !ok {
			return rpcParams("channelList has an entry that is no public channel")
		}
		if !s.ValidPublic(id[:], signature) {
			return rpcParams("channelList has an invalid signature")
		}
		ch := ChannelID{Bytes: id}
		if !seen[ch] {
			seen[ch] = true
			p.Receivers = append(p.Receivers, Receiver{Channel: ch, Signature: signature})
		}
	}
	for _, raw := range from.Users {
		user, ok := ParseUser(bytes.Trim(raw, `"`))
		if !ok {
			return rpcParams("userList has an entry that is no user id")
		}
		p.addReceiver(UserChannel(user), seen)
	}
	if len(p.Receivers) == 0 {
		return rpcParams("No receivers")
	}
	return nil
}

// publicChannel reads "id.signature", or an object of both.
func publicChannel(raw json.RawMessage) (id [16]byte, signature []byte, ok bool) {
	var object struct {
		ID        string `json:"publicId"`
		Signature string `json:"signature"`
	}
	if isObject(raw) {
		if rpcJSON.Unmarshal(raw, &object) != nil {
			return id, nil, false
		}
	} else {
		object.ID, object.Signature, _ = strings.Cut(string(bytes.Trim(raw, `"`)), ".")
	}
	if id, ok = ParseID([]byte(object.ID)); !ok {
		return id, nil, false
	}
	signature, err := hex.DecodeString(object.Signature)
	return id, signature, err == nil
}
