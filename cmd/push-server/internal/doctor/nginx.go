package doctor

import (
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	crossplane "github.com/nginxinc/nginx-go-crossplane"
)

// site is what a configuration of nginx says about us.
type site struct {
	main      *block            // of nginx.conf; nil: only parts of one are there
	upstreams map[string]*block // by name
	locations []*location
	listens   []*crossplane.Directive
	broken    bool // something was found that leads requests astray: what the portal says about paths is not held against it
}

// block is a block of nginx with those around it.
type block struct {
	outer *block
	dir   *crossplane.Directive // nil: the file
	in    crossplane.Directives
}

// location is one that passes requests on to somebody.
type location struct {
	*block
	pass    *crossplane.Directive // proxy_pass
	target  *url.URL              // of pass; nil: it is made of variables
	servers []upstreamServer
	sent    string // a path that a client may send
	arrives string // what of it arrives behind nginx
}

// upstreamServer is one that nginx passes requests on to.
type upstreamServer struct {
	addr  string
	where string
}

func at(d *crossplane.Directive) string {
	if d == nil {
		return "nginx"
	}
	return fmt.Sprintf("%s:%d", d.File, d.Line)
}

// own are the directives of that name in b itself.
func (b *block) own(name string) (found []*crossplane.Directive) {
	for _, d := range b.in {
		if d.Directive == name {
			found = append(found, d)
		}
	}
	return found
}

// all are the directives of that name that count in b: those of the innermost block that has any.
func (b *block) all(name string) []*crossplane.Directive {
	for ; b != nil; b = b.outer {
		if found := b.own(name); len(found) > 0 {
			return found
		}
	}
	return nil
}

// value is the first argument of a directive, or what counts without it.
func (b *block) value(name, otherwise string) (value string, where *crossplane.Directive) {
	if found := b.all(name); len(found) > 0 && len(found[0].Args) > 0 {
		return found[0].Args[0], found[0]
	}
	return otherwise, b.dir
}

// header is what b sends as that header; "": nothing, as nginx takes it.
func (b *block) header(name string) string {
	for _, d := range b.all("proxy_set_header") {
		if len(d.Args) > 1 && strings.EqualFold(d.Args[0], name) {
			return d.Args[1]
		}
	}
	return ""
}

func (x *examination) nginx() {
	files, whole, err := nginxFiles(x.Nginx)
	if err != nil {
		x.add(Error, "nginx-unreadable", x.Nginx, err.Error(), "nothing can be said about nginx", "--nginx /etc/nginx")
		return
	}
	s := &site{upstreams: make(map[string]*block)}
	for _, file := range files {
		parsed, err := parseNginx(file)
		if err != nil {
			x.add(Error, "nginx-unreadable", file, err.Error(), "nginx does not start with it, or it is not what nginx reads: nothing more is said about it", "nginx -t says what is wrong")
			return
		}
		top := &block{in: parsed}
		if whole {
			s.main = top
		}
		s.collect(top)
	}
	for _, l := range s.locations {
		l.resolve(s)
	}
	x.site = s
	x.routes()
	s.broken = slices.ContainsFunc(x.Findings, func(f Finding) bool { return strings.HasPrefix(f.Code, "nginx-") && f.Severity > Note })
	x.workers()
}

// parseNginx reads a file with all that it includes.
func parseNginx(file string) (crossplane.Directives, error) {
	payload, err := crossplane.Parse(file, &crossplane.ParseOptions{CombineConfigs: true, SkipDirectiveContextCheck: true, SkipDirectiveArgsCheck: true})
	switch {
	case err != nil:
		return nil, err
	case len(payload.Errors) > 0:
		return nil, payload.Errors[0].Error
	case len(payload.Config) == 0:
		return nil, nil
	}
	return payload.Config[0].Parsed, nil
}

