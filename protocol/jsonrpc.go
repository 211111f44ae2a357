package protocol

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/bytedance/sonic"
)

// AppendIncoming appends the publication as version 5 sends it: a call without an id, so that it is the same for everybody. own is what one
// user alone is to get, as ParamsOf tells; nil: nothing.
func AppendIncoming(dst []byte, p *Publication, own []byte) []byte {
	dst = append(dst, `{"jsonrpc":"2.0","method":"incoming.message","params":{"mid":"`...)
	dst = p.ID.AppendDigits(dst)
	dst = append(dst, `","body":`...)
	dst = appendJSON(dst, p.Body)
	dst = append(dst, `,"sender":{"type":`...)
	dst = strconv.AppendUint(dst, uint64(p.Sender.Type), 10)
	dst = append(dst, `,"id":"`...)
	dst = p.Sender.appendName(dst)
	dst = append(dst, `"}`...)
	if own != nil {
		dst = append(append(dst, `,"user_params":`...), own...)
		if dictionary := p.extra("dictionary"); dictionary != nil {
			dst = append(append(dst, `,"dictionary":`...), dictionary...) // it goes before what is in both
		}
	}
	return append(dst, `}}`...)
}

// appendJSON appends a body, as a string if it is not JSON.
func appendJSON(dst, body []byte) []byte {
	if json.Valid(body) {
		return append(dst, body...)
	}
	text, err := json.Marshal(string(body))
	if err != nil {
		panic("BUG: protocol: a string is no JSON: " + err.Error())
	}
	return append(dst, text...)
}

// appendName appends who a client is: the user id of version 5, in digits, or a public channel id.
func (s *Sender) appendName(dst []byte) []byte {
	if len(s.ID) == len(ChannelID{}.Bytes) {
		return ChannelID{Bytes: [16]byte(s.ID)}.AppendHex(dst)
	}
	if _, ok := ParseUser(s.ID); ok {
		return append(dst, s.ID...)
	}
	return dst
}

// UserSender is a client of version 5.
func UserSender(user uint64) Sender {
	return Sender{Type: SenderClient, ID: strconv.AppendUint(nil, user, 10)}
}

// extra is a part of what version 5 sends beside the body; nil: there is none.
func (p *Publication) extra(key ...any) []byte {
	if p.Extra == nil {
		return nil
	}
	node, err := sonic.Get(p.Extra, key...)
	if err != nil {
		return nil
	}
	raw, err := node.Raw()
	if err != nil || !isObject([]byte(raw)) {
		return nil
	}
	return []byte(raw)
}

// ParamsOf is the object that only user is to get, or nil.
func (p *Publication) ParamsOf(user uint64) []byte {
	if p.Extra == nil || user == 0 {
		return nil
	}
	return p.extra("user_params", strconv.FormatUint(user, 10))
}

// RPCError is an error of JSON-RPC 2.0, section 5.1.
type RPCError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

// The errors.
var (
	ErrRPCParse    = &RPCError{-32700, "Parse error"}
	ErrRPCRequest  = &RPCError{-32600, "Invalid Request"}
	ErrRPCMethod   = &RPCError{-32601, "Method not found"}
	ErrRPCInternal = &RPCError{-32603, "Internal error"}
	ErrRPCTooMany  = &RPCError{-32603, "Too many requests"}
	ErrRPCUnkept   = &RPCError{-32603, "Delivered to clients that are connected, but not kept for all who are away"}
)

// rpcParams is an error of the parameters.
func rpcParams(text string) *RPCError { return &RPCError{-32602, text} }

// ErrRPCGuest is for those who have no user id and ask for what needs one.
var ErrRPCGuest = rpcParams("Only for users")

// ErrRPCUsers is for those who ask about more users than a client may.
var ErrRPCUsers = rpcParams("Too many users")

// Call is a request of JSON-RPC. Its slices alias what was parsed.
type Call struct {
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	ID     json.RawMessage `json:"id"` // as it came; nil: no answer is wanted
	Result json.RawMessage `json:"result"`
	Error  json.RawMessage `json:"error"`
}

// Answers says whether c is the answer to something, which nobody has asked.
func (c *Call) Answers() bool { return c.Method == "" && (c.Result != nil || c.Error != nil) }

