package configs

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// option is one key of a file: where its value goes, what it may be and what it means.
type option struct {
	key string // "storage.host"; "servers[].port" for a key of each listener
	// of and each say where the value goes: to a field of the Config or of a Server, of type string, bool, int, []string or
	// time.Duration. Neither: the key is known and has no effect.
	of   func(*Config) any
	each func(*Server) any
	unit time.Duration // of a duration that is written as a number; 0: durations are written as "40s"
	// min and max bound numbers and durations, both inclusive.
	min, max  int64
	changes   Change // when another value takes effect
	yes       string // what true stands for where text is expected; false is ""
	doc       string // one line for the table of docs/configuration.md; "" keeps the key out of it
	remark    string // warning about a key without effect; "" says nothing
	insteadOf string // the key that a misspelling stands for
}

const (
	maxSeconds = int64(10 * 365 * 24 * time.Hour)
	maxCount   = math.MaxInt32
	maxBytes   = math.MaxInt32
	maxMinutes = int64(time.Hour)
)

// options are all keys that are known, in the order of that table.
var options = []option{
	{key: "servers[].name", changes: onUpgrade, each: func(s *Server) any { return &s.Name }, doc: "name of the listener in the line it prints"},
	{key: "servers[].port", changes: onUpgrade, each: func(s *Server) any { return &s.Port }, max: 65535,
		doc: "port; absent or 0: one that the system chooses. If one with `routes.sub` goes, its clients do, too: that takes a restart"},
	{key: "servers[].hostname", changes: onUpgrade, each: func(s *Server) any { return &s.Hostname },
		doc: "address or host name to listen at; absent, or not one of this machine: every interface; neither an address nor a name: an error. Another one with the same port takes a restart"},
	{key: "servers[].routes.pub", changes: onUpgrade, each: func(s *Server) any { return &s.Routes.Pub }, doc: "path where a back end publishes and asks who is online"},
	{key: "servers[].routes.sub", changes: onUpgrade, each: func(s *Server) any { return &s.Routes.Sub }, doc: "path of WebSocket and long poll"},
	{key: "servers[].routes.rest", changes: onUpgrade, each: func(s *Server) any { return &s.Routes.Rest }, doc: "path where clients publish over HTTP"},
	{key: "servers[].routes.stat", changes: onUpgrade, each: func(s *Server) any { return &s.Routes.Stat }, doc: "path of statistics; open to everyone who reaches the port, or to those in push.statAllow"},
	{key: "servers[].routes.api", changes: onUpgrade, each: func(s *Server) any { return &s.Routes.API },
		doc: "path where a back end of version 5 publishes; needed only where nginx routes one, since `routes.pub` takes its requests as well"},
	{key: "servers[].proxyProtocol", changes: onUpgrade, each: func(s *Server) any { return &s.ProxyProtocol },
		doc: "connections of `push.trustedProxies` begin with a header of the PROXY protocol, version 1 or 2, which says whose they are; those of others do not, and are served as they are"},
	{key: "servers[].routes.register", remark: "belongs to cloud mode, which is not supported: not served"},
	{key: "servers[].routes.systemctl", remark: "belongs to cloud mode, which is not supported: not served"},
	{key: "servers[].backlog"}, // the greatest that the system allows is used
	{key: "servers[].path", remark: "has no effect, as in the Node server"},
	{key: "servers[].maxPayload", remark: "has no effect, as in the Node server; limits.maxPayload has"},
	{key: "servers[].ssl.key", changes: onReload, each: func(s *Server) any { return &s.ssl().Key },
		doc: "file with the private key; with a section `ssl` the listener serves TLS 1.2 and 1.3, and nothing else"},
	{key: "servers[].ssl.cert", changes: onReload, each: func(s *Server) any { return &s.ssl().Cert },
		doc: "file with the certificate and those between it and the authority; both are read again with SIGHUP, and may be other files then; where there is `routes.sub`, a section `ssl` that comes or goes takes a restart"},
	{key: "servers[].ssl.ciphers", changes: onUpgrade, each: func(s *Server) any { return &s.ssl().Ciphers },
		doc: "ciphers of TLS 1.2, names of OpenSSL separated by colons; absent: the usual ones"},
	{key: "servers[].ssl.dhparam", remark: "has no effect: keys are agreed on by elliptic curves"},
	{key: "servers[].ssl.honorCipherOrder", remark: "has no effect: the order of ciphers is decided by what both sides do fast"},

	{key: "clusterMode", changes: onRestart, of: func(c *Config) any { return &c.ClusterMode }, doc: "share publications with other processes through Redis"},
	{key: "publishMode", changes: onRestart, of: func(c *Config) any { return &c.PublishMode }, doc: "as `clusterMode`: this process publishes for the subscribers of others"},
	{key: "processUniqueId", changes: onUpgrade, of: func(c *Config) any { return &c.ProcessUniqueID }, doc: "name of the process in statistics; of several files the first that has one; absent: host name and process id"},
	{key: "trustClients"},
	{key: "cloudMode"},
	{key: "licenseServer"},
	{key: "dataDir"},

	{key: "storage.type", changes: onRestart, of: func(c *Config) any { return &c.Storage.Type }, doc: "`redis`, or `memory` for one process without Redis"},
	{key: "storage.socket", changes: onUpgrade, of: func(c *Config) any { return &c.Storage.Socket },
		doc: "path of Redis' Unix socket, `host:port`, or `redis://[user:password@]host:port[/db]`, `rediss://…` for TLS; goes before host and port"},
	{key: "storage.host", changes: onUpgrade, of: func(c *Config) any { return &c.Storage.Host }, doc: "host of Redis, `host:port`, or the path of its Unix socket"},
	{key: "storage.port", changes: onUpgrade, of: func(c *Config) any { return &c.Storage.Port }, min: 1, max: 65535, doc: "port of Redis"},
	{key: "storage.user", changes: onUpgrade, of: func(c *Config) any { return &c.Storage.User }, doc: "user of Redis, where it has users (ACL); absent: the one that Redis calls `default`"},
	{key: "storage.password", changes: onUpgrade, of: func(c *Config) any { return &c.Storage.Password }, doc: "password of Redis, as it is; in a URL it has to be percent-encoded"},
	{key: "storage.tls.ca", changes: onUpgrade, of: func(c *Config) any { return &c.Storage.TLS.CA },
		doc: "file with certificates of the authorities that vouch for Redis; absent: those of the system. With a section `tls`, which may be empty, Redis at host and port is spoken to in TLS"},
	{key: "storage.tls.cert", changes: onUpgrade, of: func(c *Config) any { return &c.Storage.TLS.Cert },
		doc: "file with the certificate that is shown to Redis; read for each connection, as is the key"},
	{key: "storage.tls.key", changes: onUpgrade, of: func(c *Config) any { return &c.Storage.TLS.Key }, doc: "file with its private key"},
	{key: "storage.tls.serverName", changes: onUpgrade, of: func(c *Config) any { return &c.Storage.TLS.ServerName },
		doc: "name that the certificate of Redis must have; absent: the host that is connected to"},
	{key: "storage.tls.sentinels", changes: onUpgrade, of: func(c *Config) any { return &c.Storage.TLS.Sentinels }, doc: "speak TLS to the sentinels, too, with the same files"},
	{key: "storage.sentinels", changes: onUpgrade, of: func(c *Config) any { return &c.Storage.Sentinels },
		doc: "addresses of the sentinels that say where Redis is, for example `[\"10.0.0.1:26379\", \"10.0.0.2:26379\"]`; there is no socket, host and port then. In a URL: `redis://…@sentinel:26379?addr=another:26379&master_set=name`"},
	{key: "storage.masterName", changes: onUpgrade, of: func(c *Config) any { return &c.Storage.MasterName }, doc: "what the sentinels call the master"},
	{key: "storage.sentinelUser", changes: onUpgrade, of: func(c *Config) any { return &c.Storage.SentinelUser }, doc: "user of the sentinels, where they have users"},
	{key: "storage.sentinelPassword", changes: onUpgrade, of: func(c *Config) any { return &c.Storage.SentinelPassword }, doc: "password of the sentinels; `storage.password` is that of Redis itself"},
	{key: "storage.cluster", changes: onRestart, of: func(c *Config) any { return &c.Storage.Cluster }, yes: "push-server",
		doc: "Redis is a cluster: all keys begin with `{push-server}`, or with another word than `true` in such braces, which keeps them on one node. Node processes do not know these keys, so none may serve the portal, too"},
	{key: "storage.nodes", changes: onUpgrade, of: func(c *Config) any { return &c.Storage.Nodes },
		doc: "addresses of nodes of the cluster to begin with, for example `[\"10.0.0.1:6379\", \"10.0.0.2:6379\"]`; or one of them is at socket, or host and port"},
	{key: "storage.messageTTL", changes: onUpgrade, of: func(c *Config) any { return &c.Storage.MessageTTL }, unit: time.Second, max: maxSeconds,
		doc: "seconds; no publication is kept longer, whatever expiry it asks for; 0: nothing is stored"},
	{key: "storage.channelTTL", changes: onUpgrade, of: func(c *Config) any { return &c.Storage.ChannelTTL }, unit: time.Second, min: int64(time.Second), max: maxSeconds,
		doc: "seconds that the history of a channel outlives its last publication"},
	{key: "storage.onlineTTL", changes: onUpgrade, of: func(c *Config) any { return &c.Storage.OnlineTTL }, unit: time.Second, max: maxSeconds,
		doc: "seconds that a user stays online after a sign of life"},
	{key: "storage.onlineDelta", changes: onUpgrade, of: func(c *Config) any { return &c.Storage.OnlineDelta }, unit: time.Second, max: maxSeconds,
		doc: "seconds added to onlineTTL"},
	{key: "storage.statTLLMsec", changes: onUpgrade, of: func(c *Config) any { return &c.Storage.StatTTL }, unit: time.Millisecond, min: int64(time.Second), max: maxSeconds,
		doc: "milliseconds between two records of statistics (the spelling is that of the Node server)"},
	{key: "storage.statDeltaMsec", changes: onUpgrade, of: func(c *Config) any { return &c.Storage.StatDelta }, unit: time.Millisecond, max: maxSeconds,
		doc: "milliseconds; statistics older than statTLLMsec and this together do not count"},
	{key: "storage.messageTLL", insteadOf: "storage.messageTTL"},
	{key: "storage.channelTLL", insteadOf: "storage.channelTTL"},
	{key: "storage.onlineTLL", insteadOf: "storage.onlineTTL"},
	{key: "storage.statTTLMsec", insteadOf: "storage.statTLLMsec"},

	{key: "limits.maxPayload", changes: onUpgrade, of: func(c *Config) any { return &c.Limits.MaxPayload }, min: 1, max: maxBytes, doc: "bytes of a request body or WebSocket message"},
	{key: "limits.maxConnPerChannel", changes: onReload, of: func(c *Config) any { return &c.Limits.MaxConnPerChannel }, max: maxCount,
		doc: "connections of one private channel; the oldest is closed for a new one; at least 1"},
	{key: "limits.maxMessagesPerRequest", changes: onReload, of: func(c *Config) any { return &c.Limits.MaxMessagesPerRequest }, min: 1, max: maxCount, doc: "publications of a request"},
	{key: "limits.maxChannelsPerRequest", changes: onReload, of: func(c *Config) any { return &c.Limits.MaxChannelsPerRequest }, min: 1, max: maxCount,
		doc: "receivers of a publication, channels of a question"},
	{key: "limits.maxRequestsPerSecond", remark: "has no effect, as in the Node server"},

	{key: "security.key", changes: onReload, of: func(c *Config) any { return &c.Security.Key },
		doc: "key that channel ids are signed with, the same as in the portal, or an array of keys, the [newest first](../configs/MIGRATION.md#changing-the-key); absent: a random one, with which no subscription works"},
	{key: "security.algo", changes: onReload, of: func(c *Config) any { return &c.Security.Algo }, doc: "digest of signatures: `sha1`, `sha256`, `md5`, …"},

	{key: "debug.folderName", changes: onUpgrade, of: func(c *Config) any { return &c.Debug.FolderName },
		doc: "folder of log files, relative to the current directory; absent: none, everything goes to standard error"},
	{key: "debug.ip", changes: onUpgrade, of: func(c *Config) any { return &c.Debug.IP },
		doc: "the traffic of clients whose address contains one of these, or lies in one that is a prefix such as `10.0.0.0/24`, is logged, for example `[\"10.0.0.\"]`"},
	{key: "debug.trustProxy", changes: onUpgrade, of: func(c *Config) any { return &c.Debug.TrustProxy }, doc: "for `debug.ip`, the address is what X-Forwarded-For says"},
	{key: "debug.testConnectionKey", changes: onReload, of: func(c *Config) any { return &c.Debug.TestConnectionKey },
		doc: "refusals of requests with this `testKey` are not logged"},

	{key: "push.loops", changes: onUpgrade, of: func(c *Config) any { return &c.Push.Loops }, max: 1024, doc: "event loops; 0: one for each core"},
	{key: "push.sharePort", changes: onRestart, of: func(c *Config) any { return &c.Push.SharePort },
		doc: "let several processes listen at the same ports; the kernel spreads connections over them"},
	{key: "push.pollTimeout", changes: onUpgrade, of: func(c *Config) any { return &c.Push.PollTimeout }, min: int64(time.Second), max: int64(55 * time.Second),
		doc: "a long poll without a message ends after this; clients give up after 60 s"},
	{key: "push.pingInterval", changes: onUpgrade, of: func(c *Config) any { return &c.Push.PingInterval }, min: int64(time.Second), max: maxMinutes, doc: "between two pings of a WebSocket"},
	{key: "push.headTimeout", changes: onUpgrade, of: func(c *Config) any { return &c.Push.HeadTimeout }, min: int64(time.Second), max: maxMinutes, doc: "for a complete request head"},
	{key: "push.bodyTimeout", changes: onUpgrade, of: func(c *Config) any { return &c.Push.BodyTimeout }, min: int64(time.Second), max: maxMinutes, doc: "for a complete request body"},
	{key: "push.idleTimeout", changes: onUpgrade, of: func(c *Config) any { return &c.Push.IdleTimeout }, min: int64(time.Second), max: maxMinutes, doc: "between two requests of a connection"},
	{key: "push.closeTimeout", changes: onUpgrade, of: func(c *Config) any { return &c.Push.CloseTimeout }, min: int64(time.Second), max: maxMinutes, doc: "for the close frame of a client"},
	{key: "push.acceptTimeout", changes: onUpgrade, of: func(c *Config) any { return &c.Push.AcceptTimeout }, min: int64(time.Millisecond), max: maxMinutes,
		doc: "a publisher whose publication is not stored by then gets 202 (accepted)"},
	{key: "push.drainTimeout", changes: onReload, of: func(c *Config) any { return &c.Push.DrainTimeout }, max: maxMinutes, doc: "for an orderly end after SIGTERM or SIGINT"},
	{key: "push.drainDelay", changes: onReload, of: func(c *Config) any { return &c.Push.DrainDelay }, max: maxMinutes,
		doc: "at the beginning of that time: `/readyz` says no and everybody is still served, until whoever balances load has noticed"},
	{key: "push.drainPace", changes: onReload, of: func(c *Config) any { return &c.Push.DrainPace }, max: maxCount,
		doc: "connections closed in a second then; 0: 12,500, and 480 with TLS, so that clients that come back cost half a core. It is faster if the time would not be enough"},
	{key: "push.upgradeLinger", changes: onReload, of: func(c *Config) any { return &c.Push.UpgradeLinger }, max: int64(24 * time.Hour),
		doc: "after an upgrade: how long what cannot be handed over, encrypted connections above all, goes on in the old process"},
	{key: "push.handoverSocket", changes: onUpgrade, of: func(c *Config) any { return &c.Push.HandoverSocket },
		doc: "path of a Unix socket in a folder that [two containers](operate.md#upgrades-of-containers) share: a process that starts takes over there from the one that serves, and hands over there later; absent: none"},
	{key: "push.maxConnections", changes: onReload, of: func(c *Config) any { return &c.Push.MaxConnections }, max: maxCount, doc: "subscribers of the process; 0: as many as descriptors allow"},
	{key: "push.connectRate", changes: onReload, of: func(c *Config) any { return &c.Push.ConnectRate }, max: maxCount,
		doc: "subscribers of the process that come in a second, and as many at once after a quiet one; 0: no limit. Who is turned away is told when to come again, one after the other"},
	{key: "push.trustedProxies", changes: onUpgrade, of: func(c *Config) any { return &c.Push.TrustedProxies },
		doc: "proxies that are believed when they say whose request it is, for example `[\"127.0.0.1\", \"10.0.0.0/24\"]`: the client is the right-most address of X-Forwarded-For (or X-Real-IP) that is none of them; for limits, `statAllow`, `pubAllow`, the log and the operator's window; absent: nobody is"},
	{key: "push.perAddress.connections", changes: onReload, of: func(c *Config) any { return &c.Push.PerAddress.Connections }, max: maxCount,
		doc: "subscribers of one address at once; 0: no limit. Behind a proxy, name it in `push.trustedProxies`"},
	{key: "push.perAddress.connectRate", changes: onReload, of: func(c *Config) any { return &c.Push.PerAddress.ConnectRate }, max: maxCount,
		doc: "subscribers of one address that come in a second; those of ten seconds may come at once; 0: no limit"},
	{key: "push.perAddress.ipv6Prefix", changes: onReload, of: func(c *Config) any { return &c.Push.PerAddress.IPv6Prefix }, min: 16, max: 128,
		doc: "bits of an address of version 6 that make one address: a household has a network of 64"},
	{key: "push.perAddress.exempt", changes: onReload, of: func(c *Config) any { return &c.Push.PerAddress.Exempt },
		doc: "addresses and prefixes without these limits: an office whose people all have one address"},
	{key: "push.maxBuffered", changes: onReload, of: func(c *Config) any { return &c.Push.MaxBuffered }, min: 1, max: maxBytes, doc: "bytes waiting for a slow reader before it is closed; the default grows with `limits.maxPayload`"},
	{key: "push.requestBytes", changes: onReload, of: func(c *Config) any { return &c.Push.RequestBytes }, max: maxBytes,
		doc: "bytes of bodies of publications under way over HTTP; 0: see [Limits](../README.md#limits)"},
	{key: "push.inputBytes", changes: onReload, of: func(c *Config) any { return &c.Push.InputBytes }, max: maxBytes,
		doc: "bytes of requests and messages that are not complete, of all connections; 0: see [Limits](../README.md#limits)"},
	{key: "push.outputBytes", changes: onReload, of: func(c *Config) any { return &c.Push.OutputBytes }, max: maxBytes,
		doc: "bytes waiting for slow readers, of all connections; 0: see [Limits](../README.md#limits)"},
	{key: "push.pendingBytes", changes: onReload, of: func(c *Config) any { return &c.Push.PendingBytes }, max: maxBytes,
		doc: "bytes of live publications kept for returning clients while their history is read; 0: see [Limits](../README.md#limits)"},
	{key: "push.replayBytes", changes: onReload, of: func(c *Config) any { return &c.Push.ReplayBytes }, max: maxBytes,
		doc: "bytes of history on its way to returning clients; 0: see [Limits](../README.md#limits)"},
	{key: "push.historyPerChannel", changes: onUpgrade, of: func(c *Config) any { return &c.Push.HistoryPerChannel }, min: 1, max: maxCount, doc: "publications of one channel that a returning client gets"},
	{key: "push.historyTotal", changes: onUpgrade, of: func(c *Config) any { return &c.Push.HistoryTotal }, min: 1, max: maxCount, doc: "publications that a returning client gets in all"},
	{key: "push.windowCount", changes: onUpgrade, of: func(c *Config) any { return &c.Push.WindowCount }, min: 2, max: maxCount,
		doc: "recent publications kept for fan-out and returning clients, a power of two"},
	{key: "push.windowBytes", changes: onUpgrade, of: func(c *Config) any { return &c.Push.WindowBytes }, min: 1, max: maxBytes, doc: "bytes of their bodies; at least `limits.maxPayload`, with which the default grows"},
	{key: "push.publishQueue", changes: onReload, of: func(c *Config) any { return &c.Push.PublishQueue }, min: 1, max: maxCount, doc: "publications accepted but not yet stored, of back ends and of clients, each"},
	{key: "push.clientRate", changes: onReload, of: func(c *Config) any { return &c.Push.ClientRate }, max: maxCount,
		doc: "publications and questions of one WebSocket in a second; those of ten seconds may come at once; 0: no limit"},
	{key: "push.clientPublishGuard", changes: onReload, of: func(c *Config) any { return &c.Push.ClientPublishGuard },
		doc: "clients may not publish messages of the module `pull`, which browsers take for orders of the portal, nor bodies that are no JSON; an `extra` of theirs is left out"},
	{key: "push.memoryPerChannel", changes: onUpgrade, of: func(c *Config) any { return &c.Push.MemoryPerChannel }, min: 1, max: maxCount,
		doc: "publications kept of one channel, with `memory`"},
	{key: "push.memoryBytes", changes: onUpgrade, of: func(c *Config) any { return &c.Push.MemoryBytes }, min: 1 << 20, max: math.MaxInt64, doc: "bytes kept in all, with `memory`; the default grows with `limits.maxPayload`"},
	{key: "push.statAllow", changes: onReload, of: func(c *Config) any { return &c.Push.StatAllow },
		doc: "who may see statistics, for example `[\"127.0.0.1\", \"10.0.0.0/8\"]`; absent: everyone. Behind a proxy that is not in `push.trustedProxies` the address is that of the proxy"},
	{key: "push.pubAllow", changes: onReload, of: func(c *Config) any { return &c.Push.PubAllow },
		doc: "who may publish and ask who is online at `routes.pub`, in the same form; absent: everyone who reaches the port"},
	{key: "push.v5.enabled", changes: onUpgrade, of: func(c *Config) any { return &c.Push.V5.Enabled }, doc: "speak [version 5](../configs/VERSION-5.md) of the protocol, too"},
	{key: "push.v5.pingInterval", changes: onUpgrade, of: func(c *Config) any { return &c.Push.V5.PingInterval }, min: int64(time.Second), max: int64(15 * time.Second),
		doc: "between two pings of a client of version 5, which gives up 20 s after the last one"},
	{key: "push.v5.deadAfter", changes: onUpgrade, of: func(c *Config) any { return &c.Push.V5.DeadAfter }, min: int64(time.Second), max: maxMinutes,
		doc: "a client of version 5 that has said nothing for this long is gone"},
	{key: "push.v5.expiryGrace", changes: onUpgrade, of: func(c *Config) any { return &c.Push.V5.ExpiryGrace }, max: maxMinutes,
		doc: "a connection ends this long after its token, unless the client has come with a new one"},
	{key: "push.v5.offlineDelay", changes: onUpgrade, of: func(c *Config) any { return &c.Push.V5.OfflineDelay }, min: int64(time.Second), max: maxMinutes,
		doc: "a user counts as online for this long after the last connection has ended: pages change"},
	{key: "push.v5.statusPerConnection", changes: onUpgrade, of: func(c *Config) any { return &c.Push.V5.StatusPerConnection }, min: 1, max: math.MaxUint16,
		doc: "users that a connection may watch the coming and going of"},
	{key: "push.origins", changes: onReload, of: func(c *Config) any { return &c.Push.Origins },
		doc: "pages whose scripts may open WebSockets, for example `[\"https://portal.example\", \"*.portal.example\"]`; a host alone stands for any scheme and port; who sends no Origin is no browser, and may; absent: all"},
	{key: "push.logLevel", changes: onReload, of: func(c *Config) any { return &c.Push.LogLevel }, doc: "`debug`, `info`, `warn` or `error`"},
	{key: "push.logFormat", changes: onUpgrade, of: func(c *Config) any { return &c.Push.LogFormat }, doc: "form of the lines of the log: `text`, as `key=value`, or `json`, an object each"},
	{key: "push.metrics", changes: onUpgrade, of: func(c *Config) any { return &c.Push.Metrics },
		doc: "address of the [operator's window](operate.md#the-operators-window), such as `127.0.0.1:9100`; at another address than a loopback one, set `push.operators.token`"},
	{key: "push.operators.token", changes: onReload, of: func(c *Config) any { return &c.Push.Operators.Token },
		doc: "secret that whoever looks has to give, as a bearer token or as the password of HTTP basic; absent: whoever reaches the address may look"},
	{key: "push.operators.tokenFile", changes: onReload, of: func(c *Config) any { return &c.Push.Operators.TokenFile }, doc: "file with that secret, instead"},
	{key: "push.operators.readOnly", changes: onReload, of: func(c *Config) any { return &c.Push.Operators.ReadOnly },
		doc: "operators may look and do nothing; always so at an address that is not a loopback one, without a token"},
	{key: "push.operators.profiles", changes: onReload, of: func(c *Config) any { return &c.Push.Operators.Profiles },
		doc: "serve `/debug/pprof/`; absent: at a loopback address only"},
	{key: "push.operators.hosts", changes: onReload, of: func(c *Config) any { return &c.Push.Operators.Hosts },
		doc: "host names under which a proxy or a browser may reach the window at a loopback address without a token, besides `localhost`"},
}

