package realip

import (
	"net"
	"net/netip"
	"testing"
)

func proxies(t *testing.T, prefixes ...string) *Proxies {
	t.Helper()
	var all []netip.Prefix
	for _, text := range prefixes {
		all = append(all, netip.MustParsePrefix(text))
	}
	return New(all)
}

func TestClient(t *testing.T) {
	t.Parallel()
	trusted := proxies(t, "127.0.0.0/8", "10.0.0.0/8", "fd00::/8")
	f := func(p *Proxies, peer, forwarded, real, want string) {
		t.Helper()
		if got := p.Client(netip.MustParseAddr(peer), []byte(forwarded), []byte(real)); got.String() != want {
			t.Errorf("from %s with %q and %q: %s, want %s", peer, forwarded, real, got, want)
		}
	}
	f(nil, "127.0.0.1", "192.0.2.1", "192.0.2.2", "127.0.0.1")
	f(trusted, "192.0.2.9", "192.0.2.1", "192.0.2.2", "192.0.2.9")
	f(trusted, "127.0.0.1", "", "", "127.0.0.1")
	f(trusted, "127.0.0.1", "192.0.2.1", "192.0.2.2", "192.0.2.1")
	f(trusted, "127.0.0.1", "", "192.0.2.2", "192.0.2.2")
	f(trusted, "127.0.0.1", " ", "192.0.2.2", "192.0.2.2")
	f(trusted, "::ffff:127.0.0.1", "192.0.2.1", "", "192.0.2.1")
	f(trusted, "fd00::1", "2001:db8::1", "", "2001:db8::1")
	f(trusted, "127.0.0.1", "192.0.2.66, 192.0.2.1", "", "192.0.2.1") // what the client itself wrote is left of it
	f(trusted, "127.0.0.1", "192.0.2.66,192.0.2.1 , 10.0.0.7", "", "192.0.2.1")
	f(trusted, "127.0.0.1", "10.0.0.1, 10.0.0.2", "", "10.0.0.1")
	f(trusted, "127.0.0.1", "::ffff:192.0.2.1", "", "192.0.2.1")
	f(trusted, "127.0.0.1", "192.0.2.1:4711", "", "192.0.2.1")
	f(trusted, "127.0.0.1", "[2001:db8::1]:4711", "", "2001:db8::1")
	f(trusted, "127.0.0.1", "192.0.2.1, nonsense", "", "127.0.0.1")
	f(trusted, "127.0.0.1", "192.0.2.1, nonsense, 10.0.0.2", "", "10.0.0.2")
	f(trusted, "127.0.0.1", "192.0.2.1,", "", "127.0.0.1")
	f(trusted, "127.0.0.1", "fe80::1%eth0", "", "127.0.0.1")
}

func TestOf(t *testing.T) {
	t.Parallel()
	f := func(end net.Addr, want string) {
		t.Helper()
		addr, ok := Of(end)
		if ok != (want != "") || ok && addr.String() != want {
			t.Errorf("%v: %v, %v", end, addr, ok)
		}
	}
	f(nil, "")
	f(&net.UnixAddr{Name: "@", Net: "unix"}, "")
	f(&net.TCPAddr{IP: net.ParseIP("192.0.2.1"), Port: 1}, "192.0.2.1")
	f(&net.TCPAddr{IP: net.ParseIP("2001:db8::1"), Port: 1}, "2001:db8::1")
	f(text("::ffff:192.0.2.1"), "192.0.2.1")
}

type text string

func (text) Network() string  { return "tcp" }
func (a text) String() string { return string(a) }

func FuzzClient(f *testing.F) {
	f.Add("192.0.2.1, 10.0.0.1", "")
	f.Add("[::1]:80,", "x")
	trusted := New([]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")})
	peer := netip.MustParseAddr("127.0.0.1")
	f.Fuzz(func(t *testing.T, forwarded, real string) {
		if got := trusted.Client(peer, []byte(forwarded), []byte(real)); !got.IsValid() || got.Is4In6() || got.Zone() != "" {
			t.Errorf("%q, %q: %v", forwarded, real, got)
		}
	})
}
