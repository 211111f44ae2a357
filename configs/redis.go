package configs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"
)

// TLS is the section tls of storage: files in PEM form, relative to the current directory.
type TLS struct {
	On         bool // the section is there
	CA         string
	Cert, Key  string
	ServerName string
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

func (v *validator) redisTLS() {
	s, t := &v.c.Storage, &v.c.Storage.TLS
	scheme, _, isURL := strings.Cut(s.Socket, "://")
	switch {
	case !t.On:
		return
	case isURL && (scheme == "redis" || scheme == "valkey"):
		v.add(Error, "storage.tls", "write "+scheme+"s://", "the address in storage.socket is one without TLS")
	case scheme == "unix", isSocketPath(s.Socket), s.Socket == "" && strings.HasPrefix(s.Host, "/"):
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
