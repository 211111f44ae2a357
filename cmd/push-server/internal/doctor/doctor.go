// Package doctor looks at an installation and says what is wrong with it: this machine, Redis, nginx in front of the server, and the
// settings of the portal. It changes nothing.
//
// A check is about what a configuration, a file or a system says, never about a guess. What cannot be read is a note.
package doctor

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"push-server/configs"
	"push-server/redisbus"
)

// Installation is what is looked at.
type Installation struct {
	Config   *configs.Config // nil: it has errors, and nothing else is looked at
	Problems []configs.Problem
	Redis    *redisbus.Options // nil: there is none
	Nginx    string            // its folder or its main file; "": it is not looked at
	Portal   string            // the root of the site, its folder bitrix, or .settings.php; "": it is not looked at

	Root        string                        // before /proc and /etc; "": none
	Descriptors func() (hard uint64, e error) // that this user may open; nil: those of this process
	Synchronous func() (bool, error)          // whether the clock is kept right; nil: as the kernel says
	Now         func() time.Time              // nil: time.Now
}

// Examine looks at everything. ctx bounds what asks over a network.
func (in Installation) Examine(ctx context.Context) *Report {
	if in.Descriptors == nil {
		in.Descriptors = ownDescriptors
	}
	if in.Synchronous == nil {
		in.Synchronous = kernelClock
	}
	if in.Now == nil {
		in.Now = time.Now
	}
	x := &examination{Installation: in, Report: &Report{}}
	x.problems()
	if in.Config == nil {
		x.sort()
		return x.Report
	}
	x.settings()
	x.kernel()
	if in.Redis != nil {
		x.redis(ctx)
	}
	if in.Nginx != "" {
		x.nginx()
	}
	if in.Portal != "" {
		x.portal()
	}
	x.sort()
	return x.Report
}

type examination struct {
	Installation
	*Report
	site *site // nginx, once it is read; nil: it is not known
}

// problems are those that `check` prints.
func (x *examination) problems() {
	for _, p := range x.Problems {
		s, why := Warning, "it does not do what it says"
		if p.Severity == configs.Error {
			s, why = Error, "the server does not start"
		}
		where := p.File
		if p.Key != "" {
			where += ": " + p.Key
		}
		x.add(s, "configuration", where, p.Text, why, p.Suggestion)
	}
}

// settings looks at what `check` has no reason to complain about.
func (x *examination) settings() {
	c := x.Config
	file := c.File
	switch c.Security.Key {
	case "":
		x.add(Error, "key-missing", file+": security.key", "there is no key", "no signature is right: nobody can subscribe",
			`"security": {"key": "the signature_key of the portal"}`)
	case configs.ExampleKey:
		s := Note
		if x.open(func(s *configs.Server) bool { return s.Routes != configs.Routes{} }) != nil {
			s = Warning
		}
		x.add(s, "key-example", file+": security.key", "it is the key of the examples", "everybody knows it, and can sign channel ids with it",
			`"security": {"key": "the signature_key of the portal"}`)
	}
	if s := x.open(func(s *configs.Server) bool { return s.Routes.Pub != "" }); s != nil && c.Push.PubAllow == nil && !x.inContainer() {
		x.add(Warning, "pub-open", fmt.Sprintf("%s: servers, %q", file, s.Name), fmt.Sprintf("port %d, which publishes, is open on every interface", s.Port),
			"who reaches it may publish to everybody, without a signature", `"hostname": "127.0.0.1"`)
	}
	if c.Push.StatAllow == nil && x.open(func(s *configs.Server) bool { return s.Routes.Stat != "" }) != nil {
		x.add(Note, "stat-open", file+": push.statAllow", "everybody who reaches the port sees the statistics", "they name processes and count connections",
			`"push": {"statAllow": ["127.0.0.1"]}`)
	}
}

// open is a listener on every interface of which is is true; nil: there is none.
func (x *examination) open(is func(*configs.Server) bool) *configs.Server {
	for i := range x.Config.Servers {
		s := &x.Config.Servers[i]
		addr, err := netip.ParseAddrPort(s.Address)
		if is(s) && (err != nil || addr.Addr().IsUnspecified()) {
			return s
		}
	}
	return nil
}

// path is a file of this machine.
func (x *examination) path(name string) string { return filepath.Join("/", x.Root, name) }

func (x *examination) read(name string) (string, error) {
	text, err := os.ReadFile(x.path(name))
	return strings.TrimSpace(string(text)), err
}

func (x *examination) inContainer() bool {
	for _, name := range []string{"/.dockerenv", "/run/.containerenv"} {
		if _, err := os.Stat(x.path(name)); err == nil {
			return true
		}
	}
	return false
}

func ownDescriptors() (uint64, error) {
	var limit unix.Rlimit
	err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit)
	return limit.Max, err
}

// kernelClock reads and sets nothing, so everybody may.
func kernelClock() (bool, error) {
	var t unix.Timex
	_, err := unix.Adjtimex(&t)
	return t.Status&unix.STA_UNSYNC == 0, err
}
