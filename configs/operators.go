package configs

import (
	"errors"
	"fmt"
	"net"
	"strings"
)

// Operators says who may look through the window at Push.Metrics, and what they may do.
type Operators struct {
	Token     string // never print it. "": TokenFile has it, or there is none
	TokenFile string
	ReadOnly  bool
	Profiles  bool     // counts where the file has it; see ServesProfiles
	Hosts     []string // names under which a loopback address may be reached
}

// Secret is the token, "" if there is none. An error never quotes it.
func (o *Operators) Secret() (string, error) {
	switch {
	case o.TokenFile == "":
		return o.Token, nil
	case o.Token != "":
		return "", errors.New("is there beside push.operators.token")
	}
	text, err := readFile(o.TokenFile)
	if err != nil {
		return "", err
	}
	secret := strings.TrimSpace(string(text))
	if secret == "" || strings.ContainsAny(secret, "\r\n") {
		return "", fmt.Errorf("%s is not a file with one line", o.TokenFile)
	}
	return secret, nil
}

// ServesProfiles says whether the window has profiles. They show what is in memory and cost time to make, so that whoever opens the
// window to others has to ask for them.
func (c *Config) ServesProfiles() bool {
	if c.given["push.operators.profiles"] {
		return c.Push.Operators.Profiles
	}
	return isLoopback(c.Push.Metrics)
}

// isLoopback says whether addr, "host:port", is only reached from this machine.
func isLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
}

// operators finds windows that are open too far.
func (v *validator) operators() {
	p := &v.c.Push
	secret, err := p.Operators.Secret()
	if err != nil {
		v.add(Error, "push.operators.tokenFile", "", "%v", err)
	}
	switch {
	case p.Metrics == "":
		return
	case !validAddress(p.Metrics):
		v.add(Error, "push.metrics", `for example "127.0.0.1:9100"`, "%q is not an address", p.Metrics)
		return
	case err != nil:
		return
	case secret == "" && !isLoopback(p.Metrics):
		v.add(Warning, "push.metrics", "set push.operators.token, or listen at 127.0.0.1",
			"%s is no loopback address and there is no token: whoever reaches it sees who is connected, and the configuration", p.Metrics)
	case secret != "" && len(secret) < minKey:
		v.add(Warning, "push.operators.token", fmt.Sprintf("take at least %d characters", minKey), "has %d characters, which can be guessed", len(secret))
	}
}
