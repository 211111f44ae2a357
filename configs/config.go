package configs

import "time"

// Config is a configuration. Default and Load make one; the zero value is of no use. All durations are real durations,
// whatever unit the file has.
type Config struct {
	File            string // that it was read from; several, joined by commas, after Join
	Servers         []Server
	PublishMode     bool   // publishes for the subscribers of other processes
	ClusterMode     bool   // shares publications with other processes; always true in PublishMode
	ProcessUniqueID string // name in the statistics; "" stands for <host name>-<process id>
	Storage         Storage
	Limits          Limits
	Security        Security
	Debug           Debug
	Push            Push

	cloudMode bool
	given     map[string]bool // keys that the file has, without those of servers
	limits    *object         // as the file has them
}

// Server is one listener.
type Server struct {
	Name     string
	Port     int // 0: one that the system chooses
	Hostname string
	Address  string // to listen at, "host:port", from Hostname and Port; ":8010" is every interface
	Routes   Routes
	SSL      *SSL // nil: plain

	ProxyProtocol bool // connections of Push.TrustedProxies begin with a header that says whose they are

	file string // that it was read from
}

// Routes are the paths of a listener. "" serves nothing.
type Routes struct {
	Pub, Sub, Rest, Stat, API string
}

// The values of Storage.Type.
const (
	StorageRedis  = "redis"
	StorageMemory = "memory" // history and delivery within this process
)

// Storage is where history is kept and how processes hear of each other.
type Storage struct {
	Type string
	// Socket is a path or a redis:// or rediss:// address. "": Host and Port count.
	Socket   string
	Host     string
	Port     int
	User     string // of Redis; "": the default one
	Password string // of Redis; never print it
	TLS      TLS
	// Sentinels say where Redis is, as host:port or host. Empty: Socket, or Host and Port, do.
	Sentinels        []string
	MasterName       string
	SentinelUser     string
	SentinelPassword string // never print it
	// Cluster is what all keys begin with, in braces, in a Redis Cluster. "": it is none. Nodes are host:port or host of some of its nodes;
	// empty: Socket, or Host and Port, say one.
	Cluster     string
	Nodes       []string
	MessageTTL  time.Duration // upper bound of the expiry of a publication; 0: nothing is stored
	ChannelTTL  time.Duration // life of a history without a new publication
	OnlineTTL   time.Duration
	OnlineDelta time.Duration // is added to OnlineTTL
	StatTTL     time.Duration // period in which statistics are written
	StatDelta   time.Duration // statistics older than StatTTL + StatDelta do not count
}

// Limits bound what one client or back end may ask for.
type Limits struct {
	MaxPayload            int // bytes of an HTTP body or a WebSocket message
	MaxConnPerChannel     int
	MaxMessagesPerRequest int
	MaxChannelsPerRequest int // of one message, too
}

// Security is what channel ids are signed with.
type Security struct {
	Key       string   // never print it. "": no signature is right
	OlderKeys []string // what is signed with one of these is right, too
	Algo      string   // name of a digest; "" is sha1
}

// All are all keys, the newest first.
func (s *Security) All() (keys [][]byte) {
	if s.Key != "" {
		keys = append(keys, []byte(s.Key))
	}
	for _, key := range s.OlderKeys {
		keys = append(keys, []byte(key))
	}
	return keys
}

// Debug is the section debug, as it stands in the file.
type Debug struct {
	FolderName        string
	IP                []string
	TrustProxy        bool
	TestConnectionKey string
}

