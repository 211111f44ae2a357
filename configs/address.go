package configs

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// lookupTimeout bounds the look-up of a host name: a start must not hang on a name server.
const lookupTimeout = 2 * time.Second

// address decides where a listener listens. The Node server ignores hostname and listens on every interface; here it counts if this
// machine has that address. If not, listening as before keeps an installation working whose addresses have changed. What is neither an
// address nor a name is an error: it would open the ports to the network although somebody meant to close them.
func (d *decoder) address(i int, s *Server) {
	key, port := fmt.Sprintf("servers[%d].hostname", i), strconv.Itoa(s.Port)
	s.Address = net.JoinHostPort("", port)
	host, err := bareHost(s.Hostname, s.Port)
	if err != nil {
		d.fail(key, `for example "127.0.0.1"`, "%v", err)
		return
	}
	if host == "" || host == "*" {
		return
	}
	ip, err := localAddress(host)
	if err != nil {
		d.warn(key, "", "%v: listening on every interface, as the Node server does", err)
		return
	}
	s.Address = net.JoinHostPort(ip.String(), port)
}

// bareHost is the address or name that text stands for, without the brackets, the port and the dot at the end that it may have.
func bareHost(text string, port int) (string, error) {
	host := strings.TrimSpace(text)
	if h, p, err := net.SplitHostPort(host); err == nil {
		if p != strconv.Itoa(port) {
			return "", fmt.Errorf("%q has another port than servers[].port, %d", text, port)
		}
		host = h
	} else if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		host = host[1 : len(host)-1]
		if !strings.Contains(host, ":") {
			return "", fmt.Errorf("%q is not an address", text)
		}
	}
	host = strings.TrimSuffix(host, ".")
	if host == "" && strings.TrimSpace(text) != "" && !strings.HasPrefix(strings.TrimSpace(text), ":") {
		return "", fmt.Errorf("%q is not an address", text)
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		if _, err := net.InterfaceByName(ip.Zone()); ip.Zone() != "" && err != nil {
			return "", fmt.Errorf("%q: this machine has no interface %q", text, ip.Zone())
		}
		return host, nil
	}
	if host != "" && host != "*" && !isName(host) {
		return "", fmt.Errorf("%q is neither an address nor a host name", text)
	}
	return host, nil
}

// isName says whether a resolver may be asked for host. A name whose last label is a number is an address in a notation that Go does
// not read (127.1, 0x7f000001), and no resolver is to decide what it means.
func isName(host string) bool {
	for _, r := range host {
		if r < 0x80 && !strings.ContainsRune("-_.", r) && !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			return false
		}
	}
	label := host[strings.LastIndexByte(host, '.')+1:]
	_, err := strconv.ParseUint(label, 0, 64)
	return label != "" && err != nil && strings.Trim(label, "0123456789") != ""
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
