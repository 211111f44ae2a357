// Package opsclient asks the window for operators of a running server.
package opsclient

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"

	"push-server/cmd/push-server/internal/terminal"
)

// Client asks one server.
type Client struct {
	Address string // host:port
	Token   string // "": none is needed
	HTTP    *terminal.Client
}

// ErrAbsent says that a server, of another version perhaps, has no such page.
var ErrAbsent = errors.New("the server does not tell")

// Get reads a page, which is JSON, into v.
func (c *Client) Get(ctx context.Context, page string, query url.Values, v any) error {
	target := url.URL{Scheme: "http", Host: c.Address, Path: page, RawQuery: query.Encode()}
	reply, err := c.HTTP.Do(ctx, http.MethodGet, target.String(), c.header(), nil)
	switch {
	case err != nil:
		return err
	case reply.Status == http.StatusNotFound:
		return ErrAbsent
	case reply.Status != http.StatusOK:
		return reply.Err()
	}
	return json.Unmarshal(reply.Body, v)
}

// Open asks for a page that comes bit by bit.
func (c *Client) Open(ctx context.Context, method, page string) (io.ReadCloser, error) {
	target := url.URL{Scheme: "http", Host: c.Address, Path: page}
	res, err := c.HTTP.Open(ctx, method, target.String(), c.header())
	switch {
	case err != nil:
		return nil, err
	case res.StatusCode == http.StatusOK:
		return res.Body, nil
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusNotFound || res.StatusCode == http.StatusMethodNotAllowed {
		return nil, ErrAbsent
	}
	text, _ := io.ReadAll(io.LimitReader(res.Body, 1<<16))
	return nil, (&terminal.Reply{Status: res.StatusCode, Body: text}).Err()
}

func (c *Client) header() http.Header {
	header := http.Header{}
	if c.Token != "" {
		header.Set("Authorization", "Bearer "+c.Token)
	}
	return header
}
