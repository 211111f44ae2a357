package load

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
)

var errUnsupported = errors.New("load: the target cannot do this")

// wsKey is the key of RFC 6455, section 1.3; its answer is known.
const (
	wsKey    = "dGhlIHNhbXBsZSBub25jZQ=="
	wsAccept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
)

// dialect is how a kind of server is asked and what it answers.
type dialect interface {
	// subscribeTarget is the request target with which s subscribes, without its position.
	subscribeTarget(s *subscriber) string
	// appendPosition appends what continues after position: to the target, and to the headers.
	appendQuery(dst, position []byte) []byte
	appendHeaders(dst, position []byte) []byte
	// greeting is the first message of a WebSocket, with which the subscription stands; nil if it does with the handshake.
	greeting() []byte
	// visit visits the messages of a WebSocket message or of a reply to a poll, which are framed as f.
	visit(b []byte, f Format, v visitor) error
	// position is what the head of a reply to a poll says about it, nil if nothing.
	position(r *response) []byte
	// appendPublish appends the request that sends bodies, in this order, to the receivers of stream.
	appendPublish(dst []byte, stream int, bodies [][]byte) ([]byte, error)
	// frame is what the server would send for a body: opcode and payload. The floor sends it, so that its frames weigh the same.
	frame(body []byte) (op byte, message []byte)
}

func newDialect(p *Plan) (dialect, error) {
	switch p.Target.Dialect {
	case "push":
		return &pushDialect{plan: p, lists: make(map[int]string)}, nil
	case "nchan":
		return &nchanDialect{plan: p}, nil
	case "centrifugo":
		return &centrifugoDialect{plan: p}, nil
	}
	return nil, fmt.Errorf("load: no dialect %q; known are push, nchan, centrifugo", p.Target.Dialect)
}

// pushDialect is the protocol of the push server.
type pushDialect struct {
	plan   *Plan
	lists  map[int]string // CHANNEL_ID by stream
	joined []byte
}

func (d *pushDialect) subscribeTarget(s *subscriber) string {
	target := d.plan.Target.SubPath
	if s.format == JSONRPC {
		return target + "?token=" + d.plan.token(s.group, s.user) + "&jsonRpc=true"
	}
	target += "?CHANNEL_ID=" + url.QueryEscape(d.plan.items(s.group, s.user))
	if s.format != Text {
		target += "&binaryMode=true"
	}
	return target
}

func (d *pushDialect) appendQuery(dst, position []byte) []byte {
	if len(position) > 0 {
		dst = append(dst, "&mid="...)
		dst = append(dst, position...)
	}
	return append(dst, "&revision=19"...)
}

func (d *pushDialect) appendHeaders(dst, _ []byte) []byte { return dst }

func (d *pushDialect) greeting() []byte { return nil }

func (d *pushDialect) visit(b []byte, f Format, v visitor) error {
	switch f {
	case Text:
		return visitText(b, v)
	case JSONRPC:
		return visitCalls(b, v)
	}
	return visitBinary(b, v)
}

func (d *pushDialect) position(r *response) []byte { return r.header("Last-Message-Id") }

// appendPublish sends one body as plain text, as the old back end does, and several as one protobuf request; what is for users of version 5
// as calls.
func (d *pushDialect) appendPublish(dst []byte, stream int, bodies [][]byte) ([]byte, error) {
	if d.plan.Target.Format == JSONRPC && !d.plan.isShared(stream) {
		return d.appendCalls(dst, stream, bodies)
	}
	if len(bodies) == 1 {
		return d.appendText(dst, stream, bodies[0]), nil
	}
	var to []receiver
	for _, c := range d.plan.channels(nil, stream) {
		to = append(to, receiver{id: c, private: true})
	}
	d.joined = appendRequest(d.joined[:0], to, bodies, d.plan.Expiry)
	dst = append(dst, "POST "+d.plan.Target.PubPath+"?binaryMode=true HTTP/1.1\r\nHost: push\r\n"...)
	return appendContent(dst, d.joined), nil
}

