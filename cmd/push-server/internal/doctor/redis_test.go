package doctor

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"push-server/protocol"
	"push-server/protocol/testclient"
	"push-server/redisbus"
	"push-server/redisbus/redistest"
)

// sick examines an installation whose Redis was started with options, and then got commands.
func sick(t *testing.T, f fault, options []string, commands ...[]string) {
	t.Helper()
	t.Run(f.code, func(t *testing.T) {
		t.Parallel()
		server := redistest.Start(t, append([]string{"--appendonly", "yes"}, options...)...)
		for _, command := range commands {
			server.Do(command...)
		}
		s := container(t, server.Addr())
		if f.breaks != nil {
			f.breaks(s)
		}
		f.where = "Redis"
		found(t, s, f)
	})
}

func TestBrokenRedis(t *testing.T) {
	t.Parallel()
	user := func(s *setup) { s.in.Redis.User, s.in.Redis.Password = "portal", "secret" }
	acl := func(rights ...string) []string {
		return append([]string{"ACL", "SETUSER", "portal", "on", ">secret", "~*", "&*", "+@all"}, rights...)
	}
	sick(t, fault{code: "redis-eviction", severity: Error}, []string{"--maxmemory", "200mb", "--maxmemory-policy", "allkeys-lru"})
	sick(t, fault{code: "redis-eviction-history", severity: Warning}, []string{"--maxmemory", "200mb", "--maxmemory-policy", "volatile-ttl"})
	sick(t, fault{code: "redis-full", severity: Warning}, []string{"--maxmemory-policy", "noeviction", "--maxmemory", "100000"})
	sick(t, fault{code: "redis-pubsub-buffer", severity: Warning}, []string{"--client-output-buffer-limit", "pubsub 1mb 512kb 60"})
	sick(t, fault{code: "redis-timeout", severity: Warning}, nil, []string{"CONFIG", "SET", "timeout", "5"})
	sick(t, fault{code: "redis-not-saved", severity: Note}, []string{"--appendonly", "no"})
	sick(t, fault{code: "redis-keepalive", severity: Note}, []string{"--tcp-keepalive", "0"})
	sick(t, fault{code: "redis-replicas", severity: Error}, []string{"--min-replicas-to-write", "1"})
	sick(t, fault{code: "redis-clients", severity: Warning}, []string{"--maxclients", "4"})
	sick(t, fault{code: "redis-password", severity: Error}, []string{"--requirepass", "secret"})
	sick(t, fault{code: "redis-rights", severity: Error, breaks: user}, nil, acl("-publish"))
	sick(t, fault{code: "redis-rights", severity: Error, breaks: user}, nil, acl("-psubscribe"))
	sick(t, fault{code: "redis-rights", severity: Error, breaks: user}, nil, acl("resetchannels", "&pushecho:*"))
	sick(t, fault{code: "redis-rights", severity: Error, breaks: user}, nil, acl("resetkeys", "~message:*", "~server:*"))
	sick(t, fault{code: "redis-rights", severity: Error, breaks: user}, nil, acl("-@scripting"))
	sick(t, fault{code: "redis-info", severity: Note, breaks: user}, nil, acl("-info"))
	sick(t, fault{code: "redis-config", severity: Note, breaks: user}, nil, acl("-config"))
	sick(t, fault{code: "redis-databases", severity: Note}, nil, []string{"SET", "a", "b"}, []string{"MOVE", "a", "1"}, []string{"SET", "a", "b"})
}

func TestRedisThatIsElsewhere(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--appendonly", "yes")
	s := container(t, server.Addr())
	s.in.Now = func() time.Time { return time.Now().Add(-time.Minute) }
	found(t, s, fault{code: "clock-redis", where: "clock", severity: Warning})

	server.Kill()
	found(t, container(t, server.Addr()), fault{code: "redis-unreachable", where: "Redis", severity: Error})

	pair := redistest.StartPair(t, redistest.GroupOptions{})
	s = container(t, pair.Servers[1].Addr())
	found(t, s, fault{code: "redis-replica", where: "Redis", severity: Error})
	if text := s.text(s.examine()); !strings.Contains(text, `"port": `+strconv.Itoa(pair.Ports[0])) {
		t.Errorf("the port of the master is not named:\n%s", text)
	}
}

func TestRedisThatCannotSave(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--dbfilename", "no-folder", "--rdb-save-incremental-fsync", "no")
	dir := filepath.Dir(server.Addr())
	if err := os.Mkdir(filepath.Join(dir, "no-folder"), 0o755); err != nil { // where the file should go
		t.Fatal(err)
	}
	server.Do("BGSAVE")
	testclient.Await(t, "saving fails", func() bool {
		m := server.Do("INFO", "persistence")
		text, err := m.ToString()
		return err == nil && strings.Contains(text, "rdb_last_bgsave_status:err")
	})
	found(t, container(t, server.Addr()), fault{code: "redis-save", where: "Redis", severity: Error})
}

// Publications of two portals are in one database.
func TestTwoPortalsInOneRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--appendonly", "yes")
	bus, err := redisbus.New(redisbus.Options{Addr: server.Addr(), DialTimeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Close()
	publish := func(portal string) {
		t.Helper()
		p := &protocol.Publication{Body: fmt.Appendf(nil, `{"module_id":"im","extra":{"server_name":"%s"}}`, portal), Expiry: 60,
			Receivers: []protocol.Receiver{{Channel: protocol.ChannelID{Private: true}}}}
		testclient.AwaitNil(t, "it is stored", func() error {
			_, err := bus.Publish(t.Context(), []*protocol.Publication{p})
			return err
		})
	}
	publish("one.example")
	publish("one.example")
	if s := container(t, server.Addr()); s.examine().Count(Warning) > 0 {
		t.Error(s.text(s.examine()))
	}
	publish(`two.example\u001b[1m`)
	s := container(t, server.Addr())
	found(t, s, fault{code: "redis-portals", where: "Redis", severity: Warning})
	if text := s.text(s.examine()); !strings.Contains(text, `"one.example" and "two.example\x1b[1m"`) {
		t.Error(text)
	}
}
