package configs

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"push-server/protocol"
)

// allowed wants a list of addresses and prefixes that is not empty.
func (v *validator) allowed(key string, list []string, remedy, empty string) {
	_, bad := Prefixes(list)
	for _, text := range bad {
		v.add(Error, key, `for example ["127.0.0.1", "10.0.0.0/8"]`, "%q is neither an address nor a prefix", text)
	}
	if list != nil && len(list) == 0 {
		v.add(Error, key, remedy, "%s", empty)
	}
}

// addresses looks at those whom limits are for.
func (v *validator) addresses() {
	p := &v.c.Push
	const proxies = "push.trustedProxies"
	v.allowed(proxies, p.TrustedProxies, "remove it", "is empty: nobody is trusted, as without it")
	v.allowed("push.perAddress.exempt", p.PerAddress.Exempt, "remove it", "is empty: nobody is exempt, as without it")
	trusted, _ := Prefixes(p.TrustedProxies)
	for _, prefix := range trusted {
		if prefix.Bits() == 0 {
			v.add(Warning, proxies, "name the proxies alone", "%s is everybody: clients may say what address they like", prefix)
		}
	}
	behindProxy := func(s Server) bool { return s.Routes.Sub != "" && isLoopback(s.Address) }
	if (p.PerAddress.Connections > 0 || p.PerAddress.ConnectRate > 0) && p.TrustedProxies == nil && slices.ContainsFunc(v.c.Servers, behindProxy) {
		v.add(Warning, "push.perAddress", `set push.trustedProxies, for example ["127.0.0.1", "::1"]`,
			"all subscribers come through a proxy on this machine, which is one address: they share its limits")
	}
}

func (v *validator) origins() {
	const key = "push.origins"
	list := v.c.Push.Origins
	if _, err := protocol.NewOrigins(list); err != nil {
		v.add(Error, key, `for example ["https://portal.example", "*.portal.example"]`, "%s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	if list != nil && len(list) == 0 {
		v.add(Error, key, "remove it", "is empty: no page could open a WebSocket")
	}
}

// Prefixes are the prefixes that a list of addresses and prefixes stands for, and what in it is neither.
func Prefixes(list []string) (prefixes []netip.Prefix, bad []string) {
	for _, text := range list {
		if addr, err := netip.ParseAddr(text); err == nil && addr.Zone() == "" {
			addr = addr.Unmap()
			prefixes = append(prefixes, netip.PrefixFrom(addr, addr.BitLen()))
		} else if prefix, err := netip.ParsePrefix(text); err == nil {
			prefixes = append(prefixes, unmap(prefix))
		} else {
			bad = append(bad, text)
		}
	}
	return prefixes, bad
}

// unmap makes ::ffff:10.0.0.0/104 the prefix of version 4 that it is.
func unmap(p netip.Prefix) netip.Prefix {
	const mapped = 96 // bits before an address of version 4
	if p.Addr().Is4In6() && p.Bits() >= mapped {
		return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-mapped)
	}
	return p
}

// Exposed says, as one warning, what strangers reach without being asked who they are: publishing and statistics at a public address
// without a list of those who may. interfaces are the addresses of this machine, for listeners at every one of them.
func (c *Config) Exposed(interfaces []netip.Addr) []Problem {
	what := []struct {
		name, allow string
		list        []string
		path        func(r *Routes) string
	}{
		{"publishing", "push.pubAllow", c.Push.PubAllow, func(r *Routes) string { return r.Pub }},
		{"statistics", "push.statAllow", c.Push.StatAllow, func(r *Routes) string { return r.Stat }},
	}
	var open, lists []string
	var example netip.Addr
	for _, w := range what {
		var ports []string
		for i := range c.Servers {
			s := &c.Servers[i]
			addr, public := publicAddress(s.Address, interfaces)
			if !public || w.list != nil || w.path(&s.Routes) == "" || slices.Contains(ports, strconv.Itoa(s.Port)) {
				continue
			}
			ports = append(ports, strconv.Itoa(s.Port))
			example = addr
		}
		if ports != nil {
			open = append(open, w.name+" on port "+strings.Join(ports, ", "))
			lists = append(lists, w.allow)
		}
	}
	if open == nil {
		return nil
	}
	return []Problem{{
		File: c.File, Key: "servers", Severity: Warning,
		Text:       fmt.Sprintf("open to whoever reaches the public address %s: %s", example, strings.Join(open, "; ")),
		Suggestion: `set servers[].hostname to "127.0.0.1", or ` + strings.Join(lists, " and ") + ` to those who may`,
	}}
}

// publicAddress is a public address at which a listener at addr, "host:port", is reached.
func publicAddress(addr string, interfaces []netip.Addr) (netip.Addr, bool) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return netip.Addr{}, false
	}
	if !unspecified(host) {
		ip, err := netip.ParseAddr(host)
		return ip, err == nil && isPublic(ip)
	}
	i := slices.IndexFunc(interfaces, isPublic)
	if i < 0 {
		return netip.Addr{}, false
	}
	return interfaces[i], true
}

func isPublic(ip netip.Addr) bool { return ip.IsGlobalUnicast() && !ip.Unmap().IsPrivate() }

// Interfaces are the addresses of this machine; none if the system does not say.
func Interfaces() (addrs []netip.Addr) {
	all, _ := net.InterfaceAddrs()
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok {
			if ip, ok := netip.AddrFromSlice(n.IP); ok {
				addrs = append(addrs, ip.Unmap())
			}
		}
	}
	return addrs
}
