package doctor

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"push-server/redisbus/redistest"
)

// Nothing is found in installations that are as they should be.
func TestHealthyInstallations(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t, "--appendonly", "yes")
	f := func(name string, s *setup) {
		t.Helper()
		r := s.examine()
		if r.Count(Error)+r.Count(Warning) > 0 {
			t.Errorf("%s:\n%s", name, s.text(r))
		}
	}
	f("BitrixVM", bitrixVM(t, redis.Addr()))
	f("container", container(t, redis.Addr()))
	f("memory", memory(t))
}

// What is led to a location with a name is not known, and not held against anybody.
func TestLocationsWithNames(t *testing.T) {
	t.Parallel()
	s := container(t, "")
	s.in.Redis = nil
	s.replace(main, "location ~* ^/bitrix/rest/ {", "location ~* ^/bitrix/rest/ { try_files /none @rest; }\n\t\tlocation @rest {")
	if r := s.examine(); r.Count(Error)+r.Count(Warning) > 0 {
		t.Error(s.text(r))
	}
}

// fault is one thing that is wrong with an installation that is healthy otherwise.
type fault struct {
	code, where string // where is a part of it
	severity    Severity
	breaks      func(s *setup)
}

const (
	confd = "nginx/conf.d/push-server.conf"
	snip  = "nginx/snippets/push-server-site.conf"
	main  = "nginx/nginx.conf"
	php   = "portal/bitrix/.settings.php"
)

// file has a file with other text.
func file(name, old, text string) func(s *setup) {
	return func(s *setup) { s.t.Helper(); s.replace(name, old, text) }
}

// kernel has a setting with another value.
func kernel(name, value string) func(s *setup) {
	return func(s *setup) { s.files["proc/sys/"+name] = value }
}

func setting(old, text string) func(s *setup) {
	return func(s *setup) { s.everywhere(old, text) }
}

