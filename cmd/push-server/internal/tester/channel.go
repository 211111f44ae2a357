package tester

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"push-server/cmd/push-server/internal/terminal"
)

// channel is one that the tester has made.
type channel struct {
	id      string // how the page names it
	private string
	query   string // for subscribers; never in a log

	used      time.Time // with listeners under the mutex of the Tester
	listeners int

	mu   sync.Mutex
	next int
	sent [64]time.Time // when the newest messages were sent, by their number
}

// message is the body of a publication of the tester.
type message struct {
	Number int    `json:"n"`
	Text   string `json:"text"`
}

func (t *Tester) newChannel() (*channel, error) {
	item, id := randomItem(), randomItem()
	signed, err := t.options.Sign(item)
	if err != nil {
		return nil, err
	}
	return &channel{
		id: hex.EncodeToString(id.Public[:]), private: hex.EncodeToString(item.Private[:]), query: "?CHANNEL_ID=" + url.QueryEscape(signed),
	}, nil
}

// number gives the next message a number and begins to measure.
func (c *channel) number() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next++
	c.sent[c.next%len(c.sent)] = time.Now()
	return c.next
}

// since is how long ago a message was sent; ok is false if that is not known any more.
func (c *channel) since(number int) (d time.Duration, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if number < 1 || number > c.next || number <= c.next-len(c.sent) {
		return 0, false
	}
	return time.Since(c.sent[number%len(c.sent)]), true
}

// publish sends a message to a channel of the tester.
func (t *Tester) publish(w http.ResponseWriter, r *http.Request) {
	var ask struct{ ID, Text string }
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 8*maxText)).Decode(&ask); err != nil {
		fail(w, http.StatusBadRequest, "the request is no JSON with id and text, or longer than allowed")
		return
	}
	c := t.find(ask.ID)
	switch {
	case c == nil:
		fail(w, http.StatusNotFound, unknownChannel)
		return
	case len(ask.Text) > maxText:
		fail(w, http.StatusRequestEntityTooLarge, "the text is longer than 4 KiB")
		return
	case !t.sent.Allow():
		fail(w, http.StatusTooManyRequests, "too many messages in so short a time: wait a few seconds")
		return
	}
	e, err := t.options.Publish()
	if err != nil {
		fail(w, http.StatusConflict, err.Error())
		return
	}
	client := terminal.NewClient(e.TLS)
	defer client.Close()
	m := message{c.number(), ask.Text}
	body, err := json.Marshal(m)
	if err != nil {
		fail(w, http.StatusInternalServerError, err.Error())
		return
	}
	begin := time.Now()
	accepted, err := client.Publish(r.Context(), e.HTTP, []string{c.private}, body, expiry)
	if err != nil {
		fail(w, http.StatusBadGateway, "publishing at "+e.HTTP+": "+err.Error())
		return
	}
	answer(w, map[string]any{"n": m.Number, "stored": !accepted, "took": time.Since(begin).Seconds()})
}

// listen follows a channel for the page, as an event stream. The query says how: transport=websocket or poll, framing=text or protobuf, and
// the mid to go on from.
func (t *Tester) listen(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	c := t.find(q.Get("id"))
	if c == nil {
		fail(w, http.StatusNotFound, unknownChannel)
		return
	}
	e, err := t.options.Subscribe()
	if err != nil {
		fail(w, http.StatusConflict, err.Error())
		return
	}
	if !t.enter(c) {
		fail(w, http.StatusServiceUnavailable, "too many pages listen: close another one")
		return
	}
	defer t.leave(c)
	s := &terminal.Subscription{
		URL: e.WebSocket + c.query, Poll: q.Get("transport") == "poll", Protobuf: q.Get("framing") == "protobuf", Mid: q.Get("mid"), TLS: e.TLS,
	}
	if s.Poll {
		s.URL = e.HTTP + c.query
	}
	follow(w, r, c, s)
}

// from is a URL of the endpoint for a browser that reaches the window at host.
func (e *Endpoint) from(host, target string) string {
	u, err := url.Parse(target)
	if err != nil || !e.Any {
		return target
	}
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = strings.Trim(host, "[]")
	}
	u.Host = net.JoinHostPort(name, u.Port())
	return u.String()
}

// errLost ends a subscription whose page has gone.
var errLost = errors.New("the page has gone")
