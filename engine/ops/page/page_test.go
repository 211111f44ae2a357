package page

import (
	"io/fs"
	"net/http"
	"net/http/httptest"
	"path"
	"regexp"
	"strings"
	"testing"
)

func get(target string, origins func(string) []string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, target, nil)
	r.Host = "push.example:9100"
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	Handler(origins).ServeHTTP(w, r)
	return w
}

// What browsers may load and connect to is what is here, and the port of subscribers.
func TestPolicy(t *testing.T) {
	t.Parallel()
	f := func(want string, origins ...string) {
		t.Helper()
		var asked string
		w := get("/", func(host string) []string { asked = host; return origins })
		policy := w.Header().Get("Content-Security-Policy")
		if !strings.HasPrefix(policy, "default-src 'self'; "+want+"; base-uri 'none'; ") || strings.Contains(policy, "unsafe") {
			t.Errorf("%q: %s", origins, policy)
		}
		if asked != "push.example:9100" || w.Header().Get("X-Content-Type-Options") != "nosniff" || w.Header().Get("Referrer-Policy") != "no-referrer" {
			t.Error(asked, w.Header())
		}
	}
	f("connect-src 'self'")
	f("connect-src 'self' http://a:1 ws://a:1", "http://a:1", "ws://a:1")
	f("connect-src 'self' ws://a:1", "http://a; script-src *", "http://a 'unsafe-inline'", "ws://a:1")
}

// The page is asked for again and comes only when it is another one.
func TestPageIsKept(t *testing.T) {
	t.Parallel()
	w := get("/assets/main.js", nil)
	if w.Code != http.StatusOK || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/javascript") {
		t.Error(w.Code, w.Header())
	}
	if again := get("/assets/main.js", nil, "If-None-Match", w.Header().Get("ETag")); again.Code != http.StatusNotModified {
		t.Error(again.Code)
	}
	for _, target := range []string{"/assets/", "/assets/uplot/", "/assets/nothing.js", "/page.go"} {
		if w := get(target, nil); w.Code != http.StatusNotFound {
			t.Errorf("%s: %d", target, w.Code)
		}
	}
}

var (
	reference = regexp.MustCompile(`(?:src|href)="(/assets/[^"]+)"|from "(\./[^"]+)"`)
	elsewhere = regexp.MustCompile(`(?:src|href|from|import|url\()\s*=?\s*["']?(?:https?:)?//`)
	inline    = regexp.MustCompile(`<script>|<style|\son\w+=|\sstyle=|javascript:`)
)

// Whatever the files name is there; nothing is loaded from elsewhere, and nothing is inline.
func TestFilesNameWhatIsThere(t *testing.T) {
	t.Parallel()
	err := fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.Contains(name, "uplot") {
			return err
		}
		text, err := files.ReadFile(name)
		for _, m := range reference.FindAllStringSubmatch(string(text), -1) {
			target := strings.TrimPrefix(m[1], "/")
			if m[2] != "" {
				target = path.Join(path.Dir(name), m[2])
			}
			if _, err := fs.Stat(files, target); err != nil {
				t.Errorf("%s names %s: %v", name, target, err)
			}
		}
		if elsewhere.Match(text) {
			t.Errorf("%s loads something from elsewhere", name)
		}
		if path.Ext(name) == ".html" && inline.Match(text) {
			t.Errorf("%s has something inline: %q", name, inline.Find(text))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
