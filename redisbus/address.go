package redisbus

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/redis/rueidis"
)

// address is where Redis is and who asks it, as rueidis wants to have it.
func (o *Options) address() (c rueidis.ClientOption, network string, err error) {
	if c, network, err = o.place(); err != nil {
		return c, "", err
	}
	switch {
	case o.User != "" && c.Username != "":
		return c, "", errors.New("redisbus: both an option and the URL have a user of Redis")
	case o.Password != "" && c.Password != "":
		return c, "", errors.New("redisbus: both an option and the URL have a password of Redis")
	case o.TLS != nil && network == "unix":
		return c, "", errors.New("redisbus: there is no TLS over a unix socket")
	case o.TLS != nil && o.URL != "" && c.TLSConfig == nil:
		return c, "", errors.New("redisbus: TLS with a URL that is without: want rediss://")
	}
	c.Username, c.Password = c.Username+o.User, c.Password+o.Password
	if o.TLS != nil {
		c.TLSConfig = withTLS(c.TLSConfig, o.TLS)
	}
	return c, network, nil
}

// withTLS is t with what a URL says about TLS.
func withTLS(url, t *tls.Config) *tls.Config {
	t = t.Clone()
	if url == nil {
		return t
	}
	if t.ServerName == "" {
		t.ServerName = url.ServerName
	}
	t.InsecureSkipVerify = t.InsecureSkipVerify || url.InsecureSkipVerify
	return t
}

func (o *Options) place() (c rueidis.ClientOption, network string, err error) {
	switch {
	case o.URL != "":
		if c, network, err = urlAddress(o.URL, o.Cluster != ""); err == nil && c.Sentinel.MasterSet != "" {
			o.takeSentinels(&c)
		}
		return c, network, err
	case len(o.Sentinels) > 0:
		c.InitAddress = o.Sentinels[:1] // is not looked at
		return c, "tcp", nil
	case len(o.Nodes) > 0 && o.Addr == "":
		c.InitAddress = o.Nodes[:1]
		return c, "tcp", nil
	}
	addr := o.Addr
	if addr == "" {
		addr = "127.0.0.1:6379"
	}
	network = o.Network
	if network == "" {
		network = "tcp"
		if strings.HasPrefix(addr, "/") {
			network = "unix"
		}
	}
	if network == "tcp" {
		if err := checkHostPort(addr); err != nil {
			return c, "", fmt.Errorf("redisbus: %w", err)
		}
	}
	c.InitAddress = []string{addr}
	return c, network, nil
}

// takeSentinels puts sentinels that stood in a URL where those are that did not.
func (o *Options) takeSentinels(c *rueidis.ClientOption) {
	o.Sentinels, o.MasterName = c.InitAddress, c.Sentinel.MasterSet
	c.InitAddress, c.Sentinel = o.Sentinels[:1], rueidis.SentinelOption{}
	if c.TLSConfig != nil {
		c.TLSConfig.ServerName = "" // it was that of a sentinel
	}
}

// urlAddress reads a URL. Its errors do not quote it, for it may have a password.
func urlAddress(text string, cluster bool) (c rueidis.ClientOption, network string, err error) {
	u, err := url.Parse(text)
	if err != nil || u.Opaque != "" || u.Fragment != "" || strings.Contains(u.RawQuery, "@") || u.Scheme != "unix" && strings.Contains(u.Path, "@") {
		// The end of a password with one of # ? / is taken for something else.
		return c, "", errors.New("redisbus: the URL of Redis is malformed (other characters of a password than letters and digits have to be percent-encoded)")
	}
	if c, err = rueidis.ParseURL(text); err != nil {
		return c, "", errors.New("redisbus: the URL of Redis is malformed: want redis://[user:password@]host[:port][/database], rediss:// or unix:///path?db=n")
	}
	network = "tcp"
	if u.Scheme == "unix" {
		network = "unix"
	}
	switch {
	case len(c.InitAddress) > 1 && c.Sentinel.MasterSet == "" && !cluster:
		return c, "", errors.New("redisbus: more than one address of Redis, and neither sentinels nor a cluster")
	case c.SelectDB < 0:
		return c, "", fmt.Errorf("redisbus: there is no database %d", c.SelectDB)
	case network == "unix" && (u.Host != "" || u.Path == ""):
		return c, "", errors.New("redisbus: unix:// needs the path of a socket: unix:///path")
	case network == "tcp":
		for _, addr := range c.InitAddress {
			if err := checkHostPort(addr); err != nil {
				return c, "", fmt.Errorf("redisbus: %w", err)
			}
		}
	}
	return c, network, nil
}

func checkHostPort(addr string) error {
	if strings.Contains(addr, "@") { // not quoted: before it may be a password
		return errors.New("a user and a password of Redis have options of their own, or their place in a URL: redis://user:password@host:port")
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("address %q of Redis is not host:port", addr)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("%q is no port of Redis", port)
	}
	if strings.ContainsAny(host, "/, ") {
		return fmt.Errorf("%q is no host of Redis", host)
	}
	return nil
}
