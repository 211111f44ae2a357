package configs

import (
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"push-server/protocol"
)

// ExampleKey signs in the examples. Everyone knows it.
const ExampleKey = "example-key-that-everyone-knows-so-make-one-of-your-own-for-anything-but-a-first-try"

const minKey = 16 // characters of a security.key that is not warned about

// Validate returns all problems of c.
func (c *Config) Validate() []Problem {
	v := validator{c: c}
	v.bounds()
	v.mode()
	v.storage()
	v.window()
	v.security()
	v.servers()
	v.level()
	v.allowed("push.statAllow", v.c.Push.StatAllow, "remove it, or servers[].routes.stat if nobody is to see them", "is empty: nobody could see the statistics")
	v.allowed("push.pubAllow", v.c.Push.PubAllow, "remove it, or servers[].routes.pub if nobody is to publish", "is empty: nobody could publish")
	v.addresses()
	v.origins()
	v.operators()
	v.debug()
	return v.problems
}

type validator struct {
	c        *Config
	problems []Problem
}

func (v *validator) add(s Severity, key, suggestion, text string, args ...any) {
	v.problems = append(v.problems, Problem{File: v.c.File, Key: key, Severity: s, Text: fmt.Sprintf(text, args...), Suggestion: suggestion})
}

func (v *validator) bounds() {
	for i := range options {
		o := &options[i]
		if o.of != nil {
			v.within(o.key, o, o.of(v.c))
			continue
		}
		for i := range v.c.Servers {
			if s := &v.c.Servers[i]; o.each != nil && (s.SSL != nil || !strings.Contains(o.key, ".ssl.")) {
				v.within(strings.Replace(o.key, "[]", fmt.Sprintf("[%d]", i), 1), o, o.each(s))
			}
		}
	}
}

func (v *validator) within(key string, o *option, target any) {
	switch t := target.(type) {
	case *int:
		if n := int64(*t); n < o.min || n > o.max {
			v.add(Error, key, "", "%d is not between %d and %d", n, o.min, o.max)
		}
	case *time.Duration:
		if n := int64(*t); n < o.min || n > o.max {
			v.add(Error, key, "", "%s is not between %s and %s", o.bare(*t), o.bare(time.Duration(o.min)), o.bare(time.Duration(o.max)))
		}
	}
}

func (o *option) bare(d time.Duration) string { return strings.Trim(o.duration(d), "`") }

func (v *validator) mode() {
	if v.c.cloudMode {
		v.add(Error, "cloudMode", "remove trustClients and cloudMode", "cloud mode (one server for many portals, with licences) is not supported")
	}
	if v.c.PublishMode && v.c.Storage.Type == StorageMemory {
		v.add(Error, "publishMode", `use storage.type "redis"`, "what this process publishes would reach nobody: storage.type is %q", StorageMemory)
	}
	if v.c.Push.SharePort && v.c.Storage.Type == StorageMemory {
		v.add(Error, "push.sharePort", `use storage.type "redis"`, "what one process publishes would not reach the others: storage.type is %q", StorageMemory)
	}
	if v.c.ClusterMode && !v.c.PublishMode && v.c.Storage.Type == StorageMemory {
		v.add(Warning, "clusterMode", `use storage.type "redis"`, "nothing is shared with other processes: storage.type is %q", StorageMemory)
	}
}

func (v *validator) storage() {
	s := &v.c.Storage
	if s.Type != StorageRedis && s.Type != StorageMemory {
		v.add(Error, "storage.type", `write "redis" or "memory"`, "%q is unknown", s.Type)
	}
	if s.Type == StorageRedis && s.Socket == "" && s.Host == "" && s.Sentinels == nil && s.Nodes == nil {
		v.add(Error, "storage.host", "for example 127.0.0.1", "is empty")
	}
	if scheme, _, ok := strings.Cut(s.Socket, "://"); ok && !slices.Contains(schemes, scheme) {
		v.add(Error, "storage.socket", "write a path or a redis:// address", "%q is not a scheme of Redis", scheme)
	}
	if s.Type == StorageRedis {
		v.redisAddress()
		v.redisUser()
		v.redisSentinels()
		v.redisCluster()
		v.redisTLS()
	}
	if online := s.OnlineTTL + s.OnlineDelta; v.c.ClusterMode && s.Type == StorageRedis && v.c.Push.PingInterval > online {
		v.add(Warning, "push.pingInterval", "at most storage.onlineTTL",
			"%s is more than storage.onlineTTL and storage.onlineDelta together, %s: who is connected counts as offline in between", v.c.Push.PingInterval, online)
	}
}

