package doctor

import (
	"cmp"
	"crypto/subtle"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"push-server/cmd/push-server/internal/phparray"
)

// maxSettings is many times what a portal has in its settings.
const maxSettings = 1 << 20

// pull is the block of the portal's settings that is about push servers.
type pull struct {
	*examination
	file    string
	options phparray.Value
}

func (x *examination) portal() {
	file := x.settingsFile()
	info, err := os.Stat(file)
	if err == nil && info.Size() > maxSettings {
		err = fmt.Errorf("%s has %d bytes", file, info.Size())
	}
	var text []byte
	if err == nil {
		text, err = os.ReadFile(file)
	}
	if err != nil {
		x.add(Error, "portal-unreadable", x.Portal, err.Error(), "nothing can be said about the portal", "--portal FOLDER, the one with bitrix/.settings.php in it")
		return
	}
	all, err := phparray.Parse(string(text))
	if err != nil {
		x.add(Error, "portal-unreadable", file, err.Error(), "nothing can be said about the portal", "php -l says whether PHP can read it")
		return
	}
	options, ok := all.Get("pull", "value")
	if !ok {
		x.add(Note, "portal-no-pull", file, "there is no block pull", "the portal has its settings in its database, which is not looked at", "see MIGRATION.md, Own nginx")
		return
	}
	p := &pull{x, file, options}
	p.signatures()
	p.modes()
	p.limits()
	p.publishing()
	p.listening()
}

func (x *examination) settingsFile() string {
	for _, name := range []string{"bitrix/.settings.php", ".settings.php"} {
		if file := filepath.Join(x.Portal, name); exists(file) {
			return file
		}
	}
	return x.Portal
}

// text is an option as PHP takes it for a text; known is false where it is not there, or only PHP can tell.
func (p *pull) text(key string) (text string, known bool) {
	v, ok := p.options.Get(key)
	if !ok {
		return "", false
	}
	switch of := v.Of.(type) {
	case string:
		return of, true
	case int64:
		return strconv.FormatInt(of, 10), true
	case bool:
		return map[bool]string{true: "Y", false: "N"}[of], true
	}
	return "", false
}

func (p *pull) add(s Severity, code, key, found, why, change string) {
	where := p.file
	if v, ok := p.options.Get(key); ok {
		where = fmt.Sprintf("%s:%d", p.file, v.Line)
	}
	p.examination.add(s, code, where, found, why, change)
}

func phpLine(key, value string) string { return fmt.Sprintf("'%s' => '%s',", key, value) }

func (p *pull) signatures() {
	security := &p.Config.Security
	key, known := p.text("signature_key")
	switch {
	case !known:
		p.add(Note, "portal-key-unknown", "signature_key", "signature_key is not written out", "it is not known whether the keys are the same", "")
	case key == "":
		p.add(Error, "portal-key", "signature_key", "signature_key is empty", "channel ids are not signed, and every subscription is refused", "'signature_key' => security.key of "+p.Config.File)
	case security.Key != "" && subtle.ConstantTimeCompare([]byte(key), []byte(security.Key)) == 0:
		p.add(Error, "portal-key", "signature_key", "signature_key is another one than security.key", "every subscription is refused with 4010",
			"'signature_key' => security.key of "+p.Config.File)
	}
	algo, known := p.text("signature_algo")
	if _, there := p.options.Get("signature_algo"); there && !known {
		return
	}
	ours := cmp.Or(strings.ToLower(security.Algo), "sha1")
	if theirs := cmp.Or(strings.ToLower(algo), "sha1"); theirs != ours {
		p.add(Error, "portal-algo", "signature_algo", fmt.Sprintf("the portal signs with %s, the server expects %s", theirs, ours), "every subscription is refused with 4010",
			phpLine("signature_algo", ours))
	}
}

func (p *pull) modes() {
	if on, known := p.text("nginx"); known && on != "Y" {
		p.add(Error, "portal-off", "nginx", "the portal is told that there is no push server", "it publishes nothing, and clients do not connect", phpLine("nginx", "Y"))
	}
	if mode, known := p.text("server_mode"); known && mode == "shared" {
		p.add(Error, "portal-shared", "server_mode", "server_mode is shared", "the portal publishes to a server in the cloud, not to this one", phpLine("server_mode", "personal"))
	}
	if version, known := p.text("nginx_version"); known {
		switch n, _ := strconv.Atoi(version); {
		case n > 4:
			p.add(Error, "portal-version", "nginx_version", "nginx_version is "+version, "version 5 of the protocol is not served: neither publishing nor listening works", phpLine("nginx_version", "4"))
		case n < 3:
			p.add(Warning, "portal-version", "nginx_version", "nginx_version is "+version, "the portal talks to a module of nginx that is no push server of today", phpLine("nginx_version", "4"))
		case n == 3:
			p.add(Note, "portal-version", "nginx_version", "nginx_version is 3", "clients cannot publish, and the site checker of the portal warns", phpLine("nginx_version", "4"))
		}
	}
	if websocket, known := p.text("websocket"); known && websocket == "N" {
		p.add(Note, "portal-websocket", "websocket", "websocket is N", "all clients poll, which costs more on both sides", phpLine("websocket", "Y"))
	}
}

