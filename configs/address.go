package configs

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"
)

// lookupTimeout bounds the look-up of a host name: a start must not hang on a name server.
const lookupTimeout = 2 * time.Second

// address decides where a listener listens. The Node server ignores hostname and listens on every interface; here it counts if this
// machine has that address. If not, listening as before keeps an installation working whose addresses have changed.
func (d *decoder) address(i int, s *Server) {
	port := strconv.Itoa(s.Port)
	s.Address = net.JoinHostPort("", port)
	if s.Hostname == "" {
		return
	}
	ip, err := localAddress(s.Hostname)
	if err != nil {
		d.warn(fmt.Sprintf("servers[%d].hostname", i), "", "%v: listening on every interface, as the Node server does", err)
		return
	}
	s.Address = net.JoinHostPort(ip.String(), port)
}

// localAddress is the address of this machine that host stands for.
func localAddress(host string) (netip.Addr, error) {
	addrs, err := lookup(host)
	if err != nil {
		return netip.Addr{}, err
	}
	for _, a := range addrs {
		if a.IsUnspecified() || isLocal(a) {
			return a, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("%q is not an address of this machine", host)
}

// lookup returns addresses of version 4 first.
func lookup(host string) ([]netip.Addr, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{ip.Unmap()}, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), lookupTimeout)
	defer cancel()
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, fmt.Errorf("%q has no address", host)
	}
	var v4, v6 []netip.Addr
	for _, ip := range found {
		if ip = ip.Unmap(); ip.Is4() {
			v4 = append(v4, ip)
		} else {
			v6 = append(v6, ip)
		}
	}
	return append(v4, v6...), nil
}

// isLocal asks the system by binding: that also knows addresses that no interface has but that may be bound.
func isLocal(ip netip.Addr) bool {
	ln, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(ip, 0)))
	if err != nil {
		return false
	}
	return ln.Close() == nil
}