// Push holds what only this server has.
type Push struct {
	Loops     int  // event loops; 0: one for each core
	SharePort bool // other processes listen at the same ports; the kernel spreads connections over them

	// Deadlines.
	PollTimeout   time.Duration // of a long poll without a message
	PingInterval  time.Duration // between pings of a WebSocket
	HeadTimeout   time.Duration // for a complete request head
	BodyTimeout   time.Duration // for a complete request body
	IdleTimeout   time.Duration // between two requests of a connection
	CloseTimeout  time.Duration // for the close frame of a client
	AcceptTimeout time.Duration // after which a publisher gets 202 instead of 200
	DrainTimeout  time.Duration // for an orderly end after SIGTERM
	DrainDelay    time.Duration // of this, how long everybody is still served while /readyz says no
	UpgradeLinger time.Duration // for what is left in the old process after an upgrade
	// HandoverSocket is the path of a socket at which a process that was started elsewhere takes over; "": there is none.
	HandoverSocket string
	DrainPace      int // connections closed in a second; 0: so that those who come back cost half a core

	// Bounds.
	MaxConnections    int // of subscribers, of this process; 0: what descriptors allow
	ConnectRate       int // of them that come in a second; 0: no limit
	MaxBuffered       int // bytes not yet sent to one connection
	RequestBytes      int // bodies of requests under way, on ports that publish; 0: a sixteenth of the memory limit
	InputBytes        int // unread input of all connections; 0: half a share of the memory limit
	OutputBytes       int // output that the peers of all connections have not taken; 0: the same
	PendingBytes      int // publications kept for returning clients while their history is read; 0: the same
	ReplayBytes       int // history on its way to returning clients; 0: the same
	HistoryPerChannel int // publications replayed of one channel
	HistoryTotal      int // publications replayed in all
	WindowCount       int // recent publications kept for fan-out and returning clients, a power of two
	WindowBytes       int // the same in bytes
	PublishQueue      int // publications accepted, not yet stored, of back ends and of clients, each
	ClientRate        int // publications and questions of one WebSocket in a second; 0: no limit
	MemoryPerChannel  int // publications kept of one channel, storage.type memory
	MemoryBytes       int // bytes kept in all, storage.type memory

	StatAllow          []string // addresses and prefixes of those who may see the statistics; empty: everybody
	PubAllow           []string // the same of those who may use the routes pub
	ClientPublishGuard bool     // clients may not publish what browsers obey the portal in

	Origins   []string // pages whose scripts may open WebSockets; empty: all
	LogLevel  string   // debug, info, warn or error
	LogFormat string   // LogText or LogJSON
	Metrics   string   // address of the operator's window, "host:port"; "": none
	Operators Operators
	V5        V5

	TrustedProxies []string // addresses and prefixes of those who are believed whose request it is; empty: nobody
	PerAddress     PerAddress
}

// PerAddress bounds what subscribers of one address may do.
type PerAddress struct {
	Connections int      // at once; 0: no limit
	ConnectRate int      // that come in a second; 0: no limit
	IPv6Prefix  int      // bits of an address of version 6 that make one
	Exempt      []string // addresses and prefixes without limits
}

// V5 is version 5 of the protocol.
type V5 struct {
	Enabled      bool
	PingInterval time.Duration // between pings of a client
	DeadAfter    time.Duration // without a word of a client that is pinged
	ExpiryGrace  time.Duration // that a connection outlives its token
	OfflineDelay time.Duration // that a user without a connection still counts as connected
	// StatusPerConnection is how many users a connection may watch.
	StatusPerConnection int
}

// The values of Push.LogFormat.
const (
	LogText = "text" // key=value
	LogJSON = "json" // an object a line
)

// Default returns what counts for keys that a file does not have. It has no servers and no key.
func Default() *Config {
	return &Config{
		Storage: Storage{
			Type:        StorageRedis,
			Host:        "127.0.0.1",
			Port:        6379,
			TLS:         TLS{Sentinels: true},
			MessageTTL:  24 * time.Hour,
			ChannelTTL:  24 * time.Hour,
			OnlineTTL:   2 * time.Minute,
			OnlineDelta: 10 * time.Second,
			StatTTL:     time.Minute,
			StatDelta:   10 * time.Second,
		},
		Limits: Limits{
			MaxPayload:            1 << 20,
			MaxConnPerChannel:     100,
			MaxMessagesPerRequest: 100,
			MaxChannelsPerRequest: 100,
		},
		Security: Security{Algo: "sha1"},
		Push: Push{
			PollTimeout:        40 * time.Second,
			PingInterval:       2 * time.Minute,
			HeadTimeout:        time.Minute,
			BodyTimeout:        5 * time.Minute,
			IdleTimeout:        5 * time.Second,
			CloseTimeout:       30 * time.Second,
			AcceptTimeout:      300 * time.Millisecond,
			DrainTimeout:       10 * time.Second,
			UpgradeLinger:      time.Hour,
			HistoryPerChannel:  100,
			HistoryTotal:       200,
			MaxBuffered:        1 << 20,
			WindowCount:        1 << 16,
			WindowBytes:        64 << 20,
			PublishQueue:       100_000,
			ClientRate:         100,
			ClientPublishGuard: true,
			MemoryPerChannel:   1000,
			MemoryBytes:        256 << 20,
			LogLevel:           "info",
			LogFormat:          LogText,
			Operators:          Operators{Profiles: true},
			PerAddress:         PerAddress{IPv6Prefix: 64},
			V5:                 V5{PingInterval: 10 * time.Second, DeadAfter: time.Minute, ExpiryGrace: 5 * time.Minute, OfflineDelay: 10 * time.Second, StatusPerConnection: 1000},
		},
		given: map[string]bool{},
	}
}

// Valid says whether none of the problems is an error.
func Valid(problems []Problem) bool {
	for _, p := range problems {
		if p.Severity == Error {
			return false
		}
	}
	return true
}
