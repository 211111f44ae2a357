package configs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestCipherSuites(t *testing.T) {
	f := func(list string, want []uint16, unknown ...string) {
		t.Helper()
		s := SSL{Ciphers: list}
		if got, not := s.CipherSuites(); !slices.Equal(got, want) || !slices.Equal(not, unknown) {
			t.Errorf("%q: got %x and %q, want %x and %q", list, got, not, want, unknown)
		}
	}
	f("", nil)
	f("ECDHE-RSA-AES128-GCM-SHA256", []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256})
	f("ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-CHACHA20-POLY1305",
		[]uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256})
	f("ECDHE-RSA-AES128-SHA256 ECDHE-ECDSA-AES256-SHA",
		[]uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA})
	f("AES128-GCM-SHA256,AES256-SHA", []uint16{tls.TLS_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_RSA_WITH_AES_256_CBC_SHA})
	f("DES-CBC3-SHA:ECDHE-RSA-DES-CBC3-SHA", []uint16{tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA, tls.TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA})
	f("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256})
	f("TLS_AES_128_GCM_SHA256:HIGH:!aNULL:!MD5:!EXP-RC4-MD5:@STRENGTH", nil)
	f("DHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256", []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}, "DHE-RSA-AES128-GCM-SHA256")
}

// writePair writes a key and a certificate that ends then.
func writePair(t *testing.T, end time.Time) (keyFile, certFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: end.Add(-time.Hour), NotAfter: end}
	cert, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, kind string, der []byte) string {
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	return write("key.pem", "PRIVATE KEY", private), write("cert.pem", "CERTIFICATE", cert)
}

func TestSSL(t *testing.T) {
	tomorrow, yesterday := time.Now().Add(24*time.Hour), time.Now().Add(-24*time.Hour)
	f := func(end time.Time, more, want string) {
		t.Helper()
		key, cert := writePair(t, end)
		section, err := json.Marshal(map[string]string{"key": key, "cert": cert})
		if err != nil {
			t.Fatal(err)
		}
		ssl := strings.TrimSuffix(string(section), "}") + more + "}"
		c, problems := load(t, `{"security":{"key":"0123456789abcdef"},"servers":[{"port":1,"ssl":`+ssl+`}]}`)
		if got := lines(problems); !strings.Contains(got, want) || want == "" && got != "" {
			t.Errorf("got %q, want %q", got, want)
		}
		if Valid(problems) && c.Servers[0].SSL.Cert != cert {
			t.Error(c.Servers[0].SSL)
		}
	}
	f(tomorrow, "", "")
	f(yesterday, "", "cert.pem expired at "+yesterday.UTC().Format(time.RFC3339))
	f(tomorrow, `,"dhparam":"dh.pem"`, "f.json: servers[0].ssl.dhparam: warning: has no effect")
	f(tomorrow, `,"honorCipherOrder":true`, "f.json: servers[0].ssl.honorCipherOrder: warning: has no effect")
	f(tomorrow, `,"ciphers":"HIGH:DHE-X:!aNULL"`, "f.json: servers[0].ssl.ciphers: warning: not known: DHE-X; the usual ones are used")
	f(tomorrow, `,"ciphers":"AES128-SHA:DHE-X"`, "f.json: servers[0].ssl.ciphers: warning: not known: DHE-X; the others are used")
}
