package ops

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// ask answers a request as the window at a loopback address, or at another one, does.
func ask(o Options, loopback bool, method, target, host string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, nil)
	r.Host = host
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	o.Warnings = NewWarnings()
	w := httptest.NewRecorder()
	Handler(&server{ready: true}, &o, loopback).ServeHTTP(w, r)
	return w
}

const (
	here    = "127.0.0.1:9100"
	outside = "10.0.0.1:9100"
)

func TestTokenIsAskedFor(t *testing.T) {
	t.Parallel()
	const token = "a-token-of-operators"
	f := func(target string, want int, headers ...string) {
		t.Helper()
		for _, loopback := range []bool{true, false} {
			w := ask(Options{Token: token, Profiles: true}, loopback, "GET", target, "push.example", headers...)
			if w.Code != want {
				t.Errorf("%s %q: %d, want %d", target, headers, w.Code, want)
			}
			if w.Code == http.StatusUnauthorized && !strings.HasPrefix(w.Header().Get("WWW-Authenticate"), "Basic ") {
				t.Error("a browser is not told how to ask its user")
			}
		}
	}
	basic := func(user, password string) string {
		r := httptest.NewRequest("GET", "/", nil)
		r.SetBasicAuth(user, password)
		return r.Header.Get("Authorization")
	}
	f("/metrics", 200, "Authorization", "Bearer "+token)
	f("/metrics", 200, "Authorization", "bearer "+token)
	f("/metrics", 200, "Authorization", basic("", token))
	f("/metrics", 200, "Authorization", basic("anybody", token))
	f("/metrics", 401)
	f("/metrics", 401, "Authorization", "Bearer ")
	f("/metrics", 401, "Authorization", "Bearer "+token+"x")
	f("/metrics", 401, "Authorization", token)
	f("/metrics", 401, "Authorization", basic(token, ""))
	f("/debug/pprof/heap", 401)
	f("/nothing", 401)
	f("/healthz/../metrics", 307) // to where the token is asked for
	f("/healthz", 200)
	f("/readyz", 200)
}

// Browsers ask their users when a page is opened, and not for each question of a script; who does not know the token reads what it is.
func TestBrowsersAskOnce(t *testing.T) {
	t.Parallel()
	opened := ask(Options{Token: "t"}, true, "GET", "/", here, "Accept", "text/html,*/*;q=0.8", "Sec-Fetch-Dest", "document")
	if opened.Code != 401 || opened.Header().Get("WWW-Authenticate") == "" || !strings.Contains(opened.Body.String(), "push.operators.tokenFile") {
		t.Errorf("%d %q %s", opened.Code, opened.Header(), opened.Body)
	}
	asked := ask(Options{Token: "t"}, true, "GET", "/overview", here, "Accept", "*/*", "Sec-Fetch-Dest", "empty")
	if asked.Code != 401 || asked.Header().Get("WWW-Authenticate") != "" || !strings.HasPrefix(asked.Body.String(), `{"error":`) {
		t.Errorf("%d %q %s", asked.Code, asked.Header(), asked.Body)
	}
}

func TestNamesOfOthersAreRefused(t *testing.T) {
	t.Parallel()
	f := func(host string, loopback bool, want int) {
		t.Helper()
		if w := ask(Options{Hosts: []string{"push.local"}}, loopback, "GET", "/metrics", host); w.Code != want {
			t.Errorf("%q: %d, want %d", host, w.Code, want)
		}
	}
	f(here, true, 200)
	f("[::1]:9100", true, 200)
	f("[::1]", true, 200)
	f("localhost:9100", true, 200)
	f("LOCALHOST.", true, 200)
	f("push.local:9100", true, 200)
	f("evil.example:9100", true, 403)
	f("127.0.0.1.evil.example", true, 403)
	f("localhost.evil.example:9100", true, 403)
	f("", true, 403)
	f("push.example:9100", false, 200) // names are usual there
	if w := ask(Options{}, true, "GET", "/readyz", "pod-7.cluster"); w.Code != 200 {
		t.Error("probes of health may use any name:", w.Code)
	}
}

func TestWritingIsGuarded(t *testing.T) {
	t.Parallel()
	f := func(o Options, loopback bool, host string, want int, headers ...string) {
		t.Helper()
		o.Profiles = true
		w := ask(o, loopback, "POST", "/debug/pprof/symbol", host, headers...)
		if w.Code != want {
			t.Errorf("%+v at %s %q: %d %s, want %d", o, host, headers, w.Code, w.Body, want)
		}
	}
	f(Options{}, true, here, 200)
	f(Options{}, true, here, 200, "Origin", "http://"+here)
	f(Options{}, true, here, 200, "Sec-Fetch-Site", "same-origin")
	f(Options{}, true, here, 403, "Origin", "http://evil.example")
	f(Options{}, true, here, 403, "Origin", "null")
	f(Options{}, true, here, 403, "Origin", "http://127.0.0.1:8010")
	f(Options{}, true, here, 403, "Sec-Fetch-Site", "cross-site")
	f(Options{ReadOnly: true}, true, here, 403)
	f(Options{}, false, outside, 403) // nobody knows who that is
	f(Options{Token: "t"}, false, outside, 401)
	f(Options{Token: "t"}, false, outside, 200, "Authorization", "Bearer t")
	f(Options{Token: "t", ReadOnly: true}, false, outside, 403, "Authorization", "Bearer t")
	f(Options{Token: "t"}, false, outside, 403, "Authorization", "Bearer t", "Origin", "http://evil.example")
}

func TestProfilesCanBeSwitchedOff(t *testing.T) {
	t.Parallel()
	if w := ask(Options{}, true, "GET", "/debug/pprof/cmdline", here); w.Code != 404 {
		t.Error(w.Code)
	}
}
