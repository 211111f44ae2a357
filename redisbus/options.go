package redisbus

import (
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

// Options are the options of a Bus. The zero value of each means its default.
type Options struct {
	// Network is "tcp" or "unix". Default: "unix" if Addr begins with a slash, otherwise "tcp".
	Network string
	// Addr is host:port, or the path of a unix socket. Default 127.0.0.1:6379.
	Addr string
	// URL stands for Network and Addr: redis://[user:password@]host[:port][/database], rediss:// for TLS, unix:///path?db=n.
	URL string
	// User and Password are those of Redis, if URL does not have them.
	User, Password string
	// TLS has Redis at Addr, or at a rediss:// URL, spoken to in TLS. Default: with rediss:// certificates of the system's authorities.
	TLS *tls.Config

	// Sentinels are host:port of Redis Sentinels, which say where the master MasterName is; neither Addr nor URL is given then, or a URL
	// with the parameter master_set stands for both. User, Password and TLS remain those of Redis; sentinels have a user and a password of
	// their own, and are spoken to in TLS as Redis is, but for PlainSentinels.
	Sentinels                      []string
	MasterName                     string
	SentinelUser, SentinelPassword string
	PlainSentinels                 bool
	// Cluster has Redis be a cluster, all of whose keys of this installation begin with {Cluster}, and so are in one slot. Their names are
	// others than those of Node processes, which cannot serve the same installation. Nodes are host:port of nodes to begin with; they
	// stand for Addr and URL, or are there together with them.
	Cluster string
	Nodes   []string
	// LookInterval is how often it is looked whether the address, or what sentinels say, leads to another server. Default 10 s.
	LookInterval time.Duration

	// MessageTTL is the longest time that a publication stays in history, in whole seconds: a larger Expiry is cut to it.
	// Default 24 h; negative: nothing is stored.
	MessageTTL time.Duration
	// ChannelTTL is how long the history of a channel is kept after its last stored publication. Default 24 h.
	ChannelTTL time.Duration
	// HistorySize is about how many publications the history of a channel names, the newest. Default 5000. Repair after a
	// lost connection reads no further back than this.
	HistorySize int
	// OnlineTTL and OnlineDelta together are how long a channel stays marked as online. Defaults 120 s and 10 s.
	OnlineTTL, OnlineDelta time.Duration

	// UID names this process among all that share the Redis: letters and digits. Default: 8 random ones.
	UID string
	// DialTimeout bounds connecting, and so the time that a command takes to fail while Redis does not answer. Default 1 s.
	DialTimeout time.Duration
	// SilenceTimeout is how long Redis may be silent before a connection counts as dead and another one is made. Default 3 s, after
	// which the engine gives up a connection that brings no echoes.
	SilenceTimeout time.Duration
	// RetryMax is the longest pause before Subscribe tries to connect again; the first is 50 ms. Default 2 s.
	RetryMax time.Duration
	// CacheBytes bounds the memory for bodies of shared channels and for online marks. Default 32 MiB.
	CacheBytes int

	// Now is the clock of Created. Default time.Now.
	Now func() time.Time
	// Log gets connections that come and go. Default: nothing is logged.
	Log *slog.Logger
}

func (o Options) withDefaults() Options {
	setDuration := func(d *time.Duration, otherwise time.Duration) {
		if *d == 0 {
			*d = otherwise
		}
	}
	setDuration(&o.MessageTTL, 24*time.Hour)
	setDuration(&o.ChannelTTL, 24*time.Hour)
	setDuration(&o.OnlineTTL, 120*time.Second)
	setDuration(&o.OnlineDelta, 10*time.Second)
	setDuration(&o.DialTimeout, time.Second)
	setDuration(&o.SilenceTimeout, 3*time.Second)
	setDuration(&o.RetryMax, 2*time.Second)
	setDuration(&o.LookInterval, 10*time.Second)
	if o.HistorySize <= 0 {
		o.HistorySize = 5000
	}
	if o.CacheBytes <= 0 {
		o.CacheBytes = 32 << 20
	}
	if o.UID == "" {
		o.UID = strings.ToLower(rand.Text()[:8])
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

func (o *Options) validate() error {
	var problems []error
	switch o.Network {
	case "", "tcp", "unix":
	default:
		problems = append(problems, fmt.Errorf("redisbus: network %q is neither tcp nor unix", o.Network))
	}
	if o.URL != "" && o.Addr != "" {
		problems = append(problems, errors.New("redisbus: both an address and a URL of Redis"))
	}
	problems = append(problems, o.validateSentinels(), o.validateCluster())
	if strings.ContainsFunc(o.UID, notWord) {
		problems = append(problems, fmt.Errorf("redisbus: uid %q has other characters than letters and digits", o.UID))
	}
	for _, d := range []time.Duration{o.ChannelTTL, o.OnlineTTL, o.OnlineDelta, o.DialTimeout, o.SilenceTimeout, o.RetryMax, o.LookInterval} {
		if d < 0 {
			problems = append(problems, fmt.Errorf("redisbus: negative time %v", d))
		}
	}
	return errors.Join(problems...)
}

func (o *Options) validateSentinels() error {
	switch {
	case len(o.Sentinels) == 0 && (o.MasterName != "" || o.SentinelUser != "" || o.SentinelPassword != "") && o.URL == "":
		return errors.New("redisbus: a name of a master, a user or a password for sentinels, and no sentinels")
	case len(o.Sentinels) == 0:
		return nil
	case o.URL != "" || o.Addr != "":
		return errors.New("redisbus: both sentinels and an address of Redis")
	case o.MasterName == "":
		return errors.New("redisbus: sentinels, and no name of the master that they watch")
	}
	for _, addr := range o.Sentinels {
		if err := checkHostPort(addr); err != nil {
			return fmt.Errorf("redisbus: sentinels: %w", err)
		}
	}
	return nil
}

func notWord(r rune) bool {
	return !(r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z')
}

// client translates o for rueidis.
func (o *Options) client() (c rueidis.ClientOption, network string, err error) {
	c, network, err = o.address()
	if err == nil && o.Cluster != "" {
		err = o.takeNodes(&c, network)
	}
	if err != nil {
		return c, "", err
	}
	// A connection over which nothing has come for KeepAlive is sent a PING, which has ConnWriteTimeout to be answered. 10 s by default
	// was three times what a connection of publications has; meanwhile everything that is published waits.
	c.Dialer = net.Dialer{Timeout: o.DialTimeout, KeepAlive: o.SilenceTimeout / 3}
	c.ConnWriteTimeout = o.SilenceTimeout - c.Dialer.KeepAlive
	// Each client has one connection, through which 400,000 commands a second pass.
	c.ForceSingleClient = true
	c.PipelineMultiplex = -1
	// From the first command on there is a reader, which notices a lost connection at once; and a command that runs out of time
	// does not take the connection with it.
	c.AlwaysPipelining = true
	// Reads are tried twice, since the first may find a connection that has just gone. More would keep callers waiting while
	// Redis is away. Scripts are never repeated by the client.
	c.RetryDelay = func(attempts int, _ rueidis.Completed, _ error) time.Duration {
		if attempts > 1 {
			return -1
		}
		return 0
	}
	c.CacheSizeEachConn = o.CacheBytes
	// A quarter of the default: there are three connections, and replies of history come in portions (see history.go).
	c.ReadBufferEachConn, c.WriteBufferEachConn = 128<<10, 128<<10
	c.ClientName = "push-server-" + o.UID
	return c, network, nil
}

// seconds is d in whole seconds, 0 if it is negative.
func seconds(d time.Duration) uint32 {
	return uint32(min(max(d/time.Second, 0), math.MaxUint32))
}