// ParseCalls reads one call, or an array of them. b must not change while they are in use.
func ParseCalls(b []byte) (calls []Call, batch bool, e *RPCError) {
	if b = bytes.TrimLeft(b, " \t\r\n"); len(b) == 0 {
		return nil, false, ErrRPCParse
	}
	if batch = b[0] == '['; !batch {
		calls = make([]Call, 1)
		if err := rpcJSON.Unmarshal(b, &calls[0]); err != nil {
			return nil, false, rpcFault(b)
		}
		return calls, false, nil
	}
	if err := rpcJSON.Unmarshal(b, &calls); err != nil {
		return nil, true, rpcFault(b)
	}
	if len(calls) == 0 {
		return nil, true, ErrRPCRequest
	}
	return calls, true, nil
}

// Users are the user ids of userList; what is none is passed over.
func (c *Call) Users() (users []uint64, e *RPCError) {
	var p struct {
		Users []json.RawMessage `json:"userList"`
	}
	if rpcJSON.Unmarshal(c.Params, &p) != nil {
		return nil, rpcParams("Wrong parameters")
	}
	for _, raw := range p.Users {
		if user, ok := ParseUser(bytes.Trim(raw, `"`)); ok {
			users = append(users, user)
		}
	}
	return users, nil
}

// User is the user id of userId, a number or its digits.
func (c *Call) User() (uint64, *RPCError) {
	var p struct {
		User json.RawMessage `json:"userId"`
	}
	if rpcJSON.Unmarshal(c.Params, &p) != nil {
		return 0, rpcParams("Wrong parameters")
	}
	user, ok := ParseUser(bytes.Trim(p.User, `"`))
	if !ok {
		return 0, rpcParams("userId is no user id")
	}
	return user, nil
}

// StatusNotice is what those are told who watch a user. now is in Unix seconds.
func StatusNotice(user uint64, online bool, now float64) *Publication {
	p := newPublication(1)
	p.Receivers = append(p.Receivers, Receiver{Channel: StatusChannel(user)})
	p.Sender.Type = SenderBackend
	p.Body = fmt.Appendf(nil, `{"module_id":"online","command":"userStatusChange","params":{"user_id":%d,"online":%t},"extra":{"server_time_unix":%.6f}}`,
		user, online, now)
	return p
}

// Seen are the parameters of updateUsersLastSeen: user id → Unix time.
func (c *Call) Seen() (map[uint64]int64, *RPCError) {
	var given map[string]json.Number
	if rpcJSON.Unmarshal(c.Params, &given) != nil {
		return nil, rpcParams("Wrong parameters")
	}
	seen := make(map[uint64]int64, len(given))
	for text, at := range given {
		user, ok := ParseUser([]byte(text))
		if seconds, err := at.Float64(); ok && err == nil && seconds > 0 {
			seen[user] = int64(seconds)
		}
	}
	return seen, nil
}

// IsTimed says whether the body has the time that PHP gives to each message.
func (p *Publication) IsTimed() bool {
	node, err := sonic.Get(p.Body, "extra", "server_time_unix")
	return err == nil && node.Exists()
}

// rpcJSON reads JSON as encoding/json does.
var rpcJSON = sonic.ConfigStd

func rpcFault(b []byte) *RPCError {
	if json.Valid(b) {
		return ErrRPCRequest
	}
	return ErrRPCParse
}

// AppendResult appends an answer with result, which is JSON.
func AppendResult(dst, id, result []byte) []byte {
	dst = appendAnswer(dst, id)
	return append(append(append(dst, `"result":`...), result...), '}')
}

// AppendRPCError appends an answer with an error.
func AppendRPCError(dst, id []byte, e *RPCError) []byte {
	dst = appendAnswer(dst, id)
	text, err := json.Marshal(e)
	if err != nil {
		panic("BUG: protocol: an error is no JSON: " + err.Error())
	}
	return append(append(append(dst, `"error":`...), text...), '}')
}

func appendAnswer(dst, id []byte) []byte {
	if id == nil {
		id = null
	}
	dst = append(dst, `{"jsonrpc":"2.0","id":`...)
	return append(append(dst, id...), ',')
}

var null = []byte("null")

// AppendSeconds appends the object user id → seconds since it was seen; who was never seen is left out.
func AppendSeconds(dst []byte, users []uint64, seconds []int64) []byte {
	dst = append(dst, '{')
	first := true
	for i, user := range users {
		if seconds[i] < 0 {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = append(strconv.AppendUint(append(dst, '"'), user, 10), `":`...)
		dst = strconv.AppendInt(dst, seconds[i], 10)
	}
	return append(dst, '}')
}
