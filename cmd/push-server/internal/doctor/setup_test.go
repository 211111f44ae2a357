package doctor

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"push-server/configs"
	"push-server/redisbus"
)

const root = "../../../../"

// setup is an installation in a folder of its own. A test breaks one thing of it before it is examined.
type setup struct {
	t     *testing.T
	dir   string
	files map[string]string // by name: etc/push-server/…, nginx/…, portal/…, proc/sys/…
	in    Installation
}

// kernelOf is a machine that was made ready for many clients.
func kernelOf() map[string]string {
	files := map[string]string{
		"proc/net/sockstat": "sockets: used 100\nTCP: inuse 10 orphan 0 tw 0 alloc 12 mem 3\nUDP: inuse 1 mem 1\n",
	}
	for name, value := range map[string]string{
		"net/core/somaxconn": "16384", "net/ipv4/tcp_max_syn_backlog": "16384", "net/ipv4/tcp_syncookies": "1",
		"net/ipv4/ip_local_port_range": "10240\t65535", "net/ipv4/ip_local_reserved_ports": "", "fs/nr_open": "1048576", "fs/file-max": "9223372036854775807",
		"net/netfilter/nf_conntrack_max": "1048576", "net/netfilter/nf_conntrack_count": "20", "net/ipv4/tcp_mem": "90000\t120000\t180000",
	} {
		files["proc/sys/"+name] = value + "\n"
	}
	return files
}

func newSetup(t *testing.T) *setup {
	return &setup{t: t, dir: t.TempDir(), files: kernelOf(), in: Installation{
		Descriptors: func() (uint64, error) { return 1 << 20, nil },
		Synchronous: func() (bool, error) { return true, nil },
	}}
}

func (s *setup) shipped(name string) string {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		s.t.Fatal(err)
	}
	return string(text)
}

var portalKey = strings.Repeat("aB1", 40)

// bitrixVM is eight files as push-server-multi writes them, with the files of this repository for nginx.
func bitrixVM(t *testing.T, redis string) *setup {
	s := newSetup(t)
	fill := func(kind string, port int) {
		text := s.shipped("configs/bitrixvm/push-server-" + kind + "-__PORT__.json")
		s.files[fmt.Sprintf("etc/push-server/push-server-%s-%d.json", kind, port)] = strings.NewReplacer(
			"__PORT__", fmt.Sprint(port), "__WS_HOST__", "127.0.0.1", "__IP_LIST__", `"10.0.0.0/24"`, "__PUBPATH__", "/bitrix/pub/", "__SUBWSPATH__", "/bitrix/subws/",
			"__RESTPATH__", "/bitrix/rest/", "__REDIS_SOCK__", redis, "__SECURITY_KEY__", portalKey, "__VAR_DIR__", s.dir).Replace(text)
	}
	for port := 8010; port <= 8015; port++ {
		fill("sub", port)
	}
	fill("pub", 9010)
	fill("pub", 9011)
	s.files["etc/systemd/system/push-server.service"] = s.shipped("configs/systemd/push-server.service")
	s.files["nginx/nginx.conf"] = `worker_processes 2;
worker_rlimit_nofile 65536;
events { worker_connections 16384; }
http {
	include conf.d/*.conf;
	server {
		listen 80;
		include snippets/push-server-site.conf;
		location / { proxy_pass http://127.0.0.1:8888; }
	}
}
`
	s.files["nginx/conf.d/push-server.conf"] = s.shipped("configs/nginx/push-server.conf")
	s.files["nginx/snippets/push-server-site.conf"] = s.shipped("configs/nginx/push-server-site.conf")
	text := s.shipped("configs/MIGRATION.md")
	_, text, _ = strings.Cut(text, "```php\n")
	text, _, _ = strings.Cut(text, "```")
	s.files["portal/bitrix/.settings.php"] = "<?php\nreturn array(\n'utf_mode' => ['value' => true, 'readonly' => true],\n" + strings.Replace(text, "…", portalKey, 1) + ");\n"
	s.in.Redis = &redisbus.Options{Addr: redis}
	return s
}

