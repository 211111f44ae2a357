package configs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// TLS is the section tls of storage: files in PEM form, relative to the current directory.
type TLS struct {
	On         bool // the section is there
	CA         string
	Cert, Key  string
	ServerName string
	Sentinels  bool // they are spoken to in TLS, too
}

// Addr is where Redis is, if Socket is no URL: network is "unix" for the path of a socket that could be taken for something else, and empty
// where the address speaks for itself, as host:port and an absolute path do.
func (s *Storage) Addr() (network, addr string) {
	switch {
	case isHostPort(s.Socket):
		return "", s.Socket
	case s.Socket != "":
		return "unix", s.Socket
	case strings.HasPrefix(s.Host, "/"), isHostPort(s.Host):
		return "", s.Host
	}
	return "", net.JoinHostPort(strings.Trim(s.Host, "[]"), strconv.Itoa(s.Port))
}

// SentinelAddrs are Sentinels with their ports, 26379 where none is given.
func (s *Storage) SentinelAddrs() []string { return withPort(s.Sentinels, "26379") }

// NodeAddrs are Nodes with their ports, 6379 where none is given.
func (s *Storage) NodeAddrs() []string { return withPort(s.Nodes, "6379") }

func withPort(some []string, port string) (addrs []string) {
	for _, addr := range some {
		if !isHostPort(addr) && !strings.ContainsAny(addr, "/@") {
			addr = net.JoinHostPort(strings.Trim(addr, "[]"), port)
		}
		addrs = append(addrs, addr)
	}
	return addrs
}

// Config makes what crypto/tls needs. The certificate is read anew for each connection, so that one that was renewed is shown without a
// restart; here it is only tried. An error never quotes a key.
func (t *TLS) Config() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CA != "" {
		pem, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, err
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s has no certificate", t.CA)
		}
	}
	switch {
	case t.Cert == "" && t.Key == "":
		return c, nil
	case t.Cert == "" || t.Key == "":
		return nil, errors.New("cert or key is missing")
	}
	if _, err := t.load(); err != nil {
		return nil, err
	}
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return t.load() }
	return c, nil
}

func (t *TLS) load() (*tls.Certificate, error) {
	return (&SSL{Key: t.Key, Cert: t.Cert}).Load()
}

// redisUser finds what is said twice, in the URL and beside it.
func (v *validator) redisUser() {
	s := &v.c.Storage
	if !strings.Contains(s.Socket, "://") {
		return
	}
	u, err := url.Parse(s.Socket)
	if err != nil || u.User == nil {
		return // the bus says what is wrong with it
	}
	if s.User != "" && u.User.Username() != "" {
		v.add(Error, "storage.user", "remove one of them", "is there twice: the URL in storage.socket has a user, too")
	}
	if _, has := u.User.Password(); has && s.Password != "" {
		v.add(Error, "storage.password", "remove one of them", "is there twice: the URL in storage.socket has a password, too")
	}
}

// redisSentinels finds what sentinels need and what has no place beside them. It quotes no address: there may be a password where none is
// expected.
func (v *validator) redisSentinels() {
	s := &v.c.Storage
	inURL := strings.Contains(s.Socket, "://") && strings.Contains(s.Socket, "master_set=")
	switch {
	case s.Sentinels == nil && !inURL:
		for _, key := range []string{"storage.masterName", "storage.sentinelUser", "storage.sentinelPassword"} {
			if v.c.given[key] {
				v.add(Error, key, "name them with storage.sentinels", "there are no sentinels")
			}
		}
		return
	case s.Sentinels == nil:
		return
	case len(s.Sentinels) == 0:
		v.add(Error, "storage.sentinels", `for example ["10.0.0.1:26379"]`, "is empty")
	case s.MasterName == "":
		v.add(Error, "storage.masterName", "the name in sentinel monitor NAME of sentinel.conf", "is missing: sentinels watch several masters")
	case s.Socket != "":
		v.add(Error, "storage.socket", "remove it, or storage.sentinels", "is another address than the one that sentinels give")
	case v.c.given["storage.host"] || v.c.given["storage.port"]:
		v.add(Warning, "storage.host", "remove it, and storage.port", "has no effect: the sentinels say where Redis is")
	}
	for i, addr := range s.SentinelAddrs() {
		if !isHostPort(addr) {
			v.add(Error, fmt.Sprintf("storage.sentinels[%d]", i), "for example 10.0.0.1:26379", "is not host:port")
		}
	}
}

// redisCluster finds what has no place beside a cluster. It quotes no address, as redisSentinels.
func (v *validator) redisCluster() {
	s := &v.c.Storage
	switch {
	case s.Cluster == "" && s.Nodes != nil:
		v.add(Error, "storage.nodes", `write "cluster": true`, "are those of a cluster, and there is no storage.cluster")
		return
	case s.Cluster == "":
		return
	case s.Sentinels != nil:
		v.add(Error, "storage.cluster", "remove it, or storage.sentinels", "a cluster has no sentinels")
	case strings.ContainsAny(s.Cluster, "{}"):
		v.add(Error, "storage.cluster", `for example true, or "portal"`, "%q has braces, which are put around it", s.Cluster)
	case s.Nodes != nil && len(s.Nodes) == 0:
		v.add(Error, "storage.nodes", `for example ["10.0.0.1:6379"]`, "is empty")
	case s.Nodes != nil && s.Socket != "":
		v.add(Error, "storage.socket", "remove it, or storage.nodes", "is another address than those of the nodes")
	case s.Nodes != nil && (v.c.given["storage.host"] || v.c.given["storage.port"]):
		v.add(Warning, "storage.host", "remove it, and storage.port", "has no effect: storage.nodes says where Redis is")
	}
	for i, addr := range s.NodeAddrs() {
		if !isHostPort(addr) {
			v.add(Error, fmt.Sprintf("storage.nodes[%d]", i), "for example 10.0.0.1:6379", "is not host:port")
		}
	}
}

func (v *validator) redisTLS() {
	s, t := &v.c.Storage, &v.c.Storage.TLS
	scheme, _, isURL := strings.Cut(s.Socket, "://")
	switch {
	case !t.On:
		return
	case isURL && (scheme == "redis" || scheme == "valkey"):
		v.add(Error, "storage.tls", "write "+scheme+"s://", "the address in storage.socket is one without TLS")
	case scheme == "unix", isSocketPath(s.Socket), s.Socket == "" && s.Sentinels == nil && s.Nodes == nil && strings.HasPrefix(s.Host, "/"):
		v.add(Error, "storage.tls", "remove it", "there is no TLS over a Unix socket")
	}
	if _, err := t.Config(); err != nil {
		v.add(Error, "storage.tls", remedyOfFiles(err), "%v", err)
		return
	}
	if t.Cert == "" {
		return
	}
	if c, err := t.load(); err == nil && time.Now().After(c.Leaf.NotAfter) {
		v.add(Warning, "storage.tls.cert", "", "%s expired at %s", t.Cert, c.Leaf.NotAfter.Format(time.RFC3339))
	}
}
