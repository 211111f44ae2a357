package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"push-server/protocol"
	"push-server/redisbus"
)

const (
	// redisTime bounds everything that is asked of Redis.
	redisTime = 15 * time.Second
	// clockDifference is more than a question takes on a busy machine.
	clockDifference = 2 * time.Second
)

// store is the Redis of the configuration.
type store struct {
	*examination
	bus    *redisbus.Bus
	info   map[string]string // what INFO says
	config map[string]string // what CONFIG GET says; nil: the user may not ask
}

func (x *examination) redis(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, redisTime)
	defer cancel()
	bus, err := redisbus.New(*x.Redis)
	if err != nil {
		x.add(Error, "redis-options", x.Config.File+": storage", err.Error(), "the server does not start", "what the line above says")
		return
	}
	defer bus.Close()
	s := &store{examination: x, bus: bus}
	if !s.reach(ctx) {
		return
	}
	s.rights(ctx)
	if !s.ask(ctx) {
		return
	}
	s.version()
	s.role()
	s.memory()
	s.persistence()
	s.connections(ctx)
	s.time(ctx)
	s.others(ctx)
}

func (s *store) add(severity Severity, code, found, why, change string) {
	s.examination.add(severity, code, "Redis", found, why, change)
}

func (s *store) reach(ctx context.Context) bool {
	_, err := s.bus.Ask(ctx, "PING")
	switch text := fmt.Sprint(err); {
	case err == nil, strings.Contains(text, "NOPERM"):
		return true
	case strings.Contains(text, "NOAUTH"), strings.Contains(text, "WRONGPASS"), strings.Contains(text, "AUTH"):
		s.add(Error, "redis-password", "it does not take the user and the password: "+text, "nothing is stored, and processes do not hear of each other",
			`"storage": {"user": "…", "password": "…"}`)
	default:
		s.add(Error, "redis-unreachable", text, "nothing is stored, publishers get 202, and nobody gets messages of other processes",
			`"storage": {"socket": "…"}, or "host" and "port", as redis.conf has them in unixsocket, bind and port`)
	}
	return false
}

// rights finds out what the user of Redis may not, before publishers do.
func (s *store) rights(ctx context.Context) {
	missing, err := s.bus.Missing(ctx)
	if err != nil {
		s.add(Note, "redis-rights-unknown", err.Error(), "what the user may not do shows only when it is needed", "")
		return
	}
	for _, err := range missing {
		s.add(Error, "redis-rights", err.Error(), "without it publications are not stored, not delivered, or nobody counts as online",
			"ACL SETUSER NAME "+s.bus.UserRules()+" +@read +@write +@pubsub +@scripting +@connection +info +time")
	}
}

// ask reads what Redis says about itself.
func (s *store) ask(ctx context.Context) bool {
	text, err := s.bus.Ask(ctx, "INFO")
	if err != nil {
		s.add(Note, "redis-info", "INFO is refused: "+err.Error(), "a failover behind the same address is noticed late, and nothing more can be said here", "ACL SETUSER NAME +info")
		return false
	}
	all, _ := text.ToString()
	s.info = make(map[string]string)
	for line := range strings.Lines(all) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			s.info[name] = value
		}
	}
	s.config = make(map[string]string)
	for _, name := range []string{"client-output-buffer-limit", "timeout", "tcp-keepalive", "save", "appendonly", "stop-writes-on-bgsave-error", "maxclients", "min-replicas-to-write"} {
		answer, err := s.bus.Ask(ctx, "CONFIG", "GET", name)
		if err != nil {
			s.config = nil
			s.add(Note, "redis-config", "CONFIG GET is refused: "+err.Error(), "buffers, timeouts and persistence could not be looked at", "")
			break
		}
		values, _ := answer.AsStrMap()
		s.config[name] = values[name]
	}
	return true
}

func (s *store) number(name string) int64 {
	n, _ := strconv.ParseInt(s.info[name], 10, 64)
	return n
}

func (s *store) version() {
	major, _, _ := strings.Cut(s.info["redis_version"], ".")
	n, err := strconv.Atoi(major)
	switch {
	case err != nil: // another program that speaks the same protocol
	case n < 5:
		s.add(Warning, "redis-version", "version "+s.info["redis_version"], "this server is tested with 7, and nobody mends faults of this one any more", "install Redis 7 or later")
	case n < 6:
		s.add(Note, "redis-version", "version "+s.info["redis_version"], "it cannot tell what has changed, so that nothing that is read is kept", "")
	}
}

