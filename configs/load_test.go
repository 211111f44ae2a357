package configs

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// minimal is a file without problems; the other tests add to it.
const minimal = `"servers":[{"name":"a","port":8010,"hostname":"127.0.0.1","routes":{"sub":"/sub/"}}],"security":{"key":"0123456789abcdef"}`

func load(t *testing.T, text string) (*Config, []Problem) {
	t.Helper()
	c, problems := parse("f.json", []byte(text))
	if c == nil {
		t.Fatal(problems)
	}
	return c, problems
}

func lines(problems []Problem) string {
	var all []string
	for _, p := range problems {
		all = append(all, p.String())
	}
	return strings.Join(all, "\n")
}

func TestShippedFilesHaveNoProblems(t *testing.T) {
	files, err := filepath.Glob("*.json")
	if err != nil || len(files) < 4 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		if _, problems := Load(file); len(problems) > 0 {
			t.Error(lines(problems))
		}
	}
	standalone, _ := Load("standalone.json")
	if standalone[0].Security.Key != ExampleKey {
		t.Error("standalone.json has another key than the one that is warned about")
	}
}

func TestDefaultsRemainWhereTheFileIsSilent(t *testing.T) {
	c, problems := load(t, "\xef\xbb\xbf{"+minimal+`,"storage":{"port":"6380"}}`)
	if len(problems) > 0 {
		t.Error(lines(problems))
	}
	want := Default().Storage
	want.Port = 6380
	if !reflect.DeepEqual(c.Storage, want) {
		t.Errorf("got %+v, want %+v", c.Storage, want)
	}
	if c.Limits != Default().Limits || !reflect.DeepEqual(c.Push, Default().Push) {
		t.Errorf("defaults are lost: %+v", c)
	}
}

func TestValues(t *testing.T) {
	f := func(keys string, got func(*Config) any, want any) {
		t.Helper()
		c, problems := load(t, "{"+minimal+","+keys+"}")
		if !Valid(problems) {
			t.Error(lines(problems))
		}
		if v := got(c); !reflect.DeepEqual(v, want) {
			t.Errorf("got %v, want %v", v, want)
		}
	}
	messageTTL := func(c *Config) any { return c.Storage.MessageTTL }
	modes := func(c *Config) any { return [2]bool{c.ClusterMode, c.PublishMode} }
	f(`"storage":{"messageTTL":60}`, messageTTL, time.Minute)
	f(`"storage":{"messageTTL":" 60 "}`, messageTTL, time.Minute)
	f(`"storage":{"messageTTL":6e1}`, messageTTL, time.Minute)
	f(`"storage":{"messageTTL":0}`, messageTTL, time.Duration(0))
	f(`"storage":{"messageTTL":null}`, messageTTL, time.Duration(0))
	f(`"storage":{"messageTLL":60}`, messageTTL, time.Minute)
	f(`"storage":{"messageTLL":60,"messageTTL":90}`, messageTTL, 90*time.Second)
	f(`"storage":{"messageTTL":90,"messageTLL":60}`, messageTTL, 90*time.Second)
	f(`"storage":{"statTLLMsec":5000}`, func(c *Config) any { return c.Storage.StatTTL }, 5*time.Second)
	f(`"storage":{"onlineTTL":0}`, func(c *Config) any { return c.Storage.OnlineTTL }, 2*time.Minute)
	f(`"storage":{"onlineDelta":0}`, func(c *Config) any { return c.Storage.OnlineDelta }, 30*time.Second)
	f(`"clusterMode":true`, modes, [2]bool{true, false})
	f(`"clusterMode":"true"`, modes, [2]bool{false, false})
	f(`"publishMode":true`, modes, [2]bool{true, true})
	f(`"publishMode":1`, modes, [2]bool{false, false})
	f(`"publishMode":1,"clusterMode":true`, modes, [2]bool{true, true})
	f(`"limits":{"maxConnPerChannel":0}`, func(c *Config) any { return c.Limits.MaxConnPerChannel }, 1)
	f(`"limits":{"maxPayload":null}`, func(c *Config) any { return c.Limits.MaxPayload }, 1<<20)
	f(`"debug":{"ip":["10.0.0.","127.0.0.1"]}`, func(c *Config) any { return c.Debug.IP }, []string{"10.0.0.", "127.0.0.1"})
	f(`"push":{"pollTimeout":"30s","acceptTimeout":"50ms"}`, func(c *Config) any { return c.Push.PollTimeout + c.Push.AcceptTimeout }, 30050*time.Millisecond)
	f(`"push":{"sharePort":true}`, func(c *Config) any { return c.Push.SharePort }, true)
	f(`"trustClients":true,"cloudMode":true,"storage":{}`, func(c *Config) any { return c.cloudMode }, false)
	f(`"licenseStorage":{"host":"x"},"test":{"a":[1]},"dataDir":"/x"`, modes, [2]bool{false, false})
}

