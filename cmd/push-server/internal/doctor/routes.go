package doctor

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	crossplane "github.com/nginxinc/nginx-go-crossplane"

	"push-server/configs"
)

// route is a kind of path of a listener.
type route struct {
	name string
	path func(*configs.Routes) string
}

var allRoutes = []route{
	{"sub", func(r *configs.Routes) string { return r.Sub }},
	{"pub", func(r *configs.Routes) string { return r.Pub }},
	{"rest", func(r *configs.Routes) string { return r.Rest }},
	{"stat", func(r *configs.Routes) string { return r.Stat }},
}

// listener is ours at that address of nginx; nil: nobody of this configuration listens there.
func (x *examination) listener(addr string) *configs.Server {
	_, text, err := net.SplitHostPort(addr)
	port, err2 := strconv.Atoi(text)
	if err != nil || err2 != nil {
		return nil
	}
	for i := range x.Config.Servers {
		if x.Config.Servers[i].Port == port {
			return &x.Config.Servers[i]
		}
	}
	return nil
}

// takes says which route of s takes a path, as the server looks for it.
func takes(s *configs.Server, path string) (name string) {
	for _, r := range allRoutes {
		want := r.path(&s.Routes)
		if want != "" && (strings.HasPrefix(path, want) || path+"/" == want) {
			return r.name
		}
	}
	return ""
}

// reachable are the routes of s that l leads to. A location that changes no path may be about all that begin like it.
func reachable(l *location, s *configs.Server) (names []string) {
	if name := takes(s, l.arrives); name != "" {
		return []string{name}
	}
	for _, r := range allRoutes {
		if want := r.path(&s.Routes); want != "" && l.arrives != "" && l.arrives == l.sent && strings.HasPrefix(want, l.sent) {
			names = append(names, r.name)
		}
	}
	return names
}

// wanted says which route of this configuration a path is about, whoever serves it.
func (x *examination) wanted(path string) string {
	for i := range x.Config.Servers {
		if name := takes(&x.Config.Servers[i], path); path != "" && path != "/" && name != "" {
			return name
		}
	}
	return ""
}

// routes looks at each location that leads to us or should.
func (x *examination) routes() {
	reached := map[string]bool{}
	for _, l := range x.site.locations {
		if l.sent == "" {
			x.unseen(l, reached)
			continue
		}
		names, ours := x.leads(l)
		if name := x.wanted(l.sent); l.target == nil && name != "" {
			x.add(Note, "nginx-variable", at(l.pass), "where "+l.sent+" leads depends on variables", "it could not be looked at", "")
			reached[name] = true
		}
		for _, name := range names {
			reached[name] = reached[name] || ours
			x.headers(l, name)
			x.clients(l, name)
			x.timeouts(l, name)
			x.publishing(l, name)
		}
	}
	for _, r := range allRoutes[:3] {
		for i := range x.Config.Servers {
			s := &x.Config.Servers[i]
			if path := r.path(&s.Routes); path != "" && !reached[r.name] {
				reached[r.name] = true // said once
				x.add(Warning, "nginx-route-missing", x.Nginx, fmt.Sprintf("no location leads to the route %s of port %d", r.name, s.Port), lost[r.name],
					fmt.Sprintf("location %s { proxy_pass http://127.0.0.1:%d%s; … }: see push-server-site.conf", path, s.Port, path))
			}
		}
	}
	x.unused()
}

// unseen takes a location with a name for one that leads wherever it can: what is sent there, other directives decide.
func (x *examination) unseen(l *location, reached map[string]bool) {
	for _, to := range l.servers {
		for _, r := range allRoutes {
			if s := x.listener(to.addr); s != nil && r.path(&s.Routes) != "" {
				reached[r.name] = true
			}
		}
	}
}

// lost is what does not work without a route.
var lost = map[string]string{
	"sub":  "nobody can subscribe through nginx",
	"pub":  "the portal cannot publish through nginx",
	"rest": "clients cannot publish over HTTP through nginx",
}

