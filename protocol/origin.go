package protocol

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
)

// Origins are the pages whose scripts may open WebSockets.
type Origins struct{ patterns []string }

// NewOrigins reads patterns: "https://portal.example" is one origin, "portal.example" a host with any scheme and port, "*.example" every
// host below example. The error names each that is none of these.
func NewOrigins(patterns []string) (o Origins, err error) {
	for _, p := range patterns {
		p = strings.ToLower(p)
		host := strings.TrimPrefix(p, "*.")
		if u, e := url.Parse(p); strings.Contains(p, "://") && e == nil && u.Scheme+"://"+u.Host == p {
			host = u.Hostname()
		}
		if host == "" || strings.ContainsAny(host, "/*:@? ") {
			err = errors.Join(err, fmt.Errorf("%q is neither an origin nor a host", p))
			continue
		}
		o.patterns = append(o.patterns, p)
	}
	return o, err
}

// Allow says whether a handshake with this Origin header may go on. Browsers always send one, so that one without comes from a program,
// which could write what it likes. Without patterns everybody may.
func (o *Origins) Allow(origin []byte) bool {
	if len(o.patterns) == 0 || origin == nil {
		return true
	}
	text := strings.ToLower(string(origin))
	_, host, ok := strings.Cut(text, "://")
	if !ok {
		return false // "null": a page that hides where it comes from
	}
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	for _, p := range o.patterns {
		below, wild := strings.CutPrefix(p, "*")
		if p == text || p == host || wild && len(host) > len(below) && strings.HasSuffix(host, below) {
			return true
		}
	}
	return false
}