func TestProblems(t *testing.T) {
	f := func(keys, want string) { t.Helper(); wantProblems(t, keys, want) }
	f(`"storage":{}`, "")
	f(`"storage":{"messageTLL":60}`, "f.json: storage.messageTLL: warning: misspelt; its value is used for messageTTL (write messageTTL)")
	f(`"storage":{"messageTLL":60,"messageTTL":60}`, "f.json: storage.messageTLL: warning: has no effect, since messageTTL is there too (remove it)")
	f(`"storage":{"mesageTTL":60}`, "f.json: storage.mesageTTL: warning: unknown key, has no effect (did you mean storage.messageTTL?)")
	f(`"publishmode":true`, "f.json: publishmode: warning: unknown key, has no effect (did you mean publishMode?)")
	f(`"maxPayload":5`, "f.json: maxPayload: warning: unknown key, has no effect (did you mean limits.maxPayload?)")
	f(`"securty":{"key":"x"}`, "f.json: securty: warning: unknown key, has no effect (did you mean security?)")
	f(`"zzz":1`, "f.json: zzz: warning: unknown key, has no effect")
	f(`"push":{"polTimeout":"40s"}`, "f.json: push.polTimeout: error: unknown key (did you mean push.pollTimeout?)")
	f(`"push":{"pollTimeout":40}`, `f.json: push.pollTimeout: error: must be a string with a duration (for example "40s")`)
	f(`"push":{"pollTimeout":"40"}`, `f.json: push.pollTimeout: error: "40" is not a duration (for example "40s", "300ms", "1m30s")`)
	f(`"push":{"pollTimeout":"2m"}`, `f.json: push.pollTimeout: error: "2m" is not between "1s" and "55s"`)
	f(`"push":{"logLevel":"loud"}`, `f.json: push.logLevel: error: "loud" is not a level (write debug, info, warn or error)`)
	f(`"push":{"metrics":"9100"}`, `f.json: push.metrics: error: "9100" is not an address (for example "127.0.0.1:9100")`)
	f(`"push":{"metrics":"127.0.0.1:9100"}`, "")
	f(`"push":{"statAllow":["127.0.0.1","::1","10.0.0.0/8","fd00::/8"]}`, "")
	f(`"push":{"statAllow":["127.0.0.1","10.0.0."]}`,
		`f.json: push.statAllow: error: "10.0.0." is neither an address nor a prefix (for example ["127.0.0.1", "10.0.0.0/8"])`)
	f(`"push":{"statAllow":[]}`,
		"f.json: push.statAllow: error: is empty: nobody could see the statistics (remove it, or servers[].routes.stat if nobody is to see them)")
	f(`"push":{"statAllow":"127.0.0.1"}`, `f.json: push.statAllow: error: must be an array of strings (for example ["10.0.0.1"])`)
	f(`"push":{"statAllow":null}`, "f.json: push.statAllow: warning: null is taken as absent (remove it)")
	f(`"push":{"statallow":["::1"]}`, "f.json: push.statallow: error: unknown key (did you mean push.statAllow?)")
	f(`"push":{"pubAllow":["10.0.0.0/8"]}`, "")
	f(`"push":{"pubAllow":["10.0.0.0/8","x"]}`,
		`f.json: push.pubAllow: error: "x" is neither an address nor a prefix (for example ["127.0.0.1", "10.0.0.0/8"])`)
	f(`"push":{"pubAllow":[]}`,
		"f.json: push.pubAllow: error: is empty: nobody could publish (remove it, or servers[].routes.pub if nobody is to publish)")
	f(`"push":{"drainTimeout":"5s","drainDelay":"5s"}`, "f.json: push.drainDelay: error: leaves nothing of push.drainTimeout, which is 5s (for example \"5s\", with a drainTimeout of \"20s\")")
	f(`"push":{"windowCount":1000}`, "f.json: push.windowCount: error: 1000 is not a power of two (for example 65536)")
	f(`"push":{"windowBytes":1000}`, "f.json: push.windowBytes: error: 1000 is less than limits.maxPayload, 1048576")
	f(`"push":{"historyTotal":50}`, "f.json: push.historyTotal: warning: 50 is less than push.historyPerChannel, 100")
	f(`"push":{"loops":-1}`, "f.json: push.loops: error: -1 is not between 0 and 1024")
	f(`"push":{"sharePort":true}`, "")
	f(`"push":{"sharePort":1}`, "f.json: push.sharePort: warning: is not a boolean and counts as false (write true or false)")
	f(`"push":{"sharePort":true},"storage":{"type":"memory"}`, `f.json: push.sharePort: error: what one process publishes would not reach the others: storage.type is "memory" (use storage.type "redis")`)
	f(`"storage":{"port":"x"}`, "f.json: storage.port: error: must be a whole number (for example 6379)")
	f(`"storage":{"host":5}`, "f.json: storage.host: warning: is a number and taken as text (write it in quotes)")
	f(`"storage":{"host":true}`, "f.json: storage.host: error: must be a string (write text in quotes)")
	f(`"storage":[]`, `f.json: storage: error: must be an object (write "storage": {…})`)
	f(`"storage":{"type":"mysql"}`, `f.json: storage.type: error: "mysql" is unknown (write "redis" or "memory")`)
	f(`"storage":{"socket":"http://x"}`, `f.json: storage.socket: error: "http" is not a scheme of Redis (write a path or a redis:// address)`)
	f(`"storage":{"messageTTL":-1}`, "f.json: storage.messageTTL: error: -1 is not between 0 and 315360000")
	f(`"clusterMode":"true"`, "f.json: clusterMode: warning: is not a boolean and counts as false (write true or false)")
	f(`"debug":{"ip":["10.0.0.1"],"folderName":"logs"}`, "")
	f(`"debug":{"ip":["10.0.0.1"]}`, "f.json: debug.ip: warning: has no effect: there are no log files (name a folder with debug.folderName)")
	f(`"debug":{"ip":"10.0.0.1"}`, `f.json: debug.ip: error: must be an array of strings (for example ["10.0.0.1"])`)
	f(`"limits":{"maxPayload":0}`, "f.json: limits.maxPayload: error: 0 is not between 1 and 2147483647")
	f(`"limits":{"maxRequestsPerSecond":50}`, "f.json: limits.maxRequestsPerSecond: warning: has no effect, as in the Node server")
	f(`"limits":{"maxConnPerChannel":0}`, "f.json: limits.maxConnPerChannel: warning: 0 counts as 1: a new connection must find room")
	f(`"limits":{"maxPayload":null}`, "f.json: limits.maxPayload: warning: null is taken as absent (remove it)")
	f(`"trustClients":false`, "f.json: cloudMode: error: cloud mode (one server for many portals, with licences) is not supported (remove trustClients and cloudMode)")
	f(`"cloudMode":true`, "f.json: cloudMode: error: cloud mode (one server for many portals, with licences) is not supported (remove trustClients and cloudMode)")
	f(`"cloudMode":"true"`, "f.json: cloudMode: warning: is not a boolean and has no effect (remove it)")
	f(`"publishMode":true,"storage":{"type":"memory"}`, `f.json: publishMode: error: what this process publishes would reach nobody: storage.type is "memory" (use storage.type "redis")`)
}

