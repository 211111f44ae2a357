// Package fakepush is a push server just good enough to test the harness against: WebSocket and long poll with replay, text and
// protobuf publications, and faults on demand. It checks no signature and keeps everything for ever.
package fakepush

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
)

// Fault is what happens to a delivery.
type Fault int

// The faults.
const (
	None Fault = iota
	Lose
	Double
	Swap   // sent after the next one
	Damage // a byte of the body is changed
	Hang   // the connection is closed instead
	Refuse // publications only: 503
)

// Server is a running fake.
type Server struct {
	// Faults is asked about each delivery, counted from 1; it may be nil. It is called under a lock.
	Faults func(n int) Fault
	// Publications is asked about each publication.
	Publications func(n int) Fault

	ln       net.Listener
	wait     sync.WaitGroup
	mu       sync.Mutex
	conns    map[net.Conn]bool
	subs     map[string]map[*subscriber]bool
	history  []stored
	n, posts int
}

type stored struct {
	id       uint64
	channels []string
	body     []byte
}

// Start starts a fake on a free port of the loopback.
func Start(faults func(n int) Fault) (*Server, error) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("fakepush: %w", err)
	}
	s := &Server{Faults: faults, ln: ln, conns: make(map[net.Conn]bool), subs: make(map[string]map[*subscriber]bool)}
	s.wait.Go(s.accept)
	return s, nil
}

// Addr is its address.
func (s *Server) Addr() string { return s.ln.Addr().String() }

// Joined says whether n subscribers are there; a poll gives its client no sign that it waits.
func (s *Server) Joined(n int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(map[*subscriber]bool)
	for _, subs := range s.subs {
		for sub := range subs {
			all[sub] = true
		}
	}
	return len(all) == n
}

// Close ends it and all connections.
func (s *Server) Close() {
	s.ln.Close()
	s.mu.Lock()
	for c := range s.conns {
		c.Close()
	}
	s.mu.Unlock()
	s.wait.Wait()
}

func (s *Server) accept() {
	for {
		c, err := s.ln.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conns[c] = true
		s.mu.Unlock()
		s.wait.Go(func() {
			s.serve(c)
			c.Close()
			s.mu.Lock()
			delete(s.conns, c)
			s.mu.Unlock()
		})
	}
}

func (s *Server) serve(c net.Conn) {
	r := bufio.NewReader(c)
	for {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		query := req.URL.Query()
		switch {
		case req.Method == "POST":
			s.post(c, query, body)
		case strings.EqualFold(req.Header.Get("Upgrade"), "websocket"):
			s.websocket(c, r, query)
			return
		default:
			if !s.poll(c, r, query) {
				return
			}
		}
	}
}

// channels are the ids of a CHANNEL_ID, private and public ones alike.
func channels(query url.Values) (ids []string) {
	for item := range strings.SplitSeq(query.Get("CHANNEL_ID"), "/") {
		item, _, _ = strings.Cut(item, ".")
		ids = append(ids, strings.Split(item, ":")...)
	}
	return ids
}

func (s *Server) post(c net.Conn, query url.Values, body []byte) {
	s.mu.Lock()
	s.posts++
	refuse := s.Publications != nil && s.Publications(s.posts) == Refuse
	s.mu.Unlock()
	if refuse {
		io.WriteString(c, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
		return
	}
	if query.Get("binaryMode") == "true" {
		s.publishRequest(body)
	} else {
		s.publish(channels(query), body)
	}
	io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
}

func (s *Server) publishRequest(batch []byte) {
	for _, m := range parseRequest(batch) {
		var ids []string
		for _, id := range m.receivers {
			ids = append(ids, hex.EncodeToString(id))
		}
		s.publish(ids, m.body)
	}
}

// publish stores a message and delivers it.
func (s *Server) publish(ids []string, body []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := stored{id: uint64(len(s.history) + 1), channels: ids, body: append([]byte(nil), body...)}
	s.history = append(s.history, m)
	reached := make(map[*subscriber]bool)
	for _, id := range ids {
		for sub := range s.subs[id] {
			if !reached[sub] {
				reached[sub] = true
				s.deliver(sub, m)
			}
		}
	}
}

func (s *Server) deliver(sub *subscriber, m stored) {
	s.n++
	fault := None
	if s.Faults != nil {
		fault = s.Faults(s.n)
	}
	switch fault {
	case Lose:
	case Swap:
		sub.later = append(sub.later, m)
	case Hang:
		sub.hang()
	case Damage:
		m.body = append([]byte(nil), m.body...)
		m.body[len(m.body)-3] ^= 1
		sub.send(m)
	case Double:
		sub.send(m)
		fallthrough
	default:
		sub.send(m)
		for _, late := range sub.later {
			sub.send(late)
		}
		sub.later = nil
	}
}

// join subscribes, and sends what was published to ids after mid, in the same step, so that nothing newer goes first.
func (s *Server) join(sub *subscriber, mid string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range sub.ids {
		if s.subs[id] == nil {
			s.subs[id] = make(map[*subscriber]bool)
		}
		s.subs[id][sub] = true
	}
	var since uint64
	if _, err := fmt.Sscanf(mid, "%026d", &since); err != nil {
		return
	}
	var missed []stored
	for _, m := range s.history[min(since, uint64(len(s.history))):] {
		if meets(m.channels, sub.ids) {
			missed = append(missed, m)
		}
	}
	if len(missed) > 0 {
		sub.send(missed...)
	}
}

func meets(a, b []string) bool {
	for _, x := range a {
		for _, y := range b {
			if x == y {
				return true
			}
		}
	}
	return false
}

func (s *Server) leave(sub *subscriber) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range sub.ids {
		delete(s.subs[id], sub)
	}
}
