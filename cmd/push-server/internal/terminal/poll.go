package terminal

import (
	"context"
	"net/http"
	"net/http/httptrace"
	"time"
)

// pollTime is more than a server keeps a poll waiting: 40 seconds, where clients give up after 60.
const pollTime = 90 * time.Second

// poll asks again and again until something fails.
func (s *Subscription) poll(ctx context.Context, client *Client) error {
	for {
		target, err := s.target()
		if err != nil {
			return err
		}
		reply, err := s.ask(ctx, client, target)
		if err != nil {
			return err
		}
		switch reply.Status {
		case http.StatusOK:
			if err := s.take(reply.Body); err != nil {
				return err
			}
		case http.StatusNotModified:
			if mid := reply.Header.Get("Last-Message-Id"); mid != "" {
				s.Mid = mid
			}
		default:
			return refusedHTTP(&StatusError{reply.Status, firstLine(reply.Body)})
		}
	}
}

func (s *Subscription) ask(ctx context.Context, client *Client, target string) (*Reply, error) {
	ctx, cancel := context.WithTimeout(ctx, pollTime)
	defer cancel()
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteRequest: func(info httptrace.WroteRequestInfo) {
		if info.Err == nil {
			s.contact.make()
		}
	}})
	return client.Do(ctx, http.MethodGet, target, nil, nil)
}