// leads says which routes a location is about, and whether it leads to them.
func (x *examination) leads(l *location) (names []string, ours bool) {
	var strangers []upstreamServer
	for _, s := range l.servers {
		listener := x.listener(s.addr)
		if listener == nil {
			strangers = append(strangers, s)
			continue
		}
		ours = true
		x.scheme(l, listener, s)
		found := reachable(l, listener)
		if len(found) == 0 {
			found = x.mistaken(l, listener, s)
		}
		names = found
	}
	if name := x.wanted(l.arrives); len(names) == 0 && !ours && name != "" {
		names = []string{name}
	}
	if len(names) == 0 {
		return nil, false
	}
	for _, s := range strangers {
		severity, why, change := Error, "every request of this location is answered 502", "server "+x.example(names[0])+";"
		if ours {
			severity, why = Warning, "requests that nginx sends there wait or fail before another server is tried"
			change = "remove the line, or give all files of the installation with --config"
		}
		if local(s.addr) {
			x.add(severity, "nginx-upstream-nobody", s.where, s.addr+", where no listener of this configuration is", why, change)
		}
	}
	return names, ours
}

// scheme looks whether both ends speak TLS, or neither.
func (x *examination) scheme(l *location, s *configs.Server, to upstreamServer) {
	want := "http"
	if s.SSL != nil {
		want = "https"
	}
	if l.target.Scheme != want {
		x.add(Error, "nginx-scheme", at(l.pass), fmt.Sprintf("%s is spoken to in %s, and port %d expects %s", to.addr, l.target.Scheme, s.Port, want),
			"every request is answered 502", fmt.Sprintf("proxy_pass %s://%s%s;", want, l.target.Host, l.target.Path))
	}
}

// mistaken is about a location that leads to one of our ports with a path that nobody there serves.
func (x *examination) mistaken(l *location, s *configs.Server, to upstreamServer) (names []string) {
	name := x.wanted(l.sent)
	if l.arrives == "" || l.arrives == "/" && name == "" {
		return nil // nothing is known of what clients send
	}
	var paths []string
	for _, r := range allRoutes {
		if path := r.path(&s.Routes); path != "" {
			paths = append(paths, path)
		}
	}
	change := ""
	if len(paths) > 0 {
		change = fmt.Sprintf("proxy_pass %s://%s%s;", l.target.Scheme, l.target.Host, paths[0])
	}
	x.add(Error, "nginx-path", at(l.pass), fmt.Sprintf("what is asked for as %s arrives at %s as %s, which serves %s", l.sent, to.addr, l.arrives, strings.Join(paths, ", ")),
		"it is answered 404", change)
	if name == "" {
		return nil
	}
	return []string{name}
}

// local says whether an address may be one of this machine: of others this configuration says nothing.
func local(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return true // a name may be anything; it is that of the machine in many installations
	}
	return ip.IsLoopback() || ip.IsUnspecified()
}

// example is an address of this configuration with that route.
func (x *examination) example(name string) string {
	for _, r := range allRoutes {
		for i := range x.Config.Servers {
			if s := &x.Config.Servers[i]; r.name == name && r.path(&s.Routes) != "" {
				return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.Port))
			}
		}
	}
	return "127.0.0.1:PORT"
}

// socket says whether WebSockets come through l: the path that clients are told for them arrives as it was sent.
func (l *location) socket(name string) bool { return name == "sub" && len(l.own("rewrite")) == 0 }

func (x *examination) headers(l *location, name string) {
	where := at(l.dir)
	if l.socket(name) {
		if version, d := l.value("proxy_http_version", "1.0"); version == "1.0" {
			x.add(Error, "nginx-http-version", at(d), "requests are passed on in HTTP/1.0", "there is no WebSocket in it: every one is refused", "proxy_http_version 1.1;")
		}
		if l.header("Upgrade") == "" {
			x.add(Error, "nginx-upgrade", where, "the header Upgrade is not passed on", "a WebSocket arrives as a long poll, and fails", "proxy_set_header Upgrade $http_upgrade;")
		}
		if c := l.header("Connection"); !strings.Contains(strings.ToLower(c), "upgrade") && !strings.HasPrefix(c, "$") {
			x.add(Error, "nginx-connection", where, "the header Connection is not passed on", "a WebSocket arrives as a long poll, and fails", "proxy_set_header Connection $push_connection;")
		}
	}
	if d := &x.Config.Debug; d.TrustProxy && (name == "sub" || name == "rest") && l.header("X-Forwarded-For") == "" {
		x.add(Note, "nginx-forwarded-for", where, "the header X-Forwarded-For is not passed on, and debug.trustProxy is true",
			"debug.ip finds nobody, and refusals have the address of nginx", "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;")
	}
}