func TestProblemsOfOrigins(t *testing.T) {
	f := func(keys, want string) { t.Helper(); wantProblems(t, keys, want) }
	f(`"push":{"origins":["https://portal.example","*.portal.example"]}`, "")
	f(`"push":{"origins":["https://portal.example/x"]}`,
		`f.json: push.origins: error: "https://portal.example/x" is neither an origin nor a host (for example ["https://portal.example", "*.portal.example"])`)
	f(`"push":{"origins":[]}`, "f.json: push.origins: error: is empty: no page could open a WebSocket (remove it)")
}

// TestPingIntervalAndOnlineMarks: a ping renews the mark, so it must not come after its end.
func TestPingIntervalAndOnlineMarks(t *testing.T) {
	f := func(keys, want string) { t.Helper(); wantProblems(t, keys, want) }
	f(`"clusterMode":true,"push":{"pingInterval":"131s"}`, "f.json: push.pingInterval: warning: 2m11s is more than storage.onlineTTL and storage.onlineDelta together, 2m10s: who is connected counts as offline in between (at most storage.onlineTTL)")
	f(`"clusterMode":true,"push":{"pingInterval":"130s"}`, "")
	f(`"clusterMode":true,"storage":{"onlineTTL":60}`, "f.json: push.pingInterval: warning: 2m0s is more than storage.onlineTTL and storage.onlineDelta together, 1m10s: who is connected counts as offline in between (at most storage.onlineTTL)")
	f(`"push":{"pingInterval":"131s"}`, "")
	f(`"clusterMode":true,"storage":{"type":"memory","onlineTTL":60},"publishMode":false`,
		`f.json: clusterMode: warning: nothing is shared with other processes: storage.type is "memory" (use storage.type "redis")`)
}

