package why

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"time"

	"push-server/cmd/push-server/internal/terminal"
)

// Server is the window for operators of a running server.
type Server struct {
	Address string // host:port
	Token   string // "": none is needed
	Client  *terminal.Client
}

// overview is the part of /overview that is looked at.
type overview struct {
	Process      string             `json:"process"`
	Started      time.Time          `json:"started"`
	Ready        bool               `json:"ready"`
	Problem      string             `json:"problem"`
	PublishQueue int                `json:"publishQueue"`
	Counters     map[string]float64 `json:"counters"`
}

// errAbsent says that a server, of another version perhaps, has no such page.
var errAbsent = errors.New("the server does not tell")

func (s *Server) get(ctx context.Context, page string, query url.Values, v any) error {
	header := http.Header{}
	if s.Token != "" {
		header.Set("Authorization", "Bearer "+s.Token)
	}
	reply, err := s.Client.Do(ctx, http.MethodGet, (&url.URL{Scheme: "http", Host: s.Address, Path: page, RawQuery: query.Encode()}).String(), header, nil)
	switch {
	case err != nil:
		return err
	case reply.Status == http.StatusNotFound:
		return errAbsent
	case reply.Status != http.StatusOK:
		return reply.Err()
	}
	return json.Unmarshal(reply.Body, v)
}
