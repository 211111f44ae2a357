package configs

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// Each key that has an effect says when another value of it takes effect; no other key does.
func TestEachKeyKnowsWhatChangesIt(t *testing.T) {
	t.Parallel()
	for i := range options {
		if o := &options[i]; (o.doc != "") != (o.changes != 0) {
			t.Errorf("%s: changes is %d", o.key, o.changes)
		}
	}
}

func valid(t *testing.T, text string) *Config {
	t.Helper()
	c, problems := parse("f.json", []byte(text))
	if c == nil || !Valid(problems) {
		t.Fatal(problems)
	}
	return c
}

const before = `{
	"servers": [{"port": 8010, "hostname": "127.0.0.1", "routes": {"sub": "/s"}}],
	"storage": {"password": "hush-1"},
	"limits": {"maxConnPerChannel": 100},
	"security": {"key": ["hush-2-and-more-than-sixteen", "hush-3-and-more-than-sixteen"]},
	"push": {"pubAllow": ["10.0.0.1"], "pollTimeout": "30s", "operators": {"profiles": false}}
}`

// A configuration that differs in every way that there is.
const after = `{
	"servers": [{"port": 8011, "hostname": "127.0.0.1", "routes": {"sub": "/s"}}, {"port": 9010, "hostname": "127.0.0.1", "routes": {"pub": "/p"}}],
	"storage": {"password": "hush-4"},
	"limits": {"maxConnPerChannel": 50, "maxPayload": 2000000},
	"security": {"key": ["hush-2-and-more-than-sixteen", "hush-5-and-more-than-sixteen"]},
	"push": {"pubAllow": ["10.0.0.1", "10.0.0.2"], "pollTimeout": "40s", "maxBuffered": 5000000, "windowBytes": 67108864}
}`

func said(all []Difference) (lines []string) {
	for _, d := range all {
		from, to := d.Text()
		lines = append(lines, fmt.Sprintf("%s: %s → %s, %s", d.Key, from, to, d.Change))
	}
	return lines
}

func TestDifferences(t *testing.T) {
	t.Parallel()
	want := []string{
		`servers[0].port: 8010 → 8011, restart`,
		`servers[1].port: absent → 9010, upgrade`,
		`servers[1].routes.pub: absent → /p, upgrade`,
		`storage.password: *** → ***, upgrade`,
		`limits.maxPayload: 1048576 → 2000000, upgrade`,
		`limits.maxConnPerChannel: 100 → 50, SIGHUP`,
		`security.key: *** → ***, SIGHUP`,
		`push.pollTimeout: 30s → 40s, upgrade`,
		`push.maxBuffered: 1048576 → 5000000, SIGHUP`,
		`push.pubAllow: ["10.0.0.1"] → ["10.0.0.1","10.0.0.2"], SIGHUP`,
		`push.operators.profiles: false → true, SIGHUP`,
	}
	a, b := valid(t, before), valid(t, after)
	got := slices.DeleteFunc(said(a.Differences(b)), func(line string) bool {
		return strings.HasPrefix(line, "servers[1].") && !strings.Contains(line, "9010") && !strings.Contains(line, `/p`)
	})
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	back := said(b.Differences(a))
	if !slices.Contains(back, "servers[1].port: 9010 → absent, upgrade") || !slices.Contains(back, "limits.maxConnPerChannel: 50 → 100, SIGHUP") {
		t.Errorf("backwards:\n%s", strings.Join(back, "\n"))
	}
	for _, c := range []*Config{a, b} {
		if same := c.Differences(c); same != nil {
			t.Errorf("a configuration differs from itself: %v", same)
		}
	}
}

// What a running server shows has no secrets: whether those differ is not known, all else is.
func TestCompareWithWhatIsShown(t *testing.T) {
	t.Parallel()
	a, b := valid(t, before), valid(t, after)
	text, err := json.Marshal(a.Effective())
	if err != nil {
		t.Fatal(err)
	}
	var shown []Value
	if err := json.Unmarshal(text, &shown); err != nil {
		t.Fatal(err)
	}
	all, hidden := Compare(shown, b.Effective())
	if want := []string{"storage.password", "security.key"}; !slices.Equal(hidden, want) {
		t.Errorf("not known: %v, want %v", hidden, want)
	}
	want := slices.DeleteFunc(said(a.Differences(b)), func(line string) bool { return strings.Contains(line, Masked) })
	if got := said(all); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if all, _ := Compare(shown, a.Effective()); all != nil {
		t.Errorf("it differs from itself: %v", all)
	}
}

// A reload takes up what may change while the server runs, and nothing else.
func TestAdopt(t *testing.T) {
	t.Parallel()
	a, b := valid(t, before), valid(t, after)
	sum := a.Adopt(b)
	for _, d := range a.Differences(sum) {
		if !d.Change.Reloads() {
			t.Errorf("%s has changed", d.Key)
		}
	}
	for _, d := range sum.Differences(b) {
		if d.Change.Reloads() {
			t.Errorf("%s has not changed", d.Key)
		}
	}
	if sum.ServesProfiles() != b.ServesProfiles() || a.Limits.MaxConnPerChannel != 100 {
		t.Error("what a file says is mixed up")
	}
	if found := sum.Validate(); !Valid(found) {
		t.Error(found)
	}
}

