package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"push-server/protocol/testclient"
)

// encrypted is a configuration whose listeners have a certificate in the folder dir.
func encrypted(t *testing.T, dir string) config {
	t.Helper()
	c := standalone(t)
	for _, listener := range c.listeners() {
		listener["ssl"] = map[string]any{"key": filepath.Join(dir, "key.pem"), "cert": filepath.Join(dir, "cert.pem"), "honorCipherOrder": true}
	}
	return c
}

// writeCertificate puts a certificate of that name into dir.
func writeCertificate(t *testing.T, dir, name string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	cert, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, filepath.Join(dir, "key.pem"), "PRIVATE KEY", private)
	writePEM(t, filepath.Join(dir, "cert.pem"), "CERTIFICATE", cert)
}

func writePEM(t *testing.T, file, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

var trusting = &tls.Config{InsecureSkipVerify: true}

// certificateAt is the name in the certificate that is shown to new connections.
func certificateAt(addr string) (string, error) {
	conn, err := tls.Dial("tcp", addr, trusting)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].Subject.CommonName, nil
}

// reload has the server read its files again, and waits until it shows that certificate.
func reload(t *testing.T, p *process, c config, want string) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	testclient.AwaitNil(t, "the certificate", func() error {
		for _, addr := range []string{c.addr("sub"), c.addr("pub")} {
			if name, err := certificateAt(addr); err != nil || name != want {
				return fmt.Errorf("%s shows %q: %w", addr, name, err)
			}
		}
		return nil
	})
}

// endsWith1001 stops the server, which says goodbye to the client.
func endsWith1001(t *testing.T, p *process, socket *testclient.Conn) {
	t.Helper()
	closed := make(chan error, 1)
	go func() {
		_, err := socket.Receive()
		socket.Close()
		closed <- err
	}()
	if code := p.signal(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d", code)
	}
	var end *testclient.CloseError
	if err := <-closed; !errors.As(err, &end) || end.Code != 1001 {
		t.Errorf("the WebSocket ends with %v, want close 1001", err)
	}
}

func TestTLS(t *testing.T) {
	dir := t.TempDir()
	writeCertificate(t, dir, "first")
	c := encrypted(t, dir)
	p := start(t, c)
	backend := testclient.NewHTTPS(trusting)
	ch := testclient.NewChannel(c["security"].(map[string]any)["key"].(string))
	socket, err := testclient.DialTLS(t.Context(), trusting, c.addr("sub"), subPath+testclient.Query(false, "", ch.Signed()))
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	publish := func(text string) {
		t.Helper()
		reply, err := backend.PublishText(t.Context(), "https://"+c.addr("pub")+pubPath, text, 60, ch.Private)
		if err != nil || reply.Status != http.StatusOK {
			t.Errorf("publishing answered with %v, %v", reply, err)
		}
	}
	receive := func(want string) {
		t.Helper()
		socket.SetReadDeadline(time.Now().Add(patience))
		ms, err := socket.Receive()
		if err != nil || len(ms) != 1 || !strings.Contains(string(ms[0].Body), want) {
			t.Fatalf("received %v %v, want %s", ms, err, want)
		}
	}
	publish(`{"n":1}`)
	receive(`{"n":1}`)
	poll, err := backend.Poll(t.Context(), "https://"+c.addr("sub")+subPath+testclient.Query(false, strings.Repeat("0", 26), ch.Signed()))
	if err != nil || !strings.Contains(string(poll.Body), `{"n":1}`) {
		t.Errorf("poll: %v %s", err, poll.Body)
	}

	// A new certificate, then a broken one.
	reload(t, p, c, "first")
	writeCertificate(t, dir, "second")
	reload(t, p, c, "second")
	if err := os.WriteFile(filepath.Join(dir, "key.pem"), []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	reload(t, p, c, "second")
	testclient.AwaitNil(t, "a word about the broken file", func() error {
		if log := p.log.String(); !strings.Contains(log, "the certificate cannot be read again, keeping the old one") || strings.Contains(log, "no key") {
			return errors.New(log)
		}
		return nil
	})
	publish(`{"n":2}`)
	receive(`{"n":2}`)

	endsWith1001(t, p, socket)
}

func TestTLSIsListed(t *testing.T) {
	dir := t.TempDir()
	writeCertificate(t, dir, "any")
	c := encrypted(t, dir)
	out, _, err := execute(t, append([]string{"check"}, writeConfigs(t, c)...)...)
	if err != nil {
		t.Error(err)
	}
	for _, want := range []string{
		"listening at https://", "wss://" + c.addr("sub") + subPath, "https://" + c.addr("pub") + pubPath,
		"servers[0].ssl.honorCipherOrder: warning: has no effect",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
}

func TestTLSNeedsItsFiles(t *testing.T) {
	c := encrypted(t, t.TempDir())
	p := launch(t, writeConfigs(t, c)...)
	if code := p.wait(); code != exitFailure || !strings.Contains(p.log.String(), "servers[0].ssl: error: certificate") {
		t.Errorf("exit code %d\n%s", code, p.log.String())
	}
}
