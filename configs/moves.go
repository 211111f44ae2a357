package configs

import (
	"fmt"
	"net"
	"strings"
)

// moves is what becomes of listeners between two configurations: those where clients are connected can pass over to another process only
// if it listens at the same address, in the same way.
type moves struct {
	lost map[string]bool // prefixes of keys, such as "servers[0].", of listeners for which the server has to end first
}

// port is a listener, as values tell of it.
type port struct {
	prefix, host, port     string
	subscribers, encrypted bool
}

func placesOf(values []Value) (all []port) {
	text := make(map[string]string, len(values))
	for i := range values {
		text[values[i].Key] = textOf(values[i].Value)
	}
	for i := 0; ; i++ {
		p := port{prefix: fmt.Sprintf("servers[%d].", i)}
		var listens bool
		if p.port, listens = text[p.prefix+"port"]; !listens {
			return all
		}
		p.host = text[p.prefix+"hostname"]
		p.subscribers = text[p.prefix+"routes.sub"] != `""`
		_, p.encrypted = text[p.prefix+"ssl.cert"]
		all = append(all, p)
	}
}

func (p *port) address() string { return net.JoinHostPort(p.host, p.port) }

// follows says whether the clients of a listener can pass over to p.
func (p *port) follows(old *port) bool {
	return p.address() == old.address() && p.subscribers && old.subscribers && p.encrypted == old.encrypted
}

// collides says whether p cannot be opened as long as the listener is there, whose socket it cannot have either.
func (p *port) collides(old *port) bool {
	if p.port != old.port || p.port == "0" {
		return false
	}
	return p.host != old.host || p.subscribers != old.subscribers
}

func movesOf(from, to []Value) *moves {
	m := &moves{lost: make(map[string]bool)}
	old, next := placesOf(from), placesOf(to)
	taken := make([]bool, len(next))
	for i := range old {
		stays := !old[i].subscribers
		for k := range next {
			if !stays && !taken[k] && next[k].follows(&old[i]) {
				stays, taken[k] = true, true
			}
		}
		if !stays {
			m.lost[old[i].prefix] = true
		}
	}
	for k := range next {
		for i := range old {
			if !taken[k] && next[k].collides(&old[i]) {
				m.lost[next[k].prefix] = true
			}
		}
	}
	return m
}

// changeOf says what it takes that a key has another value. With its listener it may come or go.
func (m *moves) changeOf(key string, comesOrGoes bool) Change {
	change := onRestart
	if o := byKey[pattern(key)]; o != nil {
		change = o.changes
	}
	listener, rest, _ := strings.Cut(key, ".")
	if strings.HasPrefix(listener, "servers[") {
		if comesOrGoes {
			change = onUpgrade
		}
		if m.lost[listener+"."] && (comesOrGoes || rest == "port" || rest == "hostname" || rest == "routes.sub") {
			change = onRestart
		}
	}
	return change
}
