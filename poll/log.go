package poll

import (
	"net"

	"github.com/valyala/fasthttp"

	"push-server/poll/realip"
	"push-server/protocol"
)

// tooLargeText is the log line for a body over the limit.
const tooLargeText = "HTTP Request: Max payload size exceeded."

// logRefusal writes the line that operators know for this refusal, if there is one.
func (c *call) logRefusal(e *protocol.Error) {
	if text := LogText(e); text != "" {
		c.log(text)
	}
}

func (c *call) log(text string) {
	if c.ErrorLog != nil && !isTest(&c.query, c.TestKey) {
		c.ErrorLog(text, c.clientAddress())
	}
}

// isTest says whether a request wants to be left out of the log, and may.
func isTest(query *fasthttp.Args, testKey string) bool {
	return testKey != "" && string(query.Peek(paramTestKey)) == testKey
}

// LogText is the line for a refusal; "": it has none. Up to 4015 lines begin with the code.
func LogText(e *protocol.Error) string {
	switch {
	case e.Code >= protocol.ErrPublicRequired.Code && e.Code <= protocol.ErrWrongCommand.Code:
		return e.Error()
	case e.Code >= protocol.ErrTooManyMessages.Code && e.Code <= protocol.ErrSignature.Code:
		return e.Text
	}
	return ""
}

// clientAddress is who a log line is about: what the proxies in front say, all of it, or the other end of the connection. Where proxies are
// named, it is what those say.
func (c *call) clientAddress() string {
	forwarded := List(&c.Request.Header, fasthttp.HeaderXForwardedFor)
	if peer, ok := realip.Of(c.RemoteAddr()); ok && c.Proxies != nil {
		if client := c.Proxies.Client(peer, forwarded, c.Request.Header.Peek(headerRealIP)); client != peer {
			return client.String()
		}
	} else if len(forwarded) > 0 {
		return string(forwarded)
	}
	return AddressText(c.RemoteAddr())
}

const headerRealIP = "X-Real-Ip" // as it is kept

// AddressText is the address of a connection for a log line, without its port. One of version 4 is written as ::ffff:127.0.0.1, as
// the Node server does, so that filters of operators fit.
func AddressText(addr net.Addr) string {
	switch addr := addr.(type) {
	case nil:
		return ""
	case *net.TCPAddr:
		if ip := addr.IP.To4(); ip != nil {
			return "::ffff:" + ip.String()
		}
		return addr.IP.String()
	default:
		return addr.String()
	}
}
