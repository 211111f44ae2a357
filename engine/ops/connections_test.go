package ops

import (
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"push-server/engine"
	"push-server/engine/recorder"
	"push-server/engine/view"
)

func TestConnections(t *testing.T) {
	source := &server{}
	s := open(t, source)
	f := func(query string, want view.Query) {
		t.Helper()
		status, body := get(t, s, "/connections"+query)
		got := source.asked
		if want.After != nil && (got.After == nil || *got.After != *want.After) {
			t.Errorf("%q: after %v", query, got.After)
		}
		got.After, want.After = nil, nil
		if status != 200 || !strings.Contains(body, `"id":"0-17-3"`) || got != want {
			t.Errorf("%q: %d %s, asked for %+v", query, status, body, got)
		}
	}
	f("", view.Query{Limit: 100})
	f("?search=10.0&limit=1000&after=1-2-3", view.Query{Search: "10.0", Limit: 1000, After: &view.ID{Loop: 1, Place: 2, Generation: 3}})
	for _, query := range []string{"?limit=0", "?limit=1001", "?limit=x", "?after=1-2", "?search=" + strings.Repeat("x", maxSearch+1)} {
		if status, body := get(t, s, "/connections"+query); status != 400 || !strings.Contains(body, `"error":`) {
			t.Errorf("%.20q: %d %s", query, status, body)
		}
	}
	source.err = errors.New("engine: stopped")
	if status, _ := get(t, s, "/connections"); status != 503 {
		t.Error(status)
	}
}

func TestUsers(t *testing.T) {
	source := &server{}
	s := open(t, source)
	f := func(query string, want view.UserQuery) {
		t.Helper()
		status, body := get(t, s, "/users"+query)
		if status != 200 || !strings.HasPrefix(body, `{"next":0,"users":[{"user":17,"connections":3,`) || source.askedOf != want {
			t.Errorf("%q: %d %s, asked for %+v", query, status, body, source.askedOf)
		}
	}
	f("", view.UserQuery{Limit: 100})
	f("?user=17", view.UserQuery{User: 17, Limit: 100})
	f("?after=17&waiting=30&limit=1000", view.UserQuery{After: 17, Waiting: 30 * time.Second, Limit: 1000})
	for _, query := range []string{"?limit=1001", "?user=0", "?user=-1", "?after=x", "?waiting=-1", "?waiting=1s"} {
		if status, body := get(t, s, "/users"+query); status != 400 || !strings.Contains(body, `"error":`) {
			t.Errorf("%q: %d %s", query, status, body)
		}
	}
	source.err = errors.New("engine: stopped")
	if status, _ := get(t, s, "/users"); status != 503 {
		t.Error(status)
	}
}

func TestDisconnect(t *testing.T) {
	f := func(o Options, id string, want int) {
		t.Helper()
		if w := ask(o, true, "POST", "/connections/"+id+"/close", here); w.Code != want {
			t.Errorf("%s: %d %s", id, w.Code, w.Body)
		}
	}
	f(Options{}, "0-17-3", 204)
	f(Options{}, "0-17-4", 404)
	f(Options{}, "x", 404)
	f(Options{ReadOnly: true}, "0-17-3", 403)
}

func TestEvents(t *testing.T) {
	s := open(t, &server{})
	if status, body := get(t, s, "/connections/0-17-3/events"); status != 200 || !strings.Contains(body, `"kind":"open"`) {
		t.Error(status, body)
	}
	if status, _ := get(t, s, "/connections/0-17-4/events"); status != 404 {
		t.Error(status)
	}
	if status, _ := get(t, s, "/connections/x/follow"); status != 404 {
		t.Error(status)
	}
	if status, _ := get(t, s, "/connections/0-17-4/follow"); status != 404 {
		t.Error(status)
	}
}

// A viewer gets events as they happen, is told what was left out, and that the connection has ended.
func TestFollow(t *testing.T) {
	f := recorder.NewFollower()
	s := open(t, &server{follower: f})
	go func() {
		f.Add(recorder.Event{Kind: recorder.Message, Bytes: 220, Detail: 1})
		f.Add(recorder.Event{Kind: recorder.Closed, Detail: uint16(engine.CloseSlowReader)})
	}()
	status, body := get(t, s, "/connections/0-17-3/follow")
	if status != 200 || !strings.Contains(body, `"kind":"message","bytes":220`) || !strings.HasSuffix(body, "event: end\ndata: {\"reason\":\"slow_reader\"}\n\n") {
		t.Errorf("%d %s", status, body)
	}
	f = recorder.NewFollower()
	s = open(t, &server{follower: f})
	for range 10_000 {
		f.Add(recorder.Event{Kind: recorder.Message})
	}
	f.Add(recorder.Event{Kind: recorder.Closed})
	if _, body := get(t, s, "/connections/0-17-3/follow"); !regexp.MustCompile(`event: lost\ndata: \{"lost":\d{4}\}\n\nevent: end`).MatchString(body) {
		t.Errorf("%s", body[max(0, len(body)-300):])
	}
	s = open(t, &server{err: engine.ErrWatchers})
	if status, _ := get(t, s, "/connections/0-17-3/follow"); status != 503 {
		t.Error(status)
	}
}
