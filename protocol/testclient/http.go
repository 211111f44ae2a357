package testclient

import (
	"bytes"
	"context"
	"crypto/tls"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// An HTTP is a client over HTTP/1.1 with connections of its own: a poller,
// or a back end. It is safe for concurrent use.
type HTTP struct {
	client    http.Client
	transport *http.Transport
}

// NewHTTP makes a client. With keepAlive false each request has a connection
// of its own and says Connection: close, as the requests of PHP do.
func NewHTTP(keepAlive bool) *HTTP {
	return newHTTP(&http.Transport{DisableKeepAlives: !keepAlive, MaxIdleConnsPerHost: 64})
}

// NewHTTPS makes a client of encrypted ports, whose requests have connections
// of their own.
func NewHTTPS(config *tls.Config) *HTTP {
	return newHTTP(&http.Transport{DisableKeepAlives: true, TLSClientConfig: config})
}

func newHTTP(t *http.Transport) *HTTP {
	return &HTTP{client: http.Client{Transport: t, Timeout: time.Minute}, transport: t}
}

// Close closes idle connections.
func (h *HTTP) Close() { h.transport.CloseIdleConnections() }

// Poll asks once and waits for the answer.
func (h *HTTP) Poll(ctx context.Context, url string) (Reply, error) {
	return h.do(ctx, http.MethodGet, url, nil, 0)
}

// PublishText publishes body to channels given by their ids, as a back end
// without protobuf does. Expiry is in seconds.
func (h *HTTP) PublishText(ctx context.Context, url, body string, expiry int, ids ...string) (Reply, error) {
	return h.do(ctx, http.MethodPost, url+"?CHANNEL_ID="+strings.Join(ids, "/"), []byte(body), expiry)
}

// Request sends a RequestBatch, as a back end of version 4 does.
func (h *HTTP) Request(ctx context.Context, url string, batch []byte) (Reply, error) {
	return h.Post(ctx, url+"?binaryMode=true&hostname=portal.example", batch)
}

// Post sends any body.
func (h *HTTP) Post(ctx context.Context, url string, body []byte) (Reply, error) {
	return h.do(ctx, http.MethodPost, url, body, 0)
}

func (h *HTTP) do(ctx context.Context, method, url string, body []byte, expiry int) (Reply, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return Reply{}, err
	}
	if expiry > 0 {
		req.Header.Set("Message-Expiry", strconv.Itoa(expiry))
	}
	res, err := h.client.Do(req)
	if err != nil {
		return Reply{}, err
	}
	return readReply(res)
}
