package tester

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"push-server/cmd/push-server/internal/terminal"
)

// writeTime is how long the page may take to read an event; beat is how often something is written, so that who has gone is noticed.
const (
	writeTime = 10 * time.Second
	beat      = 15 * time.Second
)

// follow runs a subscription until the page goes, or the time is over.
func follow(w http.ResponseWriter, r *http.Request, c *channel, s *terminal.Subscription) {
	ctx, cancel := context.WithTimeout(r.Context(), maxTime)
	defer cancel()
	out := &stream{w: w, control: http.NewResponseController(w), gone: cancel}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	out.write(": listening\n\n")
	s.Notice = func(text string, listening bool) {
		out.send("state", map[string]any{"text": text, "listening": listening})
	}
	s.Deliver = func(m *terminal.Message) error { return out.deliver(c, m) }
	var beats sync.WaitGroup
	beats.Go(func() { out.beat(ctx) })
	err := s.Run(ctx)
	timeOver := errors.Is(ctx.Err(), context.DeadlineExceeded)
	cancel()
	beats.Wait()
	switch {
	case err != nil && !errors.Is(err, errLost):
		out.send("end", map[string]any{"text": err.Error()})
	case timeOver:
		out.send("end", map[string]any{"text": fmt.Sprintf("ended after %d minutes", int(maxTime.Minutes()))})
	}
}

// stream writes events; its methods may be called from any goroutine.
type stream struct {
	mu      sync.Mutex
	w       http.ResponseWriter
	control *http.ResponseController
	gone    context.CancelFunc
}

// delivered is a message as the page gets it. Delay is in seconds since it was sent, absent if that is not known.
type delivered struct {
	Mid   string   `json:"mid"`
	N     int      `json:"n"`
	Text  string   `json:"text"`
	Delay *float64 `json:"delay,omitempty"`
}

func (s *stream) deliver(c *channel, m *terminal.Message) error {
	var body message
	if err := json.Unmarshal(m.Body, &body); err != nil {
		return fmt.Errorf("message %s is none of this page's: %w", m.ID, err)
	}
	d := delivered{Mid: m.ID.String(), N: body.Number, Text: body.Text}
	if since, ok := c.since(body.Number); ok {
		seconds := since.Seconds()
		d.Delay = &seconds
	}
	return s.send("message", d)
}

func (s *stream) send(event string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return s.write("event: " + event + "\ndata: " + string(data) + "\n\n")
}

func (s *stream) write(text string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.control.SetWriteDeadline(time.Now().Add(writeTime))
	if err == nil {
		_, err = s.w.Write([]byte(text))
	}
	if err == nil {
		err = s.control.Flush()
	}
	if err != nil {
		s.gone()
		return errLost
	}
	return nil
}

func (s *stream) beat(ctx context.Context) {
	ticker := time.NewTicker(beat)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			s.write(":\n\n")
		case <-ctx.Done():
			return
		}
	}
}
