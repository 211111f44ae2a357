package protocol

import (
	"encoding/json"
	"strconv"
	"strings"
)

// event is what browsers read of a body: of members with the same name the last one counts.
type event map[string]json.RawMessage

// portalModule is the module whose messages make browsers reconnect, drop their configuration or stay away. They obey whoever sends one.
const portalModule = "pull"

// readEvent returns nil if body is no JSON object.
func readEvent(body []byte) (e event) {
	if !json.Valid(body) || !isObject(body) || json.Unmarshal(body, &e) != nil {
		return nil
	}
	return e
}

// text is a member that has to be a string; "" if it is none.
func (e event) text(name string) (s string) {
	if json.Unmarshal(e[name], &s) != nil {
		return ""
	}
	return s
}

func (e event) isOfPortal() bool { return strings.EqualFold(e.text("module_id"), portalModule) }

func (e event) encode() []byte {
	b, err := json.Marshal(e)
	if err != nil {
		panic("BUG: protocol: what was JSON is none: " + err.Error())
	}
	return b
}

// guard keeps a client from making other clients do what only the portal may: by messages of its module, by an extra of its own, whose
// revision switches browsers off, or by a body that is no JSON, which in text framing could hold whole messages. The body of clients as they
// are sold stays as it is.
func (p *Publication) guard() *Error {
	e := readEvent(p.Body)
	switch {
	case e == nil && json.Valid(p.Body):
		return nil // browsers read nothing in an array or a number
	case e == nil:
		return ErrBody
	case e.isOfPortal():
		return ErrModule
	}
	if _, given := e["extra"]; given {
		delete(e, "extra")
		p.Body = e.encode()
	}
	return nil
}

// guardedBody is the body of a client of version 5 as it may be sent on. now is in Unix seconds.
func guardedBody(body []byte, now float64) ([]byte, *RPCError) {
	e := readEvent(body)
	switch {
	case e == nil:
		return nil, rpcParams("body cannot be read")
	case e.text("module_id") == "":
		return nil, rpcParams("module_id is missing")
	case e.isOfPortal():
		return nil, rpcParams("Messages of the module pull come from the portal only")
	case e.text("command") == "":
		return nil, rpcParams("command is missing")
	}
	time := strconv.AppendFloat([]byte(`{"server_time_unix":`), now, 'f', 6, 64)
	e["extra"] = append(time, '}')
	return e.encode(), nil
}
