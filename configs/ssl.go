package configs

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"
)

// SSL is the section ssl of a listener: files in PEM form, relative to the current directory.
type SSL struct {
	Key, Cert string
	Ciphers   string // of TLS 1.2, names of OpenSSL separated by colons; "": those of Go
}

// Load reads certificate and key. An error never quotes them.
func (s *SSL) Load() (*tls.Certificate, error) {
	c, err := tls.LoadX509KeyPair(s.Cert, s.Key)
	if err != nil {
		return nil, fmt.Errorf("certificate %s with key %s: %w", s.Cert, s.Key, err)
	}
	return &c, nil
}

// CipherSuites returns the ciphers that Go knows; none stands for Go's own choice. unknown are those that it does not know.
// Groups and exclusions (HIGH, !aNULL) mean nothing here: Go has no cipher that lists like to exclude.
func (s *SSL) CipherSuites() (suites []uint16, unknown []string) {
	byName := cipherNames()
	for _, name := range strings.FieldsFunc(s.Ciphers, func(r rune) bool { return strings.ContainsRune(":, ", r) }) {
		suite, ok := byName[name]
		switch {
		case ok && suite != 0:
			suites = append(suites, suite)
		case ok, strings.ContainsAny(name[:1], "!-+@"), !strings.ContainsAny(name, "-_"):
		default:
			unknown = append(unknown, name)
		}
	}
	return suites, unknown
}

// cipherNames are all names of all ciphers. 0 stands for ciphers of TLS 1.3, among which there is no choice.
func cipherNames() map[string]uint16 {
	names := map[string]uint16{}
	for _, c := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		id := c.ID
		if c.SupportedVersions[0] == tls.VersionTLS13 {
			id = 0
		}
		names[c.Name], names[openSSLName(c.Name)] = id, id
	}
	return names
}

// openSSLName is the name that OpenSSL has for a cipher: ECDHE-RSA-AES128-GCM-SHA256 for TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256.
func openSSLName(name string) string {
	exchange, cipher, _ := strings.Cut(strings.TrimPrefix(name, "TLS_"), "_WITH_")
	cipher = strings.NewReplacer(
		"3DES_EDE_CBC", "DES-CBC3", "AES_128", "AES128", "AES_256", "AES256", "_CBC", "", "RC4_128", "RC4", "POLY1305_SHA256", "POLY1305", "_", "-",
	).Replace(cipher)
	if exchange == "RSA" {
		return cipher
	}
	return strings.ReplaceAll(exchange, "_", "-") + "-" + cipher
}

func remedyOfFiles(err error) string {
	if errors.Is(err, fs.ErrNotExist) {
		return "paths are relative to the current directory"
	}
	return "name files in PEM form, the key in one and its certificates in the other"
}

// ssl looks at a section ssl, whose files must be there: nothing is served in the clear that was meant to be encrypted.
func (v *validator) ssl(key string, s *SSL) {
	if s == nil {
		return
	}
	c, err := s.Load()
	switch {
	case s.Key == "" || s.Cert == "":
		v.add(Error, key, "name the files with key and cert, or remove the section to serve without TLS", "key or cert is missing")
	case err != nil:
		v.add(Error, key, remedyOfFiles(err), "%v", err)
	case time.Now().After(c.Leaf.NotAfter):
		v.add(Warning, key+".cert", "", "%s expired at %s", s.Cert, c.Leaf.NotAfter.Format(time.RFC3339))
	}
	if suites, unknown := s.CipherSuites(); len(unknown) > 0 {
		instead := "the others are used"
		if len(suites) == 0 {
			instead = "the usual ones are used"
		}
		v.add(Warning, key+".ciphers", "", "not known: %s; %s", strings.Join(unknown, ", "), instead)
	}
}
