package load

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
)

// centrifugoDialect speaks to Centrifugo by its unidirectional WebSocket: the channels are in a signed token, as those of a portal's users are
// in signed ids, and messages come as JSON.
type centrifugoDialect struct{ plan *Plan }

func (d *centrifugoDialect) subscribeTarget(s *subscriber) string {
	var channels []string
	for _, stream := range d.plan.follows(nil, s.group, s.user) {
		channels = append(channels, d.plan.channels(nil, stream)[0].hex())
	}
	connect := fmt.Sprintf(`{"token":%q}`, d.token(fmt.Sprint(s.user), channels))
	return d.plan.Target.SubPath + "?cf_connect=" + url.QueryEscape(connect)
}

// token is a JSON Web Token (RFC 7519) for a user who is to be subscribed to channels.
func (d *centrifugoDialect) token(user string, channels []string) string {
	claims, err := json.Marshal(map[string]any{"sub": user, "channels": channels})
	if err != nil {
		panic("BUG: load: claims cannot be written: " + err.Error())
	}
	encode := base64.RawURLEncoding.EncodeToString
	signed := encode([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + encode(claims)
	m := hmac.New(sha256.New, []byte(d.plan.Target.Key))
	m.Write([]byte(signed))
	return signed + "." + encode(m.Sum(nil))
}

func (d *centrifugoDialect) appendQuery(dst, _ []byte) []byte { return dst }

func (d *centrifugoDialect) appendHeaders(dst, _ []byte) []byte { return dst }

func (d *centrifugoDialect) greeting() []byte { return []byte("{}") }

var (
	centrifugoData = []byte(`"data":`)
	centrifugoEnd  = []byte("}")
)

// visit takes the body, a flat object, out of {"channel":"…","pub":{"data":BODY,…}}. What else there is (the reply to connect, pings) has none.
func (d *centrifugoDialect) visit(b []byte, _ Format, v visitor) error {
	for {
		_, data, found := bytes.Cut(b, centrifugoData)
		if !found {
			return nil
		}
		body, rest, found := bytes.Cut(data, centrifugoEnd)
		if !found {
			return errMessage
		}
		v.message(nil, data[:len(body)+len(centrifugoEnd)])
		b = rest
	}
}

func (d *centrifugoDialect) position(*response) []byte { return nil }

func (d *centrifugoDialect) appendPublish(dst []byte, stream int, bodies [][]byte) ([]byte, error) {
	channels := d.plan.channels(nil, stream)
	if len(channels) != 1 || len(bodies) != 1 {
		return dst, errUnsupported
	}
	dst = append(dst, "POST "+d.plan.Target.PubPath+" HTTP/1.1\r\nHost: push\r\nX-API-Key: "+d.plan.Target.Key+"\r\n"...)
	return appendContent(dst, fmt.Appendf(nil, `{"channel":%q,"data":%s}`, channels[0].hex(), bodies[0])), nil
}

func (d *centrifugoDialect) frame(body []byte) (byte, []byte) {
	return opText, fmt.Appendf(nil, `{"channel":"%032d","pub":{"data":%s,"offset":1}}`, 0, body)
}
