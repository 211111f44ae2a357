package doctor

import (
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// exposed looks who reaches a location that publishes: who does may publish to everybody.
func (x *examination) exposed(l *location) {
	for b := l.block; b != nil; b = b.outer {
		for _, d := range append(b.own("deny"), append(b.own("auth_basic"), append(b.own("auth_request"), b.own("internal")...)...)...) {
			if d.Directive != "deny" || slices.Contains(d.Args, "all") {
				return
			}
		}
		if b.dir == nil || b.dir.Directive != "server" {
			continue
		}
		for _, d := range b.own("listen") {
			if len(d.Args) > 0 && !loopback(d.Args[0]) {
				x.add(Warning, "nginx-pub-open", at(d), fmt.Sprintf("everybody who reaches %s reaches %s", d.Args[0], l.sent),
					"who does may publish to everybody, without a signature; a firewall in front is not seen here", "listen 127.0.0.1:8895;")
			}
		}
		return
	}
}

func loopback(listen string) bool {
	if strings.HasPrefix(listen, "unix:") {
		return true
	}
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		host = listen // without a port, or the port alone
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// unused tells of ports that nobody comes to through nginx.
func (x *examination) unused() {
	var ports []string
	for i := range x.Config.Servers {
		s := &x.Config.Servers[i]
		if s.Routes.Sub == "" && s.Routes.Pub == "" && s.Routes.Rest == "" {
			continue
		}
		reached := slices.ContainsFunc(x.site.locations, func(l *location) bool {
			return slices.ContainsFunc(l.servers, func(u upstreamServer) bool { return x.listener(u.addr) == s })
		})
		if !reached {
			ports = append(ports, strconv.Itoa(s.Port))
		}
	}
	if len(ports) > 0 {
		x.add(Note, "nginx-port-unused", x.Nginx, "no location leads to "+strings.Join(ports, ", "), "nobody comes to these ports through nginx", "")
	}
}

// workers looks at how many connections nginx may have: a client of ours takes two.
func (x *examination) workers() {
	if x.site.main == nil {
		return
	}
	main := x.site.main
	each := int64(512)
	where := main
	for _, d := range main.own("events") {
		where = &block{outer: main, dir: d, in: d.Block}
		if text, found := where.value("worker_connections", "512"); found != nil {
			each, _ = strconv.ParseInt(text, 10, 64)
		}
	}
	text, _ := main.value("worker_processes", "1")
	processes, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		processes = int64(runtime.NumCPU()) // auto
	}
	_, line := where.value("worker_connections", "")
	wanted := 2 * int64(max(x.Config.Push.MaxConnections, 500))
	if each*processes < wanted {
		x.add(Warning, "nginx-worker-connections", at(line), fmt.Sprintf("%d workers have %d connections each", processes, each),
			fmt.Sprintf("a client takes two, one to nginx and one to the server: there is room for %d", each*processes/2), fmt.Sprintf("worker_connections %d;", max(16384, wanted/processes)))
	}
	files, found := main.value("worker_rlimit_nofile", "")
	if n, err := strconv.ParseInt(files, 10, 64); err == nil && n < each {
		x.add(Warning, "nginx-worker-files", at(found), fmt.Sprintf("a worker may open %d files, and have %d connections", n, each),
			"without a file there is no connection: clients are turned away", fmt.Sprintf("worker_rlimit_nofile %d;", 2*each))
	}
}

// duration reads a time as nginx writes it: 60, 60s, 1m 30s.
func duration(text string) (d time.Duration, ok bool) {
	units := map[string]time.Duration{"ms": time.Millisecond, "s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour, "": time.Second}
	for text = strings.ReplaceAll(text, " ", ""); text != ""; {
		digits := len(text) - len(strings.TrimLeft(text, "0123456789"))
		n, err := strconv.ParseInt(text[:digits], 10, 64)
		text = text[digits:]
		end := strings.IndexAny(text, "0123456789")
		if end < 0 {
			end = len(text)
		}
		unit, known := units[text[:end]]
		if err != nil || !known {
			return 0, false
		}
		d += time.Duration(n) * unit
		text = text[end:]
	}
	return d, true
}

// bytes reads a size as nginx writes it: 1024, 8k, 1m, 1g.
func bytes(text string) (n int64, ok bool) {
	factor := int64(1)
	for i, unit := range []string{"k", "m", "g"} {
		if rest, found := strings.CutSuffix(strings.ToLower(text), unit); found {
			text, factor = rest, 1<<(10*(i+1))
		}
	}
	n, err := strconv.ParseInt(text, 10, 64)
	return n * factor, err == nil
}