var faults = []fault{
	{"configuration", "push-server-sub-8010.json: ", Warning, file("etc/push-server/push-server-sub-8010.json", `"messageTTL"`, `"messageTLL"`)},
	{"key-missing", "security.key", Error, setting(portalKey, "")},
	{"pub-open", `"pub-9010"`, Warning, file("etc/push-server/push-server-pub-9010.json", "127.0.0.1", "0.0.0.0")},

	{"descriptors-service", "push-server.service:", Warning, file("etc/systemd/system/push-server.service", "LimitNOFILE=1048576", "LimitNOFILE=4096")},
	{"descriptors-service", "limits.conf:2", Warning, func(s *setup) {
		s.files["etc/systemd/system/push-server.service.d/limits.conf"] = "[Service]\nLimitNOFILE=1024:8192\n"
	}},
	{"descriptors-user", "this user", Warning, func(s *setup) {
		delete(s.files, "etc/systemd/system/push-server.service")
		s.in.Descriptors = func() (uint64, error) { return 1024, nil }
	}},
	{"nr-open", "fs.nr_open", Warning, kernel("fs/nr_open", "65536")},
	{"file-max", "fs.file-max", Warning, kernel("fs/file-max", "10000")},
	{"somaxconn", "net.core.somaxconn", Warning, kernel("net/core/somaxconn", "128")},
	{"syn-backlog", "tcp_max_syn_backlog", Warning, func(s *setup) {
		kernel("net/ipv4/tcp_max_syn_backlog", "128")(s)
		kernel("net/ipv4/tcp_syncookies", "0")(s)
	}},
	{"port-range", "ip_local_port_range", Warning, kernel("net/ipv4/ip_local_port_range", "60000 61000")},
	{"port-taken", "ip_local_port_range", Warning, kernel("net/ipv4/ip_local_port_range", "8015 65535")},
	{"conntrack-max", "nf_conntrack_max", Warning, kernel("net/netfilter/nf_conntrack_max", "16384")},
	{"conntrack-full", "nf_conntrack_max", Error, kernel("net/netfilter/nf_conntrack_count", "1000000")},
	{"tcp-memory", "tcp_mem", Warning, kernel("net/ipv4/tcp_mem", "1 2 3")},

	{"nginx-upstream-nobody", confd + ":7", Warning, file(confd, "127.0.0.1:8011", "127.0.0.1:8021")},
	{"nginx-upstream-nobody", confd, Error, file(confd, "127.0.0.1:9010", "127.0.0.1:9020")},
	{"nginx-route-missing", "nginx", Warning, file(snip, "proxy_pass http://push_pub/bitrix/rest/;", "return 404;")},
	{"nginx-path", snip + ":7", Error, file(snip, "proxy_pass http://push_sub/bitrix/subws/;", "proxy_pass http://push_sub/;")},
	{"nginx-path", snip, Error, file(snip, "/bitrix/subws/$1 break", "/subws/$1 break")},
	{"nginx-scheme", snip, Error, file(snip, "proxy_pass http://push_sub/bitrix/subws/", "proxy_pass https://push_sub/bitrix/subws/")},
	{"nginx-variable", snip, Note, file(snip, "proxy_pass http://push_pub/bitrix/rest/", "proxy_pass http://$somebody/bitrix/rest/")},
	{"nginx-read-timeout", snip, Error, file(snip, "proxy_read_timeout 5m", "proxy_read_timeout 30s")},
	{"nginx-read-timeout", snip, Warning, file(snip, "proxy_read_timeout 5m;", "")},
	{"nginx-send-timeout", main, Warning, file(main, "http {", "http {\n send_timeout 5;")},
	{"nginx-http-version", snip, Error, file(snip, "proxy_http_version 1.1;", "")},
	{"nginx-upgrade", snip, Error, file(snip, "proxy_set_header Upgrade $http_upgrade;", "")},
	{"nginx-connection", snip, Error, file(snip, "proxy_set_header Connection $push_connection;", "proxy_set_header Connection close;")},
	{"nginx-forwarded-for", snip, Note, file(snip, "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;", "")},
	{"nginx-client-address", snip, Warning, func(s *setup) {
		setting(`"limits": {`, `"push": {"trustedProxies": ["127.0.0.1"]}, "limits": {`)(s)
		file(snip, "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;", "")(s)
	}},
	{"nginx-untrusted", confd, Error, setting(`"limits": {`, `"push": {"perAddress": {"connections": 50}, "trustedProxies": ["10.0.0.1"]}, "limits": {`)},
	{"nginx-body-size", confd, Warning, file(confd, "client_max_body_size 1m", "client_max_body_size 100k")},
	{"nginx-body-size", confd, Warning, setting(`"maxPayload": 1048576`, `"maxPayload": 4194304`)},
	{"nginx-keepalive", confd, Note, file(confd, "keepalive 64;", "")},
	{"nginx-client-abort", confd, Note, file(confd, "proxy_ignore_client_abort on;", "")},
	{"nginx-pub-open", confd, Warning, file(confd, "listen 127.0.0.1:8895", "listen 8895")},
	{"nginx-worker-connections", main + ":3", Warning, file(main, "worker_connections 16384", "worker_connections 200")},
	{"nginx-worker-files", main + ":2", Warning, file(main, "worker_rlimit_nofile 65536", "worker_rlimit_nofile 1024")},
	{"nginx-unreadable", main, Error, file(main, "http {", "http { {")},

	{"portal-key", php, Error, file(php, portalKey, "another")},
	{"portal-key", php, Error, file(php, portalKey, "")},
	{"portal-algo", php, Error, file(php, "'sha1'", "'sha256'")},
	{"portal-off", php, Error, file(php, "'nginx' => 'Y'", "'nginx' => 'N'")},
	{"portal-shared", php, Error, file(php, "'push' => 'Y'", "'push' => 'Y', 'server_mode' => 'shared'")},
	{"portal-version", php, Error, file(php, "'nginx_version' => '4'", "'nginx_version' => 5")},
	{"portal-version", php, Warning, file(php, "'nginx_version' => '4'", "'nginx_version' => '2'")},
	{"portal-payload", php, Warning, file(php, "'push' => 'Y'", "'limit_max_payload' => 8388608")},
	{"portal-messages", "settings.php", Warning, setting(`"maxMessagesPerRequest": 100`, `"maxMessagesPerRequest": 50`)},
	{"portal-channels", "settings.php", Warning, setting(`"maxChannelsPerRequest": 100`, `"maxChannelsPerRequest": 50`)},
	{"portal-publish", php, Error, file(php, "8895/bitrix/pub/", "8896/bitrix/pub/")},
	{"portal-publish", php, Error, file(php, "8895/bitrix/pub/", "9010/bitrix/publish/")},
	{"portal-publish", php, Error, file(php, "8895/bitrix/pub/", "8895/pub/")},
	{"portal-path", php, Error, file(php, "wss://#DOMAIN#/bitrix/subws/", "wss://#DOMAIN#/subws/")},
	{"portal-path", php, Error, file(php, "https://#DOMAIN#/bitrix/rest/", "https://#DOMAIN#/rest/")},
	{"portal-address", php, Error, file(php, "'http://127.0.0.1:8895/bitrix/pub/'", "'/bitrix/pub/'")},
	{"portal-unreadable", php, Error, file(php, "return array(", "return array(((")},
}

