package main

import (
	"crypto/rand"
	"fmt"
	"os"

	"push-server/configs"
	"push-server/engine"
	"push-server/engine/ops"
	"push-server/engine/ops/page"
	"push-server/engine/ratelimit"
	"push-server/poll"
	"push-server/protocol"
)

// keys are those of a configuration, the newest first, or one that nobody knows: then the server runs, but no signature is right.
func (s *server) keys(c *configs.Config) [][]byte {
	if all := c.Security.All(); len(all) > 0 {
		return all
	}
	if s.randomKey == nil {
		s.log.Warn("security.key is missing: every signature is wrong, so nobody can subscribe until it is set")
		s.randomKey = []byte(rand.Text())
	}
	return [][]byte{s.randomKey}
}

// settings are what may change while the engine runs.
func (s *server) settings(c *configs.Config) engine.Settings {
	p, keys := &c.Push, s.keys(c)
	o := engine.Settings{
		Algo:              c.Security.Algo,
		Key:               keys[0],
		OlderKeys:         keys[1:],
		Limits:            limits(c),
		TestKey:           c.Debug.TestConnectionKey,
		ConnectRate:       p.ConnectRate,
		Address:           ratelimit.Limits{Connections: p.PerAddress.Connections, PerSecond: p.PerAddress.ConnectRate, IPv6Prefix: p.PerAddress.IPv6Prefix},
		MaxConnections:    p.MaxConnections,
		MaxConnPerChannel: c.Limits.MaxConnPerChannel,
		PublishQueue:      p.PublishQueue,
		DrainPace:         p.DrainPace,
		ClientRate:        clientRate(p),
		MaxBuffered:       p.MaxBuffered,
		RequestTotal:      p.RequestBytes,
		InputTotal:        p.InputBytes,
		OutputTotal:       p.OutputBytes,
		PendingTotal:      p.PendingBytes,
		AnswerTotal:       p.ReplayBytes,
		StatLimits:        c.LimitsJSON(),
	}
	o.Address.Exempt, _ = configs.Prefixes(p.PerAddress.Exempt)
	o.StatAllow, _ = configs.Prefixes(p.StatAllow) // those that are none did not pass the check
	o.PubAllow, _ = configs.Prefixes(p.PubAllow)
	o.Origins, _ = protocol.NewOrigins(p.Origins)
	return o
}

func engineOptions(s *server) engine.Options {
	c, p := s.config, &s.config.Push
	o := engine.Options{
		Listeners:         s.subscriberPorts(),
		Settings:          s.settings(c),
		Loops:             loops(p),
		ProcessID:         processID(c),
		ClusterMode:       c.ClusterMode,
		OnlineTTL:         c.Storage.OnlineTTL + c.Storage.OnlineDelta,
		PollTimeout:       p.PollTimeout,
		PingInterval:      p.PingInterval,
		V5:                engine.V5(p.V5),
		HeadTimeout:       p.HeadTimeout,
		BodyTimeout:       p.BodyTimeout,
		IdleTimeout:       p.IdleTimeout,
		CloseTimeout:      p.CloseTimeout,
		AcceptTimeout:     p.AcceptTimeout,
		StatInterval:      c.Storage.StatTTL,
		StatMaxAge:        c.Storage.StatTTL + c.Storage.StatDelta,
		HistoryPerChannel: p.HistoryPerChannel,
		HistoryTotal:      p.HistoryTotal,
		WindowCount:       p.WindowCount,
		WindowBytes:       p.WindowBytes,
		Logger:            s.log,
		ErrorLog:          s.logs.refusal,
	}
	if s.trace != nil {
		o.Trace = s.trace
	}
	o.Closed = s.closed
	o.Proxies, _ = configs.Prefixes(p.TrustedProxies) // those that are none did not pass the check
	return o
}

// windowOptions say who may look, and what there is to see.
func (s *server) windowOptions(c *configs.Config) (ops.Options, error) {
	o := &c.Push.Operators
	token, err := o.Secret()
	test := newTester(c)
	return ops.Options{
		Token: token, ReadOnly: o.ReadOnly, Profiles: c.ServesProfiles(), Hosts: o.Hosts, Warnings: s.logs.warnings, Closed: s.closed, Drain: s.drainer,
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
			ports = append(ports, engine.Listener{
				Name: l.Name, Addr: l.Address, Routes: poll.Routes(l.Routes), TLS: s.secured[i], ProxyProtocol: l.ProxyProtocol,
				Sockets: s.before.subscribers(&l, s.secured[i] != nil, len(ports)),
			})
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
