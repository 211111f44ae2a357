package redisbus

import (
	"net"
	"sync"
)

// lines are the open connections of a client, which rueidis closes all together or not at all.
type lines struct {
	mu   sync.Mutex
	open map[*line]struct{}
}

// line is a connection, and where it leads.
type line struct {
	net.Conn
	of     *lines
	server server
}

func (ls *lines) add(conn net.Conn, s server) *line {
	l := &line{Conn: conn, of: ls, server: s}
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if ls.open == nil {
		ls.open = make(map[*line]struct{})
	}
	ls.open[l] = struct{}{}
	return l
}

func (l *line) Close() error {
	l.of.mu.Lock()
	delete(l.of.open, l)
	l.of.mu.Unlock()
	return l.Conn.Close()
}

// leadElsewhere says whether there are some that drop would close.
func (ls *lines) leadElsewhere(than string) bool {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for l := range ls.open {
		if than == "" || l.server.name != than {
			return true
		}
	}
	return false
}

// drop closes those that do not lead to the server of that name. rueidis makes new ones with the next commands.
func (ls *lines) drop(except string) {
	ls.mu.Lock()
	var dropped []*line
	for l := range ls.open {
		if except == "" || l.server.name != except {
			dropped = append(dropped, l)
		}
	}
	ls.mu.Unlock()
	for _, l := range dropped {
		l.Conn.Close()
	}
}
