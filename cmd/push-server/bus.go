package main

import (
	"log/slog"
	"net"
	"strconv"
	"strings"
	"time"

	"push-server/configs"
	"push-server/engine"
)

func newBus(c *configs.Config, log *slog.Logger) (engine.Bus, error) {
	if c.Storage.Type == configs.StorageMemory {
		return memoryBus(c), nil
	}
	return redisBus(c, log)
}

func memoryBus(c *configs.Config) *engine.MemoryBus {
	ttl := c.Storage.MessageTTL
	if ttl == 0 {
		ttl = -time.Second // nothing is stored; zero would be the default
	}
	return engine.NewMemoryBus(engine.MemoryOptions{
		MessageTTL: ttl,
		ChannelTTL: c.Storage.ChannelTTL,
		PerChannel: c.Push.MemoryPerChannel,
		MaxBytes:   int64(c.Push.MemoryBytes),
	})
}

// storageText says where publications are kept, without the password that an address may have.
func storageText(s *configs.Storage) string {
	switch {
	case s.Type == configs.StorageMemory:
		return "history and delivery: in the memory of this process"
	case s.Socket == "":
		return "history and delivery: Redis at " + net.JoinHostPort(s.Host, strconv.Itoa(s.Port))
	}
	where := s.Socket
	if scheme, rest, ok := strings.Cut(where, "://"); ok {
		where = scheme + "://" + rest[strings.LastIndexByte(rest, '@')+1:]
	}
	return "history and delivery: Redis at " + where
}