// Each of them is found by its name, in its place, and no error or warning beside it is about something else.
func TestBrokenInstallations(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t, "--appendonly", "yes")
	for _, f := range faults {
		s := bitrixVM(t, redis.Addr())
		f.breaks(s)
		found(t, s, f)
	}
}

func found(t *testing.T, s *setup, f fault) {
	t.Helper()
	r := s.examine()
	if !slices.ContainsFunc(r.Findings, func(got Finding) bool {
		return got.Code == f.code && got.Severity == f.severity && strings.Contains(got.Where, f.where) && got.Found != "" && got.Why != ""
	}) {
		t.Errorf("%v %s at %s was not found:\n%s", f.severity, f.code, f.where, s.text(r))
	}
	for _, other := range r.Findings {
		if other.Code != f.code && other.Code != "configuration" && other.Severity > Note && !strings.HasPrefix(other.Code, strings.SplitAfter(f.code, "-")[0]) {
			t.Errorf("beside %s: %+v", f.code, other)
		}
	}
	if text := s.text(r); strings.Contains(text, portalKey) {
		t.Errorf("%s: the key is printed:\n%s", f.code, text)
	}
}

func TestReportIsJSON(t *testing.T) {
	t.Parallel()
	s := memory(t)
	s.files["proc/sys/net/core/somaxconn"] = "128"
	text, err := json.Marshal(s.examine())
	if err != nil {
		t.Fatal(err)
	}
	want := `{"code":"somaxconn","severity":"warning","where":"net.core.somaxconn","found":"it is 128"`
	if !strings.Contains(string(text), want) {
		t.Errorf("%s has no %s", text, want)
	}
}

func TestTimesAndSizesOfNginx(t *testing.T) {
	for text, want := range map[string]time.Duration{"60": time.Minute, "5m": 5 * time.Minute, "1m 30s": 90 * time.Second, "500ms": 500 * time.Millisecond, "1h30m": 90 * time.Minute} {
		if got, ok := duration(text); !ok || got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
	for text, want := range map[string]int64{"1": 1, "8k": 8 << 10, "1m": 1 << 20, "2G": 2 << 30} {
		if got, ok := bytes(text); !ok || got != want {
			t.Errorf("%s: %d", text, got)
		}
	}
	if _, ok := duration("$time"); ok {
		t.Error("a variable is taken for a time")
	}
}
