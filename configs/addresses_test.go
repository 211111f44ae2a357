package configs

import "testing"

func TestProblemsOfAddresses(t *testing.T) {
	t.Parallel()
	f := func(keys, want string) { t.Helper(); wantProblems(t, keys, want) }
	f(`"push":{"connectRate":1000,"trustedProxies":["10.0.0.0/24","::1"],"perAddress":{"connections":50,"connectRate":5,"ipv6Prefix":56,"exempt":["10.1.0.0/16"]}}`, "")
	f(`"push":{"perAddress":{"connections":50}}`, "f.json: push.perAddress: warning: all subscribers come through a proxy on this machine, which is one address: "+
		`they share its limits (set push.trustedProxies, for example ["127.0.0.1", "::1"])`)
	f(`"push":{"trustedProxies":["0.0.0.0/0"]}`,
		"f.json: push.trustedProxies: warning: 0.0.0.0/0 is everybody: clients may say what address they like (name the proxies alone)")
	f(`"push":{"trustedProxies":[]}`, "f.json: push.trustedProxies: error: is empty: nobody is trusted, as without it (remove it)")
	f(`"push":{"trustedProxies":["nginx"]}`, `f.json: push.trustedProxies: error: "nginx" is neither an address nor a prefix (for example ["127.0.0.1", "10.0.0.0/8"])`)
	f(`"push":{"perAddress":{"exempt":["office"]}}`,
		`f.json: push.perAddress.exempt: error: "office" is neither an address nor a prefix (for example ["127.0.0.1", "10.0.0.0/8"])`)
	f(`"push":{"perAddress":{"conections":5}}`, "f.json: push.perAddress.conections: error: unknown key (did you mean push.perAddress.connections?)")
	f(`"push":{"peraddress":{"connections":5}}`, "f.json: push.peraddress: error: unknown key (did you mean push.perAddress?)")
	f(`"push":{"perAddress":{"ipv6Prefix":0}}`, "f.json: push.perAddress.ipv6Prefix: error: 0 is not between 16 and 128")
	f(`"push":{"connectrate":5}`, "f.json: push.connectrate: error: unknown key (did you mean push.connectRate?)")
	_, problems := load(t, `{"servers":[{"name":"a","port":8010,"hostname":"127.0.0.1","routes":{"sub":"/sub/"},"proxyProtocol":true}],"security":{"key":"0123456789abcdef"}}`)
	if got, want := lines(problems), `f.json: servers[0].proxyProtocol: error: nobody is trusted to say whose connection it is: push.trustedProxies is missing `+
		`(for example "push": {"trustedProxies": ["10.0.0.5"]})`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