func wantProblems(t *testing.T, keys, want string) {
	t.Helper()
	_, problems := load(t, "{"+minimal+","+keys+"}")
	if got := lines(problems); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestPrefixes(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		allowed, bad := Prefixes([]string{text})
		if got := fmt.Sprint(allowed, bad); got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
	f("127.0.0.1", "[127.0.0.1/32] []")
	f("10.0.0.0/8", "[10.0.0.0/8] []")
	f("::1", "[::1/128] []")
	f("fd00::/8", "[fd00::/8] []")
	f("::ffff:10.0.0.1", "[10.0.0.1/32] []")
	f("::ffff:10.0.0.0/104", "[10.0.0.0/8] []")
	f("::/0", "[::/0] []")
	f("10.0.0.", "[] [10.0.0.]")
	f("10.0.0.0/33", "[] [10.0.0.0/33]")
	f("fe80::1%eth0", "[] [fe80::1%eth0]")
	f("portal.example", "[] [portal.example]")
	f("", "[] []")
}

func TestProblemsOfSecurity(t *testing.T) {
	f := func(hostname, security, want string) {
		t.Helper()
		_, problems := load(t, `{"servers":[{"port":1,"hostname":"`+hostname+`"}],"security":{`+security+"}}")
		if got := lines(problems); !strings.Contains(got, want) || want == "" && got != "" {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		if strings.Contains(lines(problems), "secret") {
			t.Error("prints the key")
		}
	}
	f("127.0.0.1", `"key":"`+ExampleKey+`"`, "")
	f("0.0.0.0", `"key":"`+ExampleKey+`"`, "security.key: warning: is the one of the examples")
	f("127.0.0.1", ``, "security.key: warning: absent: a random key")
	f("127.0.0.1", `"key":"secret"`, "security.key: warning: has 6 characters")
	f("127.0.0.1", `"key":"0123456789abcdef","algo":"SHA256"`, "")
	f("127.0.0.1", `"key":"0123456789abcdef","algo":"crc"`, "security.algo: error")
	f("127.0.0.1", `"key":["0123456789abcdef","fedcba9876543210"]`, "")
	f("127.0.0.1", `"key":["0123456789abcdef","secret"]`, "security.key[1]: warning: has 6 characters")
	f("127.0.0.1", `"key":["0123456789abcdef","0123456789abcdef"]`, "security.key[1]: warning: is there twice")
	f("0.0.0.0", `"key":["0123456789abcdef","`+ExampleKey+`"]`, "security.key[1]: warning: is the one of the examples")
	f("127.0.0.1", `"key":["0123456789abcdef",5]`, "security.key[1]: error: must be a text that is not empty")
	f("127.0.0.1", `"key":[]`, "security.key: error: is an empty array")
	f("127.0.0.1", `"key":["key 1 of a portal"`+strings.Repeat(`,"another one"`, 8)+`]`, "security.key: error: has 9 keys, at most 8")
}

func TestProblemsOfServers(t *testing.T) {
	f := func(servers, want string) {
		t.Helper()
		_, problems := load(t, `{`+servers+`"security":{"key":"0123456789abcdef"}}`)
		if got := lines(problems); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	routes := func(keys string) string { return `"servers":[{"port":1,"routes":{` + keys + `}}],` }
	missing := `f.json: servers: error: is missing: there is nothing to listen at (write "servers": [{"port": 8010, "routes": {…}}])`
	f(``, missing)
	f(`"servers":[],`, "f.json: servers: warning: is empty: there is nothing to listen at")
	f(`"servers":{},`, "f.json: servers: error: must be an array of objects, one for each listener (write \"servers\": [{…}])\n"+missing)
	f(`"servers":[7],`, `f.json: servers[0]: error: must be an object (write {"port": 8010, "routes": {…}})`)
	f(`"servers":[{"port":99999}],`, "f.json: servers[0].port: error: 99999 is not between 0 and 65535")
	f(`"servers":[{"prot":1}],`, "f.json: servers[0].prot: warning: unknown key, has no effect (did you mean servers[].port?)")
	f(`"servers":[{"port":"8010"},{"port":8010}],`, "f.json: servers[1].port: error: 8010 is also the port of servers[0] () (give it a port of its own)")
	f(`"servers":[{"port":8010,"hostname":"127.0.0.1"},{"port":8010,"hostname":"127.0.0.2"}],`, "")
	f(`"servers":[{"port":1,"hostname":"no-such-host.invalid"}],`,
		`f.json: servers[0].hostname: warning: "no-such-host.invalid" has no address: listening on every interface, as the Node server does`)
	f(`"servers":[{"port":1,"hostname":"192.0.2.1"}],`,
		`f.json: servers[0].hostname: warning: "192.0.2.1" is not an address of this machine: listening on every interface, as the Node server does`)
	f(`"servers":[{"port":1,"ssl":{"key":"a","cert":"b"}}],`, "f.json: servers[0].ssl: error: certificate b with key a: open b: no such file or directory (paths are relative to the current directory)")
	f(`"servers":[{"port":1,"ssl":{"key":"a"}}],`,
		"f.json: servers[0].ssl: error: key or cert is missing (name the files with key and cert, or remove the section to serve without TLS)")
	f(routes(`"pub":"/p/","sub":"/p/s/","rest":"/p/","stat":"/x"`),
		"f.json: servers[0].routes.sub: warning: \"/p/s/\" is never reached, since \"/p/\" is pub (give it a path that does not begin with the other)\nf.json: servers[0].routes.rest: error: \"/p/\" is also pub (give it a path of its own)")
	f(routes(`"sub":"/x/","rest":"/x/"`), "")
	f(routes(`"sub":"x/"`), `f.json: servers[0].routes.sub: warning: "x/" does not begin with a slash, so no request fits (write /x/)`)
	f(routes(`"systemctl":"/s/"`), "f.json: servers[0].routes.systemctl: warning: belongs to cloud mode, which is not supported: not served")
	f(routes(`"sup":"/s/"`), "f.json: servers[0].routes.sup: warning: unknown key, has no effect (did you mean servers[].routes.sub?)")
}

func TestAddress(t *testing.T) {
	f := func(hostname, want string) {
		t.Helper()
		c, _ := load(t, `{"servers":[{"port":8010,"hostname":"`+hostname+`"}]}`)
		if got := c.Servers[0].Address; got != want {
			t.Errorf("%q: got %q, want %q", hostname, got, want)
		}
	}
	f("", ":8010")
	f("127.0.0.1", "127.0.0.1:8010")
	f("localhost", "127.0.0.1:8010")
	f("0.0.0.0", "0.0.0.0:8010")
	f("192.0.2.1", ":8010")
	f("not a host", ":8010")
}

func TestUnreadableFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	f := func(path, want string) {
		t.Helper()
		_, problems := Load(path)
		if got := lines(problems); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	f(dir, dir+": error: the folder has no file whose name ends in .json")
	f(dir+"/absent.json", dir+"/absent.json: error: no such file or directory")
	hint := " (comments and trailing commas are not allowed)"
	path := write("comma.json", "{\n  \"servers\": [],\n}")
	f(path, path+": error: not JSON: line 3, column 1: invalid character '}' looking for beginning of object key string"+hint)
	path = write("comment.json", "{ // x\n}")
	f(path, path+": error: not JSON: line 1, column 3: invalid character '/' looking for beginning of object key string"+hint)
	path = write("short.json", `{"servers":[`)
	f(path, path+": error: not JSON: line 1, column 12: unexpected end of JSON input (the file ends too early)")
	path = write("array.json", `[]`)
	f(path, path+": error: not JSON: must be an object, beginning with {"+hint)
	path = write("two.json", `{} {}`)
	f(path, path+": error: not JSON: line 1, column 4: invalid character '{' after top-level value (a file holds one object)")
}

func TestFolderIsReadInOrderOfNames(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"b.json", "a.json", "note.txt"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("{"+minimal+"}"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	all, problems := Load(dir, filepath.Join(dir, "note.txt"))
	if len(problems) > 0 || len(all) != 3 || all[0].File != dir+"/a.json" || all[1].File != dir+"/b.json" {
		t.Error(all, lines(problems))
	}
}

func TestLimitsOfStatistics(t *testing.T) {
	f := func(limits, want string) {
		t.Helper()
		c, _ := load(t, "{"+minimal+`,"limits":`+limits+"}")
		if got := string(c.LimitsJSON()); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	f(`{}`, `{"maxPayload":1048576,"maxConnPerChannel":100,"maxMessagesPerRequest":100,"maxChannelsPerRequest":100}`)
	f(`{"zebra":{"b":1,"a":[true,null]},"maxPayload":7,"maxRequestsPerSecond":50}`,
		`{"maxPayload":7,"maxConnPerChannel":100,"maxMessagesPerRequest":100,"maxChannelsPerRequest":100,"zebra":{"b":1,"a":[true,null]},"maxRequestsPerSecond":50}`)
}

func TestNearest(t *testing.T) {
	f := func(name, want string) {
		t.Helper()
		if got := nearestKey(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	f("limits.maxPayloads", "limits.maxPayload")
	f("limits.MAXPAYLOAD", "limits.maxPayload")
	f("key", "security.key")
	f("servers[].route", "servers[].routes")
	f("push.windowsCount", "push.windowCount")
	f("qwertyuiop", "")
}

func TestDistance(t *testing.T) {
	f := func(a, b string, want int) {
		t.Helper()
		if got := distance(a, b); got != want {
			t.Errorf("%s %s: got %d, want %d", a, b, got, want)
		}
	}
	f("", "", 0)
	f("abc", "", 3)
	f("", "abc", 3)
	f("kitten", "sitting", 3)
	f("port", "prot", 2)
}

// Whatever payload a file of the Node server allows, the defaults of what that server does not have make room for it.
func TestDefaultsFollowThePayload(t *testing.T) {
	f := func(payload int, keys string, valid bool) {
		t.Helper()
		c, problems := load(t, fmt.Sprintf(`{%s,"limits":{"maxPayload":%d}%s}`, minimal, payload, keys))
		if Valid(problems) != valid {
			t.Errorf("%d: %s", payload, lines(problems))
		}
		p := &c.Push
		if valid && min(p.WindowBytes, p.MaxBuffered, p.MemoryBytes) < payload {
			t.Errorf("%d: %+v", payload, p)
		}
	}
	f(1, "", true)
	f(2<<20, "", true)
	f(64<<20+1, "", true)
	f(300<<20, "", true)
	f(1<<31-1, "", true)
	f(2<<20, `,"push":{"windowBytes":1048576}`, false)
}
