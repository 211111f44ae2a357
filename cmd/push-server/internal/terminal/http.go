package terminal

import (
	"bytes"
	"context"
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// maxReply is more than any reply of a push server has: a poll may bring 200 messages of 1 MiB.
const maxReply = 256 << 20

// Client speaks HTTP.
type Client struct {
	http      http.Client
	transport *http.Transport
}

// NewClient makes a client. config may be nil.
func NewClient(config *tls.Config) *Client {
	c := &Client{transport: &http.Transport{TLSClientConfig: config, Proxy: http.ProxyFromEnvironment}}
	c.http = http.Client{Transport: c.transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return c
}

// Close closes idle connections.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// Reply is the answer to a request.
type Reply struct {
	Status int
	Header http.Header
	Body   []byte
}

// Do sends a request and reads the whole reply, whatever its status.
func (c *Client) Do(ctx context.Context, method, target string, header http.Header, body []byte) (*Reply, error) {
	res, err := c.send(ctx, method, target, header, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, maxReply))
	if err != nil {
		return nil, withoutURL(err)
	}
	return &Reply{res.StatusCode, res.Header, text}, nil
}

// Open sends a request without a body. The body of the reply is the caller's to read and to close.
func (c *Client) Open(ctx context.Context, method, target string, header http.Header) (*http.Response, error) {
	return c.send(ctx, method, target, header, http.NoBody)
}

func (c *Client) send(ctx context.Context, method, target string, header http.Header, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return nil, withoutURL(err)
	}
	for name, values := range header {
		req.Header[name] = values
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, withoutURL(err)
	}
	return res, nil
}

// withoutURL takes the URL out of an error of package http.
func withoutURL(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

// Err is the reply as an error: its status and what the server says.
func (r *Reply) Err() error { return &StatusError{r.Status, firstLine(r.Body)} }

// StatusError is a reply that refuses.
type StatusError struct {
	Status int
	Text   string // what the server says about it, perhaps nothing
}

func (e *StatusError) Error() string {
	text := strings.TrimSpace(fmt.Sprintf("HTTP status %d %s", e.Status, http.StatusText(e.Status)))
	if e.Text != "" {
		text += ": " + e.Text
	}
	return text
}

// firstLine is the beginning of a body, if that is something to read: no page of a proxy.
func firstLine(body []byte) string {
	const most = 200
	line, _, _ := strings.Cut(strings.TrimSpace(string(body[:min(len(body), most)])), "\n")
	if strings.HasPrefix(line, "<") {
		return ""
	}
	return oneLine([]byte(strings.TrimSpace(line)))
}

// Publish publishes body to private channels, as a back end does. target is the URL of a route pub, without the parameter CHANNEL_ID.
// Accepted is true if the server has the publication but has not stored it yet. Expiry is in seconds.
func (c *Client) Publish(ctx context.Context, target string, channels []string, body []byte, expiry int) (accepted bool, err error) {
	target, err = withQuery(target, "CHANNEL_ID", strings.Join(channels, "/"), "binaryMode", "")
	if err != nil {
		return false, err
	}
	header := http.Header{"Content-Type": {"text/plain"}}
	if expiry > 0 {
		header.Set("Message-Expiry", strconv.Itoa(expiry))
	}
	reply, err := c.Do(ctx, http.MethodPost, target, header, body)
	if err != nil {
		return false, err
	}
	switch reply.Status {
	case http.StatusOK:
		return false, nil
	case http.StatusAccepted:
		return true, nil
	case http.StatusRequestEntityTooLarge:
		return false, fmt.Errorf("%w: the body is larger than limits.maxPayload of the server", reply.Err())
	case http.StatusNotFound:
		return false, fmt.Errorf("%w: the server has no route pub at this address", reply.Err())
	}
	return false, reply.Err()
}

// withQuery sets parameters, given as names and values, in the query of a URL. An empty value takes the parameter away.
func withQuery(target string, parameters ...string) (string, error) {
	u, err := url.Parse(target)
	if err != nil {
		return "", withoutURL(err)
	}
	query := u.Query()
	for i := 0; i < len(parameters); i += 2 {
		query.Del(parameters[i])
		if parameters[i+1] != "" {
			query.Set(parameters[i], parameters[i+1])
		}
	}
	u.RawQuery = query.Encode()
	return u.String(), nil
}

// TrustOnly trusts a server that has this certificate (its DER bytes), whatever names are in it.
func TrustOnly(certificate []byte) *tls.Config {
	return &tls.Config{
		InsecureSkipVerify: true, // VerifyConnection does it
		VerifyConnection: func(state tls.ConnectionState) error {
			if subtle.ConstantTimeCompare(state.PeerCertificates[0].Raw, certificate) != 1 {
				return errors.New("the server has another certificate than the file in servers[].ssl.cert: has it read that again (SIGHUP)?")
			}
			return nil
		},
	}
}