// appendCalls appends the request of a back end of version 5.
func (d *pushDialect) appendCalls(dst []byte, stream int, bodies [][]byte) ([]byte, error) {
	if d.plan.isClientStream(stream) {
		return dst, errUnsupported
	}
	d.joined = append(d.joined[:0], '[')
	for i, body := range bodies {
		if i > 0 {
			d.joined = append(d.joined, ',')
		}
		d.joined = append(d.joined, `{"jsonrpc":"2.0","method":"publish","params":{"userList":[`...)
		var some [chatRoom]int
		for k, user := range d.plan.users(some[:0], stream) {
			if k > 0 {
				d.joined = append(d.joined, ',')
			}
			d.joined = strconv.AppendInt(d.joined, int64(user+1), 10)
		}
		d.joined = fmt.Appendf(d.joined, `],"expiry":%d,"body":%s}}`, d.plan.Expiry, body)
	}
	d.joined = append(d.joined, ']')
	dst = fmt.Appendf(dst, "POST %s?hostId=bench&signature=%x HTTP/1.1\r\nHost: push\r\n", d.plan.Target.PubPath, d.plan.sign(string(d.joined)))
	return appendContent(dst, d.joined), nil
}

func (d *pushDialect) appendText(dst []byte, stream int, body []byte) []byte {
	dst = append(dst, "POST "...)
	dst = append(dst, d.plan.Target.PubPath...)
	dst = append(dst, "?CHANNEL_ID="...)
	dst = append(dst, d.list(stream)...)
	dst = append(dst, " HTTP/1.1\r\nHost: push\r\nMessage-Expiry: "...)
	dst = strconv.AppendInt(dst, int64(d.plan.Expiry), 10)
	dst = append(dst, "\r\n"...)
	return appendContent(dst, body)
}

func (d *pushDialect) list(stream int) string {
	list, ok := d.lists[stream]
	if !ok {
		for i, c := range d.plan.channels(nil, stream) {
			if i > 0 {
				list += "/"
			}
			list += c.hex()
		}
		d.lists[stream] = list
	}
	return list
}

func (d *pushDialect) frame(body []byte) (byte, []byte) {
	if d.plan.Target.Format == JSONRPC {
		return opText, fmt.Appendf(nil, `%s17954614120000000000000001","body":%s,"sender":{"type":2,"id":""}}}`, callStart, body)
	}
	if d.plan.Target.Format == Text {
		head := `{"id":1,"mid":"00000000000000000000000001","channel":"-","tag":"000","time":"Thu, 01 Jan 1970 00:00:00 GMT","text":`
		return opText, fmt.Appendf(nil, "%s%s%s}%s", textStart, head, body, textEnd)
	}
	return opBinary, appendOutgoing(nil, make([]byte, 13), body, uint64(d.plan.Expiry), 0)
}

func appendContent(dst, body []byte) []byte {
	dst = append(dst, "Content-Length: "...)
	dst = strconv.AppendInt(dst, int64(len(body)), 10)
	dst = append(dst, "\r\n\r\n"...)
	return append(dst, body...)
}

// nchanDialect speaks to nginx with nchan as bench/peers/nchan sets it up: no signatures, a body comes as it was sent, and a
// poll goes on after the Last-Modified and Etag of the last reply.
type nchanDialect struct{ plan *Plan }

func (d *nchanDialect) subscribeTarget(s *subscriber) string {
	target := d.plan.Target.SubPath
	for _, stream := range d.plan.follows(nil, s.group, s.user) {
		if !d.plan.isClientStream(stream) {
			target += "/" + d.plan.channels(nil, stream)[0].hex()
		}
	}
	return target
}

func (d *nchanDialect) appendQuery(dst, _ []byte) []byte { return dst }

func (d *nchanDialect) appendHeaders(dst, position []byte) []byte { return append(dst, position...) }

func (d *nchanDialect) greeting() []byte { return nil }

func (d *nchanDialect) visit(b []byte, _ Format, v visitor) error {
	v.message(nil, b)
	return nil
}

func (d *nchanDialect) position(r *response) []byte {
	modified, etag := r.header("Last-Modified"), r.header("Etag")
	if modified == nil {
		return nil
	}
	return fmt.Appendf(nil, "If-Modified-Since: %s\r\nIf-None-Match: %s\r\n", modified, etag)
}

func (d *nchanDialect) appendPublish(dst []byte, stream int, bodies [][]byte) ([]byte, error) {
	channels := d.plan.channels(nil, stream)
	if len(channels) != 1 || len(bodies) != 1 {
		return dst, errUnsupported
	}
	dst = append(dst, "POST "+d.plan.Target.PubPath+"/"+channels[0].hex()+" HTTP/1.1\r\nHost: push\r\n"...)
	return appendContent(dst, bodies[0]), nil
}

func (d *nchanDialect) frame(body []byte) (byte, []byte) { return opText, body }