// limits looks for what the portal takes the liberty to send and the server refuses.
func (p *pull) limits() {
	f := func(code, key string, otherwise, limit int, name, why string) {
		text, known := p.text(key)
		n, err := strconv.Atoi(text)
		if !known || err != nil {
			n = otherwise
		}
		if n > limit {
			p.add(Warning, code, key, fmt.Sprintf("%s is %d, and %s %d", key, n, name, limit), why, phpLine(key, strconv.Itoa(limit))+" or a larger "+name)
		}
	}
	l := &p.Config.Limits
	f("portal-payload", "limit_max_payload", 1048576, l.MaxPayload, "limits.maxPayload", "larger requests are refused with 413, and the portal does not look at the answer: publications are lost")
	f("portal-messages", "limit_max_messages_per_request", 100, l.MaxMessagesPerRequest, "limits.maxMessagesPerRequest", "requests with more are refused as a whole: publications are lost")
	f("portal-channels", "limit_max_channels_per_request", 100, l.MaxChannelsPerRequest, "limits.maxChannelsPerRequest", "publications for more are refused: they are lost")
}

// address is an option that is a URL, with #DOMAIN# in it for the name of the portal.
func (p *pull) address(key string) *url.URL {
	text, known := p.text(key)
	if !known || text == "" {
		return nil
	}
	u, err := url.Parse(strings.ReplaceAll(text, "#DOMAIN#", domain))
	if err != nil || u.Host == "" {
		p.add(Error, "portal-address", key, key+" is no URL", "the portal, or its clients, cannot connect", phpLine(key, "http://#DOMAIN#/bitrix/sub/"))
		return nil
	}
	return u
}

const domain = "domain.invalid"

func (p *pull) publishing() {
	u := p.address("path_to_publish")
	if u == nil {
		return
	}
	const key = "path_to_publish"
	port := cmp.Or(u.Port(), map[string]string{"https": "443"}[u.Scheme], "80")
	where := fmt.Sprintf("%s is %s://%s%s", key, u.Scheme, u.Host, u.Path)
	if l := p.listener("127.0.0.1:" + port); l != nil {
		if takes(l, u.Path) != "pub" {
			p.add(Error, "portal-publish", key, where, fmt.Sprintf("port %s publishes at %q: every publication is answered 404", port, l.Routes.Pub),
				phpLine(key, fmt.Sprintf("%s://%s%s", u.Scheme, u.Host, l.Routes.Pub)))
		}
		return
	}
	if p.site == nil || p.site.broken {
		if p.wanted(u.Path) != "pub" {
			p.add(Error, "portal-publish", key, where, "no listener of "+p.Config.File+" publishes at this path, if nginx does not change it", phpLine(key, "http://127.0.0.1:8895/bitrix/pub/"))
		}
		return
	}
	if !local(net.JoinHostPort(u.Hostname(), port)) || strings.Contains(u.Host, domain) {
		return // another host, or the site itself
	}
	if len(p.site.listens) > 0 && !slices.ContainsFunc(p.site.ports(), func(n string) bool { return n == port }) {
		p.add(Error, "portal-publish", key, where, "neither nginx nor this configuration has a port "+port+": nothing is published", phpLine(key, "http://127.0.0.1:8895/bitrix/pub/"))
	} else if !p.through(u.Path, "pub") {
		p.add(Error, "portal-publish", key, where, "no location of nginx takes this path to where publications are taken", phpLine(key, fmt.Sprintf("%s://%s/bitrix/pub/", u.Scheme, u.Host)))
	}
}

// listening looks at what the portal tells its clients.
func (p *pull) listening() {
	f := func(route string, keys ...string) {
		for _, key := range keys {
			u := p.address(key)
			if u == nil || p.reaches(u.Path, route) {
				continue
			}
			p.add(Error, "portal-path", key, key+" has the path "+u.Path, "neither nginx nor this configuration takes it to the route "+route+": clients get 404",
				phpLine(key, fmt.Sprintf("%s://#DOMAIN#%s", u.Scheme, p.pathOf(route))))
		}
	}
	f("sub", "path_to_websocket", "path_to_websocket_secure", "path_to_listener", "path_to_listener_secure", "path_to_modern_listener", "path_to_modern_listener_secure",
		"path_to_mobile_listener", "path_to_mobile_listener_secure")
	f("rest", "path_to_publish_web", "path_to_publish_web_secure")
}

func (p *pull) reaches(path, route string) bool {
	if p.site != nil && !p.site.broken {
		return p.through(path, route)
	}
	// The usual files of nginx have polls at a path of their own.
	return p.wanted(path) == route || route == "sub" && path == "/bitrix/sub/"
}

// through says whether a location takes path to that route.
func (p *pull) through(path, route string) bool {
	return slices.ContainsFunc(p.site.locations, func(l *location) bool {
		if l.sent == "" || !strings.HasPrefix(path, l.sent) && !strings.HasPrefix(path+"/", l.sent) {
			return false
		}
		return l.target == nil || slices.ContainsFunc(l.servers, func(u upstreamServer) bool {
			s := p.listener(u.addr)
			return s != nil && slices.Contains(reachable(l, s), route)
		})
	})
}

func (p *pull) pathOf(route string) string {
	for _, r := range allRoutes {
		for i := range p.Config.Servers {
			if path := r.path(&p.Config.Servers[i].Routes); r.name == route && path != "" {
				return path
			}
		}
	}
	return "/"
}

// ports are those that nginx listens on.
func (s *site) ports() (ports []string) {
	for _, d := range s.listens {
		if len(d.Args) > 0 {
			ports = append(ports, d.Args[0][strings.LastIndexByte(d.Args[0], ':')+1:])
		}
	}
	return ports
}
