package ops

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// guard stands before everything that is not for everybody.
type guard struct {
	token    string
	named    bool // whoever asks must name the server by an address, or one of hosts
	hosts    []string
	readOnly bool
	origins  *http.CrossOriginProtection
	next     http.Handler
}

// newGuard protects the window at addr. Without a token anybody on a loopback address may do anything, but not a page of somebody else's that
// a browser of this machine shows: a name that suddenly leads here is none that is known. Elsewhere he may look.
func newGuard(o *Options, loopback, readOnly bool, next http.Handler) *guard {
	return &guard{
		token: o.Token, named: loopback && o.Token == "", hosts: o.Hosts, readOnly: readOnly,
		origins: http.NewCrossOriginProtection(), next: next,
	}
}

// ServeHTTP implements http.Handler.
func (g *guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	switch {
	case g.named && !g.isNamed(r.Host):
		fail(w, http.StatusForbidden, "Host is neither an address nor one of push.operators.hosts")
	case g.token != "" && !g.knows(r):
		askForToken(w, r)
	case g.readOnly && !reads(r):
		fail(w, http.StatusForbidden, "this window is read-only: push.operators.readOnly, or it has no token and is not on loopback")
	case g.origins.Check(r) != nil:
		fail(w, http.StatusForbidden, "the request comes from a page of another origin")
	default:
		g.next.ServeHTTP(w, r)
	}
}

// askForToken has a browser ask for the token whenever a page is opened. The scripts of a page that is open already, which ask every two
// seconds, are only told: the browser would ask as often.
func askForToken(w http.ResponseWriter, r *http.Request) {
	const missing = "the token of push.operators.token is missing or wrong"
	if r.Header.Get("Sec-Fetch-Dest") != "empty" {
		w.Header().Set("WWW-Authenticate", `Basic realm="push-server", charset="UTF-8"`)
	}
	if !strings.Contains(r.Header.Get("Accept"), "text/html") {
		fail(w, http.StatusUnauthorized, missing)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusUnauthorized)
	_, _ = io.WriteString(w, tokenPage) // whoever asked may have gone
}

// tokenPage is what is left to read for who closes the question of the browser.
const tokenPage = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>push-server: the token is missing or wrong</title>
<style>body { font: 1rem/1.5 system-ui, sans-serif; max-width: 36rem; margin: 15vh auto; padding: 0 1rem } code { overflow-wrap: anywhere }</style>
<h1>The token is missing or wrong</h1>
<p>This is the page for operators of a push server. Reload it, leave the name as it is, and give the token as the password.</p>
<p>The token is <code>push.operators.token</code> in the configuration of the server, or what stands in the file that
<code>push.operators.tokenFile</code> names.</p>
</html>
`

func reads(r *http.Request) bool { return r.Method == http.MethodGet || r.Method == http.MethodHead }

// isNamed says whether host, which may have a port, is how the window may be called.
func (g *guard) isNamed(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return host == "localhost" || slices.ContainsFunc(g.hosts, func(h string) bool { return strings.EqualFold(h, host) })
}

// knows says whether r has the token.
func (g *guard) knows(r *http.Request) bool {
	_, given, ok := r.BasicAuth()
	if !ok {
		scheme, rest, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		if !strings.EqualFold(scheme, "Bearer") {
			return false
		}
		given = strings.TrimSpace(rest)
	}
	a, b := sha256.Sum256([]byte(given)), sha256.Sum256([]byte(g.token)) // of one length, so that the time tells nothing
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// fail answers with an error.
func fail(w http.ResponseWriter, status int, text string) {
	answer(w, status, map[string]string{"error": text})
}

// answer writes v as JSON.
func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // whoever asked may have gone
}