var schemes = []string{"redis", "rediss", "valkey", "valkeys", "unix"}

// redisAddress quotes nothing: there may be a password where none is expected.
func (v *validator) redisAddress() {
	s := &v.c.Storage
	switch {
	case strings.Contains(s.Socket, "://"):
	case s.Socket != "":
		if !isSocketPath(s.Socket) && !isHostPort(s.Socket) {
			v.add(Error, "storage.socket", "write a path or a redis:// address", "is neither the path of a socket nor host:port")
		}
	case strings.Contains(s.Host, "@"), strings.Contains(s.Host, "://"):
		v.add(Error, "storage.host", "write it to storage.socket", "a redis:// address, or a part of one, is not a host")
	}
}

// isSocketPath says whether s is the path of a Unix socket, or its name in the abstract name space. With @ or a colon, a relative one is
// more likely an address whose redis:// was forgotten.
func isSocketPath(s string) bool {
	return strings.HasPrefix(s, "/") || strings.HasPrefix(s, ".") || strings.HasPrefix(s, "@") ||
		strings.Contains(s, "/") && !strings.ContainsAny(s, "@:")
}

func isHostPort(s string) bool {
	_, _, err := net.SplitHostPort(s)
	return err == nil && !strings.ContainsAny(s, "/@")
}

func (v *validator) window() {
	p := &v.c.Push
	if p.HistoryTotal < p.HistoryPerChannel {
		v.add(Warning, "push.historyTotal", "", "%d is less than push.historyPerChannel, %d", p.HistoryTotal, p.HistoryPerChannel)
	}
	if p.DrainDelay > 0 && p.DrainDelay >= p.DrainTimeout {
		v.add(Error, "push.drainDelay", "for example \"5s\", with a drainTimeout of \"20s\"", "leaves nothing of push.drainTimeout, which is %v", p.DrainTimeout)
	}
	if p.WindowCount&(p.WindowCount-1) != 0 {
		v.add(Error, "push.windowCount", "for example 65536", "%d is not a power of two", p.WindowCount)
	}
	if p.WindowBytes < v.c.Limits.MaxPayload {
		v.add(Error, "push.windowBytes", "", "%d is less than limits.maxPayload, %d", p.WindowBytes, v.c.Limits.MaxPayload)
	}
}

func (v *validator) security() {
	key := v.c.Security.Key
	v.olderKeys()
	if _, err := protocol.NewSigner(v.c.Security.Algo, []byte("any key")); err != nil {
		v.add(Error, "security.algo", "sha1 is what portals use", "%v", err)
	}
	switch {
	case key == "":
		v.add(Warning, "security.key", "set it to the signature key of the portal", "absent: a random key is made at each start, so no signature is right and no subscription works")
	case key == ExampleKey && !v.loopback():
		v.add(Warning, "security.key", "make your own", "is the one of the examples: everyone who can reach the ports can read and publish")
	case len(key) < minKey:
		v.add(Warning, "security.key", fmt.Sprintf("take at least %d characters", minKey), "has %d characters, which can be guessed", len(key))
	}
}

// maxKeys is that of the engine.
const maxKeys = 8

func (v *validator) olderKeys() {
	if n := len(v.c.Security.All()); n > maxKeys {
		v.add(Error, "security.key", "remove those that nobody uses any more: push_connections_by_key counts", "has %d keys, at most %d", n, maxKeys)
	}
	before := []string{v.c.Security.Key}
	for i, key := range v.c.Security.OlderKeys {
		at := fmt.Sprintf("security.key[%d]", i+1)
		switch {
		case slices.Contains(before, key):
			v.add(Warning, at, "remove it", "is there twice")
		case key == ExampleKey && !v.loopback():
			v.add(Warning, at, "remove it", "is the one of the examples: everyone who can reach the ports can read and publish")
		case len(key) < minKey:
			v.add(Warning, at, fmt.Sprintf("take at least %d characters", minKey), "has %d characters, which can be guessed", len(key))
		}
		before = append(before, key)
	}
}

// loopback says whether all listeners are only reachable from this machine.
func (v *validator) loopback() bool {
	for _, s := range v.c.Servers {
		if !isLoopback(s.Address) {
			return false
		}
	}
	return true
}

