package configs

import (
	"net/netip"
	"testing"
)

// Whoever publishes or shows statistics to the public without a list of those who may is told so, in one line.
func TestExposed(t *testing.T) {
	private := []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("10.1.2.3"), netip.MustParseAddr("fd00::1"), netip.MustParseAddr("fe80::1")}
	public := append(private, netip.MustParseAddr("203.0.113.5"))
	f := func(addr, push string, interfaces []netip.Addr, want string) {
		t.Helper()
		c, problems := load(t, `{`+minimal+push+`}`)
		if !Valid(problems) {
			t.Fatal(lines(problems))
		}
		c.Servers = []Server{
			{Port: 8010, Address: addr + ":8010", Routes: Routes{Sub: "/sub/", Stat: "/stat/"}},
			{Port: 9010, Address: addr + ":9010", Routes: Routes{Pub: "/pub/", Stat: "/stat/"}},
			{Port: 9011, Address: "127.0.0.1:9011", Routes: Routes{Pub: "/pub/", Stat: "/stat/"}},
		}
		if got := lines(c.Exposed(interfaces)); got != want {
			t.Errorf("%q with %s: got %s\nwant %s", addr, push, got, want)
		}
	}
	const set = `set servers[].hostname to "127.0.0.1", or `
	const both = "f.json: servers: warning: open to whoever reaches the public address 203.0.113.5: publishing on port 9010; statistics on port 8010, 9010 (" +
		set + "push.pubAllow and push.statAllow to those who may)"
	f("", "", public, both)
	f("[::]", "", public, both)
	f("203.0.113.5", "", private, both)
	f("", `,"push":{"statAllow":["10.0.0.0/8"]}`, public,
		"f.json: servers: warning: open to whoever reaches the public address 203.0.113.5: publishing on port 9010 ("+set+"push.pubAllow to those who may)")
	f("", `,"push":{"statAllow":["10.0.0.0/8"],"pubAllow":["10.0.0.1"]}`, public, "")
	f("", "", private, "")
	f("10.1.2.3", "", public, "")
	f("[fd00::1]", "", public, "")
	f("127.0.0.1", "", public, "")
}
