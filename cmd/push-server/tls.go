package main

import (
	"crypto/tls"
	"fmt"
	"sync/atomic"

	"push-server/configs"
)

// certificate is that of one listener. It can be read again while connections use it.
type certificate struct {
	files   *configs.SSL
	current atomic.Pointer[tls.Certificate]
}

// load reads the files. After an error the certificate stays as it was.
func (c *certificate) load() error {
	read, err := c.files.Load()
	if err != nil {
		return err
	}
	c.current.Store(read)
	return nil
}

func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return c.current.Load(), nil
}

// openTLS reads the certificates of all listeners that have one.
func (s *server) openTLS() error {
	s.secured = make([]*tls.Config, len(s.config.Servers))
	s.certificates = make([]*certificate, len(s.config.Servers))
	for i := range s.config.Servers {
		l := &s.config.Servers[i]
		if l.SSL == nil {
			continue
		}
		secured, c, err := newTLS(l.SSL)
		if err != nil {
			return fmt.Errorf("%s: %w", l.Name, err)
		}
		s.secured[i], s.certificates[i] = secured, c
	}
	return nil
}

// reloadTLS reads all certificates again. Connections stay.
func (s *server) reloadTLS() {
	for i, c := range s.certificates {
		if c == nil {
			continue
		}
		c.files = s.config.Servers[i].SSL // others, perhaps, since the last reload
		if err := c.load(); err != nil {
			s.log.Error("the certificate cannot be read again, keeping the old one", "err", err)
			continue
		}
		s.log.Info("certificate read", "file", c.files.Cert, "expires", c.current.Load().Leaf.NotAfter)
	}
}

// newTLS is what a listener with a section ssl serves with.
func newTLS(s *configs.SSL) (*tls.Config, *certificate, error) {
	c := &certificate{files: s}
	if err := c.load(); err != nil {
		return nil, nil, err
	}
	suites, _ := s.CipherSuites()
	return &tls.Config{MinVersion: tls.VersionTLS12, CipherSuites: suites, GetCertificate: c.get}, c, nil
}