func TestAdoptOtherCertificates(t *testing.T) {
	t.Parallel()
	with := func(ssl ...*SSL) *Config {
		c := Default()
		for i, s := range ssl {
			c.Servers = append(c.Servers, Server{Port: 8010 + i, Routes: Routes{Sub: "/s"}, SSL: s})
		}
		return c
	}
	a := with(&SSL{Key: "k", Cert: "c", Ciphers: "x"}, nil, &SSL{Key: "k", Cert: "c"})
	b := with(&SSL{Key: "k2", Cert: "c2", Ciphers: "y"}, &SSL{Key: "k", Cert: "c"}, nil)
	sum := a.Adopt(b)
	if got := *sum.Servers[0].SSL; got != (SSL{Key: "k2", Cert: "c2", Ciphers: "x"}) || sum.Servers[1].SSL != nil || *sum.Servers[2].SSL != (SSL{Key: "k", Cert: "c"}) {
		t.Errorf("%+v", got)
	}
	if *a.Servers[0].SSL != (SSL{Key: "k", Cert: "c", Ciphers: "x"}) {
		t.Error("the configuration that is adopted from has changed")
	}
	want := []string{
		`servers[0].ssl.key: k → k2, SIGHUP`, `servers[1].ssl.key: absent → k, restart`,
		`servers[0].ssl.cert: c → c2, SIGHUP`, `servers[1].ssl.cert: absent → c, restart`,
		`servers[0].ssl.ciphers: x → y, upgrade`, `servers[1].ssl.ciphers: absent → "", restart`,
		`servers[2].ssl.key: k → absent, restart`, `servers[2].ssl.cert: c → absent, restart`, `servers[2].ssl.ciphers: "" → absent, restart`,
	}
	if got := said(a.Differences(b)); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TLS with Redis is switched on by a section that may be empty.
func TestAnEmptySectionIsADifference(t *testing.T) {
	t.Parallel()
	a, b := Default(), Default()
	b.Storage.TLS.On = true
	if got := said(a.Differences(b)); !slices.Equal(got, []string{"storage.tls: false → true, upgrade"}) {
		t.Error(got)
	}
}

// Clients stay connected if the next process listens where they are, in the same way; what is listened at by nobody with clients may come
// and go.
func TestListenersComeAndGo(t *testing.T) {
	t.Parallel()
	const sub, pub, tls = `"routes":{"sub":"/s"}`, `"routes":{"pub":"/p"}`, `"ssl":{"cert":"c","key":"k"}`
	at := func(port int, more ...string) string {
		return fmt.Sprintf(`{"port":%d,"hostname":"127.0.0.1",%s}`, port, strings.Join(more, ","))
	}
	parsed := func(text string) *Config {
		c, problems := parse("f.json", []byte(text))
		if c == nil {
			t.Fatal(problems)
		}
		return c
	}
	servers := func(all ...string) string { return `{"servers":[` + strings.Join(all, ",") + `]}` }
	f := func(want Change, from, to string) {
		t.Helper()
		most := Change(0)
		all := parsed(from).Differences(parsed(to)) // certificates are not there
		for _, d := range all {
			most = max(most, d.Change)
		}
		if most != want {
			t.Errorf("%s → %s takes %s, want %s: %q", from, to, most, want, said(all))
		}
	}
	one := servers(at(8010, sub))
	f(onUpgrade, one, servers(at(8010, sub), at(9010, pub)))
	f(onUpgrade, servers(at(8010, sub), at(9010, pub)), one)
	f(onUpgrade, one, servers(at(8011, sub), at(8010, sub)))
	f(onUpgrade, servers(at(8010, sub), at(9010, pub)), servers(at(8010, sub), at(9011, pub)))
	f(onUpgrade, servers(at(9010, pub), at(8010, sub)), servers(at(8010, sub), at(9010, pub)))
	f(onUpgrade, servers(at(8010, sub), at(9010, pub)), servers(at(8010, sub), at(9010, pub, tls)))
	f(onUpgrade, one, servers(at(8010, `"proxyProtocol":true`, sub)))
	f(onUpgrade, one, servers(at(8010, `"routes":{"sub":"/other","rest":"/r"}`)))
	f(onRestart, one, servers(at(8011, sub)))
	f(onRestart, servers(at(8010, sub), at(8011, sub)), one)
	f(onRestart, one, servers(at(8010, sub, tls)))
	f(onRestart, one, servers(at(8010, pub), at(8011, sub)))
	f(onRestart, servers(at(8010, sub), at(9010, pub)), servers(at(8010, sub), at(9010, sub)))
	f(onRestart, servers(at(8010, sub), at(9010, pub)), servers(at(8010, sub), `{"port":9010,`+pub+`}`))
}

// What a process keeps in its memory passes over to another one, but not to another store.
func TestMemoryPassesOver(t *testing.T) {
	t.Parallel()
	a, b, redis := Default(), Default(), Default()
	a.Storage.Type, b.Storage.Type = StorageMemory, StorageMemory
	b.Push.Loops, b.Push.ConnectRate, b.Push.MemoryBytes = 3, 5, a.Push.MemoryBytes+1
	want := []string{"push.loops: 0 → 3, upgrade", "push.connectRate: 0 → 5, SIGHUP", fmt.Sprintf("push.memoryBytes: %d → %d, upgrade", a.Push.MemoryBytes, b.Push.MemoryBytes)}
	if got := said(a.Differences(b)); !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))) {
		t.Error(got)
	}
	if got := said(a.Differences(redis)); !slices.Contains(got, "storage.type: memory → redis, restart") {
		t.Error(got)
	}
}
