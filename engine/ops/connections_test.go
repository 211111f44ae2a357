package ops

import (
	"errors"
	"strings"
	"testing"

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
