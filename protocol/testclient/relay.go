package testclient

import (
	"io"
	"net"
	"sync"
)

// A Relay stands between a client and a server, like the network, and can be cut. It is safe for concurrent use.
type Relay struct {
	listener net.Listener
	target   string

	mu     sync.Mutex
	joined chan struct{} // closed while the way is free
	closed chan struct{}
	conns  map[net.Conn]bool
	wait   sync.WaitGroup
}

// NewRelay listens on loopback for connections that it passes on to target.
func NewRelay(target string) (*Relay, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &Relay{listener: l, target: target, joined: make(chan struct{}), closed: make(chan struct{}), conns: map[net.Conn]bool{}}
	close(r.joined)
	r.wait.Go(r.accept)
	return r, nil
}

// Addr is where clients connect.
func (r *Relay) Addr() string { return r.listener.Addr().String() }

// Cut ends all connections. New ones are taken, but nothing passes before Join.
func (r *Relay) Cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.joined = make(chan struct{})
	for conn := range r.conns {
		conn.Close()
	}
}

// Join lets everything pass again.
func (r *Relay) Join() {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.joined)
}

// Close ends the relay and all connections.
func (r *Relay) Close() {
	r.listener.Close()
	close(r.closed)
	r.mu.Lock()
	for conn := range r.conns {
		conn.Close()
	}
	r.mu.Unlock()
	r.wait.Wait()
}

func (r *Relay) accept() {
	for {
		conn, err := r.listener.Accept()
		if err != nil {
			return
		}
		r.wait.Go(func() { r.serve(conn) })
	}
}

func (r *Relay) serve(conn net.Conn) {
	defer conn.Close()
	r.mu.Lock()
	joined := r.joined
	r.mu.Unlock()
	select {
	case <-joined:
	case <-r.closed:
		return
	}
	server, err := net.Dial("tcp", r.target)
	if err != nil {
		return
	}
	defer server.Close()
	if !r.keep(joined, conn, server) {
		return
	}
	defer r.forget(conn, server)
	r.wait.Go(func() {
		io.Copy(server, conn)
		server.Close()
	})
	io.Copy(conn, server)
}

// keep remembers connections for Cut, unless it was cut already.
func (r *Relay) keep(joined chan struct{}, conns ...net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if joined != r.joined {
		return false
	}
	for _, conn := range conns {
		r.conns[conn] = true
	}
	return true
}

func (r *Relay) forget(conns ...net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, conn := range conns {
		delete(r.conns, conn)
	}
}
