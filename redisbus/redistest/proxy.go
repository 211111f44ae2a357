package redistest

import (
	"bytes"
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"push-server/protocol/testclient"
)

// Proxy stands between clients and a Server, on a unix socket of its own. Its methods may be called from any goroutine.
type Proxy struct {
	listener net.Listener
	work     sync.WaitGroup

	mu      sync.Mutex
	server  string     // for connections to come
	change  *sync.Cond // told when held changes
	held    bool
	keep    []byte // the connection of the next request with these bytes brings no answers until Release; nil: none
	lose    []byte // the answer to the next request with these bytes gets lost; nil: none
	mute    bool   // connections that subscribe are deaf
	streams map[*stream]bool
}

// stream is one connection of a client. Its fields are guarded by the proxy's lock.
type stream struct {
	client, server net.Conn
	recent         []byte // the end of the last request, in case a word was cut in two
	loses          bool   // the next answer gets lost, and the connection with it
	kept           bool   // answers wait for Release
	deaf           bool   // answers get lost, the connection stays
	gagged         bool   // requests get lost, the connection stays
}

var proxies atomic.Int64

// Proxy starts a proxy in front of the server. It ends with the test.
func (s *Server) Proxy(t testing.TB) *Proxy {
	t.Helper()
	listener, err := net.Listen("unix", filepath.Join(s.dir, fmt.Sprint("p", proxies.Add(1))))
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{listener: listener, server: s.Addr(), streams: make(map[*stream]bool)}
	p.change = sync.NewCond(&p.mu)
	p.work.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

// Addr is the path of the proxy's socket.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Lead has the connections to come lead to another server. Those that are there stay.
func (p *Proxy) Lead(s *Server) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.server = s.Addr()
}

func (p *Proxy) leads() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.server
}

// LoseAnswer lets the next request that contains word be executed, but closes its connection instead of handing on the answer.
func (p *Proxy) LoseAnswer(word string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lose = []byte(word)
}

// HoldAnswer keeps back what the connection of the next request that contains word brings, from that answer on, until Release.
func (p *Proxy) HoldAnswer(word string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keep = []byte(word)
	for s := range p.streams {
		s.recent = s.recent[:0]
	}
}

// Hold keeps all answers back until Release.
func (p *Proxy) Hold() { p.hold(true) }

// Release hands on what was held.
func (p *Proxy) Release() { p.hold(false) }

func (p *Proxy) hold(held bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held = held
	for s := range p.streams {
		s.kept = s.kept && held
	}
	p.change.Broadcast()
}

// Deafen makes all connections of now that carry publications deaf: they stay, and nothing comes from them any more.
func (p *Proxy) Deafen() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for s := range p.streams {
		s.deaf = bytes.Contains(s.recent, []byte("SUBSCRIBE"))
	}
}

// Mute has nothing come from connections that carry publications, those of now and those to come, until Unmute. Commands are answered.
func (p *Proxy) Mute() {
	p.Deafen()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mute = true
}

// Unmute lets new connections hear again.
func (p *Proxy) Unmute() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mute = false
}

// DeafenAll makes all connections of now deaf.
func (p *Proxy) DeafenAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for s := range p.streams {
		s.deaf = true
	}
}

// Gag has what clients say over the connections of now get lost: they stay.
func (p *Proxy) Gag() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for s := range p.streams {
		s.gagged = true
	}
}

// AwaitHeld waits until HoldAnswer has found its request.
func (p *Proxy) AwaitHeld(t testing.TB) {
	t.Helper()
	testclient.Await(t, "the request whose answer is held", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.keep == nil
	})
}

// Drop closes all connections.
func (p *Proxy) Drop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for s := range p.streams {
		s.close()
	}
}

func (p *Proxy) close() {
	p.listener.Close()
	p.Release()
	p.Drop()
	p.work.Wait()
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("unix", p.leads())
		if err != nil {
			client.Close()
			continue
		}
		s := &stream{client: client, server: server}
		p.mu.Lock()
		p.streams[s] = true
		p.mu.Unlock()
		p.work.Go(func() { p.requests(s) })
		p.work.Go(func() { p.answers(s) })
	}
}

func (s *stream) close() {
	s.client.Close()
	s.server.Close()
}

func (p *Proxy) requests(s *stream) {
	defer s.server.Close()
	buffer := make([]byte, 64<<10)
	for {
		n, err := s.client.Read(buffer)
		if p.look(s, buffer[:n]) {
			n = 0
		}
		if _, werr := s.server.Write(buffer[:n]); err != nil || werr != nil {
			return
		}
	}
}

// look looks for the word whose answer is to be lost, and says whether the request is.
func (p *Proxy) look(s *stream, request []byte) (lost bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.recent = append(s.recent, request...)
	s.deaf = s.deaf || p.mute && bytes.Contains(s.recent, []byte("SUBSCRIBE"))
	if p.lose != nil && bytes.Contains(s.recent, p.lose) {
		p.lose, s.loses = nil, true
	}
	if p.keep != nil && bytes.Contains(s.recent, p.keep) {
		p.keep, s.kept = nil, true
	}
	s.recent = bytes.Clone(s.recent[max(0, len(s.recent)-4096):])
	return s.gagged
}

func (p *Proxy) answers(s *stream) {
	defer s.client.Close()
	buffer := make([]byte, 64<<10)
	for {
		n, err := s.server.Read(buffer)
		if p.swallows(s) {
			n = 0
		}
		if err != nil {
			break
		}
		if _, err := s.client.Write(buffer[:n]); err != nil {
			break
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.streams, s)
	s.close()
}

// swallows waits while answers are held, and says whether this one gets lost.
func (p *Proxy) swallows(s *stream) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.held || s.kept {
		p.change.Wait()
	}
	if s.loses {
		s.client.Close()
	}
	return s.loses || s.deaf
}
