package main

import (
	"crypto/rand"
	"fmt"
	"log/slog"
	"os"

	"push-server/configs"
	"push-server/engine"
	"push-server/engine/ops"
	"push-server/engine/ops/page"
	"push-server/poll"
	"push-server/protocol"
)

// securityKey is the configured key, or one that nobody knows: then the server runs, but no signature is right.
func securityKey(c *configs.Config, log *slog.Logger) ([]byte, error) {
	if c.Security.Key != "" {
		return []byte(c.Security.Key), nil
	}
	log.Warn("security.key is missing: every signature is wrong, so nobody can subscribe until it is set")
	return []byte(rand.Text()), nil
}

func engineOptions(s *server, key []byte) engine.Options {
	c, p := s.config, &s.config.Push
	o := engine.Options{
		Listeners:         s.subscriberPorts(),
		Loops:             loops(p),
		Algo:              c.Security.Algo,
		Key:               key,
		OlderKeys:         c.Security.All()[min(1, len(c.Security.All())):],
		Limits:            limits(c),
		MaxConnections:    p.MaxConnections,
		MaxConnPerChannel: c.Limits.MaxConnPerChannel,
		ProcessID:         processID(c),
		ClusterMode:       c.ClusterMode,
		OnlineTTL:         c.Storage.OnlineTTL + c.Storage.OnlineDelta,
		StatLimits:        c.LimitsJSON(),
		PollTimeout:       p.PollTimeout,
		PingInterval:      p.PingInterval,
		V5:                engine.V5(p.V5),
		HeadTimeout:       p.HeadTimeout,
		BodyTimeout:       p.BodyTimeout,
		IdleTimeout:       p.IdleTimeout,
		CloseTimeout:      p.CloseTimeout,
		AcceptTimeout:     p.AcceptTimeout,
		DrainPace:         p.DrainPace,
		StatInterval:      c.Storage.StatTTL,
		StatMaxAge:        c.Storage.StatTTL + c.Storage.StatDelta,
		HistoryPerChannel: p.HistoryPerChannel,
		HistoryTotal:      p.HistoryTotal,
		WindowCount:       p.WindowCount,
		WindowBytes:       p.WindowBytes,
		PublishQueue:      p.PublishQueue,
		ClientRate:        clientRate(p),
		MaxBuffered:       p.MaxBuffered,
		RequestTotal:      p.RequestBytes,
		InputTotal:        p.InputBytes,
		OutputTotal:       p.OutputBytes,
		PendingTotal:      p.PendingBytes,
		AnswerTotal:       p.ReplayBytes,
		Logger:            s.log,
		ErrorLog:          s.logs.refusal,
		TestKey:           c.Debug.TestConnectionKey,
	}
	if s.trace != nil {
		o.Trace = s.trace
	}
	o.Closed = s.closed
	o.StatAllow, _ = configs.Prefixes(p.StatAllow) // those that are none did not pass the check
	o.Origins, _ = protocol.NewOrigins(p.Origins)
	o.PubAllow, _ = configs.Prefixes(p.PubAllow)
	return o
}

// windowOptions say who may look, and what there is to see.
func windowOptions(c *configs.Config, warnings *ops.Warnings) (ops.Options, error) {
	o := &c.Push.Operators
	token, err := o.Secret()
	test := newTester(c)
	return ops.Options{
		Token: token, ReadOnly: o.ReadOnly, Profiles: c.ServesProfiles(), Hosts: o.Hosts, Warnings: warnings,
		Version: versionText(), Process: processID(c), Storage: c.Storage.Type, ClusterMode: c.ClusterMode, Loops: loops(&c.Push),
		Config: map[string]any{"files": c.File, "options": c.Effective()},
		Page:   page.Handler(test.Origins), Tester: test,
	}, err
}

// clientRate is negative where there is no limit, since zero would be a default.
func clientRate(p *configs.Push) int {
	if p.ClientRate == 0 {
		return -1
	}
	return p.ClientRate
}

// loops is the number of event loops.
func loops(p *configs.Push) int {
	if p.Loops > 0 {
		return p.Loops
	}
	return cores
}

func limits(c *configs.Config) protocol.Limits {
	return protocol.Limits{
		MaxPayload:  c.Limits.MaxPayload,
		MaxMessages: c.Limits.MaxMessagesPerRequest,
		MaxChannels: c.Limits.MaxChannelsPerRequest,
		Guarded:     c.Push.ClientPublishGuard,
	}
}

// subscriberPorts are the listeners of the engine, with all their routes.
func (s *server) subscriberPorts() (ports []engine.Listener) {
	for i, l := range s.config.Servers {
		if l.Routes.Sub != "" {
			ports = append(ports, engine.Listener{Name: l.Name, Addr: l.Address, Routes: poll.Routes(l.Routes), TLS: s.secured[i]})
		}
	}
	return ports
}

func processID(c *configs.Config) string {
	if c.ProcessUniqueID != "" {
		return c.ProcessUniqueID
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s-%d", host, os.Getpid())
}