// container is one process for everything, as the entry point of the image writes its configuration, behind an nginx in another container.
func container(t *testing.T, redis string) *setup {
	s := newSetup(t)
	s.files[".dockerenv"] = ""
	s.files["etc/push-server/push.json"] = fmt.Sprintf(`{"servers": [
	{"name": "sub", "hostname": "0.0.0.0", "port": 8010, "routes": {"sub": "/bitrix/subws/"}},
	{"name": "pub", "hostname": "0.0.0.0", "port": 9010, "routes": {"pub": "/bitrix/pub/", "rest": "/bitrix/rest/", "stat": "/server-stat/"}}],
	"clusterMode": true, "storage": {"type": "redis", "socket": %q}, "security": {"key": %q}, "debug": {"trustProxy": true}}`, redis, portalKey)
	s.files["nginx/nginx.conf"] = `worker_processes auto;
events { worker_connections 4096; }
http {
	upstream push-sub { server push-sub:8010; keepalive 16; }
	upstream push-pub { server push-pub:9010; keepalive 16; }
	map $http_upgrade $connection_upgrade { default upgrade; '' close; }
	server {
		listen 80;
		location ~* ^/bitrix/subws/ {
			proxy_pass http://push-sub;
			proxy_http_version 1.1;
			proxy_set_header Upgrade $http_upgrade;
			proxy_set_header Connection $connection_upgrade;
			proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
			proxy_read_timeout 43800;
		}
		location ~* ^/bitrix/sub/ {
			rewrite ^/bitrix/sub/(.*)$ /bitrix/subws/$1 break;
			proxy_pass http://push-sub;
			proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
			proxy_read_timeout 43800;
		}
		location ~* ^/bitrix/rest/ {
			proxy_pass http://push-pub;
			proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
		}
		location /bitrix/pub/ { allow 10.0.0.0/8; deny all; proxy_ignore_client_abort on; proxy_pass http://push-pub; }
	}
}
`
	s.in.Redis = &redisbus.Options{Addr: redis}
	return s
}

// memory is configs/standalone.json with a key of its own.
func memory(t *testing.T) *setup {
	s := newSetup(t)
	s.files["etc/push-server/standalone.json"] = strings.Replace(s.shipped("configs/standalone.json"), configs.ExampleKey, portalKey, 1)
	return s
}

// replace changes a file, which must have the old text.
func (s *setup) replace(name, old, text string) {
	s.t.Helper()
	if !strings.Contains(s.files[name], old) {
		s.t.Fatalf("%s has no %q:\n%s", name, old, s.files[name])
	}
	s.files[name] = strings.ReplaceAll(s.files[name], old, text)
}

// everywhere changes all files of the configuration.
func (s *setup) everywhere(old, text string) {
	s.t.Helper()
	for name := range s.files {
		if strings.HasPrefix(name, "etc/push-server/") && strings.Contains(s.files[name], old) {
			s.replace(name, old, text)
		}
	}
}

func (s *setup) examine() *Report {
	s.t.Helper()
	for name, text := range s.files {
		file := filepath.Join(s.dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			s.t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
	all, problems := configs.Load(filepath.Join(s.dir, "etc/push-server"))
	if !configs.Valid(problems) {
		s.t.Fatal(problems)
	}
	c, more := configs.Join(all)
	s.in.Config, s.in.Problems, s.in.Root = c, append(problems, more...), s.dir
	if exists(filepath.Join(s.dir, "nginx")) {
		s.in.Nginx = filepath.Join(s.dir, "nginx")
	}
	if exists(filepath.Join(s.dir, "portal")) {
		s.in.Portal = filepath.Join(s.dir, "portal")
	}
	if s.in.Redis != nil {
		s.in.Redis.DialTimeout = 5 * time.Second
	}
	return s.in.Examine(s.t.Context())
}

func (s *setup) text(r *Report) string {
	var b strings.Builder
	r.Print(&b)
	return b.String()
}