func (s *store) role() {
	if s.info["role"] == "slave" {
		s.add(Error, "redis-replica", "it is a replica of "+s.info["master_host"]+":"+s.info["master_port"], "it takes no publications",
			fmt.Sprintf(`"storage": {"host": %q, "port": %s}, or storage.sentinels`, s.info["master_host"], s.info["master_port"]))
	}
	if n, err := strconv.ParseInt(s.config["min-replicas-to-write"], 10, 64); err == nil && n > 0 && s.number("min_slaves_good_slaves") < n {
		s.add(Error, "redis-replicas", fmt.Sprintf("%d replicas have to be there for a write, and %d are", n, s.number("min_slaves_good_slaves")), "it takes no publications", "redis.conf: min-replicas-to-write 0")
	}
}

func (s *store) memory() {
	limit, used, policy := s.number("maxmemory"), s.number("used_memory"), s.info["maxmemory_policy"]
	if limit > 0 {
		switch {
		case strings.HasPrefix(policy, "allkeys-"):
			s.add(Error, "redis-eviction", "maxmemory is "+megabytes(limit)+", and maxmemory-policy "+policy,
				"any key may go: without server:messagecounter ids go back, without an index a channel has no history", "redis.conf: maxmemory-policy noeviction")
		case strings.HasPrefix(policy, "volatile-"):
			s.add(Warning, "redis-eviction-history", "maxmemory is "+megabytes(limit)+", and maxmemory-policy "+policy,
				"all history has a time to live: it goes before its time, and returning clients miss what was promised to them", "redis.conf: maxmemory-policy noeviction")
		}
		if used > limit/10*9 {
			s.add(Warning, "redis-full", fmt.Sprintf("%s of maxmemory, %s, are in use", megabytes(used), megabytes(limit)),
				"without room publications are refused, or keys go that are still needed", fmt.Sprintf("redis.conf: maxmemory %dmb", 2*limit>>20+1))
		}
	}
	if host := s.number("total_system_memory"); limit == 0 && host > 0 && used > host/10*7 {
		s.add(Warning, "redis-host-memory", fmt.Sprintf("%s of the machine's %s are in use, and there is no maxmemory", megabytes(used), megabytes(host)),
			"the system ends Redis when memory is short", fmt.Sprintf("redis.conf: maxmemory %dmb", host/10*8>>20))
	}
}

func megabytes(n int64) string { return fmt.Sprintf("%d MiB", n>>20) }

func (s *store) persistence() {
	if s.info["rdb_last_bgsave_status"] == "err" || s.info["aof_last_write_status"] == "err" {
		severity, why := Warning, "a restart of Redis loses what was not saved"
		if s.config["stop-writes-on-bgsave-error"] == "yes" {
			severity, why = Error, "until that is mended it takes no publications (MISCONF)"
		}
		s.add(severity, "redis-save", "the last attempt to save failed", why, "redis.conf: dir FOLDER, one that Redis may write to and that has room")
	}
	if s.config != nil && s.config["save"] == "" && s.config["appendonly"] == "no" {
		s.add(Note, "redis-not-saved", "nothing is saved to disk", "history does not survive a restart of Redis", "redis.conf: appendonly yes")
	}
	if s.info["loading"] == "1" {
		s.add(Warning, "redis-loading", "it is reading its data from disk", "until that is done everything is refused", "wait")
	}
}

func (s *store) connections(ctx context.Context) {
	if limit, err := strconv.ParseInt(s.config["maxclients"], 10, 64); err == nil && s.number("connected_clients") > limit/10*9 {
		s.add(Warning, "redis-clients", fmt.Sprintf("%d of %d connections are in use", s.number("connected_clients"), limit),
			"each process of this server needs three", fmt.Sprintf("redis.conf: maxclients %d", 2*limit))
	}
	if n, err := strconv.Atoi(s.config["timeout"]); err == nil && n > 0 && n < 10 {
		s.add(Warning, "redis-timeout", fmt.Sprintf("timeout is %d", n), "connections that are idle for so many seconds are closed, between two publications, too", "redis.conf: timeout 0")
	}
	if s.config["tcp-keepalive"] == "0" {
		s.add(Note, "redis-keepalive", "tcp-keepalive is 0", "Redis keeps connections of hosts that are gone", "redis.conf: tcp-keepalive 300")
	}
	s.buffers()
}

