package redistest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// Authority makes certificates that nobody trusts but who is given File.
type Authority struct {
	File string // its own certificate, in PEM form

	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewAuthority makes an authority, whose files go with the test.
func NewAuthority(t testing.TB) *Authority {
	t.Helper()
	a := &Authority{dir: t.TempDir()}
	a.File, _ = a.Issue(t, "authority")
	return a
}

// Issue makes a certificate of that name for 127.0.0.1, with its key, for servers and clients, and returns the files. The first one is that
// of the authority itself.
func (a *Authority) Issue(t testing.TB, name string) (certFile, keyFile string) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	template := x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	parent, signer := a.cert, a.key
	if signer == nil {
		template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
		parent, signer = &template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, parent, &key.PublicKey, signer)
	must(err)
	if a.key == nil {
		a.key = key
		a.cert, err = x509.ParseCertificate(der)
		must(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	must(err)
	certFile, keyFile = filepath.Join(a.dir, name+".pem"), filepath.Join(a.dir, name+"-key.pem")
	must(os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	must(os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
	return certFile, keyFile
}

// ServerArgs are the options of a redis-server that speaks TLS at that port and wants certificates of this authority from its clients.
func (a *Authority) ServerArgs(t testing.TB, port int) []string {
	t.Helper()
	cert, key := a.Issue(t, "redis-"+strconv.Itoa(port))
	return []string{"--bind", "127.0.0.1", "--tls-port", strconv.Itoa(port), "--tls-auth-clients", "yes",
		"--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", a.File}
}

// StartTLS starts a server that also speaks TLS on a free port of 127.0.0.1.
func StartTLS(t testing.TB, a *Authority, args ...string) (s *Server, port int) {
	t.Helper()
	port = FreePort(t)
	return Start(t, append(a.ServerArgs(t, port), args...)...), port
}

// FreePort is a port of 127.0.0.1 that nobody listens on.
func FreePort(t testing.TB) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}