// clients looks whether the server can tell them apart, if it has to.
func (x *examination) clients(l *location, name string) {
	push := &x.Config.Push
	if name != "sub" {
		return
	}
	if push.TrustedProxies != nil && l.header("X-Forwarded-For") == "" && l.header("X-Real-IP") == "" {
		x.add(Warning, "nginx-client-address", at(l.dir), "neither X-Forwarded-For nor X-Real-IP is passed on, and push.trustedProxies waits for them",
			"all clients count as nginx, without limits", "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;")
	}
	if push.PerAddress.Connections == 0 && push.PerAddress.ConnectRate == 0 {
		return
	}
	trusted, _ := configs.Prefixes(push.TrustedProxies)
	for _, s := range l.servers {
		to, err := netip.ParseAddrPort(s.addr)
		if err != nil || !to.Addr().IsLoopback() || x.listener(s.addr) == nil {
			continue // from which address nginx connects is not known
		}
		if !slices.ContainsFunc(trusted, func(p netip.Prefix) bool { return p.Contains(to.Addr()) }) {
			x.add(Error, "nginx-untrusted", s.where, "nginx connects from "+to.Addr().String()+", which is not in push.trustedProxies, and push.perAddress has limits",
				"all clients behind nginx are one address, and share its limits", fmt.Sprintf(`"trustedProxies": [%q]`, to.Addr()))
			return // said once
		}
	}
}

// shortSend is less than a client on a bad line may take nothing for.
const shortSend = 10 * time.Second

func (x *examination) timeouts(l *location, name string) {
	if name != "sub" {
		return
	}
	push := &x.Config.Push
	text, d := l.value("proxy_read_timeout", "60s")
	timeout, ok := duration(text)
	switch {
	case !ok:
	case timeout <= push.PollTimeout:
		x.add(Error, "nginx-read-timeout", at(d), "proxy_read_timeout is "+text+", and a long poll lasts "+push.PollTimeout.String(),
			"polls end with 504 before there is an answer", "proxy_read_timeout 5m;")
	case timeout <= push.PingInterval && l.socket(name):
		x.add(Warning, "nginx-read-timeout", at(d), "proxy_read_timeout is "+text+", and push.pingInterval "+push.PingInterval.String(),
			"a WebSocket without messages is cut off between two pings, and comes back, again and again", "proxy_read_timeout 5m;")
	}
	for _, name := range []string{"proxy_send_timeout", "send_timeout"} {
		text, d := l.value(name, "60s")
		if timeout, ok := duration(text); ok && timeout < shortSend {
			x.add(Warning, "nginx-send-timeout", at(d), name+" is "+text, "who does not read for so long is cut off, on mobile lines many times a day", name+" 60s;")
		}
	}
}

func (x *examination) publishing(l *location, name string) {
	if name != "pub" && name != "rest" {
		return
	}
	text, d := l.value("client_max_body_size", "1m")
	if size, ok := bytes(text); ok && size > 0 && size < int64(x.Config.Limits.MaxPayload) {
		x.add(Warning, "nginx-body-size", at(d), fmt.Sprintf("client_max_body_size is %s, and limits.maxPayload %d", text, x.Config.Limits.MaxPayload),
			"larger publications are refused by nginx with 413, and the portal does not look at the answer", fmt.Sprintf("client_max_body_size %d;", x.Config.Limits.MaxPayload))
	}
	if name != "pub" {
		return
	}
	if version, _ := l.value("proxy_http_version", "1.0"); version == "1.0" || l.keepalive(x.site) == nil {
		x.add(Note, "nginx-keepalive", at(l.dir), "connections to the server are not used again", "each publication opens one, and leaves a local port for a minute",
			"proxy_http_version 1.1; proxy_set_header Connection ''; and in the upstream: keepalive 64;")
	}
	if ignore, _ := l.value("proxy_ignore_client_abort", "off"); ignore != "on" {
		x.add(Note, "nginx-client-abort", at(l.dir), "proxy_ignore_client_abort is off", "a publication is given up when PHP, which waits a second at most, does not wait for the answer",
			"proxy_ignore_client_abort on;")
	}
	x.exposed(l)
}

func (l *location) keepalive(s *site) *crossplane.Directive {
	if l.target == nil {
		return nil
	}
	up := s.upstreams[l.target.Host]
	if up == nil {
		return nil
	}
	if found := up.own("keepalive"); len(found) > 0 {
		return found[0]
	}
	return nil
}
