package main

import (
	"fmt"
	"log/slog"
	"strings"
	"time"

	"push-server/configs"
	"push-server/engine"
	"push-server/engine/membus"
	"push-server/redisbus"
)

// newBus opens the bus. That of a process before, in its memory, goes on in this one.
func newBus(c *configs.Config, log *slog.Logger, before *succession) (engine.Bus, error) {
	if c.Storage.Type == configs.StorageMemory {
		return before.memoryBus(membus.Options{
			MessageTTL: messageTTL(c),
			ChannelTTL: c.Storage.ChannelTTL,
			PerChannel: c.Push.MemoryPerChannel,
			MaxBytes:   int64(c.Push.MemoryBytes),
		})
	}
	return redisBus(c, log)
}

// messageTTL is negative where nothing is stored, since zero would be a default.
func messageTTL(c *configs.Config) time.Duration {
	if c.Storage.MessageTTL == 0 {
		return -time.Second
	}
	return c.Storage.MessageTTL
}

func redisBus(c *configs.Config, log *slog.Logger) (*redisbus.Bus, error) {
	o, err := redisOptions(c, log)
	if err != nil {
		return nil, err
	}
	return redisbus.New(o)
}

func redisOptions(c *configs.Config, log *slog.Logger) (redisbus.Options, error) {
	o := redisbus.Options{
		User:     c.Storage.User,
		Password: c.Storage.Password,

		SentinelUser:     c.Storage.SentinelUser,
		SentinelPassword: c.Storage.SentinelPassword,
		PlainSentinels:   !c.Storage.TLS.Sentinels,

		Cluster: c.Storage.Cluster,

		MessageTTL:  messageTTL(c),
		ChannelTTL:  c.Storage.ChannelTTL,
		OnlineTTL:   c.Storage.OnlineTTL,
		OnlineDelta: c.Storage.OnlineDelta,
		Log:         log,
	}
	if c.Storage.TLS.On {
		var err error
		if o.TLS, err = c.Storage.TLS.Config(); err != nil {
			return o, fmt.Errorf("storage.tls: %w", err)
		}
	}
	socket := c.Storage.Socket
	switch {
	case len(c.Storage.Sentinels) > 0:
		o.Sentinels, o.MasterName = c.Storage.SentinelAddrs(), c.Storage.MasterName
	case len(c.Storage.Nodes) > 0:
		o.Nodes = c.Storage.NodeAddrs()
	case strings.Contains(socket, "://"):
		o.URL = socket
	default:
		o.Network, o.Addr = c.Storage.Addr()
	}
	return o, nil
}

// storageText says where publications are kept, without the password that an address may have.
func storageText(s *configs.Storage) string {
	switch {
	case s.Type == configs.StorageMemory:
		return "history and delivery: in the memory of this process"
	case len(s.Sentinels) > 0:
		return fmt.Sprintf("history and delivery: Redis that sentinels at %s call %s", strings.Join(s.SentinelAddrs(), ", "), s.MasterName) + encryption(s)
	}
	_, where := s.Addr()
	if len(s.Nodes) > 0 {
		where = strings.Join(s.NodeAddrs(), ", ")
	}
	if scheme, rest, ok := strings.Cut(s.Socket, "://"); ok {
		where = scheme + "://" + rest[strings.LastIndexByte(rest, '@')+1:]
	}
	if s.Cluster != "" {
		return fmt.Sprintf("history and delivery: Redis Cluster at %s, under keys {%s}…, which Node processes do not know", where, s.Cluster) + encryption(s)
	}
	return "history and delivery: Redis at " + where + encryption(s)
}

func encryption(s *configs.Storage) string {
	if s.TLS.On {
		return ", in TLS"
	}
	return ""
}