// buffers looks at what Redis keeps for a process that reads slowly: "normal 0 0 0 slave … pubsub HARD SOFT SECONDS".
func (s *store) buffers() {
	words := strings.Fields(s.config["client-output-buffer-limit"])
	i := slices.Index(words, "pubsub")
	if i < 0 || i+1 >= len(words) {
		return
	}
	hard, err := strconv.ParseInt(words[i+1], 10, 64)
	wanted := max(8<<20, 4*int64(s.Config.Limits.MaxPayload))
	if err == nil && hard > 0 && hard < wanted {
		s.add(Warning, "redis-pubsub-buffer", fmt.Sprintf("a subscriber that %d bytes wait for is cut off", hard),
			"a burst of publications ends the connection of every process, and all read history to catch up",
			fmt.Sprintf("redis.conf: client-output-buffer-limit pubsub %dmb %dmb 60", 4*wanted>>20, wanted>>20))
	}
}

func (s *store) time(ctx context.Context) {
	before := s.Now()
	answer, err := s.bus.Ask(ctx, "TIME")
	if err != nil {
		return
	}
	seconds, err := answer.AsIntSlice()
	if err != nil || len(seconds) == 0 {
		return
	}
	theirs := time.Unix(seconds[0], 0)
	ahead := theirs.Sub(before.Truncate(time.Second))
	if ahead.Abs() > clockDifference {
		s.examination.add(Warning, "clock-redis", "clock", fmt.Sprintf("the clock of Redis is %v off from that of this machine", ahead),
			"histories end when Redis says, statistics of other processes count as old, and portals' channels end too early or too late", "timedatectl set-ntp true, on both machines")
	}
}

// others looks for what is in the same Redis and not of this installation.
func (s *store) others(ctx context.Context) {
	names, err := s.portals(ctx)
	if err == nil && len(names) > 1 {
		s.add(Warning, "redis-portals", "there are publications of "+strings.Join(names, " and "),
			"several portals on one Redis share message ids and statistics, and each hears what the others publish; one portal with several names is no fault",
			`"storage": {"socket": "redis://HOST:PORT/1"}, with another number for each portal`)
	}
	var databases []string
	for name := range s.info {
		if number, ok := strings.CutPrefix(name, "db"); ok && strings.Trim(number, "0123456789") == "" {
			databases = append(databases, number)
		}
	}
	if len(databases) > 1 {
		slices.Sort(databases)
		s.add(Note, "redis-databases", "databases "+strings.Join(databases, ", ")+" have keys",
			"publications are heard in all databases of a Redis: those of another portal are thrown away here, but they take time", "")
	}
}

// portals are the names of the portals that have published lately, as far as their publications say so. It looks at no more than a
// sample.
func (s *store) portals(ctx context.Context) (names []string, err error) {
	cursor := "0"
	for range 10 {
		answer, err := s.bus.Ask(ctx, "SCAN", cursor, "MATCH", s.bus.MessagePattern(), "COUNT", "500")
		if err != nil {
			return nil, err
		}
		entry, err := answer.AsScanEntry()
		if err != nil {
			return nil, err
		}
		for _, key := range entry.Elements[:min(len(entry.Elements), 100)] {
			if name := s.portal(ctx, key); name != "" && !slices.Contains(names, name) && len(names) < 5 {
				names = append(names, name)
			}
		}
		if cursor = strconv.FormatUint(entry.Cursor, 10); cursor == "0" {
			break
		}
	}
	slices.Sort(names)
	return names, nil
}

// portal is the name of the portal that has published what is stored under key; "": it does not say.
func (s *store) portal(ctx context.Context, key string) string {
	answer, err := s.bus.Ask(ctx, "GET", key)
	if err != nil {
		return ""
	}
	text, _ := answer.ToString()
	var p protocol.Publication
	var body struct {
		Extra struct {
			Name string `json:"server_name"`
		} `json:"extra"`
	}
	if protocol.ParseOutgoing([]byte(text), &p) != nil || json.Unmarshal(p.Body, &body) != nil || body.Extra.Name == "" {
		return ""
	}
	return strconv.Quote(body.Extra.Name)
}
