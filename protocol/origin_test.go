package protocol

import "testing"

// Scripts of pages that are not listed open no WebSocket; what only looks like a listed one is not it.
func TestOrigins(t *testing.T) {
	o, err := NewOrigins([]string{"https://portal.example", "Office.Example", "*.cloud.example", "http://127.0.0.1:8080"})
	if err != nil {
		t.Fatal(err)
	}
	f := func(origin string, want bool) {
		t.Helper()
		if got := o.Allow([]byte(origin)); got != want {
			t.Errorf("%q: %v", origin, got)
		}
	}
	f("https://portal.example", true)
	f("HTTPS://Portal.Example", true)
	f("http://portal.example", false)
	f("https://portal.example:444", false)
	f("https://portal.example.evil.test", false)
	f("http://office.example", true)
	f("https://office.example:8443", true)
	f("https://sub.office.example", false)
	f("https://notoffice.example", false)
	f("https://a.cloud.example", true)
	f("https://a.b.cloud.example:1", true)
	f("https://cloud.example", false)
	f("https://.cloud.example", false)
	f("https://evilcloud.example", false)
	f("http://127.0.0.1:8080", true)
	f("http://127.0.0.1:8081", false)
	f("null", false)
	f("", false)
	if !o.Allow(nil) {
		t.Error("a program, which sends no Origin, is refused")
	}
	if !new(Origins).Allow([]byte("https://anywhere.example")) {
		t.Error("somebody is refused although nothing is listed")
	}
	for _, bad := range []string{"", "*", "*.", "https://", "https://portal.example/", "https://portal.example/page", "a.*.example", "https://u@x.example", "portal.example:443"} {
		if _, err := NewOrigins([]string{bad}); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
