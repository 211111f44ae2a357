package redistest

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/redis/rueidis"
)

// program is redis-server, or another one that PUSH_TEST_REDIS names: an older Redis, a newer one, or Valkey.
func program() string {
	if p := os.Getenv("PUSH_TEST_REDIS"); p != "" {
		return p
	}
	return "redis-server"
}

// version is that of program: 7.0 is 700. Valkey went on from Redis 7.2 with its own numbers.
var version = sync.OnceValue(func() (n int) {
	out, _ := exec.Command(program(), "--version").Output()
	_, rest, _ := strings.Cut(string(out), "v=")
	var major, minor int
	_, _ = fmt.Sscanf(rest, "%d.%d", &major, &minor)
	return 100*major + minor
})

// Needs skips a test of what an older server does not have: 702 is Redis 7.2.
func Needs(t testing.TB, least int) {
	t.Helper()
	if n := version(); n < least {
		t.Skipf("%s is of version %d.%02d, this needs %d.%02d", program(), n/100, n%100, least/100, least%100)
	}
}

// AddUser adds a user who may do everything, but for what further rules say.
func (s *Server) AddUser(name, password string, rules ...string) {
	s.t.Helper()
	s.Do(append([]string{"ACL", "SETUSER"}, append(userRules(name, password), rules...)...)...)
}

// userRules are the rules of a user who may do everything. Before 6.2 there are no rights to channels.
func userRules(name, password string) []string {
	all := []string{name, "on", ">" + password, "~*", "+@all"}
	if version() >= 602 {
		all = append(all, "&*")
	}
	return all
}

// newerThan60 are commands that the tests give, or that a client gives and does without.
var newerThan60 = map[string]bool{"client|setinfo": true, "command|docs": true, "acl|setuser": true}

// CommandsAfter60 are the commands that the server was given, also by scripts, and that Redis 6.0 does not have. A server before 7.0 does not
// know since when it has them.
func (s *Server) CommandsAfter60() (names []string) {
	s.t.Helper()
	if version() < 700 {
		return nil
	}
	for line := range strings.Lines(s.text("INFO", "commandstats")) {
		stats, found := strings.CutPrefix(line, "cmdstat_")
		full, _, _ := strings.Cut(stats, ":")
		if !found || newerThan60[full] {
			continue
		}
		if since := s.since(full); since > "6.0.99" {
			names = append(names, full+" (since "+since+")")
		}
	}
	return names
}

// since is the version that had this command, or subcommand, first.
func (s *Server) since(full string) string {
	s.t.Helper()
	command, _, _ := strings.Cut(full, "|")
	m := s.Do("COMMAND", "DOCS", command)
	fields := s.entry(&m, command)
	if command != full {
		subs := fields["subcommands"]
		fields = s.entry(&subs, full)
	}
	since := fields["since"]
	text, err := since.ToString()
	if err != nil {
		s.t.Fatalf("COMMAND DOCS of %s: %v", full, err)
	}
	return text
}

// entry is the map under key in a map.
func (s *Server) entry(m *rueidis.RedisMessage, key string) map[string]rueidis.RedisMessage {
	s.t.Helper()
	all, err := m.AsMap()
	if err != nil {
		s.t.Fatal(err)
	}
	of := all[key]
	fields, err := of.AsMap()
	if err != nil {
		s.t.Fatalf("%s: %v", key, err)
	}
	return fields
}
