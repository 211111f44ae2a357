// Package page is the operator's page: HTML, CSS and ES modules, embedded in the binary, that show what the window's other addresses
// answer. It needs no build step and nothing from elsewhere; assets/uplot/README.md says which plots it draws with.
//
//	assets/main.js         which view is open, and what every view knows of the server
//	assets/overview.js     state in words, plots (plots.js), bounds
//	assets/tester.js       the operator as a subscriber and as a back end (lane.js, direct.js, protobuf.js)
//	assets/connections.js  who is connected, and what happens on one connection (events.js)
//	assets/configuration.js   configuration in effect; warnings.js: recent warnings
//
// What comes from a server is only ever put in as text.
package page

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"net/http"
	"slices"
	"strings"
)

//go:embed index.html assets
var files embed.FS

// Handler answers / and /assets/. origins says where else the scripts of the page may connect to, when the page is at host; nil: nowhere.
func Handler(origins func(host string) []string) http.Handler {
	etag := `"` + fingerprint() + `"`
	static := http.FileServerFS(files)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		if strings.HasPrefix(r.URL.Path, "/assets/") && strings.HasSuffix(r.URL.Path, "/") {
			http.NotFound(w, r) // no lists of files
			return
		}
		connect := "'self'"
		if origins != nil {
			connect = strings.Join(append([]string{connect}, slices.DeleteFunc(origins(r.Host), isNoSource)...), " ")
		}
		h.Set("Content-Security-Policy", "default-src 'self'; connect-src "+connect+
			"; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-cache") // what is there is asked for; mostly the answer is 304
		h.Set("ETag", etag)
		static.ServeHTTP(w, r)
	})
}

// isNoSource says whether an origin would be read as something else in a policy.
func isNoSource(origin string) bool { return strings.ContainsAny(origin, " ;,'") }

// fingerprint is another one whenever a file is.
func fingerprint() string {
	sum := sha256.New()
	err := fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := files.ReadFile(name)
		sum.Write([]byte(name))
		sum.Write(text)
		return err
	})
	if err != nil {
		panic("BUG: what is embedded cannot be read: " + err.Error())
	}
	return hex.EncodeToString(sum.Sum(nil)[:12])
}
