// Package realip tells whose request it is that a proxy passes on: the proxies that are trusted are named, and nobody else is believed.
package realip

import (
	"bytes"
	"net"
	"net/netip"
)

// Proxies are those whose word counts. nil are none. What they are made of is not changed any more, so any goroutine may ask.
type Proxies struct{ prefixes []netip.Prefix }

// New returns the proxies in prefixes; nil, if there are none.
func New(prefixes []netip.Prefix) *Proxies {
	if len(prefixes) == 0 {
		return nil
	}
	return &Proxies{prefixes}
}

// Trusts says whether addr is one of them.
func (p *Proxies) Trusts(addr netip.Addr) bool {
	if p == nil {
		return false
	}
	addr = addr.Unmap()
	for _, prefix := range p.prefixes {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}

// Client is who sent a request that came from peer: peer itself unless that is trusted, else the right-most address of forwardedFor
// (X-Forwarded-For, all lines of it) that is not trusted, as nginx has it with real_ip_recursive. If all are trusted, it is the left-most.
// What is no address ends the search, since nobody who is trusted wrote what is left of it. realIP (X-Real-IP) counts where there is no
// forwardedFor.
func (p *Proxies) Client(peer netip.Addr, forwardedFor, realIP []byte) netip.Addr {
	client := peer.Unmap()
	list := forwardedFor
	if len(bytes.TrimSpace(list)) == 0 {
		list = realIP
	}
	for p.Trusts(client) && len(list) > 0 {
		var element []byte
		if comma := bytes.LastIndexByte(list, ','); comma >= 0 {
			list, element = list[:comma], list[comma+1:]
		} else {
			list, element = nil, list
		}
		addr, ok := parse(bytes.TrimSpace(element))
		if !ok {
			break
		}
		client = addr
	}
	return client
}

// longest is the length of an address of version 6 with brackets and a port.
const longest = len("[0000:0000:0000:0000:0000:ffff:255.255.255.255]:65535")

// parse reads an address, which may have a port.
func parse(b []byte) (netip.Addr, bool) {
	if len(b) == 0 || len(b) > longest {
		return netip.Addr{}, false
	}
	addr, err := netip.ParseAddr(string(b))
	if err != nil {
		withPort, err := netip.ParseAddrPort(string(b))
		if err != nil {
			return netip.Addr{}, false
		}
		addr = withPort.Addr()
	}
	return addr.Unmap(), addr.Zone() == ""
}

// Of is the address of an end of a connection; ok is false if it has none, as the ends of a socket pair.
func Of(end net.Addr) (addr netip.Addr, ok bool) {
	switch end := end.(type) {
	case nil:
		return addr, false
	case *net.TCPAddr:
		return end.AddrPort().Addr().Unmap().WithZone(""), end.IP != nil
	default: // text
		addr, err := netip.ParseAddr(end.String())
		return addr.Unmap().WithZone(""), err == nil
	}
}
