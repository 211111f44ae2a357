package configs

import (
	"encoding/json"
	"fmt"
	"net"
	"strconv"
	"strings"
)

// Environment makes a Config of environment variables. They are those of container images with the Node server; docs/install.md has
// them all. ok is false if none says what to serve.
func Environment(lookup func(name string) (value string, ok bool)) (c *Config, problems []Problem, ok bool) {
	e := environment{lookup: lookup, variables: make(map[string]string)}
	if text := e.secret("PUSH_CONFIG"); text != "" || len(e.problems) > 0 {
		return e.whole(text)
	}
	if e.of("PUSH_SUB_MODE") == "" && e.of("PUSH_PUB_MODE") == "" && e.of("MODE") == "" {
		return nil, nil, false
	}
	file := e.file()
	if !Valid(e.problems) {
		return nil, e.problems, true
	}
	text, err := json.Marshal(file)
	if err != nil {
		panic("BUG: strings that are no JSON: " + err.Error())
	}
	c, found := parse(environmentName, text)
	for _, p := range found {
		if name := e.variables[p.Key]; name != "" {
			p.Key = name
		}
		e.problems = append(e.problems, p)
	}
	return c, e.problems, true
}

// environmentName stands where the name of a file does.
const environmentName = "environment"

// environment makes a file of variables.
type environment struct {
	lookup    func(string) (string, bool)
	variables map[string]string // by key of the file, for problems
	problems  []Problem
}

// of is the value of the first variable that is not empty.
func (e *environment) of(names ...string) string {
	for _, name := range names {
		if value, _ := e.lookup(name); value != "" {
			return value
		}
	}
	return ""
}

func (e *environment) fail(variable, suggestion, text string, args ...any) {
	e.problems = append(e.problems, Problem{
		File: environmentName, Key: variable, Severity: Error, Text: fmt.Sprintf(text, args...), Suggestion: suggestion,
	})
}

// secret is the value of a variable, or what stands in the file that the variable with _FILE names.
func (e *environment) secret(name string) string {
	value, file := e.of(name), e.of(name+"_FILE")
	switch {
	case file == "":
		return value
	case value != "":
		e.fail(name, "unset one", "is set, and so is %s_FILE", name)
		return value
	}
	text, err := readFile(file)
	if err != nil {
		e.fail(name+"_FILE", "", "%s cannot be read: %v", file, reason(err))
	} else if len(text) == 0 {
		e.fail(name+"_FILE", "", "%s is empty", file)
	}
	return strings.TrimRight(string(text), "\r\n")
}

// whole is PUSH_CONFIG. What other variables say is not in it.
func (e *environment) whole(text string) (*Config, []Problem, bool) {
	if !Valid(e.problems) {
		return nil, e.problems, true
	}
	c, problems := parse("PUSH_CONFIG", []byte(text))
	for _, name := range []string{"PUSH_SUB_MODE", "PUSH_PUB_MODE", "MODE", "PUSH_SECURITY_KEY", "SECURITY_KEY", "REDIS_HOST", "PUSH_METRICS"} {
		if e.of(name, name+"_FILE") != "" {
			problems = append(problems, Problem{File: environmentName, Key: name, Severity: Warning, Text: "has no effect beside PUSH_CONFIG"})
		}
	}
	return c, problems, true
}

// section is an object of the file.
type section map[string]any

// put sets a key to the value of the first of some variables that is not empty.
func (e *environment) put(s section, path, key string, names ...string) {
	for _, name := range names {
		if value := e.of(name); value != "" {
			s[key] = value
			e.variables[under(path, key)] = name
			return
		}
	}
}