func (v *validator) servers() {
	switch {
	case v.c.Servers == nil:
		v.add(Error, "servers", `write "servers": [{"port": 8010, "routes": {…}}]`, "is missing: there is nothing to listen at")
	case len(v.c.Servers) == 0:
		v.add(Warning, "servers", "", "is empty: there is nothing to listen at")
	}
	for i := range v.c.Servers {
		key := fmt.Sprintf("servers[%d]", i)
		v.ssl(key+".ssl", v.c.Servers[i].SSL)
		if v.c.Servers[i].ProxyProtocol && len(v.c.Push.TrustedProxies) == 0 {
			v.add(Error, key+".proxyProtocol", `for example "push": {"trustedProxies": ["10.0.0.5"]}`, "nobody is trusted to say whose connection it is: push.trustedProxies is missing")
		}
		v.routes(key+".routes", &v.c.Servers[i].Routes)
	}
	v.problems = append(v.problems, sameAddress(v.c)...)
}

// routes finds paths that can never be reached: they are tried in the order pub, sub, rest, stat, api, for each method, and the first
// that is a prefix of the target wins.
func (v *validator) routes(key string, r *Routes) {
	all := []struct{ name, path, methods string }{
		{"pub", r.Pub, "POST GET"}, {"sub", r.Sub, "GET OPTIONS"}, {"rest", r.Rest, "POST"}, {"stat", r.Stat, "GET"}, {"api", r.API, "POST"},
	}
	for i, route := range all {
		if route.path != "" && route.path[0] != '/' {
			v.add(Warning, key+"."+route.name, "write /"+route.path, "%q does not begin with a slash, so no request fits", route.path)
		}
		for _, before := range all[:i] {
			if route.path == "" || before.path == "" || !common(route.methods, before.methods) {
				continue
			}
			if route.path == before.path {
				v.add(Error, key+"."+route.name, "give it a path of its own", "%q is also %s", route.path, before.name)
			} else if strings.HasPrefix(route.path, before.path) {
				v.add(Warning, key+"."+route.name, "give it a path that does not begin with the other", "%q is never reached, since %q is %s", route.path, before.path, before.name)
			}
		}
	}
}

func common(a, b string) bool {
	for m := range strings.FieldsSeq(a) {
		if strings.Contains(b, m) {
			return true
		}
	}
	return false
}

// sameAddress finds listeners that would want the same port.
func sameAddress(c *Config) (problems []Problem) {
	for i, s := range c.Servers {
		for j, earlier := range c.Servers[:i] {
			if s.Port == 0 || s.Port != earlier.Port || !overlap(s.Address, earlier.Address) {
				continue
			}
			other := earlier.Name
			if earlier.file != s.file {
				other = earlier.file
			}
			problems = append(problems, Problem{
				File: s.file, Key: fmt.Sprintf("servers[%d].port", i), Severity: Error,
				Text: fmt.Sprintf("%d is also the port of servers[%d] (%s)", s.Port, j, other), Suggestion: "give it a port of its own",
			})
		}
	}
	return problems
}

func overlap(a, b string) bool {
	hostA, _, errA := net.SplitHostPort(a)
	hostB, _, errB := net.SplitHostPort(b)
	if errA != nil || errB != nil {
		return a == b
	}
	return hostA == hostB || unspecified(hostA) || unspecified(hostB)
}

func unspecified(host string) bool {
	ip := net.ParseIP(host)
	return host == "" || ip != nil && ip.IsUnspecified()
}

func (v *validator) level() {
	if _, err := v.c.Push.Level(); err != nil {
		v.add(Error, "push.logLevel", "write debug, info, warn or error", "%q is not a level", v.c.Push.LogLevel)
	}
	if f := v.c.Push.LogFormat; f != LogText && f != LogJSON && f != "" {
		v.add(Error, "push.logFormat", "write text or json", "%q is not a format", f)
	}
}

func (v *validator) debug() {
	if len(v.c.Debug.IP) > 0 && v.c.Debug.FolderName == "" {
		v.add(Warning, "debug.ip", "name a folder with debug.folderName", "has no effect: there are no log files")
	}
}

// validAddress says whether s is "host:port" with a port that is a number. The host may be missing.
func validAddress(s string) bool {
	_, port, err := net.SplitHostPort(s)
	if err != nil {
		return false
	}
	_, err = strconv.ParseUint(port, 10, 16)
	return err == nil
}

// Level is LogLevel for package slog.
func (p *Push) Level() (slog.Level, error) {
	var l slog.Level
	if p.LogLevel == "" {
		return l, nil
	}
	err := l.UnmarshalText([]byte(p.LogLevel))
	return l, err
}