// free are the sections that may hold anything: they belong to cloud mode and to the tests of the Node server.
var free = map[string]bool{"licenseStorage": true, "test": true}

var byKey = func() map[string]*option {
	m := make(map[string]*option, len(options))
	for i := range options {
		m[options[i].key] = &options[i]
	}
	return m
}()

func (s *Server) ssl() *SSL {
	if s.SSL == nil {
		s.SSL = &SSL{}
	}
	return s.SSL
}

// AppendTable appends a Markdown table of the keys that have an effect, with their defaults.
func AppendTable(dst []byte) []byte {
	dst = append(dst, "| key | default | changes with | meaning |\n|---|---|---|---|\n"...)
	c, s := Default(), &Server{}
	for i := range options {
		if o := &options[i]; o.doc != "" {
			dst = fmt.Appendf(dst, "| `%s` | %s | %s | %s |\n", o.key, o.text(o.target(c, s)), o.changes, o.doc)
		}
	}
	return dst
}

// target is where the value of o goes in c, or in s if it is a key of each listener; nil for a key without effect.
func (o *option) target(c *Config, s *Server) any {
	switch {
	case o.of != nil:
		return o.of(c)
	case o.each != nil && s != nil:
		return o.each(s)
	}
	return nil
}

// text is the value behind target as it would stand in a file.
func (o *option) text(target any) string {
	switch v := target.(type) {
	case *string:
		if *v != "" {
			return "`" + *v + "`"
		}
	case *[]string:
		if len(*v) > 0 {
			return "`" + strings.Join(*v, ", ") + "`"
		}
	case *int:
		return fmt.Sprint(*v)
	case *bool:
		return fmt.Sprint(*v)
	case *time.Duration:
		return o.duration(*v)
	}
	return "–"
}

func (o *option) duration(d time.Duration) string {
	if o.unit > 0 {
		return fmt.Sprint(int64(d / o.unit))
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	return "`\"" + s + "\"`"
}
