package ops

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"push-server/engine"
	"push-server/engine/recorder"
)

// events answers with what happened on a connection.
func (c connections) events(w http.ResponseWriter, r *http.Request) {
	id, ok := named(w, r)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), askTime)
	defer cancel()
	lines, err := c.source.Events(ctx, id)
	switch {
	case err != nil:
		fail(w, http.StatusServiceUnavailable, err.Error())
	case lines == nil:
		fail(w, http.StatusNotFound, "nothing is known of such a connection any more")
	default:
		answer(w, http.StatusOK, map[string]any{"id": id.String(), "events": lines})
	}
}

// beatEvery is how often a viewer hears something, so that proxies do not take the stream for dead.
const beatEvery = 15 * time.Second

// follow streams what happens on a connection until it ends, or the viewer goes.
func (c connections) follow(w http.ResponseWriter, r *http.Request) {
	id, ok := named(w, r)
	if !ok {
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	f, err := c.source.Watch(ctx, id)
	switch {
	case err != nil:
		fail(w, http.StatusServiceUnavailable, err.Error())
		return
	case f == nil:
		fail(w, http.StatusNotFound, noConnection)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	s := stream{w: w, control: http.NewResponseController(w)}
	for s.say(": \n\n"); s.err == nil && ctx.Err() == nil; {
		wait, done := context.WithTimeout(ctx, beatEvery)
		es, lost, ended := f.Next(wait)
		done()
		s.show(es, lost, ended)
	}
}

// stream is a text/event-stream. After an error it says nothing more.
type stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	err     error
}

var errEnded = errors.New("the connection has ended")

func (s *stream) show(es []recorder.Event, lost int, ended bool) {
	if len(es)+lost == 0 {
		s.say(": \n\n")
		return
	}
	lines := engine.Lines(es)
	for _, line := range lines {
		s.event("", line)
	}
	if lost > 0 {
		s.event("lost", map[string]int{"lost": lost})
	}
	if ended {
		reason := ""
		if lost == 0 {
			reason = lines[len(lines)-1].Note
		}
		s.event("end", map[string]string{"reason": reason})
	}
	s.say("")
	if ended && s.err == nil {
		s.err = errEnded
	}
}

func (s *stream) event(kind string, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		panic("BUG: ops: an event cannot be encoded: " + err.Error())
	}
	if kind != "" {
		kind = "event: " + kind + "\n"
	}
	s.write(fmt.Sprintf("%sdata: %s\n\n", kind, text))
}

// say writes text, and has all of it leave.
func (s *stream) say(text string) {
	s.write(text)
	if s.err == nil {
		s.err = s.control.Flush()
	}
}

// write gives a viewer who reads nothing as much time as for any other reply.
func (s *stream) write(text string) {
	if s.err != nil {
		return
	}
	if s.err = s.control.SetWriteDeadline(time.Now().Add(replyTimeout)); s.err == nil {
		_, s.err = s.w.Write([]byte(text))
	}
}