func (e *environment) file() section {
	sub, pub := e.modes()
	var servers []section
	if sub {
		port := e.port("8010", "PUSH_SUB_PORT", "LISTEN_PORT")
		servers = append(servers, e.listener("sub", port, section{"sub": e.or("/bitrix/subws/", "SUB_URI")}))
	}
	if pub {
		usual := "9010"
		if e.of("MODE") != "" { // such images have one port for both modes
			usual = "8010"
		}
		port := e.port(usual, "PUSH_PUB_PORT", "LISTEN_PORT")
		servers = append(servers, e.listener("pub", port, section{
			"pub": e.or("/bitrix/pub/", "PUB_URI"), "rest": e.or("/bitrix/rest/", "REST_URI"), "stat": "/server-stat/",
		}))
	}
	key := e.secret("PUSH_SECURITY_KEY")
	e.variables["security.key"] = "PUSH_SECURITY_KEY"
	if key == "" {
		key = e.secret("SECURITY_KEY")
		e.variables["security.key"] = "SECURITY_KEY"
	}
	if key == "" && Valid(e.problems) {
		e.fail("PUSH_SECURITY_KEY", "set it to the key of the portal", "is empty")
	}
	push := section{"drainTimeout": "8s"} // Docker kills ten seconds after it asked for an end
	e.put(push, "push", "metrics", "PUSH_METRICS")
	e.put(push, "push", "handoverSocket", "PUSH_HANDOVER_SOCKET")
	e.put(push, "push", "logLevel", "PUSH_LOG_LEVEL")
	e.put(push, "push", "logFormat", "PUSH_LOG_FORMAT")
	storage := e.storage(sub && pub)
	return section{
		"servers": servers, "publishMode": !sub, "clusterMode": storage["type"] == StorageRedis, "storage": storage,
		"security": section{"key": key}, "push": push,
	}
}

// modes says what to serve.
func (e *environment) modes() (sub, pub bool) {
	sub, pub = e.on("PUSH_SUB_MODE", "sub"), e.on("PUSH_PUB_MODE", "pub")
	switch mode := e.of("MODE"); mode {
	case "sub":
		sub = true
	case "pub":
		pub = true
	case "":
	default:
		e.fail("MODE", "", "is %s, not sub or pub", mode)
		return true, true
	}
	if !sub && !pub {
		e.fail("PUSH_SUB_MODE", "PUSH_SUB_MODE=sub, PUSH_PUB_MODE=pub, or both", "says that nothing is served, and so does PUSH_PUB_MODE")
	}
	return sub, pub
}

// on says whether a variable is set to a word, or to one for yes.
func (e *environment) on(name, word string) bool {
	switch value := strings.ToLower(e.of(name)); value {
	case word, "1", "true", "yes", "on":
		return true
	case "", "0", "false", "no", "off":
	default:
		e.fail(name, "write "+word, "is %s", value)
	}
	return false
}

func (e *environment) or(usual, name string) string {
	if value := e.of(name); value != "" {
		return value
	}
	return usual
}

func (e *environment) port(usual string, names ...string) string {
	for _, name := range names {
		value := e.of(name)
		if value == "" {
			continue
		}
		if n, err := strconv.Atoi(value); err != nil || n < 1 || n > 65535 {
			e.fail(name, "", "is %s, not a port", value)
		}
		return value
	}
	return usual
}

func (e *environment) listener(name, port string, routes section) section {
	return section{"name": name, "hostname": e.of("LISTEN_HOSTNAME"), "port": port, "routes": routes}
}

// storage is Redis, if there is a host. One process that does both can do without.
func (e *environment) storage(both bool) section {
	host, port := e.of("REDIS_HOST"), e.of("REDIS_PORT")
	if _, given := e.lookup("REDIS_HOST"); !given && e.of("MODE") != "" {
		host = "redis" // in images that say MODE
	}
	// tcp://172.17.0.2:6379, which links and Kubernetes set
	if linked, ok := strings.CutPrefix(port, "tcp://"); ok {
		h, p, err := net.SplitHostPort(linked)
		if err != nil {
			e.fail("REDIS_PORT", "", "is %s, not a port", port)
			return section{}
		}
		if e.of("REDIS_HOST") == "" {
			host = h
		}
		port = p
	} else if port != "" {
		e.port("", "REDIS_PORT")
	}
	if host == "" {
		if !both {
			e.fail("REDIS_HOST", "", "is empty: Redis joins this process with the others")
		}
		return section{"type": StorageMemory}
	}
	s := section{"type": StorageRedis, "host": host}
	if port != "" {
		s["port"] = port
	}
	e.put(s, "storage", "user", "REDIS_USER")
	if password := e.secret("REDIS_PASSWORD"); password != "" {
		s["password"] = password
	}
	if ca := e.of("REDIS_TLS_CA"); ca != "" || e.on("REDIS_TLS", "tls") {
		tls := section{}
		e.put(tls, "storage.tls", "ca", "REDIS_TLS_CA")
		s["tls"] = tls
	}
	return s
}
