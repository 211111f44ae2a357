package tester

import (
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"push-server/protocol"
)

// Bounds of what the tester does at a time.
const (
	maxChannels  = 8 // the one that was used least recently makes room, if nobody listens to it
	maxListeners = 8 // of all channels
	maxText      = 4 << 10
	maxTime      = 15 * time.Minute // of a listener
	expiry       = 5 * 60           // seconds that messages are kept for those who replay them
)

// Tester answers /tester/.
type Tester struct {
	options Options
	mux     *http.ServeMux
	made    *rate.Limiter
	sent    *rate.Limiter

	mu        sync.Mutex
	channels  map[string]*channel
	listeners int
}

// Options are what the tester knows of its server.
type Options struct {
	Sign      func(protocol.Item) (signed string, err error)
	Subscribe func() (Endpoint, error)
	Publish   func() (Endpoint, error)
}

// Endpoint is a route of a listener.
type Endpoint struct {
	HTTP, WebSocket string // URLs for this machine
	Any             bool   // the listener is at all addresses of this machine
	TLS             *tls.Config
}

// New makes a Tester.
func New(o Options) *Tester {
	t := &Tester{
		options: o, mux: http.NewServeMux(), channels: make(map[string]*channel),
		made: rate.NewLimiter(1, maxChannels), sent: rate.NewLimiter(10, 50),
	}
	t.mux.HandleFunc("POST /tester/channel", t.open)
	t.mux.HandleFunc("POST /tester/publish", t.publish)
	t.mux.HandleFunc("GET /tester/listen", t.listen)
	return t
}

// ServeHTTP implements http.Handler.
func (t *Tester) ServeHTTP(w http.ResponseWriter, r *http.Request) { t.mux.ServeHTTP(w, r) }

// Origins are those of the port of subscribers, as a browser that reaches the window at host would have to name them.
func (t *Tester) Origins(host string) []string {
	e, err := t.options.Subscribe()
	if err != nil {
		return nil
	}
	return []string{origin(e.from(host, e.HTTP)), origin(e.from(host, e.WebSocket))}
}

// open makes a channel.
func (t *Tester) open(w http.ResponseWriter, r *http.Request) {
	sub, err := t.options.Subscribe()
	if err == nil {
		_, err = t.options.Publish()
	}
	if err != nil {
		fail(w, http.StatusConflict, err.Error())
		return
	}
	if !t.made.Allow() {
		fail(w, http.StatusTooManyRequests, "too many channels in so short a time: wait a few seconds")
		return
	}
	c, err := t.newChannel()
	if err != nil {
		fail(w, http.StatusConflict, err.Error())
		return
	}
	if !t.add(c) {
		fail(w, http.StatusTooManyRequests, "all test channels are listened to: close another page")
		return
	}
	answer(w, map[string]any{
		"id": c.id, "maxText": maxText, "expiry": expiry,
		"websocket": sub.from(r.Host, sub.WebSocket) + c.query, "poll": sub.from(r.Host, sub.HTTP) + c.query,
	})
}

// add keeps a channel. It returns false if there is no room.
func (t *Tester) add(c *channel) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.channels) >= maxChannels {
		oldest := ""
		for id, other := range t.channels {
			if other.listeners == 0 && (oldest == "" || other.used.Before(t.channels[oldest].used)) {
				oldest = id
			}
		}
		if oldest == "" {
			return false
		}
		delete(t.channels, oldest)
	}
	c.used = time.Now()
	t.channels[c.id] = c
	return true
}

// find is a channel that this process has made, nil if it has not.
func (t *Tester) find(id string) *channel {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.channels[id]
	if c != nil {
		c.used = time.Now()
	}
	return c
}

// enter counts a listener. It returns false if there are too many.
func (t *Tester) enter(c *channel) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.listeners >= maxListeners {
		return false
	}
	t.listeners++
	c.listeners++
	return true
}

func (t *Tester) leave(c *channel) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.listeners--
	c.listeners--
	c.used = time.Now()
}

const unknownChannel = "this process has made no such test channel, or has forgotten it: open the page again"

func randomItem() protocol.Item {
	item := protocol.Item{HasPublic: true}
	rand.Read(item.Private[:])
	rand.Read(item.Public[:])
	return item
}

// origin is what stands before the path of a URL.
func origin(url string) string {
	scheme, rest, _ := strings.Cut(url, "://")
	host, _, _ := strings.Cut(rest, "/")
	return scheme + "://" + host
}

func fail(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": text}) // whoever asked may have gone
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(v) // whoever asked may have gone
}