// nginxFiles are the files to begin with: nginx.conf, where there is one, or else all that may be included by one.
func nginxFiles(path string) (files []string, whole bool, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, false, err
	}
	if !info.IsDir() {
		return []string{path}, filepath.Base(path) == "nginx.conf", nil
	}
	if main := filepath.Join(path, "nginx.conf"); exists(main) {
		return []string{main}, true, nil
	}
	files, err = filepath.Glob(filepath.Join(path, "*.conf"))
	if err == nil && len(files) == 0 {
		err = &fs.PathError{Op: "open", Path: filepath.Join(path, "*.conf"), Err: fs.ErrNotExist}
	}
	return files, false, err
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// collect finds upstreams, ports and locations in b and what is in it.
func (s *site) collect(b *block) {
	for _, d := range b.in {
		inner := &block{outer: b, dir: d, in: d.Block}
		switch d.Directive {
		case "upstream":
			if len(d.Args) > 0 {
				s.upstreams[d.Args[0]] = inner
			}
		case "listen":
			s.listens = append(s.listens, d)
		case "location", "if":
			if pass := inner.own("proxy_pass"); len(pass) > 0 && len(pass[0].Args) > 0 {
				s.locations = append(s.locations, &location{block: inner, pass: pass[0]})
			}
			s.collect(inner)
		case "http", "server":
			s.collect(inner)
		}
	}
}

// resolve finds out where l leads, and what arrives there.
func (l *location) resolve(s *site) {
	target := l.pass.Args[0]
	l.sent = l.sample()
	l.arrives = l.rewritten(l.sent)
	if u, err := url.Parse(target); err == nil && !strings.Contains(target, "$") {
		l.target = u
		if u.Path != "" && l.arrives == l.sent && l.prefix() != "" {
			l.arrives = u.Path + strings.TrimPrefix(l.sent, l.prefix())
		}
		up, ok := s.upstreams[u.Host]
		if !ok {
			l.servers = []upstreamServer{{withPort(u.Host, u.Scheme), at(l.pass)}}
			return
		}
		for _, d := range up.own("server") {
			if len(d.Args) > 0 && !slices.Contains(d.Args, "down") {
				l.servers = append(l.servers, upstreamServer{withPort(d.Args[0], u.Scheme), at(d)})
			}
		}
	}
}

func withPort(addr, scheme string) string {
	if strings.HasPrefix(addr, "unix:") || strings.LastIndexByte(addr, ':') > strings.LastIndexByte(addr, ']') {
		return addr
	}
	if scheme == "https" {
		return addr + ":443"
	}
	return addr + ":80"
}

// prefix is the path of a location that is none of an expression.
func (l *location) prefix() string {
	switch a := l.dir.Args; {
	case l.dir.Directive != "location" || len(a) == 0:
		return ""
	case len(a) == 1:
		return a[0]
	case a[0] == "=" || a[0] == "^~":
		return a[1]
	}
	return ""
}

// literal is how a path begins that an expression takes in, as far as it says so itself.
var literal = regexp.MustCompile(`^\^?((?:[\w/.-]|\\[/.-])*)`)

// sample is a path that l takes in.
func (l *location) sample() string {
	for b := l.block; b != nil; b = b.outer {
		if b.dir == nil || b.dir.Directive != "location" || len(b.dir.Args) == 0 {
			continue
		}
		path := b.dir.Args[len(b.dir.Args)-1]
		if strings.HasPrefix(b.dir.Args[0], "~") {
			path = strings.ReplaceAll(literal.FindStringSubmatch(path)[1], `\`, "")
		}
		if strings.HasPrefix(path, "@") {
			return "" // a name
		}
		return path
	}
	return ""
}

// rewritten is path as the directives rewrite of l leave it.
func (l *location) rewritten(path string) string {
	for _, d := range l.own("rewrite") {
		if len(d.Args) < 2 {
			continue
		}
		expression, err := regexp.Compile(d.Args[0])
		if err != nil || !expression.MatchString(path) {
			continue
		}
		path = expression.ReplaceAllString(path, groups.ReplaceAllString(d.Args[1], "$${$1}"))
		if len(d.Args) > 2 && (d.Args[2] == "break" || d.Args[2] == "last") {
			break
		}
	}
	return path
}

// groups are those of an expression, which nginx writes as $1: in Go $1x would be another one.
var groups = regexp.MustCompile(`\$(\d)`)
